//go:build linux

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/peerd/peerd/cmd/internal/lantest"
	"github.com/peerd/peerd/peer/audit"
	"github.com/peerd/peerd/peer/control"
)

// TestAudit does everything a few times, and finds it in the audit exactly as often.
func TestAudit(t *testing.T) {
	t.Parallel()
	all, _ := nodes(t, lantest.Options{Hosts: 4})
	late := all[3] // and called like another
	all = all[:3]
	owner, client, dir, closed := all[0], all[1], ram(t), ram(t)
	fill(t, filepath.Join(dir, "big"), 24<<20, 1)
	for i := range 3 {
		write(t, filepath.Join(dir, fmt.Sprintf("old%d", i)), fmt.Sprint("old ", i))
	}
	write(t, filepath.Join(closed, "f"), "text")
	want := map[string]int{}
	did := func(n int, event string) { want[event] += n }
	do := func(n *node, event string, args ...string) string {
		t.Helper()
		if event != "" {
			did(1, event)
		}
		return n.ok(quick, args...)
	}
	local := func(text string) string {
		path := filepath.Join(client.Home, "local")
		write(t, path, text)
		return path
	}
	workshop(t, dir, all...)
	did(1, "start ok")
	did(1, "share.add ok")
	did(len(all)-1, "peer.seen ok")
	k := &keys{t: t, owner: owner, pass: map[string]string{"read": "correct horse battery staple", "wrong": "wrong horse battery staple"}}
	do(owner, "share.add ok", "share", "add", closed, "--name", "safe", "--read-password-file", k.file(owner, "read"))
	did(1, "password ok")
	do(owner, "share.add ok", "share", "add", ram(t), "--name", "gone", "--read", "open")
	do(owner, "share.rm ok", "share", "rm", "gone")
	do(owner, "share.set ok", "share", "set", "data", "--comment", "hello")

	for i := range 3 {
		do(client, "read ok", "cat", fmt.Sprintf("//h1/data/old%d", i))
	}
	do(client, "write ok", "cp", local("one"), "//h1/data/a")
	do(client, "write ok", "cp", "-f", local("two, longer"), "//h1/data/a")
	do(client, "mkdir ok", "mkdir", "//h1/data/folder")
	do(client, "rename ok", "mv", "//h1/data/a", "//h1/data/folder/b")
	do(client, "copy ok", "cp", "//h1/data/folder/b", "//h1/data/c")
	do(client, "delete ok", "rm", "//h1/data/c")
	v := lines[control.Version](t, do(client, "", "versions", "--json", "//h1/data/c"))
	do(client, "version ok", "cat", "//h1/data/c@"+v[0].ID)
	do(client, "restore ok", "restore", "//h1/data/c@"+v[0].ID)
	do(client, "lock ok", "lock", "//h1/data/c", "--", "true")

	conflicts, puts := 0, 0
	for round := 0; conflicts == 0 && round < 100; round++ {
		var done sync.WaitGroup
		var mu sync.Mutex
		for _, n := range all[1:] {
			from := filepath.Join(n.Home, "mine")
			write(t, from, fmt.Sprintf("round %d of %s", round, n.Name))
			done.Go(func() {
				_, conflict, err := n.put(context.Background(), from, "both")
				mu.Lock()
				defer mu.Unlock()
				if conflict {
					conflicts++
				} else if err != nil {
					t.Error(err)
				}
				puts++
			})
		}
		done.Wait()
	}
	did(puts, "write ok")
	did(conflicts, "conflict")

	last := lantest.Result{}
	for guess := 0; guess < 20 && (guess == 0 || last.Status == 4); guess++ {
		last = client.run(quick, "login", "//h1/safe", "--password-file", k.file(client, "wrong"))
		did(1, "login not permitted")
	}
	t.Logf("%d wrong guesses, the last one: exit status %d %s", want["login not permitted"], last.Status, strings.TrimSpace(last.Stderr))
	waited := lantest.WaitFor(t, slow, "a guess to be allowed again", func() bool {
		did(1, "login not permitted")
		return client.run(quick, "login", "//h1/safe", "--password-file", k.file(client, "read")).Status == 0
	})
	did(-1, "login not permitted")
	did(1, "login ok")
	did(1, "ticket ok")
	t.Logf("let in %v later", waited.Round(time.Millisecond))
	do(client, "read ok", "cat", "//h1/safe/f")
	k.change("read")
	did(1, "epoch ok")
	did(1, "password ok")
	client.fails(quick, 4, "cat", "//h1/safe/f")
	cutOff(t, owner, client, did)
	late.start("--name", client.Name)
	did(1, "peer.seen ok")
	lantest.WaitFor(t, quick, "the two of one name to show who they are", func() bool {
		owner.ok(quick, "ls")
		return len(owner.audit("peer.clash")) > 0
	})
	did(1, "peer.clash conflict")
	late.daemon.Stop()
	lantest.WaitFor(t, slow, "one of the name to be left", func() bool { return owner.run(quick, "ls", "//"+client.Name).Status == 0 })

	write(t, filepath.Join(dir, "own"), "by the owner")
	did(1, "change ok")
	lantest.WaitFor(t, slow, "the owner's change to be noticed", func() bool { return len(owner.audit("change")) == 1 })
	do(owner, "share.set ok", "share", "set", "data", "--brake", "2,1%,5m")
	time.Sleep(1100 * time.Millisecond) // TIME is told in seconds
	since := time.Now().UTC().Format(time.RFC3339)
	for i := range 3 {
		do(client, "", "cp", "-f", local(fmt.Sprint("encrypted ", i)), fmt.Sprintf("//h1/data/old%d", i))
		did(1, "write ok")
		if len(owner.audit("brake")) > 0 {
			break
		}
	}
	did(1, "brake ok")
	client.fails(quick, 4, "rm", "//h1/data/old0")
	undone := lines[control.Change](t, do(owner, "", "share", "undo", "data", "--peer", "h2", "--since", since, "--json"))
	did(len(undone), "undo ok")
	do(owner, "brake ok", "share", "resume", "data", "h2")
	touch(t, client, "//h1/data", "old0") // last, since the tree goes on watching for a while
	did(1, "touch ok")
	do(owner, "peer.blocked ok", "block", "h3")
	do(owner, "peer.blocked ok", "unblock", "h3")
	owner.daemon.Stop()
	did(1, "stop ok")
	owner.start()
	did(1, "start ok")

	got, refused, throttled := map[string]int{}, map[string]int{}, 0
	for _, r := range owner.audit() {
		if strings.Contains(r.Why, "too many guesses") {
			throttled++
		}
		key := r.Event + " " + r.Result
		if r.Event == "conflict" {
			key = r.Event
		}
		switch r.Event {
		case "grant", "refused", "audit.checkpoint":
			refused[key] += max(1, r.Count)
		default:
			got[key] += max(1, r.Count)
		}
	}
	t.Logf("as often as done: %v", got)
	t.Logf("as peers find needful: %v", refused)
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got[key] != want[key] {
			t.Errorf("%s: %d records, done %d times", key, got[key], want[key])
		}
	}
	for key, n := range got {
		if want[key] == 0 {
			t.Errorf("%s: %d records, never done", key, n)
		}
	}
	for _, kind := range audit.Kinds() {
		switch kind {
		case audit.KindMount, audit.KindBadPiece, audit.KindRecovered, audit.KindDropped: // of which no scenario is here
		default:
			if !slices.ContainsFunc(slices.Concat(slices.Collect(maps.Keys(got)), slices.Collect(maps.Keys(refused))), func(key string) bool {
				event, _, _ := strings.Cut(key, " ")
				return event == string(kind)
			}) {
				t.Errorf("%s was never written", kind)
			}
		}
	}
	if throttled == 0 || refused["grant ok"] < 2 || refused["grant not permitted"] == 0 || refused["refused not permitted"] == 0 {
		t.Errorf("guesses held back: %d; grants and refusals: %v", throttled, refused)
	}
	tamper(t, owner)
}

