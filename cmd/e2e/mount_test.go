//go:build linux

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/cmd/internal/lantest"
	"github.com/peerd/peerd/peer/control"
)

// TestMount: what one does in a mount is seen at the owner and in another's mount, what the owner does in both.
func TestMount(t *testing.T) {
	t.Parallel()
	owner, guests, dir := shared(t, 2)
	write(t, filepath.Join(dir, "docs", "old.txt"), "old")
	body := pattern(5 << 20)
	write(t, filepath.Join(dir, "big"), string(body))
	a, b := guests[0].mount("data", "//h1/data"), guests[1].mount("all", "", "--all")
	b.at += "/h1/data"
	for _, m := range []*mounted{a, b} {
		shows(t, m.Name, m.path("docs/old.txt"), "old")
		if got, err := m.text("big"); err != nil || got != string(body) {
			t.Errorf("%s reads %d bytes of %d, %v", m.Name, len(got), len(body), err)
		}
		if _, err := os.ReadDir(m.path("docs")); err != nil {
			t.Error(err)
		}
	}
	var took seen
	at := func(name string) map[string]string {
		return map[string]string{"the owner": filepath.Join(dir, name), a.Name: a.path(name), b.Name: b.path(name)}
	}
	show := func(name, text string) {
		t.Helper()
		for where, path := range at(name) {
			took.add(t, func() time.Duration { return shows(t, where, path, text) })
		}
	}
	vanish := func(name string) {
		t.Helper()
		for where, path := range at(name) {
			took.add(t, func() time.Duration { return vanishes(t, where, path) })
		}
	}
	a.put("docs/new.txt", "from a")
	show("docs/new.txt", "from a")
	b.put("docs/new.txt", "and b, longer")
	show("docs/new.txt", "and b, longer")
	write(t, filepath.Join(dir, "docs", "new.txt"), "and the owner, by some program")
	show("docs/new.txt", "and the owner, by some program")
	if err := os.Rename(a.path("docs/new.txt"), a.path("moved.txt")); err != nil {
		t.Error(err)
	}
	show("moved.txt", "and the owner, by some program")
	vanish("docs/new.txt")
	if err := os.Remove(b.path("moved.txt")); err != nil {
		t.Error(err)
	}
	vanish("moved.txt")
	if err := os.MkdirAll(a.path("x/y"), 0o755); err != nil {
		t.Error(err)
	}
	a.put("x/y/z", "deep")
	show("x/y/z", "deep")
	if err := os.RemoveAll(b.path("x")); err != nil {
		t.Error(err)
	}
	vanish("x")
	took.check(t)
	if out := owner.ok(quick, "audit", "--share", "data"); !strings.Contains(out, "docs/new.txt") {
		t.Errorf("the audit of the owner does not know of it:\n%s", out)
	}
	for _, m := range []*mounted{a, b} {
		m.ok(quick, "umount", m.dir)
		if names, err := os.ReadDir(m.reach(m.dir)); err != nil || len(names) > 0 {
			t.Errorf("%s: after umount there are %d names, %v", m.Name, len(names), err)
		}
	}
}

