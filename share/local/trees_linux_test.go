package local

import "github.com/peerd/peerd/share/local/tree"

func trees() map[string]func(dir string, mount bool) tree.Tree {
	return map[string]func(string, bool) tree.Tree{
		"openat2": func(dir string, mount bool) tree.Tree { return tree.Kernel{Path: dir, Mount: mount} },
		"os.Root": func(dir string, mount bool) tree.Tree { return tree.Root{Path: dir, Mount: mount} },
	}
}

func changers() map[string]func(dir string) changer {
	return map[string]func(string) changer{
		"renameat2": func(dir string) changer {
			return &kernelDisk{Kernel: tree.Kernel{Path: dir}, dirty: map[node]int{}}
		},
		"os.Root": func(dir string) changer { return newRootDisk(dir, false) },
	}
}
