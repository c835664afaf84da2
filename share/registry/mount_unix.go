//go:build unix

package registry

import (
	"os"
	"path/filepath"
	"syscall"
)

// isMount reports whether dir is on another device than the folder that it is in.
func isMount(dir string) bool {
	here, err := os.Stat(dir)
	above, aerr := os.Stat(filepath.Dir(dir))
	if err != nil || aerr != nil {
		return false
	}
	a, ok := here.Sys().(*syscall.Stat_t)
	b, bok := above.Sys().(*syscall.Stat_t)
	return ok && bok && a.Dev != b.Dev
}
