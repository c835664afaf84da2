//go:build unix

package local

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// openFlags do not wait for the other end of a pipe, and take no terminal.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK | syscall.O_NOCTTY

func statusOf(info fs.FileInfo) status {
	st := status{mode: info.Mode(), size: info.Size(), mtime: info.ModTime()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		st.dev, st.ino, st.ctime = uint64(sys.Dev), uint64(sys.Ino), ctimeOf(sys)
	}
	return st
}

// missing reports whether there is no such path.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG)
}

// exhausted reports whether a limit of the system was reached, so that another try later may do.
func exhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.EAGAIN)
}
