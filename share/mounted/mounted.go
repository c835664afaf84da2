// Package mounted knows the peerd mounts of this computer: the folders that show what other computers share, whoever mounted them.
// It asks the system for its list alone, and never looks at a mount itself: one whose daemon does not answer would keep whoever
// looks waiting for ever.
package mounted

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Source is what the system shows where a disk would have its device.
const Source = "peerd"

// Mount is a mount, if it is ours perhaps of a daemon that is dead.
type Mount struct {
	Dir  string
	Dev  string // what tells it from all others
	Ours bool
	UID  string // of whom one of ours is; "" if nobody says

	id, parent string // of its place, and of the mount that it lies in
}

// On gives the peerd mount that a path lies in, by its name, or "".
func On(path string) string {
	on := ""
	for _, m := range Ours() {
		if Within(path, m.Dir) && len(m.Dir) > len(on) {
			on = m.Dir
		}
	}
	return on
}

// Within reports whether a path is a folder or lies below it, by their names.
func Within(path, dir string) bool {
	if runtime.GOOS == "darwin" { // where names in another case are most often the same
		path, dir = strings.ToLower(path), strings.ToLower(dir)
	}
	rest, ok := strings.CutPrefix(path, dir)
	return ok && (rest == "" || os.IsPathSeparator(rest[0]) || strings.HasSuffix(dir, string(filepath.Separator)))
}
