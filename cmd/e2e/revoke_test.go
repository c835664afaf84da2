//go:build linux

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

// keys is a share "safe" of h1 with a password for each right.
type keys struct {
	t     *testing.T
	owner *node
	pass  map[string]string // by right
}

// safe starts all, h1 with the share, and names who does not give on what it has.
func safe(t *testing.T, dir string, seedless bool, all ...*node) *keys {
	t.Helper()
	k := &keys{t: t, owner: all[0], pass: map[string]string{"read": "correct horse battery staple", "full": "velvet anchor thirteen moss"}}
	for _, n := range all {
		if seedless {
			n.begin("--no-seed")
		} else {
			n.begin()
		}
	}
	for _, n := range all {
		n.waitReady()
	}
	k.owner.ok(quick, "share", "add", dir, "--name", "safe", "--read-password-file", k.file(k.owner, "read"), "--full-password-file", k.file(k.owner, "full"))
	fullView(t, quick, all...)
	return k
}

// file is a file with the password of a right.
func (k *keys) file(n *node, right string) string {
	path := filepath.Join(n.Home, right+".password")
	write(k.t, path, k.pass[right]+"\n")
	return path
}

func (k *keys) login(n *node, right string) {
	k.t.Helper()
	n.ok(quick, "login", "//h1/safe", "--password-file", k.file(n, right))
}

// change sets another password.
func (k *keys) change(right string) {
	k.t.Helper()
	k.pass[right] += " more"
	k.owner.ok(quick, "share", "passwd", "safe", right, "--password-file", k.file(k.owner, right))
}

// TestRevocation takes a right away while big files pass by both rights: the one ends at once, the other is not disturbed.
// PEERD_E2E_REVOKED is how large the files are, in MiB.
func TestRevocation(t *testing.T) {
	t.Parallel()
	size := int64(number(t, "PEERD_E2E_REVOKED", 96)) << 20
	dir := ram(t)
	all, _ := nodes(t, lantest.Options{Hosts: 3})
	owner, reader, writer := all[0], all[1], all[2]
	k := safe(t, dir, true, all...)
	for i, c := range []struct {
		name         string
		revoke, undo []string // of h1; none: by a new password
		ends, stays  *node
		right        string // that ends
		up           bool   // who ends is sending
	}{
		{name: "passwd read", ends: reader, stays: writer, right: "read"},
		{name: "passwd full", ends: writer, stays: reader, right: "full"},
		{name: "passwd full, of who sends", ends: writer, stays: reader, right: "full", up: true},
		{name: "deny", revoke: []string{"share", "deny", "safe", "h2"}, undo: []string{"share", "deny", "--undo", "safe", "h2"}, ends: reader, stays: writer},
		{name: "deny, of who sends", revoke: []string{"share", "deny", "safe", "h3"}, undo: []string{"share", "deny", "--undo", "safe", "h3"},
			ends: writer, stays: reader, up: true},
		{name: "block", revoke: []string{"block", "h2"}, undo: []string{"unblock", "h2"}, ends: reader, stays: writer},
	} {
		t.Run(c.name, func(t *testing.T) {
			k.login(reader, "read")
			k.login(writer, "full")
			// Every case has a file of its own: what was there once is not sent again.
			name := fmt.Sprintf("case%d.bin", i)
			want, local := fill(t, filepath.Join(dir, name), size, byte(2*i+2)), filepath.Join(ram(t), "up.bin")
			to := filepath.Join(ram(t), name)
			args := []string{"cp", "//h1/safe/" + name, filepath.Join(ram(t), name)}
			moved := func() uint64 { return c.ends.Traffic(0).ReceivedBytes }
			if c.up {
				fill(t, local, size, byte(2*i+3))
				args = []string{"cp", local, fmt.Sprintf("//h1/safe/up%d", i)}
				moved = func() uint64 { return c.ends.Traffic(0).SentBytes }
			}
			owner.Limit(0, "100mbit") // so that neither is done before the right ends
			first := moved()
			ends := c.ends.Host.Start(c.ends.command(args...))
			stays := c.stays.Host.Start(c.stays.command("cp", "//h1/safe/"+name, to))
			lantest.WaitFor(t, slow, "a part to pass", func() bool {
				for _, cp := range []*lantest.Process{ends, stays} {
					if err, ended := cp.Wait(0); ended {
						t.Fatalf("%q ended before: %v\n%s", cp.Cmd.Args, err, cp.Output())
					}
				}
				return moved()-first > uint64(size)/20
			})
			began := time.Now()
			if c.revoke == nil {
				k.change(c.right)
			} else {
				owner.ok(quick, c.revoke...)
			}
			told := time.Now()
			blocked, last := c.revoke != nil && c.revoke[0] == "block", uint64(0)
			quiet := time.Now()
			lantest.WaitFor(t, slow, "it to end", func() bool {
				if now := moved(); now-last > 1<<20 {
					last, quiet = now, time.Now()
				}
				_, ended := ends.Wait(0)
				return (ended || blocked) && time.Since(quiet) > 2*time.Second
			})
			ends.Kill() // who is blocked hears nothing, and waits for the owner to come back
			status := ends.Cmd.ProcessState.ExitCode()
			set := told // when the right ended
			for _, r := range owner.audit("epoch", "share.set", "peer.blocked") {
				set = r.Time.Time
			}
			t.Logf("the command took %v; nothing passed any more %v after the right ended; exit status %d: %s", told.Sub(began).Round(time.Millisecond),
				quiet.Sub(set).Round(time.Millisecond), status, strings.TrimSpace(tail(ends.Output(), 300)))
			if status != 4 && !blocked || quiet.Sub(set) > 5*time.Second { // 1 s is the aim
				t.Errorf("exit status %d, %v after the right ended", status, quiet.Sub(set))
			}
			owner.Limit(0, "")
			c.stays.fetched(stays, to, want)
			if c.undo != nil {
				owner.ok(quick, c.undo...)
				lantest.WaitFor(t, slow, "it to be let in again", func() bool {
					return c.ends.run(quick, "login", "//h1/safe", "--password-file", k.file(c.ends, "read")).Status == 0
				})
			}
		})
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "up*")); len(left) > 0 {
		t.Errorf("what was not sent whole is there: %v", left)
	}
}

