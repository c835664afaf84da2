//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

// loss is a way to lose an owner, and to have it back.
type loss struct {
	name       string
	lose, back func(owner *node)
}

func losses() []loss {
	signal := func(s syscall.Signal) func(*node) {
		return func(o *node) {
			if err := o.daemon.Cmd.Process.Signal(s); err != nil {
				o.t.Fatal(err)
			}
		}
	}
	return []loss{
		{"killed", func(o *node) { o.daemon.Kill() }, func(o *node) { o.start() }},
		{"cable pulled", func(o *node) { o.Unplug(0) }, func(o *node) { o.Plug(0) }},
		{"stopped", signal(syscall.SIGSTOP), signal(syscall.SIGCONT)},
	}
}

// TestMountAway: the owner is lost in the middle of reading, writing and listing. Nothing hangs, what was synced is delivered once
// it is back, and nothing is mounted anew.
func TestMountAway(t *testing.T) {
	for _, l := range losses() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel() // beside each other, and beside no other test: they wait, for most of their time
			away(t, l)
		})
	}
}

// Two programs that go on for as long as they get something. Until the file $1 is there they take their time, and leave most of what there
// is for later: reading and listing ahead never bring all of it. What stands last was never looked at.
const (
	awayReads = `i=0
		while dd if="$0/large" of=/dev/null bs=1M skip=$i count=1 status=none || exit 1; do
			i=$((i+1)); echo "read $i"; [ $i -lt 48 ] || exec cat "$0/never-read"
			while [ ! -e "$1" ]; do sleep 0.05; [ $i -ge 8 ] || break; done
		done`
	awayLists = `i=0
		for d in "$0"/many/*; do
			ls -l "$d" >/dev/null || exit 1
			i=$((i+1)); echo "listed $i"
			while [ ! -e "$1" ]; do sleep 0.05; [ $i -ge 8 ] || break; done
			[ ! -e "$1" ] || exec ls -l "$0"/many/*
		done`
)

func away(t *testing.T, l loss) {
	owner, guests, dir := shared(t, 1)
	const size = 48 << 20
	write(t, filepath.Join(dir, "large"), string(pattern(size)))
	write(t, filepath.Join(dir, "never-read"), string(pattern(1<<20)))
	write(t, filepath.Join(dir, "known", "small"), "small")
	for i := range 1000 {
		write(t, filepath.Join(dir, "many", fmt.Sprint(i%200), fmt.Sprint(i)), "")
	}
	m := guests[0].mount("data", "//h1/data")
	all := guests[0].mount("all", "", "--all")
	shows(t, m.Name, m.path("known/small"), "small")
	if _, err := os.ReadDir(m.path("known")); err != nil {
		t.Error(err)
	}
	saved := pattern(3 << 20)
	f, err := os.Create(m.path("saved"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// Three programs are at it.
	flag := filepath.Join(m.Home, "lost")
	reader := m.Host.Start(m.Command("sh", "-c", awayReads, m.dir, flag))
	lister := m.Host.Start(m.Command("sh", "-c", awayLists, m.dir, flag))
	_, err = f.Write(saved[:1<<20])
	works(t, "the first part of a save", err)
	reader.WaitOutput("read 2\n", quick)
	lister.WaitOutput("listed 2\n", quick)

	l.lose(owner)
	lost := time.Now()
	write(t, flag, "")
	_, err = f.Write(saved[1<<20:])
	works(t, "the second part of a save", err)
	works(t, "sync", f.Sync())
	works(t, "close", f.Close())
	if took := time.Since(lost); took > bound {
		t.Errorf("a save took %v", took)
	}
	told(t, m, "reads", reader, lost)
	told(t, m, "lists", lister, lost)
	t.Logf("all are told after %v", time.Since(lost).Round(time.Millisecond))

	// Now it is known, and everything ends at once.
	for _, c := range []struct {
		name string
		args []string
		ok   bool
	}{
		{"ls of the root", []string{"ls", all.dir}, true},
		{"ls of what was listed", []string{"ls", m.dir + "/known"}, true},
		{"stat of what was seen", []string{"stat", m.dir + "/known/small"}, true},
		{"read of what was read", []string{"cat", m.dir + "/known/small"}, true},
		{"df", []string{"df", m.dir}, true},
		{"a name that was never seen", []string{"stat", m.dir + "/many/7/none"}, false},
		{"mkdir", []string{"mkdir", m.dir + "/new"}, false},
		{"rm of what the owner has", []string{"rm", m.dir + "/known/small"}, false},
	} {
		m.promptly(c.name, c.ok, c.args...)
	}
	m.promptly("a reader that is interrupted", true, "sh", "-c", `timeout -s INT 0.5 cat $M/large >/dev/null; echo $?`)
	work := m.path("later")
	works(t, "a save while the owner is away", os.WriteFile(work, []byte("later"), 0o644))
	if text, err := os.ReadFile(work); err != nil || string(text) != "later" {
		t.Errorf("what was saved reads as %q, %v", text, err)
	}
	if list := m.mountList(); len(list.Pending) == 0 || !list.Mounts[1].Away {
		t.Errorf("peerd mounts knows of nothing: %+v", list)
	}

	l.back(owner)
	took := lantest.WaitFor(t, time.Minute, "the mount to work", func() bool {
		b, err := os.ReadFile(m.path("many/7/7"))
		return err == nil && len(b) == 0
	})
	t.Logf("it works again after %v", took.Round(time.Millisecond))
	shows(t, m.Name, m.path("known/small"), "small")
	back := time.Now()
	waitDelivered(t, m.node)
	t.Logf("what waited is delivered %v later", time.Since(back).Round(time.Millisecond))
	for name, want := range map[string]string{"saved": string(saved), "later": "later"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
			t.Errorf("%s: %d bytes are at the owner, %v, want %d", name, len(b), err, len(want))
		}
	}
	if names, err := filepath.Glob(filepath.Join(dir, "*conflict*")); err != nil || len(names) > 0 {
		t.Errorf("who wrote has conflicts with nobody else, and yet there are %q, %v", names, err)
	}
	if b, err := os.ReadFile(m.path("large")); err != nil || string(b) != string(pattern(size)) {
		t.Errorf("large: %d bytes, %v", len(b), err)
	}
}

// told waits until a program that needs an owner who is lost ends, and sees that it does because it is told so.
func told(t *testing.T, m *mounted, what string, p *lantest.Process, lost time.Time) {
	t.Helper()
	if _, ended := p.Wait(time.Until(lost.Add(bound))); !ended {
		t.Fatalf("who %s is not told within %v that the owner is lost; its last words:\n%s\nthe daemon:\n%s", what, bound,
			tail(p.Output(), 400), m.goroutines())
	}
	if status := p.Cmd.ProcessState.ExitCode(); status == 0 || !strings.Contains(p.Output(), "Input/output error") {
		t.Errorf("who %s ends with status %d, without an error of the mount; its last words:\n%s", what, status, tail(p.Output(), 400))
	}
}

func works(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}
