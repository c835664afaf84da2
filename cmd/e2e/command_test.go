//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

// TestMakeRun is the first thing that a newcomer types.
func TestMakeRun(t *testing.T) {
	t.Parallel()
	lantest.Need(t, "make")
	h := lantest.New(t, lantest.Options{Hosts: 1}).Hosts[0]
	cmd := h.Command("make", "run")
	cmd.Dir = "../.."
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOENV"} { // or go would fill the new home
		value, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Env = append(cmd.Env, name+"="+strings.TrimSpace(string(value)))
	}
	run := h.Start(cmd)
	run.WaitOutput(`ready as "h1" in WORKGROUP`, slow)
	if info, err := os.Stat(filepath.Join(h.Home, "Public")); err != nil || !info.IsDir() {
		t.Errorf("~/Public: %v", err)
	}
	if !strings.Contains(run.Output(), "1 share") || !strings.Contains(run.Output(), "bin/peerd cp") {
		t.Errorf("it says\n%s", run.Output())
	}
}

// TestReady measures the start: of the first one, which makes a key, and three more the quickest counts, for the machine may be busy.
func TestReady(t *testing.T) {
	all, _ := nodes(t, lantest.Options{Hosts: 1})
	least := quick
	for i := range 4 {
		all[0].start()
		took := all[0].ready.Sub(all[0].began)
		t.Logf("start %d: ready after %v", i+1, took.Round(time.Millisecond))
		least = min(least, took)
		if status := all[0].daemon.Stop(); status != 0 {
			t.Errorf("SIGTERM gave exit status %d\n%s", status, all[0].log())
		}
		if i > 0 && least <= time.Second {
			return
		}
	}
	t.Errorf("ready after %v at least, want at most 1s; 0.5s is the aim", least)
}

// TestHeapInLargePages: what a daemon's heap grows into is asked for in large pages.
func TestHeapInLargePages(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage/enabled"); err != nil {
		t.Skip("this kernel has no large pages: ", err)
	}
	all, _ := nodes(t, lantest.Options{Hosts: 1})
	all[0].start()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", all[0].daemon.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, most int // of a mapping, in KiB
	for line := range strings.Lines(string(maps)) {
		f := strings.Fields(line)
		switch {
		case f[0] == "Size:":
			size, _ = strconv.Atoi(f[1])
		case f[0] == "VmFlags:" && slices.Contains(f, "hg"):
			most = max(most, size)
		}
	}
	if most < 48<<10 {
		t.Errorf("large pages are asked for in %d KiB at most", most)
	}
}

// TestUnhurried: no thread of a daemon has itself woken to the microsecond, the runtime's own among them.
func TestUnhurried(t *testing.T) {
	t.Parallel()
	all, _ := nodes(t, lantest.Options{Hosts: 1})
	all[0].start()
	pid := strconv.Itoa(all[0].daemon.Cmd.Process.Pid)
	threads, err := os.ReadDir(filepath.Join("/proc", pid, "task"))
	if err != nil || len(threads) < 2 {
		t.Fatalf("%d threads, %v", len(threads), err)
	}
	seen := 0
	for _, thread := range threads {
		b, err := os.ReadFile(filepath.Join("/proc", thread.Name(), "timerslack_ns"))
		switch slack := strings.TrimSpace(string(b)); {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH): // it has ended
		case err != nil || slack != "1000000":
			t.Errorf("thread %s may be %q ns late, %v", thread.Name(), slack, err)
		default:
			seen++
		}
	}
	if seen < 2 {
		t.Errorf("of %d threads %d were seen", len(threads), seen)
	}
	if status := all[0].daemon.Stop(); status != 0 {
		t.Errorf("SIGTERM gave exit status %d\n%s", status, all[0].log())
	}
}

