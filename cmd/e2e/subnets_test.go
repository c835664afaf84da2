//go:build linux

package e2e

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

// subnets puts peerd on two LANs of the same size, joined by a router that forwards no multicast. The first half is on LAN
// 0, the second on LAN 1.
func subnets(t *testing.T, each int, o lantest.Options) ([]*node, *lantest.LAN, *lantest.Router) {
	t.Helper()
	o.Hosts, o.LANs = 2*each, 2
	o.Attached = func(host, lan int) bool { return host/each == lan }
	all, l := nodes(t, o)
	return all, l, l.Route()
}

// at is the address of a node on its LAN.
func at(all []*node, i int) string { return all[i].Addr(2 * i / len(all)).String() }

func stopAll(all []*node) {
	for _, n := range all {
		n.daemon.Stop()
	}
}

// TestSubnets joins one peer of a subnet to one of another: all see all, and do so again when everything was restarted
// without being told.
func TestSubnets(t *testing.T) {
	for _, c := range []struct {
		name string
		net  lantest.Options
	}{{name: "IPv4 and IPv6"}, {"IPv4 only", lantest.Options{Family: lantest.IPv4Only}}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // beside each other, and beside no other test
			all, _, _ := subnets(t, 3, c.net)
			for i, n := range all {
				docs := filepath.Join(n.Home, "docs")
				write(t, filepath.Join(docs, "who"), n.Name)
				args := []string{"--share", docs}
				if i == 1 {
					args = append(args, "--join", at(all, 4))
				}
				n.start(args...)
			}
			t.Logf("full view %v after the last one was ready", fullView(t, 10*time.Second, all...))
			all[0].ok(quick, "cp", "//h6/docs/who", ".")
			if got, err := os.ReadFile(filepath.Join(all[0].Home, "who")); err != nil || string(got) != "h6" {
				t.Errorf("copied %q, %v", got, err)
			}
			if p := all[2].peers()["h5"]; !slices.Contains(p.Ways, "dht") || p.Count != 1 {
				t.Errorf("h3 knows of h5 %+v", p)
			}
			all[5].daemon.Stop()
			lantest.WaitFor(t, quick, "h6 to be gone on the other side", func() bool {
				_, there := all[0].peers()["h6"]
				return !there
			})
			stopAll(all[:5])
			for _, n := range all {
				n.start("--share", filepath.Join(n.Home, "docs"))
			}
			t.Logf("full view %v after everything was restarted without --join", fullView(t, 20*time.Second, all...))
			if got := all[5].ok(quick, "cat", "//h1/docs/who"); got != "h1" {
				t.Errorf("read %q", got)
			}
		})
	}
}

// TestNoDHT has the way beyond the subnet switched off on one peer, which sees its own subnet alone.
func TestNoDHT(t *testing.T) {
	t.Parallel()
	all, _, _ := subnets(t, 2, lantest.Options{})
	all[0].start("--no-dht")
	all[1].start("--join", at(all, 2))
	all[2].start()
	all[3].start()
	fullView(t, quick, all[1:]...)
	if _, there := all[0].peers()["h4"]; there {
		t.Error("h1 sees beyond its subnet")
	}
	if _, there := all[3].peers()["h1"]; there {
		t.Error("h1 is told of beyond its subnet")
	}
}

