package vfs

import (
	"strings"
	"time"
)

// kept reports whether a name is of those that desktops strew about, and that never leave this computer.
func kept(name string) bool {
	switch name {
	case ".DS_Store", "Thumbs.db", "desktop.ini":
		return true
	}
	return strings.HasPrefix(name, "._")
}

// passing is how long a file is kept back whose name says that it will be gone soon.
const passing = 2 * time.Second

// passes reports whether a name is of those that programs give to what they rename or remove soon.
func passes(name string) bool {
	switch {
	case strings.HasPrefix(name, ".~lock."), strings.HasPrefix(name, "~$"), strings.HasPrefix(name, ".#"), strings.HasPrefix(name, ".goutputstream-"):
		return true
	}
	for _, end := range []string{".tmp", ".swp", ".swx", ".part", ".lock", "~"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}
