//go:build unix

package diskfile

import (
	"errors"
	"os"
	"syscall"
)

// inodeOf is the inode of a file, and when it changed last, in nanoseconds since 1970.
func inodeOf(path string) (inode uint64, changed int64, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, errors.ErrUnsupported
	}
	return uint64(st.Ino), changeOf(st), nil
}
