package store

import (
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// freeSpace is how many bytes the file system of f has for us.
func freeSpace(f *os.File) (int64, bool) {
	var st unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &st) != nil {
		return 0, false
	}
	return int64(st.Bavail) * st.Bsize, true
}

// allocated is how many bytes of a file are on disk already.
func allocated(fi fs.FileInfo) int64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return 0
}

// maxExtents bounds what is remembered of a scattered file; beyond it everything counts as data.
const maxExtents = 1 << 12

// dataExtents tells the parts of a file that were ever written, so that holes need not be hashed (lseek(2), SEEK_DATA).
func dataExtents(f *os.File, size int64) []extent {
	var out []extent
	fd := int(f.Fd())
	for off := int64(0); off < size; {
		from, err := unix.Seek(fd, off, unix.SEEK_DATA)
		if err == unix.ENXIO {
			return out
		}
		if err != nil || len(out) == maxExtents {
			return []extent{{0, size}}
		}
		to, err := unix.Seek(fd, from, unix.SEEK_HOLE)
		if err != nil {
			return []extent{{0, size}}
		}
		out = append(out, extent{from, min(to, size)})
		off = to
	}
	return out
}
