//go:build linux || darwin || freebsd

package store

import "golang.org/x/sys/unix"

// DiskSpace is how many bytes a folder's file system has for us, and how many it has altogether.
func DiskSpace(dir string) (free, total int64, ok bool) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0, 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), true
}