// TestExitStatus has one line for every way to fail.
func TestExitStatus(t *testing.T) {
	t.Parallel()
	all, _ := nodes(t, lantest.Options{Hosts: 3})
	docs, here := filepath.Join(all[0].Home, "docs"), all[1].Home
	write(t, filepath.Join(docs, "f"), "text")
	write(t, filepath.Join(docs, "d", "g"), "text")
	taken := filepath.Join(here, "taken")
	write(t, taken, "mine")
	old := time.Now().Add(-time.Hour) // files of one size and one time count as the same
	if err := os.Chtimes(taken, old, old); err != nil {
		t.Fatal(err)
	}
	all[1].fails(quick, 7, "peers")
	all[0].start("--share", docs)
	all[1].start()
	fullView(t, quick, all[:2]...)
	for _, c := range []struct {
		status int
		args   []string
	}{
		{0, []string{"version"}},
		{0, []string{"status"}},
		{0, []string{"cat", "//h1/docs/f"}},
		{2, []string{"nonsense"}},
		{2, []string{"cat"}},
		{2, []string{"cat", "not-remote"}},
		{2, []string{"cp", "//h1/docs/f"}},
		{3, []string{"ls", "//nobody"}},
		{3, []string{"ls", "//h1/docs/none"}},
		{3, []string{"cat", "//h1/docs/none"}},
		{2, []string{"cp", "//h1/docs/d", "."}}, // a folder without -r
		{6, []string{"cp", "//h1/docs/f", "taken"}},
		{0, []string{"cp", "-f", "//h1/docs/f", "taken"}},
		{0, []string{"cp", "//h1/docs/f", "taken"}},   // the same bytes
		{4, []string{"cp", "taken", "//h1/docs/new"}}, // a share that may only be read
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			r := all[1].run(quick, c.args...)
			if r.Status != c.status || c.status != 0 && (r.Stderr == "" || r.Stdout != "") {
				t.Errorf("exit status %d, want %d\nstdout: %s\nstderr: %s", r.Status, c.status, r.Stdout, r.Stderr)
			}
		})
	}
}

// TestPulledCable: who asks a peer that is not there any more is told so.
func TestPulledCable(t *testing.T) {
	t.Parallel()
	all, _ := nodes(t, lantest.Options{Hosts: 2})
	docs := filepath.Join(all[0].Home, "docs")
	write(t, filepath.Join(docs, "f"), "text")
	all[0].start("--share", docs)
	all[1].start()
	fullView(t, quick, all...)
	all[1].ok(quick, "cat", "//h1/docs/f")
	all[0].Unplug(0)
	r := all[1].run(slow, "cat", "//h1/docs/f")
	if r.Status != 5 && r.Status != 3 || r.Took > 30*time.Second {
		t.Errorf("a peer whose cable is pulled: exit status %d after %v\n%s", r.Status, r.Took, r.Stderr)
	}
}

// TestPassword walks the way of a share's password: refused, wrong, right, kept over restarts, changed.
func TestPassword(t *testing.T) {
	t.Parallel()
	all, _ := nodes(t, lantest.Options{Hosts: 2})
	owner, guest := all[0], all[1]
	file := func(n *node, name, text string) string {
		path := filepath.Join(n.Home, name)
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	docs := filepath.Join(owner.Home, "docs")
	write(t, filepath.Join(docs, "f"), "text")
	owner.start()
	guest.start()
	fullView(t, quick, all...)
	owner.ok(quick, "share", "add", docs, "--read-password-file", file(owner, "pw", "correct horse battery staple"))
	lantest.WaitFor(t, quick, "the share to be seen", func() bool { return strings.Contains(guest.ok(quick, "ls"), "docs") })

	read := func(status int) {
		t.Helper()
		guest.fails(quick, status, "cat", "//h1/docs/f")
	}
	login := func(status int, password string) {
		t.Helper()
		guest.fails(quick, status, "login", "//h1/docs", "--password-file", file(guest, "guess", password))
	}
	read(4)
	login(4, "wrong horse battery staple")
	read(4)
	login(0, "correct horse battery staple")
	read(0)
	for _, n := range all {
		n.daemon.Stop()
		n.start()
		fullView(t, quick, all...)
		read(0)
	}
	owner.ok(quick, "share", "passwd", "docs", "read", "--password-file", file(owner, "pw2", "another horse battery staple"))
	lantest.WaitFor(t, quick, "the old login to be void", func() bool { return guest.run(quick, "cat", "//h1/docs/f").Status == 4 })
	login(4, "correct horse battery staple")
	login(0, "another horse battery staple")
	read(0)
	guest.ok(quick, "logout", "//h1/docs")
	read(4)
}
