package mounted

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// Ours are the peerd mounts that the system tells of.
func Ours() (ms []Mount) {
	for _, m := range all() {
		if m.Ours {
			ms = append(ms, m)
		}
	}
	return ms
}

// Top is what is mounted on a folder, over all else that is: what is taken away first.
func Top(dir string) (on Mount, ok bool) {
	for _, m := range all() { // those that lie on others come after them
		if m.Dir == dir {
			on, ok = m, true
		}
	}
	return on, ok
}

// all are the mounts that the system has in its list. None of them is asked.
func all() (ms []Mount) {
	n, err := unix.Getfsstat(nil, unix.MNT_NOWAIT)
	if err != nil {
		return nil
	}
	list := make([]unix.Statfs_t, n)
	if n, err = unix.Getfsstat(list, unix.MNT_NOWAIT); err != nil {
		return nil
	}
	for _, s := range list[:min(n, len(list))] {
		ms = append(ms, Mount{
			Dir: unix.ByteSliceToString(s.Mntonname[:]), Dev: fmt.Sprint(s.Fsid.Val), UID: strconv.Itoa(int(s.Owner)),
			Ours: unix.ByteSliceToString(s.Mntfromname[:]) == Source,
		})
	}
	return ms
}
