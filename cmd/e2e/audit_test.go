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
	"github.com/peerd/peerd/peer/control"
)

// TestAudit does everything a few times, and finds it in the audit exactly as often.
func TestAudit(t *testing.T) {
	all, _ := nodes(t, lantest.Options{Hosts: 3})
	owner, client, dir, closed := all[0], all[1], ram(t), ram(t)
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
	k := &keys{t: t, owner: owner, pass: map[string]string{"read": "correct horse battery staple", "wrong": "wrong horse battery staple"}}
	do(owner, "share.add ok", "share", "add", closed, "--name", "safe", "--read-password-file", k.file(owner, "read"))
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
	t.Logf("let in %v later", waited.Round(time.Millisecond))
	do(client, "read ok", "cat", "//h1/safe/f")
	k.change("read")
	did(1, "epoch ok")
	client.fails(quick, 4, "cat", "//h1/safe/f")

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
		case "grant", "refused", "ticket", "audit.checkpoint", "peer.seen", "cancelled":
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
	if throttled == 0 || refused["grant ok"] < 2 || refused["grant not permitted"] == 0 || refused["refused not permitted"] == 0 {
		t.Errorf("guesses held back: %d; grants and refusals: %v", throttled, refused)
	}
	tamper(t, owner)
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

// BenchmarkAudited fetches 1,000 small files, each a record of the owner's. PEERD_E2E_UNAUDITED names a program without an
// audit, to compare with.
func BenchmarkAudited(b *testing.B) {
	const files = 1000
	for _, c := range []struct{ name, program string }{{"audited", ""}, {"not", os.Getenv("PEERD_E2E_UNAUDITED")}} {
		b.Run(c.name, func(b *testing.B) {
			if c.name == "not" && c.program == "" {
				b.Skip("PEERD_E2E_UNAUDITED names no program")
			}
			all, _ := nodes(b, lantest.Options{Hosts: 2})
			if c.program != "" {
				for _, n := range all {
					n.peerd = c.program
				}
			}
			dir := ram(b)
			for i := range files {
				write(b, filepath.Join(dir, fmt.Sprint(i)), fmt.Sprint("small ", i))
			}
			all[0].start("--share", dir+"=data")
			all[1].start("--no-seed")
			fullView(b, quick, all...)
			for b.Loop() {
				all[1].ok(slow, "cp", "-r", "//h1/data", ram(b))
			}
			b.ReportMetric(files*float64(b.N)/b.Elapsed().Seconds(), "reads/s")
			if c.program == "" {
				if n := len(all[0].audit("read")); n != files*b.N {
					b.Errorf("%d records of %d reads", n, files*b.N)
				}
			}
		})
	}
}
