//go:build !linux

package local

func newTree(dir string, mount bool) tree { return rootTree{dir, mount} }
