//go:build linux

package mdns

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/discovery/discoverytest"
)

// firewall is what ufw does: nothing comes in but what was asked for, mDNS to its group, and the peer's own port.
const firewall = `policy drop; iif lo accept; ct state established,related accept; ip protocol icmp accept;
	meta l4proto ipv6-icmp accept; ip daddr 224.0.0.251 udp dport 5353 accept; ip6 daddr ff02::fb udp dport 5353 accept;
	tcp dport 4455 accept;`

func TestNetwork(t *testing.T) {
	tests := []struct {
		name  string
		opt   lanOptions
		rules string
		limit time.Duration
		addr  string // begin of the best address that all are seen at
	}{
		{"both families", lanOptions{hosts: 3}, "", 2 * time.Second, "/ip4/10.80."},
		{"IPv4 alone", lanOptions{hosts: 3, no6: true}, "", 2 * time.Second, "/ip4/10.80."},
		{"IPv6 link-local alone", lanOptions{hosts: 3, no4: true}, "", 2 * time.Second, "/ip6zone/eth0/ip6/fe80::"},
		{"no multicast route", lanOptions{hosts: 3, no6: true, noRoute: true}, "", 2 * time.Second, "/ip4/10.80."},
		{"behind a firewall", lanOptions{hosts: 3}, firewall, 2 * time.Second, "/ip4/10.80."},
		{"one packet in five lost", lanOptions{hosts: 5, no6: true}, "policy accept; numgen random mod 100 < 20 drop;", 5 * time.Second, "/ip4/10.80."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLAN(t, tt.opt)
			var nodes []*node
			for h := 1; h <= tt.opt.hosts; h++ {
				if tt.rules != "" {
					l.nft(h, tt.rules)
				}
				nodes = append(nodes, l.start(h, nodeConfig{Number: h}))
			}
			t.Logf("full view after %s", full(t, tt.limit, nodes...))
			for _, other := range nodes[1:] {
				if e, _ := nodes[0].sees(other); len(e.Addrs) == 0 || !strings.HasPrefix(e.Addrs[0], tt.addr) {
					t.Errorf("node %d is seen at %v, want %s… first", other.config.Number, e.Addrs, tt.addr)
				}
			}
			if strings.Contains(tt.rules, "random") {
				return // a goodbye, said twice, may be lost as well
			}
			asked := nodes[0].stop()
			for _, n := range nodes[1:] {
				eventually(t, 2*time.Second, "the leaver is gone", func() bool { _, ok := n.sees(nodes[0]); return !ok })
				t.Logf("gone after %s", n.gone[discoverytest.ID(1).String()].Sub(asked))
			}
			late := l.start(1, nodeConfig{Number: 1, Name: "back"})
			full(t, tt.limit, append(slices.Clone(nodes[1:]), late)...)
		})
	}
}

func TestTwoOnOneHost(t *testing.T) {
	for name, opt := range map[string]lanOptions{"with a network": {hosts: 1}, "without": {hosts: 1, lonely: true}} {
		t.Run(name, func(t *testing.T) {
			l := newLAN(t, opt)
			a, b := l.start(1, nodeConfig{Number: 1}), l.start(1, nodeConfig{Number: 2, Port: 4456})
			full(t, 2*time.Second, a, b)
			if e, _ := a.sees(b); !strings.Contains(strings.Join(e.Addrs, " "), "/tcp/4456") {
				t.Errorf("b is seen at %v", e.Addrs)
			}
			b.stop()
			eventually(t, time.Second, "b is gone", func() bool { return a.count() == 0 })
		})
	}
}

