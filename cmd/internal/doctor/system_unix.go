//go:build unix

package doctor

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// fileLimit is how many files this process may have open.
func fileLimit() uint64 {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 0
	}
	return uint64(r.Cur) // signed on some systems
}

func isTaken(err error) bool   { return errors.Is(err, syscall.EADDRINUSE) }
func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
