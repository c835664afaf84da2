package store

import (
	"io/fs"
	"math"
	"os"

	"golang.org/x/sys/windows"
)

// tryLock locks a file until it is closed, or its process ends. What is locked is a byte far behind its end, since locks
// keep others from reading and writing here.
func tryLock(f *os.File) error {
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, 1, 0, &windows.Overlapped{OffsetHigh: math.MaxInt32})
	if err == windows.ERROR_LOCK_VIOLATION {
		return errTaken
	}
	return nil
}

func links(fs.FileInfo) uint64 { return 1 }
