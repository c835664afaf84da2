//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

// Bounds of what a mount may take.
const (
	soon   = time.Second      // for a change to be seen elsewhere
	bound  = 20 * time.Second // for any call, whatever became of the owner
	prompt = time.Second      // for what is known here, or known to be away; 50 ms is the aim, and this machine may be busy
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

// shows waits until a file of the mount, or of a share's folder, holds a text.
func shows(t testing.TB, where, path, text string) {
	t.Helper()
	began := time.Now()
	var got []byte
	var err error
	for {
		if got, err = os.ReadFile(path); err == nil && string(got) == text {
			break
		}
		if time.Since(began) > quick {
			t.Fatalf("%s: %s holds %q, %v after %v, want %q", where, filepath.Base(path), clip(got), err, quick, clip([]byte(text)))
		}
		time.Sleep(5 * time.Millisecond)
	}
	if took := time.Since(began); took > soon {
		t.Errorf("%s: %s is seen after %v, want at most %v", where, filepath.Base(path), took, soon)
	}
}

// vanishes waits until a path is not there any more.
func vanishes(t testing.TB, where, path string) {
	t.Helper()
	took := lantest.WaitFor(t, quick, where+" to see that "+filepath.Base(path)+" is gone", func() bool {
		_, err := os.Lstat(path)
		return os.IsNotExist(err)
	})
	if took > soon {
		t.Errorf("%s: %s is gone after %v, want at most %v", where, filepath.Base(path), took, soon)
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
