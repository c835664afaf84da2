package mount

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/share/mounted"
)

// device is where the kernel and its file systems outside of it meet.
const device = "/dev/fuse"

// Available says why nothing can be mounted here, as an error with [ErrUnavailable] in it, or nil.
func Available() error {
	const install = `install the package "fuse3"`
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return unavailable(fmt.Sprintf("%s can't be opened: %v", device, err), install+`, or load the module "fuse"`)
	}
	_ = unix.Close(fd)
	if os.Geteuid() != 0 && helper() == "" {
		return unavailable("fusermount3 is missing, which mounts for users", install)
	}
	return nil
}

// helper mounts and unmounts for those who may not; "" if it is not there.
func helper() string {
	for _, name := range []string{"fusermount3", "fusermount", "/bin/fusermount3", "/bin/fusermount"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// direct lets root mount without help, and without the package that brings it.
func direct(o *fuse.MountOptions, readOnly bool) {
	o.DirectMount = os.Geteuid() == 0
	o.DirectMountFlags = unix.MS_NOSUID | unix.MS_NODEV
	if readOnly {
		o.DirectMountFlags |= unix.MS_RDONLY
	}
}

// detach unmounts; lazily what is in use.
func detach(dir string, lazy bool) error {
	if os.Geteuid() == 0 {
		flags := unix.UMOUNT_NOFOLLOW
		if lazy {
			flags |= unix.MNT_DETACH
		}
		return os.NewSyscallError("umount", unix.Unmount(dir, flags))
	}
	how := "-u"
	if lazy {
		how = "-uz"
	}
	out, err := exec.Command(helper(), how, "--", dir).CombinedOutput()
	if text := strings.TrimSpace(string(out)); err != nil && text != "" {
		return errors.New(text)
	}
	return err
}

// abort cuts a connection off, so that all who wait for it get an error.
func abort(dev string) {
	_, minor, _ := strings.Cut(dev, ":")
	_ = os.WriteFile("/sys/fs/fuse/connections/"+minor+"/abort", []byte("1"), 0)
}

// readAhead lets the kernel ask for more at once, where it lets us: on a path with a long way each request counts.
func readAhead(dev string) {
	_ = os.WriteFile("/sys/class/bdi/"+dev+"/read_ahead_kb", []byte(strconv.Itoa(maxReadAhead>>10)), 0)
}

// mine reports whether a mount is of the user that this program runs as.
func mine(m mounted.Mount) bool { return m.UID == strconv.Itoa(os.Geteuid()) }
