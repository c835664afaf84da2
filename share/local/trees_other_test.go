//go:build !linux

package local

import "github.com/peerd/peerd/share/local/tree"

func trees() map[string]func(dir string, mount bool) tree.Tree {
	return map[string]func(string, bool) tree.Tree{"os.Root": tree.New}
}

func changers() map[string]func(dir string) changer {
	return map[string]func(string) changer{"os.Root": func(dir string) changer { return newRootDisk(dir, false) }}
}
