//go:build linux

package e2e

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/cmd/internal/lantest"
	"github.com/peerd/peerd/peer/control"
)

// onlooker knows what a share holds by its first listing and the events since.
type onlooker struct {
	*node
	process *lantest.Process
	read    int // bytes of its output that were applied
	holds   map[string]string
	events  map[string]int
}

// looking starts to watch //h1/data, and lists it once nothing is missed any more.
func (n *node) looking() *onlooker {
	n.t.Helper()
	o := &onlooker{node: n, events: map[string]int{}}
	o.process = n.Host.Start(n.command("ls", "--watch", "--json", "//h1/data"))
	o.process.WaitOutput(`"watching"`, slow)
	o.list()
	return o
}

// mark is what tells that an entry is another.
func mark(e control.Entry) string {
	if e.Kind == control.KindDir {
		return "dir"
	}
	return fmt.Sprintf("%d %v", e.Size, e.ModTime.UnixNano())
}

func (o *onlooker) list() {
	o.t.Helper()
	o.holds = o.listing()
}

// listing is what a peer lists now.
func (n *node) listing() map[string]string {
	n.t.Helper()
	all := map[string]string{}
	for _, e := range lines[control.Entry](n.t, n.ok(slow, "ls", "-R", "--json", "//h1/data")) {
		all[e.Ref.Path] = mark(e)
	}
	return all
}

// follow applies the events that came since.
func (o *onlooker) follow() {
	o.t.Helper()
	if err, ended := o.process.Wait(0); ended {
		o.t.Fatalf("%s watches no more: %v\n%s", o.Name, err, tail(o.process.Output(), 2000))
	}
	out := o.process.Output()[o.read:]
	out = out[:strings.LastIndexByte(out, '\n')+1]
	o.read += len(out)
	for _, e := range lines[control.FileEvent](o.t, out) {
		o.events[e.Event]++
		path := e.Entry.Ref.Path
		switch e.Event {
		case control.FileGap:
			o.list()
		case control.FileCreated, control.FileChanged:
			o.holds[path] = mark(e.Entry)
		case control.FileRemoved:
			o.drop(path, "")
		case control.FileMoved:
			o.drop(path, "")
			o.drop(e.From.Path, path)
			o.holds[path] = mark(e.Entry)
		}
	}
}

// drop removes a path with all below, or moves it.
func (o *onlooker) drop(path, to string) {
	for p, m := range maps.Clone(o.holds) {
		if below, ok := strings.CutPrefix(p, path+"/"); ok || p == path {
			delete(o.holds, p)
			if to != "" && p != path {
				o.holds[to+"/"+below] = m
			}
		}
	}
}

// agrees waits until those who watch know what there is, as a listing of now shows it.
func agrees(t *testing.T, all ...*onlooker) {
	t.Helper()
	began := time.Now()
	for _, o := range all {
		var want map[string]string
		for {
			o.follow()
			if want = o.listing(); maps.Equal(want, o.holds) {
				break
			}
			if time.Since(began) > time.Minute {
				shown := 0
				for p := range want {
					if o.holds[p] != want[p] && shown < 10 {
						shown++
						t.Errorf("%s: %s is %q, and by events %q", o.Name, p, want[p], o.holds[p])
					}
				}
				for p := range o.holds {
					if want[p] == "" && shown < 20 {
						shown++
						t.Errorf("%s: %s is gone, and by events %q", o.Name, p, o.holds[p])
					}
				}
				t.FailNow()
			}
		}
		t.Logf("%s: %d entries, events %v", o.Name, len(want), o.events)
	}
}

// TestFewWatches has the system let peerd watch 100 folders of 350.
func TestFewWatches(t *testing.T) {
	t.Parallel()
	const limit, folders = 100, 350
	lantest.Need(t, "unshare")
	if err := exec.Command("unshare", "-U", "-r", "sh", "-c", "echo 100 >/proc/sys/user/max_inotify_watches").Run(); err != nil {
		t.Skip("no namespace to lower the limit in:", err)
	}
	all, _ := nodes(t, lantest.Options{Hosts: 2})
	owner, guest, dir := all[0], all[1], ram(t)
	name := func(i int) string { return filepath.Join(dir, fmt.Sprintf("d%03d", i), "f") }
	for i := range folders {
		write(t, name(i), "before")
	}
	cmd := owner.Command("unshare", "-U", "-r", "sh", "-c", fmt.Sprintf(`echo %d >/proc/sys/user/max_inotify_watches && exec "$0" "$@"`, limit),
		owner.peerd, "--home", owner.home, "run", "--share", dir+"=data")
	owner.began = time.Now()
	owner.daemon = owner.Host.Start(cmd)
	owner.waitReady()
	guest.start()
	fullView(t, quick, all...)
	guest.sees("data")
	o := guest.looking()
	status := owner.ok(quick, "status")
	if !strings.Contains(status, "max_user_watches") || !strings.Contains(status, "of 351 folders are watched") {
		t.Errorf("status does not say why changes are seen late:\n%s", status)
	}
	for line := range strings.Lines(status) {
		if strings.Contains(line, "watches") {
			t.Log(strings.TrimSpace(line))
		}
	}
	began := time.Now()
	for i := range folders {
		write(t, name(i), "after, and longer")
	}
	if err := os.Remove(name(7)); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "new", "deep", "f"), "x")
	lantest.WaitFor(t, slow, "all changes to be seen", func() bool {
		o.follow()
		return o.events[control.FileChanged] >= folders-1 && o.events[control.FileRemoved] >= 1 && o.events[control.FileCreated] >= 3
	})
	t.Logf("%d changes seen after %v", folders+2, time.Since(began).Round(time.Millisecond))
	agrees(t, o)
}