// TestMountConflict: two that save one document at once both keep what they wrote.
func TestMountConflict(t *testing.T) {
	t.Parallel()
	_, guests, dir := shared(t, 2)
	write(t, filepath.Join(dir, "plan.txt"), "first")
	a, b := guests[0].mount("data", "//h1/data"), guests[1].mount("data", "//h1/data")
	files := make(map[*mounted]*os.File)
	for _, m := range []*mounted{a, b} {
		f, err := os.OpenFile(m.path("plan.txt"), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[m] = f
	}
	for _, m := range []*mounted{a, b} {
		if _, err := files[m].WriteAt([]byte("by "+m.Name+" and nobody else"), 0); err != nil {
			t.Error(err)
		}
	}
	for _, m := range []*mounted{a, b} {
		if err := files[m].Close(); err != nil {
			t.Errorf("%s: close: %v", m.Name, err)
		}
		waitDelivered(t, m.node)
	}
	var all []string
	lantest.WaitFor(t, quick, "both to be there", func() bool {
		all = nil
		for name, sum := range tree(t, dir) {
			if sum != "dir" && !strings.HasPrefix(name, ".peerd") {
				b, err := os.ReadFile(filepath.Join(dir, name))
				if err == nil {
					all = append(all, name+": "+string(b))
				}
			}
		}
		return len(all) == 2
	})
	text := strings.Join(all, "\n")
	if !strings.Contains(text, "by "+a.Name) || !strings.Contains(text, "by "+b.Name) || !strings.Contains(text, "conflict") {
		t.Errorf("the owner has\n%s", text)
	}
	lantest.WaitFor(t, quick, "both mounts to show both", func() bool {
		return len(names(t, a.at)) == 2 && len(names(t, b.at)) == 2
	})
	t.Logf("%s", strings.ReplaceAll(text, "\n", "; "))
}

// names are what a folder holds.
func names(t testing.TB, dir string) (all []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	for _, e := range list {
		all = append(all, e.Name())
	}
	return all
}

// mountList is what peerd mounts tells.
func (n *node) mountList() (list control.MountList) {
	n.t.Helper()
	if err := json.Unmarshal([]byte(n.ok(quick, "mounts", "--json")), &list); err != nil {
		n.t.Fatal(err)
	}
	return list
}

// waitDelivered waits until nothing that was saved waits for its owner.
func waitDelivered(t testing.TB, n *node) {
	t.Helper()
	lantest.WaitFor(t, slow, n.Name+" to deliver what was saved", func() bool { return len(n.mountList().Pending) == 0 })
}

// TestMountRefused: what can't be mounted says so, with the exit status that tells why.
func TestMountRefused(t *testing.T) {
	t.Parallel()
	owner, guests, _ := shared(t, 1)
	guest := guests[0]
	safe, home := filepath.Join(owner.Home, "safe"), guest.Home
	write(t, filepath.Join(safe, "f"), "f")
	password := filepath.Join(owner.Home, "password")
	write(t, password, "correct horse battery staple\n")
	owner.ok(quick, "share", "add", safe, "--read-password-file", password)
	guest.knows("//h1/safe")
	m := guest.mount("data", "//h1/data")
	write(t, filepath.Join(home, "full", "f"), "f")
	write(t, filepath.Join(home, "own", "f"), "f")
	guest.ok(quick, "share", "add", filepath.Join(home, "own"), "--read", "open")
	for _, c := range []struct {
		status int
		says   string
		args   []string
	}{
		{4, `run "peerd login //h1/safe"`, []string{"//h1/safe", filepath.Join(home, "safe")}},
		{3, "no such peer", []string{"//nobody/x", filepath.Join(home, "x")}},
		{3, "", []string{"//h1/nothing", filepath.Join(home, "x")}},
		{2, "not empty", []string{"//h1/data", filepath.Join(home, "full")}},
		{2, "", []string{"//h1/data", filepath.Join(home, "full", "f")}},
		{2, "", []string{"//h1/data", filepath.Join(home, "none", "none")}},
		{2, "already", []string{"//h1/data", m.dir}},
		{2, "mount", []string{"//h1/data", filepath.Join(m.dir, "inside")}},
		{2, "shared", []string{"//h1/data", filepath.Join(home, "own", "inside")}},
		{2, "--all", []string{"//", filepath.Join(home, "x")}},
	} {
		r := guest.fails(quick, c.status, append([]string{"mount"}, c.args...)...)
		if !strings.Contains(r.Stderr, c.says) {
			t.Errorf("mount %s says\n%s", strings.Join(c.args, " "), r.Stderr)
		}
	}
	guest.fails(quick, 3, "umount", filepath.Join(home, "full"))
	if list := guest.mountList(); len(list.Mounts) != 1 || list.Mounts[0].State != control.Mounted {
		t.Errorf("mounted are %+v", list.Mounts)
	}
	// A share without a right is a folder that nobody gets into, and opens with a login.
	all := guest.mount("all", "", "--all")
	if _, err := os.ReadDir(all.path("h1/safe")); !os.IsPermission(err) {
		t.Errorf("a share without a right: %v, want EACCES", err)
	}
	file := filepath.Join(home, "password")
	write(t, file, "correct horse battery staple\n")
	guest.ok(quick, "login", "//h1/safe", "--password-file", file)
	shows(t, guest.Name, all.path("h1/safe/f"), "f")
	if err := os.WriteFile(all.path("h1/safe/g"), nil, 0o644); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("writing with the right to read: %v, want EROFS", err)
	}
	ro := guest.mount("ro", "//h1/data", "--read-only")
	if err := os.WriteFile(ro.path("g"), nil, 0o644); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("writing with --read-only: %v, want EROFS", err)
	}
}

