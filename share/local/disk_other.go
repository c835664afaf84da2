//go:build !linux

package local

func newChanger(dir string, mount bool) changer { return newRootDisk(dir, mount) }