// touch sets the times of a file as programs do, in a mount, which the client's own audit has.
func touch(t *testing.T, client *node, ref, name string) {
	t.Helper()
	m, then := client.mount("mounted", ref), time.Unix(1e9, 0)
	if err := os.Chtimes(m.path(name), then, then); err != nil {
		t.Error(err)
	}
	client.ok(quick, "umount", m.dir)
	if got := client.audit("mount"); len(got) != 2 {
		t.Errorf("%d records of one mount that was taken away", len(got))
	}
}

// cutOff has a reading and a watch cut off by a right that ends, a put that is given up, and one that finds no room.
func cutOff(t *testing.T, owner, client *node, did func(n int, event string)) {
	t.Helper()
	to := filepath.Join(ram(t), "big")
	read := client.Host.Start(client.command("cp", "--limit", "2M", "//h1/data/big", to))
	watch := client.Host.Start(client.command("watch", "--json", "//h1/data"))
	watch.WaitOutput("watching", slow)
	begun := client.Traffic(0)
	lantest.WaitFor(t, slow, "a part of the file to come", func() bool { return client.Traffic(0).ReceivedBytes-begun.ReceivedBytes > 4<<20 })
	owner.ok(quick, "share", "deny", "data", client.Name)
	for _, p := range []*lantest.Process{read, watch} {
		if _, ended := p.Wait(slow); !ended || p.Cmd.ProcessState.ExitCode() != 4 {
			t.Errorf("%q: %s", p.Cmd.Args, p.Output())
		}
	}
	owner.ok(quick, "share", "deny", "--undo", "data", client.Name)
	did(2, "share.set ok")
	did(2, "cancelled not permitted")

	lantest.WaitFor(t, slow, "it to be let in again", func() bool { return client.run(quick, "ls", "//h1/data").Status == 0 })
	local := filepath.Join(client.Home, "large")
	fill(t, local, 64<<20, 2)
	client.Limit(0, "40mbit")
	begun = client.Traffic(0)
	put := client.Host.Start(client.command("cp", local, "//h1/data/up"))
	lantest.WaitFor(t, slow, "a part of the file to go", func() bool { return client.Traffic(0).SentBytes-begun.SentBytes > 4<<20 })
	put.Kill()
	did(1, "cancelled unreachable")
	lantest.WaitFor(t, quick, "the put to be given up", func() bool { return len(owner.audit("cancelled")) == 3 })
	client.Limit(0, "1gbit")

	owner.ok(quick, "share", "set", "data", "--quota", "1M")
	client.fails(quick, 1, "cp", local, "//h1/data/up")
	did(1, "quota disk full")
	owner.ok(quick, "share", "set", "data", "--quota", "none")
	did(2, "share.set ok")
}

