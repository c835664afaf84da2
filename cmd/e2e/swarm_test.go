//go:build linux

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

// slack is what may be received beyond a file: pieces under way when something happened. Headers and encryption come on top.
const slack = 8 << 20

// most is how many bytes may arrive at one who fetches a file once.
func most(size int64) uint64 { return uint64(size + size/10 + slack) }

// source is one line of what `cp --sources --json` ends with.
type source struct {
	Peer   string `json:"peer"`
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	Bad    int64  `json:"bad"`
	Banned bool   `json:"banned"`
	Origin bool   `json:"origin"`
}

// sources reads who gave what out of the output of `cp --sources --json`.
func sources(t testing.TB, output string) map[string]source {
	t.Helper()
	var last struct {
		Event   string   `json:"event"`
		Sources []source `json:"sources"`
	}
	for line := range strings.Lines(output) {
		if strings.HasPrefix(line, "{") {
			last.Sources = nil
			if err := json.Unmarshal([]byte(line), &last); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
		}
	}
	if last.Event != "done" || len(last.Sources) == 0 {
		t.Fatalf("the last event is %q with %d sources:\n%s", last.Event, len(last.Sources), tail(output, 2000))
	}
	byName := map[string]source{}
	for _, s := range last.Sources {
		byName[s.Name] = s
	}
	return byName
}

// crowd starts an owner that offers dir as "data", and others that see it.
func crowd(t *testing.T, dir string, o lantest.Options) []*node {
	t.Helper()
	all, _ := nodes(t, o)
	all[0].begin("--share", dir+"=data")
	for _, n := range all[1:] {
		n.begin()
	}
	for _, n := range all {
		n.waitReady()
	}
	fullView(t, quick, all...)
	return all
}

// fetching starts a copy of a file of the owner's to a folder of its own, and gives the name that it will have.
func (n *node) fetching(name string, options ...string) (cp *lantest.Process, to string) {
	n.t.Helper()
	to = filepath.Join(ram(n.t), name)
	return n.Host.Start(n.command(append(append([]string{"cp"}, options...), "//h1/data/"+name, to)...)), to
}

// fetched waits until a copy is done and has the right bytes.
func (n *node) fetched(cp *lantest.Process, to, want string) {
	n.t.Helper()
	err, ended := cp.Wait(slow)
	if !ended || err != nil {
		n.t.Fatalf("%s: cp: ended %v: %v\n%s\ndaemon:\n%s", n.Name, ended, err, tail(cp.Output(), 2000), n.log())
	}
	if got := sum(n.t, to); got != want {
		n.t.Errorf("%s: sum %s, want %s", n.Name, got, want)
	}
}

// receives waits until a host has received so many bytes more than at first, while its copy is under way.
func (n *node) receives(cp *lantest.Process, bytes, first uint64) {
	n.t.Helper()
	lantest.WaitFor(n.t, slow, n.Name+" to receive a part", func() bool {
		if err, ended := cp.Wait(0); ended {
			n.t.Fatalf("%s: cp ended before: %v\n%s", n.Name, err, cp.Output())
		}
		return n.Traffic(0).ReceivedBytes-first > bytes
	})
}

// TestSwarm has four peers fetch a file at once, of which the owner sends less than each of them gets; a fifth goes on when the
// owner is gone.
func TestSwarm(t *testing.T) {
	const size, fetchers = 16 << 20, 4
	dir, want := big(t, size)
	all := crowd(t, dir, lantest.Options{Hosts: 1 + fetchers + 1, Rate: slowLink})
	owner, late := all[0], all[1+fetchers]
	sent := owner.Traffic(0).SentBytes
	type copying struct {
		cp *lantest.Process
		to string
	}
	var copies []copying
	for _, n := range all[1 : 1+fetchers] {
		cp, to := n.fetching("big.bin")
		copies = append(copies, copying{cp, to})
	}
	for i, c := range copies {
		all[1+i].fetched(c.cp, c.to, want)
	}
	sent = owner.Traffic(0).SentBytes - sent
	t.Logf("the owner sent the file %.2f times to %d peers", float64(sent)/size, fetchers)
	if sent > (fetchers-1)*size {
		t.Errorf("the owner sent %d MiB for a file of %d that %d peers fetched at once", sent>>20, size>>20, fetchers)
	}

	first := late.Traffic(0).ReceivedBytes
	cp, to := late.fetching("big.bin", "--sources", "--json")
	late.receives(cp, size/4, first)
	owner.daemon.Kill()
	late.fetched(cp, to, want)
	if got := late.Traffic(0).ReceivedBytes - first; got > most(size) {
		t.Errorf("%d MiB were received for a file of %d", got>>20, size>>20)
	}
	from := sources(t, cp.Output())
	t.Logf("sources of the one who came late: %+v", from)
	var seeds int64
	for name, s := range from {
		if s.Origin != (name == owner.Name) {
			t.Errorf("%s: origin is %v", name, s.Origin)
		}
		if s.Bad != 0 || s.Banned {
			t.Errorf("%s is honest and is told to be bad: %+v", name, s)
		}
		if !s.Origin {
			seeds += s.Bytes
		}
	}
	if seeds == 0 {
		t.Error("no seed gave anything, though the owner was gone")
	}
}

