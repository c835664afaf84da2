//go:build linux

package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

// TestThreeActions is the whole point: one shares, another starts, looks and fetches, with nothing typed but names. It
// must work on every network that carries multicast.
func TestThreeActions(t *testing.T) {
	for _, c := range []struct {
		name  string
		net   lantest.Options
		avahi bool
		view  time.Duration
	}{
		{name: "plain", view: 2 * time.Second},
		{name: "firewall", net: lantest.Options{Firewall: 4455}, view: 2 * time.Second},
		{name: "avahi beside", avahi: true, view: 2 * time.Second},
		{name: "a fifth lost", net: lantest.Options{Loss: 0.2}, view: 5 * time.Second},
		{name: "IPv6 only", net: lantest.Options{Family: lantest.IPv6Only}, view: 2 * time.Second},
		{name: "IPv4 only", net: lantest.Options{Family: lantest.IPv4Only}, view: 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.net.Hosts = 3
			all, _ := nodes(t, c.net)
			if c.avahi {
				all[0].Avahi()
				all[1].Avahi()
			}
			docs := filepath.Join(all[0].Home, "docs")
			write(t, filepath.Join(docs, "plan.txt"), "the plan\n")
			write(t, filepath.Join(docs, "deep", "er", "zero"), "")
			all[0].start("--share", docs)
			all[1].start()
			all[2].start()
			t.Logf("full view after %v", fullView(t, c.view, all...))

			if list := all[1].ok(quick, "ls"); !strings.Contains(list, "h1") || !strings.Contains(list, "docs") || !strings.Contains(list, "h3") {
				t.Errorf("ls shows\n%s", list)
			}
			all[1].ok(quick, "cp", "-r", "//h1/docs", ".")
			sameTree(t, docs, filepath.Join(all[1].Home, "docs"))
			if got := all[2].ok(quick, "cat", "//h1/docs/plan.txt"); got != "the plan\n" {
				t.Errorf("cat gave %q", got)
			}
		})
	}
}

// TestTwoLANs has h2 on both LANs, h1 and h3 on one each: every peer's address is the one of the LAN it was heard on.
func TestTwoLANs(t *testing.T) {
	all, _ := nodes(t, lantest.Options{Hosts: 3, LANs: 2, Attached: func(host, lan int) bool { return host == 1 || host == 2*lan }})
	for _, n := range all {
		docs := filepath.Join(n.Home, "docs")
		write(t, filepath.Join(docs, "who"), n.Name)
		n.start("--share", docs)
	}
	lantest.WaitFor(t, 5*time.Second, "each to see those on its LANs", func() bool {
		return len(all[0].peers()) == 1 && len(all[1].peers()) == 2 && len(all[2].peers()) == 1
	})
	for _, c := range []struct{ from, to int }{{1, 0}, {1, 2}, {0, 1}, {2, 1}} {
		name := all[c.to].Name
		if got := all[c.from].ok(quick, "cat", "//"+name+"/docs/who"); got != name {
			t.Errorf("%s read %q from %s", all[c.from].Name, got, name)
		}
	}
	for _, i := range []int{0, 2} {
		for _, a := range all[i].peers()["h2"].Addrs {
			if other := all[1].Addr(1 - i/2).String(); strings.Contains(a, "/"+other+"/") {
				t.Errorf("%s was told of %s, which lies on the other LAN", all[i].Name, a)
			}
		}
	}
}

// TestInterfaceMadeAgain takes h2's interface away; h3, which starts meanwhile, sees it soon after it is back.
func TestInterfaceMadeAgain(t *testing.T) {
	all, _ := nodes(t, lantest.Options{Hosts: 3})
	docs := filepath.Join(all[1].Home, "docs")
	write(t, filepath.Join(docs, "f"), "still here")
	all[0].start()
	all[1].start("--share", docs)
	fullView(t, 2*time.Second, all[:2]...)
	all[1].DelIface(0)
	all[2].start()
	fullView(t, 2*time.Second, all[0], all[2])
	all[1].AddIface(0)
	back, before := time.Now(), stalled(t)
	lantest.WaitFor(t, quick, "h2 and h3 to see each other", func() bool {
		_, a := all[1].peers()["h3"]
		_, b := all[2].peers()["h2"]
		return a && b
	})
	if took, most := time.Since(back), 2*time.Second+(stalled(t)-before)/2; took > most {
		t.Errorf("seen %v after the interface was back, want at most %v", took, most)
	}
	for _, i := range []int{0, 2} {
		if got := all[i].ok(quick, "cat", "//h2/docs/f"); got != "still here" {
			t.Errorf("%s read %q", all[i].Name, got)
		}
	}
}