// TestRelay has a router that lets nothing through between two subnets but for one host, which relays.
func TestRelay(t *testing.T) {
	t.Parallel()
	const size = 128 << 20 // far more than a relay passes that is there for introductions alone
	all, _, router := subnets(t, 2, lantest.Options{})
	relay := all[0]
	router.Between(relay.Addr(0), netip.MustParseAddr("fd00:1::1"))
	for _, i := range []int{1, 2, 3} {
		docs := filepath.Join(all[i].Home, "docs")
		write(t, filepath.Join(docs, "who"), all[i].Name)
		all[i].start("--share", docs)
	}
	relay.start("--relay", "--join", at(all, 2))
	t.Logf("full view after %v", fullView(t, 20*time.Second, all...))
	began := time.Now()
	lantest.WaitFor(t, 2*quick, "h2 to have a place at the relay", func() bool {
		return slices.ContainsFunc(all[3].peers()["h2"].Addrs, isCircuit)
	})
	t.Logf("h4 knows the way by the relay after %v more", time.Since(began).Round(time.Millisecond))
	began = time.Now()
	if got := all[3].ok(quick, "cat", "//h2/docs/who"); got != "h2" {
		t.Errorf("read %q", got)
	}
	t.Logf("the first byte by the relay took %v", time.Since(began).Round(time.Millisecond))
	if p := all[3].peers()["h2"]; !slices.Contains(p.Ways, "relay") || p.Verified != "handshake" {
		t.Errorf("h4 knows of h2 %+v", p)
	}
	dir, want := big(t, size)
	all[1].ok(quick, "share", "add", dir, "--name", "data", "--read", "open")
	to := filepath.Join(ram(t), "copy.bin")
	before := relay.Traffic(0).SentBytes
	began = time.Now()
	all[3].ok(slow, "cp", "//h2/data/big.bin", to)
	took := time.Since(began)
	if got := sum(t, to); got != want {
		t.Errorf("sum %s, want %s", got, want)
	}
	if relayed := relay.Traffic(0).SentBytes - before; relayed < size {
		t.Errorf("the relay sent %d MiB of %d: there is another way", relayed>>20, size>>20)
	}
	t.Logf("%d MiB by the relay: %.0f MB/s", size>>20, size/1e6/took.Seconds())
}

func isCircuit(addr string) bool { return filepath.Base(addr) == "p2p-circuit" }

// TestHundred starts a hundred daemons in two subnets, one of which is told of one in the other, and leaves them alone for a
// while. It takes minutes, so it runs where PEERD_E2E_SCALE says how many to start in each: 50.
func TestHundred(t *testing.T) {
	each, err := strconv.Atoi(os.Getenv("PEERD_E2E_SCALE"))
	if err != nil {
		t.Skip("takes minutes; PEERD_E2E_SCALE=50 runs it")
	}
	const (
		idle = time.Minute
		mib  = 1 << 20
	)
	all, l, _ := subnets(t, each, lantest.Options{})
	sent := func() (packets, bytes uint64) {
		for i, h := range l.Hosts {
			traffic := h.Traffic(i / each)
			packets, bytes = packets+traffic.SentPackets, bytes+traffic.SentBytes
		}
		return packets, bytes
	}
	for i, n := range all {
		write(t, filepath.Join(n.Home, "docs", "f"), n.Name)
		args := []string{"--share", filepath.Join(n.Home, "docs")}
		if i == 0 {
			args = append(args, "--join", at(all, each))
		}
		n.begin(args...)
	}
	measure := func(what string) {
		for _, n := range all {
			n.waitReady()
		}
		view := fullView(t, 2*time.Minute, all...)
		packets, bytes := sent()
		t.Logf("%s: all saw all %v after the last was ready, %d packets and %.1f MB so far", what, view.Round(time.Millisecond), packets, float64(bytes)/1e6)
	}
	measure("started")
	time.Sleep(2 * time.Minute) // what the start left is closed by then
	var before time.Duration
	for _, n := range all {
		before += n.usage().cpu
	}
	packets, bytes := sent()
	time.Sleep(idle) // what happens in a given time is what is measured
	var cpu time.Duration
	var rss, most int64
	for _, n := range all {
		u := n.usage()
		cpu, rss, most = cpu+u.cpu, rss+u.rss, max(most, u.rss)
	}
	morePackets, moreBytes := sent()
	t.Logf("idle for %v: %.1f packets/s and %.1f kB/s in all; per daemon %.3f%% of a core, %.1f MiB resident (most %.1f)", idle,
		float64(morePackets-packets)/idle.Seconds(), float64(moreBytes-bytes)/1e3/idle.Seconds(),
		100*(cpu-before).Seconds()/idle.Seconds()/float64(2*each), float64(rss)/float64(2*each)/mib, float64(most)/mib)
	last := all[2*each-1].Name
	if got := all[0].ok(quick, "cat", "//"+last+"/docs/f"); got != last {
		t.Errorf("read %q", got)
	}
	stopAll(all)
	for _, n := range all {
		n.begin("--share", filepath.Join(n.Home, "docs"))
	}
	measure("restarted without --join")
}
