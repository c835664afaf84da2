//go:build !linux

package local

func trees() map[string]func(dir string, mount bool) tree {
	return map[string]func(string, bool) tree{"os.Root": newTree}
}
