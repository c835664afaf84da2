package mounted

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Ours are the peerd mounts that the system tells of.
func Ours() []Mount { return system().read().ours }

// Top is what is mounted on a folder, over all else that is: what is taken away first.
func Top(dir string) (Mount, bool) { return top(system().read().all, dir) }

// system is the list of this process, which is one for all who ask.
var system = sync.OnceValue(func() *list { return &list{changes: -1} })

// list is what the system told last. It is read again when the system says that something changed, proc_pid_mountinfo(5), since
// all that is read in a share asks for it.
type list struct {
	mu      sync.Mutex
	changes int // a descriptor that says so, or -1
	now     state
}

// state is the mounts at one moment. It is never changed.
type state struct{ all, ours []Mount }

func (l *list) read() state {
	l.mu.Lock()
	defer l.mu.Unlock()
	const path = "/proc/self/mountinfo"
	if l.changes >= 0 {
		fds := []unix.PollFd{{Fd: int32(l.changes), Events: unix.POLLPRI}}
		if n, err := unix.Poll(fds, 0); n == 0 && err == nil {
			return l.now
		}
	} else if fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		l.changes = fd // before the list is read, so that no change falls between
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return state{}
	}
	all := parse(b)
	l.now = state{all, slices.DeleteFunc(slices.Clone(all), func(m Mount) bool { return !m.Ours })}
	return l.now
}

// top finds the mount on a folder that no other lies on, and that the way to the folder leads to: where one is mounted over a
// folder above, what was mounted below is still told of.
func top(all []Mount, dir string) (Mount, bool) {
	for _, m := range all {
		under := func(o Mount) bool { return o.parent == m.id && o.Dir == dir && o.id != m.id }
		if m.Dir == dir && !slices.ContainsFunc(all, under) && reached(all, m) {
			return m, true
		}
	}
	return Mount{}, false
}

// reached reports whether no mount hides what m lies on.
func reached(all []Mount, m Mount) bool {
	for range all { // a mount lies in at most as many as there are
		over := func(o Mount) bool {
			return o.parent == m.parent && o.id != o.parent && o.Dir != m.Dir && Within(m.Dir, o.Dir)
		}
		if slices.ContainsFunc(all, over) {
			return false
		}
		i := slices.IndexFunc(all, func(o Mount) bool { return o.id == m.parent })
		if i < 0 || all[i].id == m.id {
			return true
		}
		m = all[i]
	}
	return true
}

// parse reads mountinfo(5) in proc.
func parse(info []byte) (ms []Mount) {
	for line := range strings.Lines(string(info)) {
		mount, system, ok := strings.Cut(line, " - ")
		m, fs := strings.Fields(mount), strings.Fields(system)
		if !ok || len(m) < 6 {
			continue
		}
		one := Mount{Dir: unescape(m[4]), Dev: m[2], id: m[0], parent: m[1]}
		if len(fs) >= 3 && fs[0] == "fuse."+Source && fs[1] == Source {
			one.Ours = true
			for option := range strings.SplitSeq(fs[2], ",") {
				if uid, ok := strings.CutPrefix(option, "user_id="); ok {
					one.UID = uid
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
