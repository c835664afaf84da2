//go:build linux

package e2e

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

// Bounds of what a mount may take.
const (
	soon   = time.Second      // for a change to be seen elsewhere
	bound  = 20 * time.Second // for any call, whatever became of the owner
	prompt = time.Second      // for what is known here, or known to be away, with the start of a program; 50 ms is the aim
)

// mounted is a folder of a host that shows shares.
type mounted struct {
	*node
	dir string // as the host calls it
	at  string // as this test reaches it, through a process of the host
}

// mount mounts something on a new folder of the host.
func (n *node) mount(name, ref string, options ...string) *mounted {
	n.t.Helper()
	lantest.Need(n.t, "fusermount3", "sleep")
	m := &mounted{node: n, dir: filepath.Join(n.Home, name)}
	m.at = n.reach(m.dir)
	args := append([]string{"mount"}, options...)
	if ref != "" {
		args = append(args, ref)
	}
	n.ok(quick, append(args, m.dir)...)
	return m
}

// reach is a path of the host as this test reaches it: mounts are seen by those alone that live in the host's namespaces.
func (n *node) reach(path string) string {
	if n.keeper == nil {
		n.keeper = n.Host.Start(n.Command("sleep", "infinity"))
	}
	return fmt.Sprintf("/proc/%d/root%s", n.keeper.Cmd.Process.Pid, path)
}

// path is a file in the mount.
func (m *mounted) path(name string) string { return filepath.Join(m.at, name) }

// text is what a file in the mount holds.
func (m *mounted) text(name string) (string, error) {
	b, err := os.ReadFile(m.path(name))
	return string(b), err
}

// put writes a file in the mount.
func (m *mounted) put(name, text string) {
	m.t.Helper()
	if err := os.WriteFile(m.path(name), []byte(text), 0o644); err != nil {
		m.t.Fatalf("%s: %v\ndaemon:\n%s", m.Name, err, m.log())
	}
}

// in runs a program of the host in the mount; its status is that of timeout(1) if it hangs.
func (m *mounted) in(name string, args ...string) lantest.Result {
	m.t.Helper()
	cmd := m.Command("timeout", append([]string{"-s", "KILL", fmt.Sprint(int((bound + 10*time.Second).Seconds())), name}, args...)...)
	cmd.Env = append(cmd.Env, "M="+m.dir)
	return m.Host.Run(bound+quick, cmd)
}

// promptly runs a program of the host in the mount, which must end well or not, and wait for nobody: a machine that is busy delays any
// of three tries, but not all.
func (m *mounted) promptly(what string, well bool, args ...string) {
	m.t.Helper()
	least := bound
	for range 3 {
		r := m.in(args[0], args[1:]...)
		if (r.Status == 0) != well {
			m.t.Errorf("%s: exit status %d after %v\n%s", what, r.Status, r.Took.Round(time.Millisecond), r.Stderr)
			return
		}
		if least = min(least, r.Took); least <= prompt {
			return
		}
	}
	m.t.Errorf("%s takes %v at least, want at most %v", what, least.Round(time.Millisecond), prompt)
}

// shows waits until a file of the mount, or of a share's folder, holds a text, and gives how long that took.
func shows(t testing.TB, where, path, text string) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		got, err := os.ReadFile(path)
		if err == nil && string(got) == text {
			return time.Since(began)
		}
		if time.Since(began) > quick {
			t.Fatalf("%s: %s holds %q, %v after %v, want %q", where, filepath.Base(path), clip(got), err, quick, clip([]byte(text)))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// vanishes waits until a path is not there any more, and gives how long that took.
func vanishes(t testing.TB, where, path string) time.Duration {
	t.Helper()
	return lantest.WaitFor(t, quick, where+" to see that "+filepath.Base(path)+" is gone", func() bool {
		_, err := os.Lstat(path)
		return os.IsNotExist(err)
	})
}

// seen is how long changes took to be seen.
type seen []change

// change is how long one took, and by how much the machine made it late.
type change struct{ took, stalled time.Duration }

// add waits by see for a change to be seen, and measures how long this machine let programs wait meanwhile.
func (s *seen) add(t testing.TB, see func() time.Duration) {
	t.Helper()
	before := stalled(t)
	took := see()
	*s = append(*s, change{took, (stalled(t) - before) / 2})
}

// check wants nearly all to be seen soon: this machine may be busy with something else at one time or another.
func (s seen) check(t testing.TB) {
	t.Helper()
	late := func(c change) time.Duration { return c.took - c.stalled }
	slices.SortFunc(s, func(a, b change) int { return cmp.Compare(late(a), late(b)) })
	if by := late(s[len(s)*9/10]); by > soon {
		t.Errorf("one in ten changes is seen after %v or more, without what the machine stood still, want at most %v: %v", by, soon, []change(s))
	}
}

func clip(b []byte) string { return string(b[:min(len(b), 60)]) }

// open offers a folder to everybody, to be changed.
func (n *node) open(dir, name string) {
	n.t.Helper()
	n.ok(quick, "share", "add", dir, "--name", name, "--read", "open", "--full", "open")
}

// knows waits until a guest lists a share.
func (n *node) knows(ref string) {
	n.t.Helper()
	lantest.WaitFor(n.t, quick, n.Name+" to see "+ref, func() bool { return strings.Contains(n.run(quick, "ls").Stdout, ref) })
}

// shared starts an owner that offers a folder to be changed, and guests that see it.
func shared(t testing.TB, guests int) (owner *node, others []*node, dir string) {
	t.Helper()
	all, _ := nodes(t, lantest.Options{Hosts: 1 + guests})
	dir = ram(t)
	for _, n := range all {
		n.start()
	}
	fullView(t, quick, all...)
	all[0].open(dir, "data")
	for _, n := range all[1:] {
		n.knows("//h1/data")
	}
	return all[0], all[1:], dir
}

// pattern are bytes that tell where they belong.
func pattern(size int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "%015d\n", i)
	}
	return b.Bytes()[:size]
}
