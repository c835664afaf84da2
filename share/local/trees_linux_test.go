package local

func trees() map[string]func(dir string, mount bool) tree {
	return map[string]func(string, bool) tree{
		"openat2": func(dir string, mount bool) tree { return kernelTree{dir, mount} },
		"os.Root": func(dir string, mount bool) tree { return rootTree{dir, mount} },
	}
}
