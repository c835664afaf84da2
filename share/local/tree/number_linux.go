package tree

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// numbered reports whether the file system that fd lies on numbers its files for good. FAT and exFAT do not: the system makes up
// a number, and the time of the last change of attributes, for as long as it remembers a file. Nor do most that programs make
// (FUSE), where a file may have another number under each name that finds it.
func numbered(fd int) bool {
	var s unix.Statfs_t
	err := unix.Fstatfs(fd, &s)
	for err == unix.EINTR {
		err = unix.Fstatfs(fd, &s)
	}
	if err != nil {
		return true
	}
	switch s.Type {
	case unix.MSDOS_SUPER_MAGIC, unix.EXFAT_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC:
		return false
	}
	return true
}

// lasting is a status without what does not last on a file system that is not numbered.
func lasting(numbered bool, st Status) Status {
	if !numbered {
		st.File, st.ChangeTime = 0, time.Time{}
	}
	return st
}

// lastingIn is lasting, for what lies in an open folder.
func lastingIn(r *os.Root, st Status) (Status, error) {
	f, err := r.Open(".")
	if err != nil {
		return st, err
	}
	defer f.Close()
	return st, control(f, func(fd int) { st = lasting(numbered(fd), st) })
}

// OfFile tells of an open file.
func OfFile(f *os.File) (st Status, err error) {
	if cerr := control(f, func(fd int) { st, err = StatAt(fd, "") }); cerr != nil {
		return Status{}, cerr
	}
	return st, err
}

func control(f *os.File, do func(fd int)) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return c.Control(func(fd uintptr) { do(int(fd)) })
}
