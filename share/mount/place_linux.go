package mount

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
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
func mine(m mounted) bool { return m.uid == strconv.Itoa(os.Geteuid()) }

// ours are the mounts that the system knows.
func ours() []mounted {
	return slices.DeleteFunc(known(), func(m mounted) bool { return !m.ours })
}

// top is what is mounted on a folder, over all else that is: what is taken away first.
func top(dir string) (on mounted, ok bool) {
	for _, m := range known() { // those that lie on others come after them
		if m.dir == dir {
			on, ok = m, true
		}
	}
	return on, ok
}

// known are all mounts that the system tells of.
func known() []mounted {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	return parse(b)
}

// parse reads mountinfo(5) in proc.
func parse(info []byte) (ms []mounted) {
	for s := bufio.NewScanner(bytes.NewReader(info)); s.Scan(); {
		mount, system, ok := strings.Cut(s.Text(), " - ")
		m, fs := strings.Fields(mount), strings.Fields(system)
		if !ok || len(m) < 6 {
			continue
		}
		one := mounted{dir: unescape(m[4]), dev: m[2]}
		if len(fs) >= 3 && fs[0] == "fuse."+source && fs[1] == source {
			one.ours = true
			for option := range strings.SplitSeq(fs[2], ",") {
				if uid, ok := strings.CutPrefix(option, "user_id="); ok {
					one.uid = uid
				}
			}
		}
		ms = append(ms, one)
	}
	return ms
}

// unescape reads a path in which the kernel wrote blanks and the like as \OOO.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
