//go:build !linux

package tree

// New keeps to the folder dir by [os.Root].
func New(dir string, mount bool) Tree { return Root{dir, mount} }
