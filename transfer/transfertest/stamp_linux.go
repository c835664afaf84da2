package transfertest

import (
	"io/fs"
	"syscall"
	"time"
)

// stamp is a file's inode, and when anything of it changed last by the kernel's clock, which nobody can set.
func stamp(info fs.FileInfo) (inode uint64, changed time.Time) {
	st := info.Sys().(*syscall.Stat_t)
	return st.Ino, time.Unix(st.Ctim.Unix())
}
