package mount

import (
	"os"
	"strconv"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/share/mounted"
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

func mine(m mounted.Mount) bool { return m.UID == strconv.Itoa(os.Geteuid()) }