// tamper changes single bytes of the audit, each of which must be found.
func tamper(t *testing.T, owner *node) {
	t.Helper()
	t.Log(strings.TrimSpace(owner.ok(quick, "audit", "verify")))
	var files []string
	_ = filepath.WalkDir(owner.home, func(path string, d fs.DirEntry, _ error) error {
		if !d.IsDir() && filepath.Base(filepath.Dir(path)) == "audit" {
			files = append(files, path)
		}
		return nil
	})
	for _, name := range files {
		good, err := os.ReadFile(name)
		if err != nil || len(good) < 100 || !bytes.Contains(good, []byte(`"kind"`)) {
			continue
		}
		bad := bytes.Clone(good)
		at := bytes.Index(bad, []byte("old1")) // of one path, another
		if at < 0 {
			at = len(bad) / 2
		}
		bad[at] ^= 1
		for _, c := range []struct {
			name string
			b    []byte
		}{{"a flipped bit", bad}, {"the end cut off", good[:bytes.LastIndexByte(good[:len(good)*2/3], '\n')+1]}} {
			if err := os.WriteFile(name, c.b, 0o600); err != nil {
				t.Fatal(err)
			}
			r := owner.fails(quick, 8, "audit", "verify")
			t.Logf("%s: %s", c.name, strings.TrimSpace(r.Stderr))
		}
		if err := os.WriteFile(name, good, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("no records in %v", files)
}
