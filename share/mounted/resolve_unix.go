//go:build unix

package mounted

import (
	"os"
	"path/filepath"
	"strings"
)

// maxLinks is how many links one path may have, as for the system.
const maxLinks = 40

// Resolve gives an absolute path without symbolic links, of which the end need not be there. What is a peerd mount or lies in one
// is taken by its name.
func Resolve(path string) string {
	at, rest, links := "/", names(filepath.Clean(path)), 0
	for len(rest) > 0 {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		stay := On(next) != ""
		info, err := os.FileInfo(nil), error(nil)
		if !stay {
			info, err = os.Lstat(next)
		}
		if stay || err != nil {
			return filepath.Join(append([]string{next}, rest...)...)
		}
		if info.Mode()&os.ModeSymlink == 0 {
			at = next
			continue
		}
		to, err := os.Readlink(next)
		if links++; err != nil || links > maxLinks {
			return filepath.Join(append([]string{next}, rest...)...)
		}
		if filepath.IsAbs(to) {
			at = "/"
		}
		rest = append(names(to), rest...)
	}
	return at
}

// names are the parts of a path.
func names(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == filepath.Separator })
}