// TestTwoNetworks: each host must be seen at the address of the network that both are on.
func TestTwoNetworks(t *testing.T) {
	l := newLAN(t, lanOptions{hosts: 3, nets: 2})
	l.unplug(1, 1) // host 1 is on network 0 alone, host 3 on network 1 alone, host 2 on both
	l.unplug(3, 0)
	one, two, three := l.start(1, nodeConfig{Number: 1}), l.start(2, nodeConfig{Number: 2}), l.start(3, nodeConfig{Number: 3})
	eventually(t, 2*time.Second, "the middle sees both ends", func() bool { return two.count() == 2 })
	eventually(t, 2*time.Second, "the ends see the middle", func() bool { return one.count() == 1 && three.count() == 1 })
	for _, tt := range []struct {
		from, to *node
		net      int
	}{{one, two, 0}, {two, one, 0}, {three, two, 1}, {two, three, 1}} {
		e, _ := tt.from.sees(tt.to)
		other := fmt.Sprintf("/ip4/10.%d.", 81-tt.net)
		if !strings.HasPrefix(e.Addrs[0], "/ip4/"+l.addr(tt.to.config.Number, tt.net)) || strings.Contains(strings.Join(e.Addrs, " "), other) {
			t.Errorf("node %d sees node %d at %v", tt.from.config.Number, tt.to.config.Number, e.Addrs)
		}
		for _, a := range e.Addrs {
			if strings.Contains(a, "fe80") && !strings.HasPrefix(a, fmt.Sprintf("/ip6zone/eth%d/", tt.net)) {
				t.Errorf("node %d sees node %d at %s, by the wrong interface", tt.from.config.Number, tt.to.config.Number, a)
			}
		}
	}
}

// TestBothOnTwoNetworks: two hosts that share two networks are seen at both addresses, and at one when the other goes.
func TestBothOnTwoNetworks(t *testing.T) {
	l := newLAN(t, lanOptions{hosts: 2, nets: 2, no6: true})
	a, b := l.start(1, nodeConfig{Number: 1}), l.start(2, nodeConfig{Number: 2})
	seenAt := func(k int) bool {
		e, _ := a.sees(b)
		return slices.Contains(e.Addrs, "/ip4/"+l.addr(2, k)+"/tcp/4455")
	}
	eventually(t, 2*time.Second, "seen at both", func() bool { return seenAt(0) && seenAt(1) })
	l.unplug(1, 0)
	eventually(t, 2*time.Second, "seen at one", func() bool { return !seenAt(0) && seenAt(1) })
}

func TestInterfaceComesAndGoes(t *testing.T) {
	l := newLAN(t, lanOptions{hosts: 2, lonely: true})
	a, b := l.start(1, nodeConfig{Number: 1}), l.start(2, nodeConfig{Number: 2})
	l.plug(2, 0)
	for range 3 { // there is none at first, then it is made, deleted, made again
		l.plug(1, 0)
		plugged := time.Now()
		full(t, 4*time.Second, a, b)
		t.Logf("seen %s after the interface came", time.Since(plugged))
		l.unplug(1, 0)
		eventually(t, 2*time.Second, "a knows that it is alone", func() bool { return a.count() == 0 })
	}
}

func TestAddressChanges(t *testing.T) {
	l := newLAN(t, lanOptions{hosts: 2, no6: true})
	a, b := l.start(1, nodeConfig{Number: 1}), l.start(2, nodeConfig{Number: 2})
	full(t, 2*time.Second, a, b)
	l.ip("-n", l.host(2), "addr", "del", l.addr(2, 0)+"/16", "dev", "eth0")
	l.ip("-n", l.host(2), "addr", "add", "10.80.9.9/16", "brd", "+", "dev", "eth0")
	took := eventually(t, 3*time.Second, "the new address comes first", func() bool {
		e, _ := a.sees(b)
		return len(e.Addrs) > 0 && e.Addrs[0] == "/ip4/10.80.9.9/tcp/4455"
	})
	t.Logf("seen after %s", took)
}

