//go:build unix

package tree

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// openFlags do not wait for the other end of a pipe, and take no terminal.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK | syscall.O_NOCTTY

// Of gives the status that a FileInfo tells of.
func Of(info fs.FileInfo) Status {
	st := Status{Mode: info.Mode(), Size: info.Size(), ModTime: info.ModTime()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		st.Device, st.File, st.ChangeTime = uint64(sys.Dev), uint64(sys.Ino), ctimeOf(sys)
	}
	return st
}

// Missing reports whether there is no such path.
func Missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG)
}

// Full reports whether there is no room on a disk, or in what its system allows us of it.
func Full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// Exhausted reports whether a limit of the system was reached, so that another try later may do.
func Exhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.EAGAIN)
}
