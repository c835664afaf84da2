package mount

import (
	"fmt"
	"os"
	"strconv"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// macFUSE is the system that mounts, where it is installed.
const macFUSE = "/Library/Filesystems/macfuse.fs/Contents/Resources/mount_macfuse"

// Available says why nothing can be mounted here, as an error with [ErrUnavailable] in it, or nil.
func Available() error {
	if _, err := os.Stat(macFUSE); err != nil {
		return unavailable("macFUSE is missing", "install it from https://macfuse.github.io")
	}
	return nil
}

func direct(*fuse.MountOptions, bool) {}

// detach unmounts; by force what is in use.
func detach(dir string, force bool) error {
	flags := 0
	if force {
		flags = unix.MNT_FORCE
	}
	return os.NewSyscallError("unmount", unix.Unmount(dir, flags))
}

func abort(string) {}

func readAhead(string) {}

func mine(m mounted) bool { return m.uid == strconv.Itoa(os.Geteuid()) }

// ours are the mounts that the system knows.
func ours() (ms []mounted) {
	n, err := unix.Getfsstat(nil, unix.MNT_NOWAIT)
	if err != nil {
		return nil
	}
	all := make([]unix.Statfs_t, n)
	if n, err = unix.Getfsstat(all, unix.MNT_NOWAIT); err != nil {
		return nil
	}
	for _, s := range all[:min(n, len(all))] {
		if m := told(s); m.ours {
			ms = append(ms, m)
		}
	}
	return ms
}

// top is what is mounted on a folder, over all else that is: what is taken away first.
func top(dir string) (mounted, bool) {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return mounted{}, false
	}
	m := told(s)
	return m, m.dir == dir
}

// told is a mount as the system tells of it.
func told(s unix.Statfs_t) mounted {
	return mounted{
		dir: unix.ByteSliceToString(s.Mntonname[:]), dev: fmt.Sprint(s.Fsid.Val), uid: strconv.Itoa(int(s.Owner)),
		ours: unix.ByteSliceToString(s.Mntfromname[:]) == source,
	}
}
