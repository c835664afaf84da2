//go:build linux

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/cmd/internal/config"
	"github.com/peerd/peerd/cmd/internal/lantest"
)

// TestDevices allows, denies and blocks single peers, in the midst of copies and over restarts, and puts an older registry back.
func TestDevices(t *testing.T) {
	t.Parallel()
	const size = 48 << 20
	all, _ := nodes(t, lantest.Options{Hosts: 4, Rate: "50mbit"})
	owner, friend, other, guest := all[0], all[1], all[2], all[3]
	dir, want := big(t, size)
	password := filepath.Join(owner.Home, "pw")
	write(t, password, "correct horse battery staple\n")
	write(t, filepath.Join(dir, "f"), "text")
	for _, n := range all {
		n.start()
	}
	fullView(t, quick, all...)
	owner.ok(quick, "share", "add", dir, "--name", "data", "--read-password-file", password)
	lantest.WaitFor(t, quick, "the share to be seen", func() bool { return strings.Contains(guest.ok(quick, "ls"), "data") })
	cat := func(n *node, status int) {
		t.Helper()
		n.fails(quick, status, "cat", "//h1/data/f")
	}
	login := func(n *node, status int) {
		t.Helper()
		n.fails(quick, status, "login", "//h1/data", "--password-file", password)
	}

	cat(friend, 4)
	owner.ok(quick, "share", "allow", "data", "h2", "read")
	cat(friend, 0)
	if out := friend.ok(quick, "whoami", "//h1/data"); !strings.Contains(out, "read, by device") {
		t.Errorf("whoami says %q", out)
	}
	cat(other, 4)
	login(other, 0)
	login(guest, 0)
	cat(other, 0)
	paths, err := config.FindPaths(owner.home, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	registry := filepath.Join(paths.State, "registry.json")
	backup, err := os.ReadFile(registry)
	if err != nil {
		t.Fatal(err)
	}

	// One of two is denied in the midst of a copy.
	first := other.Traffic(0).ReceivedBytes
	friends, to := friend.fetching("big.bin")
	others, _ := other.fetching("big.bin")
	other.receives(others, size/8, first)
	denied := time.Now()
	owner.ok(quick, "share", "deny", "data", "h3")
	err, ended := others.Wait(quick)
	if exit, ok := errors.AsType[*exec.ExitError](err); !ended || !ok || exit.ExitCode() != 4 {
		t.Errorf("who was denied: ended %v: %v\n%s", ended, err, tail(others.Output(), 1000))
	}
	t.Logf("the copy of who was denied ended after %v", time.Since(denied).Round(time.Millisecond))
	friend.fetched(friends, to, want)
	login(other, 4)
	cat(other, 4)
	cat(guest, 0)
	if out := owner.ok(quick, "share", "ls", "-l"); !strings.Contains(out, "denied") || !strings.Contains(out, "allowed read") {
		t.Errorf("share ls -l says\n%s", out)
	}

	// A peer that is blocked is not seen, over a restart, until it is unblocked.
	owner.ok(quick, "block", "h4")
	if out := owner.ok(quick, "peers"); lists(out, "h4") || !lists(out, "h3") {
		t.Errorf("while h4 is blocked listed are\n%s", out)
	}
	if r := guest.run(quick, "cat", "//h1/data/f"); r.Status == 0 {
		t.Error("who is blocked was let in")
	}
	owner.daemon.Stop()
	owner.start()
	fullView(t, quick, owner, friend, other)
	if blocked, out := owner.ok(quick, "block"), owner.ok(quick, "peers"); !lists(blocked, "h4") || lists(out, "h4") {
		t.Errorf("after a restart blocked are\n%s\nand listed are\n%s", blocked, out)
	}
	cat(other, 4)
	cat(friend, 0)
	owner.ok(quick, "unblock", "h4")
	fullView(t, 2*time.Minute, all...)
	lantest.WaitFor(t, quick, "who is blocked no more to be let in", func() bool { return guest.run(quick, "cat", "//h1/data/f").Status == 0 })

	// An older registry brings no login back, and lets in nobody who was denied since.
	owner.daemon.Stop()
	if err := os.WriteFile(registry, backup, 0o600); err != nil {
		t.Fatal(err)
	}
	owner.start()
	fullView(t, quick, all...)
	if !strings.Contains(owner.log(), "not the one that peerd wrote last") {
		t.Errorf("the log does not say why:\n%s", owner.log())
	}
	cat(guest, 4)
	cat(other, 4)
	login(other, 4)
	cat(friend, 0)
	login(guest, 0)
	cat(guest, 0)
}

// lists reports whether a row of a table begins with a name. In the rest of it there may be an ID, which may hold any few letters.
func lists(table, name string) bool { return strings.Contains("\n"+table, "\n"+name+" ") }