// TestRevokedAtSeed takes a right away from one who hears of the owner no more, and fetches from another who has the file.
func TestRevokedAtSeed(t *testing.T) {
	t.Parallel()
	const size = 100 << 20
	dir, want := big(t, size)
	all, _ := nodes(t, lantest.Options{Hosts: 3})
	owner, seed, late := all[0], all[1], all[2]
	k := safe(t, dir, false, all...)
	k.login(seed, "full")
	k.login(late, "read")
	from := []string{"cp", "//h1/safe/big.bin"}
	cp := seed.Host.Start(seed.command(append(from, filepath.Join(ram(t), "big.bin"))...))
	if _, ended := cp.Wait(slow); !ended || cp.Cmd.ProcessState.ExitCode() != 0 {
		t.Fatal(cp.Output())
	}
	seed.Limit(0, "20mbit") // 40 s for all of it
	owner.Limit(0, "10mbit")
	sent, first := seed.Traffic(0).SentBytes, late.Traffic(0).ReceivedBytes
	to := filepath.Join(ram(t), "big.bin")
	cp = late.Host.Start(late.command(append(from, to)...))
	lantest.WaitFor(t, slow, "the seed to give something", func() bool { return seed.Traffic(0).SentBytes-sent > 4<<20 })
	for _, args := range [][]string{
		{"add", "table", "inet", "cut"}, {"add", "chain", "inet", "cut", "in", "{ type filter hook input priority 0; }"},
		{"add", "rule", "inet", "cut", "in", "ether", "saddr", "02:4c:41:4e:00:01", "drop"},
	} {
		if r := late.Host.Run(quick, late.Command("nft", args...)); r.Status != 0 {
			t.Fatal(r.Stderr)
		}
	}
	cut := late.Traffic(0).ReceivedBytes
	late.receives(cp, 4<<20, cut)
	began := time.Now()
	k.change("read")
	last, quiet := uint64(0), time.Now()
	lantest.WaitFor(t, slow, "the seed to stop", func() bool {
		if now := seed.Traffic(0).SentBytes; now-last > 256<<10 {
			last, quiet = now, time.Now()
		}
		return time.Since(quiet) > 5*time.Second
	})
	t.Logf("the seed gave nothing more %v after the password was changed; %d MiB of %d had arrived", quiet.Sub(began).Round(time.Millisecond),
		(late.Traffic(0).ReceivedBytes-first)>>20, size>>20)
	if quiet.Sub(began) > time.Minute {
		t.Error("it may take a minute")
	}
	if _, err := os.Stat(to); err == nil {
		t.Errorf("all of it arrived: %v", sum(t, to) == want)
	}
}

// TestOldRegistry puts an old registry.json back: what was taken away since stays away.
func TestOldRegistry(t *testing.T) {
	t.Parallel()
	dir := ram(t)
	write(t, filepath.Join(dir, "f"), "text")
	all, _ := nodes(t, lantest.Options{Hosts: 3})
	owner, reader, device := all[0], all[1], all[2]
	k := safe(t, dir, true, all...)
	k.login(reader, "read")
	owner.ok(quick, "share", "allow", "safe", "h3", "full")
	read := func(n *node, status int) {
		t.Helper()
		n.fails(quick, status, "cat", "//h1/safe/f")
	}
	read(reader, 0)
	read(device, 0)
	reader.daemon.Stop()
	tickets := filepath.Join(ram(t), "home") // as one who wants back in would keep them
	if out, err := exec.Command("cp", "-a", reader.home, tickets).CombinedOutput(); err != nil {
		t.Fatal(string(out))
	}
	reader.start("--no-seed")
	var registry string
	_ = filepath.WalkDir(owner.home, func(path string, _ fs.DirEntry, _ error) error {
		if filepath.Base(path) == "registry.json" {
			registry = path
		}
		return nil
	})
	backup, err := os.ReadFile(registry)
	if err != nil {
		t.Fatal(err)
	}
	fullView(t, quick, all...)
	read(reader, 0)
	k.change("read")
	owner.ok(quick, "share", "deny", "safe", "h3")
	read(reader, 4)
	read(device, 4)

	owner.daemon.Stop()
	reader.daemon.Stop()
	if err := os.WriteFile(registry, backup, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sh", "-c", `rm -r "$1" && cp -a "$0" "$1"`, tickets, reader.home).CombinedOutput(); err != nil {
		t.Fatal(string(out))
	}
	owner.start("--no-seed")
	reader.start("--no-seed")
	fullView(t, quick, all...)
	read(reader, 4)
	read(device, 4)
	t.Logf("the owner says: %s", strings.TrimSpace(owner.log()))
}
