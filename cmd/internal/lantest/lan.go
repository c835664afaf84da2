//go:build linux

package lantest

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Family is which versions of IP a LAN carries.
type Family int

// The families. With IPv6 every host has a link-local address (fe80::), usable at once, and no other.
const (
	IPv4AndIPv6 Family = iota
	IPv4Only
	IPv6Only
)

// Options describe a network. The zero value of each field is the plain case.
type Options struct {
	Hosts      int                      // computers, at most 250
	LANs       int                      // separate LANs, at most 9; 0 means 1. LAN k is at every host's eth<k>
	Attached   func(host, lan int) bool // which host is on which LAN; nil: every host on every LAN
	Family     Family
	Loss       float64 // part of the packets lost on the way from each host to the switch, 0 to 1
	Rate       string  // limit of each cable, both ways, see [Host.Limit]; "" is none
	Congestion string  // how TCP avoids congestion, see [Host.Congestion]; "": as this system is set
	Firewall   int     // the port that [Host.Firewall] lets in on every host; 0: no firewall
	Homes      string  // an existing folder, of this network alone, that the hosts' homes are made in and that the caller removes; "": folders of the test
}

// LAN is a running network.
type LAN struct {
	Hosts []*Host

	t    testing.TB
	opts Options
	sw   *space // holds the bridges
}

// New makes a network that lives until the end of the test. Where that can't be (not Linux, not root, a tool missing) the
// test is skipped, or fails when the environment says CI=true.
func New(t testing.TB, o Options) *LAN {
	t.Helper()
	Need(t, "ip", "tc", "nft")
	o.LANs = max(o.LANs, 1)
	if o.Hosts < 1 || o.Hosts > 250 || o.LANs > 9 {
		t.Fatalf("lantest: no network of %d hosts on %d LANs", o.Hosts, o.LANs)
	}
	sweep(t)
	roomForNeighbours(t)
	l := &LAN{t: t, opts: o}
	t.Cleanup(l.close)
	var err error
	if l.sw, err = newSpace("switch"); err != nil {
		t.Fatalf("lantest: namespace of the switch: %v", err)
	}
	l.bare()
	for k := range o.LANs {
		l.must(l.sw.ip("link", "add", bridge(k), "type", "bridge", "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0"))
		l.must(l.sw.sysctl("net/ipv6/conf/"+bridge(k)+"/disable_ipv6", "1"))
		l.must(l.sw.ip("link", "set", bridge(k), "up"))
	}
	for i := range o.Hosts {
		l.addHost(i)
	}
	for i, h := range l.Hosts {
		for k := range o.LANs {
			if o.Attached == nil || o.Attached(i, k) {
				h.waitLink(k)
			}
		}
	}
	return l
}

// bare spares the switch what no switch does: to show each frame to this system's packet filter, where that is built in. The programs
// under test lack the processor time that it takes.
func (l *LAN) bare() {
	for _, of := range []string{"ip", "ip6", "arp"} {
		_ = l.sw.sysctl("net/bridge/bridge-nf-call-"+of+"tables", "0") // some systems have no such thing
	}
}

func (l *LAN) addHost(i int) {
	l.t.Helper()
	h := &Host{Name: fmt.Sprintf("h%d", i+1), lan: l, index: i, limits: make([]string, l.opts.LANs)}
	var err error
	if l.opts.Homes == "" {
		h.Home = l.t.TempDir()
	} else {
		h.Home = filepath.Join(l.opts.Homes, h.Name)
		l.must(os.Mkdir(h.Home, 0o755))
	}
	if h.space, err = newSpace(h.Name); err != nil {
		l.t.Fatalf("lantest: namespace of %s: %v", h.Name, err)
	}
	l.Hosts = append(l.Hosts, h)
	l.must(h.space.ip("link", "set", "lo", "up"))
	for k := range l.opts.LANs {
		h.addrs = append(h.addrs, netip.AddrFrom4([4]byte{10, byte(77 + k), 0, byte(i + 1)}))
		if l.opts.Attached == nil || l.opts.Attached(i, k) {
			h.connect(k)
		}
	}
	if l.opts.Firewall != 0 {
		h.Firewall(l.opts.Firewall)
	}
}

func (l *LAN) close() {
	for _, h := range l.Hosts {
		h.space.close()
	}
	if l.sw != nil {
		l.sw.close()
	}
}

func (l *LAN) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatalf("lantest: %v", err)
	}
}

func bridge(k int) string { return "br" + strconv.Itoa(k) }

// Need skips the test unless it runs as root and has the tools; with CI=true in the environment it fails instead, so that
// nothing is left out unseen.
func Need(t testing.TB, tools ...string) {
	t.Helper()
	why := ""
	if os.Geteuid() != 0 {
		why = "needs root, to make network namespaces"
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			why = "needs the program " + tool
		}
	}
	switch {
	case why == "":
	case os.Getenv("CI") == "true":
		t.Fatalf("%s, and CI=true forbids skipping", why)
	default:
		t.Skip(why)
	}
}

// roomForNeighbours raises the kernel's neighbour tables, which all namespaces share: a full one makes sends fail with
// EINVAL as soon as N hosts have N neighbours each. It never lowers them.
func roomForNeighbours(t testing.TB) {
	t.Helper()
	for _, family := range []string{"ipv4", "ipv6"} {
		for i, want := range []int{8192, 16384, 32768} {
			path := fmt.Sprintf("/proc/sys/net/%s/neigh/default/gc_thresh%d", family, i+1)
			b, err := os.ReadFile(path)
			if err != nil {
				continue // no such family here
			}
			if have, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && have >= want {
				continue
			}
			if err := os.WriteFile(path, []byte(strconv.Itoa(want)), 0); err != nil {
				t.Fatalf("lantest: room for neighbours: %v", err)
			}
		}
	}
}