// TestAvahiSees looks from a host that has no peerd, with the tools of its system.
func TestAvahiSees(t *testing.T) {
	all, l := nodes(t, lantest.Options{Hosts: 3})
	watcher := l.Hosts[2]
	watcher.Avahi()
	for _, n := range all[:2] {
		write(t, filepath.Join(n.Home, "photos of "+n.Name, "f"), "x")
		write(t, filepath.Join(n.Home, "secret$", "f"), "x")
		n.start("--share", filepath.Join(n.Home, "photos of "+n.Name), "--share", filepath.Join(n.Home, "secret$"))
	}
	var seen string
	lantest.WaitFor(t, quick, "avahi-browse to show both with their shares", func() bool {
		seen = watcher.Run(quick, watcher.Command("avahi-browse", "-rt", "_peerd._tcp")).Stdout
		return strings.Contains(seen, "photos of h1") && strings.Contains(seen, "photos of h2")
	})
	if strings.Contains(seen, "secret") {
		t.Errorf("a hidden share is told to everybody:\n%s", seen)
	}
	stream := watcher.Start(watcher.Command("avahi-browse", "-p", "_peerd._tcp"))
	stream.WaitOutput("+;eth0;IPv4;h1", quick)
	stopped, before := time.Now(), stalled(t)
	if status := all[0].daemon.Stop(); status != 0 {
		t.Errorf("SIGTERM gave exit status %d", status)
	}
	stream.WaitOutput("-;eth0;IPv4;h1", quick)
	lantest.WaitFor(t, quick, "h2 to see h1 gone", func() bool { return len(all[1].peers()) == 0 })
	if took, most := time.Since(stopped), 2*time.Second+(stalled(t)-before)/2; took > most {
		t.Errorf("a stopped peer was gone after %v, want at most %v", took, most)
	}
}

// TestTwoHomes runs two daemons side by side on one computer.
func TestTwoHomes(t *testing.T) {
	all, l := nodes(t, lantest.Options{Hosts: 2})
	second := newNode(t, l.Hosts[0], "second")
	docs := filepath.Join(all[0].Home, "docs")
	write(t, filepath.Join(docs, "f"), "one host")
	all[0].start("--share", docs)
	second.start("--name", "second")
	all[1].start()
	t.Logf("full view after %v", fullView(t, 2*time.Second, all[0], second, all[1]))
	if got := second.ok(quick, "cat", "//h1/docs/f"); got != "one host" {
		t.Errorf("read %q", got)
	}
	third := newNode(t, l.Hosts[0], "second") // the home is taken
	third.fails(quick, 6, "run")
}

// TestSameName has two computers with one name: who is meant must be said, by ID.
func TestSameName(t *testing.T) {
	t.Parallel()
	all, _ := nodes(t, lantest.Options{Hosts: 3})
	for _, n := range all[:2] {
		write(t, filepath.Join(n.Home, "docs", "who"), n.Name)
		n.start("--name", "twin", "--share", filepath.Join(n.Home, "docs"))
	}
	all[2].start()
	var ids []string
	lantest.WaitFor(t, quick, "both twins", func() bool {
		ids = ids[:0]
		for e, err := range all[2].api.WatchPeers(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if ids = append(ids, e.Peer.ID); len(ids) == 2 {
				break
			}
		}
		return len(ids) == 2 && ids[0] != ids[1]
	})
	if r := all[2].fails(quick, 2, "cat", "//twin/docs/who"); !strings.Contains(r.Stderr, ids[0][len(ids[0])-8:]) {
		t.Errorf("the message does not say which twins there are: %s", r.Stderr)
	}
	got := map[string]bool{}
	for _, id := range ids {
		got[all[2].ok(quick, "cat", "//"+id+"/docs/who")] = true
	}
	if !got["h1"] || !got["h2"] {
		t.Errorf("read %v", got)
	}
}

// TestNoMulticast joins two peers by address where mDNS is off.
func TestNoMulticast(t *testing.T) {
	all, _ := nodes(t, lantest.Options{Hosts: 2})
	docs := filepath.Join(all[0].Home, "docs")
	write(t, filepath.Join(docs, "f"), "joined")
	all[0].start("--no-mdns", "--share", docs)
	all[1].start("--no-mdns", "--join", all[0].Addr(0).String())
	t.Logf("full view after %v", fullView(t, 5*time.Second, all...))
	if got := all[1].ok(quick, "cat", "//h1/docs/f"); got != "joined" {
		t.Errorf("read %q", got)
	}
}