func TestRename(t *testing.T) {
	l := newLAN(t, lanOptions{hosts: 2})
	a, b := l.start(1, nodeConfig{Number: 1}), l.start(2, nodeConfig{Number: 2})
	full(t, 2*time.Second, a, b)
	long := strings.Repeat("ä", 31) // longer than the label has room for
	for rev, name := range []string{"Zoë's PC. (2)", `a\b.c`, long} {
		fmt.Fprintln(b.in, name)
		eventually(t, 3*time.Second, "the new name "+name, func() bool {
			e, ok := a.sees(b)
			return ok && e.Name == name && e.Rev == uint64(rev)+2
		})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if at, ok := a.gone[discoverytest.ID(2).String()]; ok {
		t.Errorf("a rename made the peer vanish at %s", at)
	}
}

// TestAvahi: a desktop that runs avahi sees peers as any other service, on the same computer and on another, and peers
// see each other past it.
func TestAvahi(t *testing.T) {
	need(t, "avahi-daemon", "avahi-browse", "dbus-daemon", "unshare")
	for _, first := range []string{"avahi", "peerd"} {
		t.Run(first+" first", func(t *testing.T) {
			l := newLAN(t, lanOptions{hosts: 2})
			var a *node
			if first == "peerd" {
				a = l.start(1, nodeConfig{Number: 1})
			}
			browse := l.avahi(1)
			if first == "avahi" {
				a = l.start(1, nodeConfig{Number: 1})
			}
			b := l.start(2, nodeConfig{Number: 2, Name: "Zoë's PC. (2)"})
			full(t, 2*time.Second, a, b)
			eventually(t, 10*time.Second, "avahi shows both", func() bool {
				out := browse("-rtp", "_peerd._tcp")
				return strings.Contains(out, l.addr(1, 0)) && strings.Contains(out, l.addr(2, 0)) && strings.Contains(out, `Zo\195\171`)
			})
			eventually(t, 10*time.Second, "avahi knows the type", func() bool { return strings.Contains(browse("-atp"), "_peerd._tcp") })
			b.stop()
			eventually(t, 5*time.Second, "avahi shows one", func() bool {
				out := browse("-tp", "_peerd._tcp")
				return strings.Contains(out, "host1") && !strings.Contains(out, "Zo")
			})
		})
	}
}

// avahi starts an avahi-daemon with a bus of its own in a host and gives a function that runs avahi-browse there.
func (l *lan) avahi(h int) func(args ...string) string {
	l.t.Helper()
	dir := l.t.TempDir()
	for _, sub := range []string{"dbus", "avahi-daemon"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			l.t.Fatal(err)
		}
	}
	if out, err := exec.Command("sh", "-c", "chmod 755 "+filepath.Dir(dir)+" "+dir+"; chown avahi "+dir+"/avahi-daemon; chown messagebus "+dir+"/dbus; mkdir -p /run/dbus /run/avahi-daemon").CombinedOutput(); err != nil {
		skip(l.t, "avahi: "+string(out))
	}
	inside := func(script string) *exec.Cmd {
		mounts := fmt.Sprintf("hostname avahi%d; mount --bind %s/dbus /run/dbus; mount --bind %s/avahi-daemon /run/avahi-daemon; ", h, dir, dir)
		return exec.Command("ip", "netns", "exec", l.host(h), "unshare", "-um", "sh", "-c", mounts+script)
	}
	for _, daemon := range []string{
		"exec dbus-daemon --system --nofork --nopidfile",
		"exec avahi-daemon --no-chroot --no-rlimits",
	} {
		cmd := inside(daemon)
		if err := cmd.Start(); err != nil {
			l.t.Fatal(err)
		}
		l.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		socket := filepath.Join(dir, "dbus", "system_bus_socket")
		if strings.Contains(daemon, "avahi") {
			socket = filepath.Join(dir, "avahi-daemon", "socket")
		}
		eventually(l.t, 10*time.Second, daemon, func() bool { _, err := os.Stat(socket); return err == nil })
	}
	return func(args ...string) string {
		out, _ := inside("exec avahi-browse " + strings.Join(args, " ")).CombinedOutput()
		return string(out)
	}
}