// TestOwnerAway takes the owner away while nobody has all of a file, and brings it back.
func TestOwnerAway(t *testing.T) {
	t.Parallel()
	const size = 32 << 20
	dir, want := big(t, size)
	all := crowd(t, dir, lantest.Options{Hosts: 3, Rate: "100mbit"})
	owner := all[0]
	var cps [2]*lantest.Process
	var tos [2]string
	var first [2]uint64
	for i, n := range all[1:] {
		first[i] = n.Traffic(0).ReceivedBytes
		cps[i], tos[i] = n.fetching("big.bin")
	}
	// What the owner sent can't be more than was received: nobody can have all of it.
	sent := owner.Traffic(0).SentBytes
	lantest.WaitFor(t, slow, "a part of the file to be sent", func() bool { return owner.Traffic(0).SentBytes-sent > size/4 })
	owner.daemon.Kill()
	waits := regexp.MustCompile(`(?i)\bwait.*\bh1\b`)
	for i, cp := range cps {
		lantest.WaitFor(t, slow, all[1+i].Name+" to say that it waits for h1", func() bool {
			if err, ended := cp.Wait(0); ended {
				t.Fatalf("%s: cp did not wait: %v\n%s", all[1+i].Name, err, cp.Output())
			}
			return waits.MatchString(cp.Output())
		})
		t.Logf("%s says: %s", all[1+i].Name, tail(cp.Output(), 300))
		if _, err := os.Stat(tos[i]); err == nil {
			t.Errorf("%s: the final name is there before the file is whole", all[1+i].Name)
		}
	}
	owner.start("--share", dir+"=data")
	for i, n := range all[1:] {
		n.fetched(cps[i], tos[i], want)
	}
	for i, n := range all[1:] {
		if got := n.Traffic(0).ReceivedBytes - first[i]; got > most(size) {
			t.Errorf("%s received %d MiB for a file of %d: what was verified was fetched again", n.Name, got>>20, size>>20)
		}
	}
}

// TestSeedChanged has the user of a seed change copies that others would fetch from it. They get the owner's bytes.
func TestSeedChanged(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	dir, _ := big(t, size)
	all := crowd(t, dir, lantest.Options{Hosts: 3})
	owner, seed, late := all[0], all[1], all[2]
	for _, c := range []struct {
		name   string
		change func(name string) error
	}{
		{"in place", scribble},
		{"in place, with its old time", func(name string) error {
			info, err := os.Stat(name)
			if err != nil {
				return err
			}
			if err := scribble(name); err != nil {
				return err
			}
			return os.Chtimes(name, time.Time{}, info.ModTime())
		}},
		{"by rename", func(name string) error {
			if err := duplicate(name, name+".new"); err != nil {
				return err
			}
			if err := scribble(name + ".new"); err != nil {
				return err
			}
			return os.Rename(name+".new", name)
		}},
		{"cut short", func(name string) error { return os.Truncate(name, size/2) }},
		{"removed", os.Remove},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Every case has a file of its own: what an earlier one did to a seed's good name is not what is tested.
			name := strings.NewReplacer(" ", "-", ",", "").Replace(c.name)
			if err := duplicate(filepath.Join(dir, "big.bin"), filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.WriteAt([]byte(name), size/2)
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			want := sum(t, filepath.Join(dir, name))
			owner.Limit(0, "")
			cp, copied := seed.fetching(name)
			seed.fetched(cp, copied, want)
			if err := c.change(copied); err != nil {
				t.Fatal(err)
			}
			owner.Limit(0, slowLink) // so that the seed is worth asking
			cp, to := late.fetching(name)
			late.fetched(cp, to, want)
		})
	}
}

// duplicate copies a local file.
func duplicate(from, to string) error {
	out, err := exec.Command("cp", "--", from, to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("cp: %w: %s", err, out)
	}
	return nil
}

// scribble changes bytes in the midst of every MiB of a file.
func scribble(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	for at := int64(1000); at < size; at += 1 << 20 {
		if _, err := f.WriteAt([]byte("changed by the user of the seed"), at); err != nil {
			return err
		}
	}
	return nil
}