// TestMountRight: what the owner changes of a right holds in a mount within seconds, be it less or more; a share that it takes back is
// no empty folder.
func TestMountRight(t *testing.T) {
	t.Parallel()
	owner, guests, dir := shared(t, 1)
	write(t, filepath.Join(dir, "f"), "text")
	m := guests[0].mount("m", "//h1/data")
	shows(t, m.Name, m.path("f"), "text")
	try := func() error { return os.WriteFile(m.path("new"), []byte("new"), 0o644) }
	for range 2 {
		owner.ok(quick, "share", "set", "data", "--full", "none")
		lantest.WaitFor(t, quick, "the right to end", func() bool {
			err := try()
			return err != nil && strings.Contains(err.Error(), "read-only")
		})
		owner.ok(quick, "share", "set", "data", "--full", "open")
		lantest.WaitFor(t, quick, "the right to be back", func() bool { return try() == nil })
	}
	owner.ok(quick, "share", "rm", "data")
	lantest.WaitFor(t, quick, "the share to end", func() bool {
		names, err := os.ReadDir(m.at)
		if err == nil && len(names) == 0 {
			t.Fatal("a share that ended is an empty folder")
		}
		return err != nil
	})
}

// TestMountPersist: a daemon that dies leaves nothing that hangs, and what persists is back, be its owner there or not.
func TestMountPersist(t *testing.T) {
	t.Parallel()
	owner, guests, dir := shared(t, 1)
	guest := guests[0]
	write(t, filepath.Join(dir, "f"), "text")
	kept, other := guest.mount("kept", "//h1/data", "--persist"), guest.mount("other", "//h1")
	shows(t, guest.Name, kept.path("f"), "text")
	f, err := os.Open(other.path("data/f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	guest.daemon.Kill()
	if r := kept.in("df"); r.Took > bound { // it tells of what is dead
		t.Errorf("df took %v", r.Took)
	}
	guest.start()
	lantest.WaitFor(t, quick, "what persists to be mounted", func() bool {
		text, err := kept.text("f")
		return err == nil && text == "text"
	})
	if names, err := os.ReadDir(other.at); err != nil || len(names) > 0 {
		t.Errorf("what does not persist: %v, %v", names, err)
	}
	kept.promptly("df", true, "df")
	if status := guest.daemon.Stop(); status != 0 {
		t.Errorf("SIGTERM gave exit status %d\n%s", status, guest.log())
	}
	if names, err := os.ReadDir(kept.at); err != nil || len(names) > 0 {
		t.Errorf("after the daemon stopped: %v, %v", names, err)
	}
	// The owner is away when the daemon starts, and comes later.
	owner.daemon.Stop()
	guest.start()
	lantest.WaitFor(t, quick, "what persists to be mounted", func() bool {
		list := guest.mountList()
		return len(list.Mounts) == 1 && list.Mounts[0].State == control.Mounted
	})
	began := time.Now()
	if _, err := os.ReadDir(kept.at); err == nil || time.Since(began) > bound {
		t.Errorf("a share of somebody who is away is listed: %v after %v", err, time.Since(began))
	}
	owner.start()
	lantest.WaitFor(t, quick, "the mount to work", func() bool {
		text, err := kept.text("f")
		return err == nil && text == "text"
	})
	// Who was not here a moment ago is not away any more once it is found.
	for range 3 {
		guest.daemon.Stop()
		guest.start()
		guest.ok(quick, "umount", guest.mount("at-once", "//h1/data").dir)
	}
	// A folder that is missing is waited for.
	guest.daemon.Stop()
	parent := filepath.Join(guest.Home, "disk")
	guest.start()
	guest.ok(quick, "umount", kept.dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		t.Fatal(err)
	}
	late := guest.mount("disk/late", "//h1/data", "--persist")
	guest.daemon.Stop()
	if err := os.RemoveAll(parent); err != nil {
		t.Fatal(err)
	}
	guest.start()
	lantest.WaitFor(t, quick, "the mount to wait", func() bool {
		list := guest.mountList()
		return len(list.Mounts) == 1 && list.Mounts[0].State == control.Waiting && list.Mounts[0].Error != nil
	})
	if err := os.MkdirAll(parent, 0o755); err != nil {
		t.Fatal(err)
	}
	lantest.WaitFor(t, quick, "the mount to work", func() bool {
		text, err := late.text("f")
		return err == nil && text == "text"
	})
}
