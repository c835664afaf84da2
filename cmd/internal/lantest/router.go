//go:build linux

package lantest

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// Router joins all LANs of a network: it forwards unicast of IPv4 and IPv6 between them and no multicast, as routers do.
// Each host's default route leads to it.
type Router struct {
	lan   *LAN
	space *space
	dir   string // for rules
}

// routerHost is the router's last number on each LAN.
const routerHost = 254

// Route puts a router between the LANs. Each must have hosts of its own: one that is on two LANs would have two default
// routes. With IPv6 every host gets an address of a unique local prefix per LAN, fd00:k::/64, beside its link-local one.
func (l *LAN) Route() *Router {
	l.t.Helper()
	r := &Router{lan: l, dir: l.t.TempDir()}
	var err error
	if r.space, err = newSpace("router"); err != nil {
		l.t.Fatalf("lantest: namespace of the router: %v", err)
	}
	l.t.Cleanup(r.space.close)
	six := l.opts.Family != IPv4Only
	l.must(r.space.sysctl("net/ipv4/ip_forward", "1"))
	if six {
		l.must(r.space.sysctl("net/ipv6/conf/all/forwarding", "1"))
	}
	for k := range l.opts.LANs {
		port := fmt.Sprintf("r.%d", k)
		l.must(l.sw.ip("link", "add", port, "type", "veth", "peer", "name", iface(k), "netns", r.space.proc("ns/net")))
		l.must(l.sw.ip("link", "set", port, "master", bridge(k), "up"))
		if six {
			l.must(r.space.sysctl("net/ipv6/conf/"+iface(k)+"/accept_dad", "0"))
			l.must(r.space.ip("addr", "add", local6(k, routerHost)+"/64", "dev", iface(k)))
		}
		if l.opts.Family != IPv6Only {
			l.must(r.space.ip("addr", "add", gateway(k)+"/16", "dev", iface(k)))
		}
		l.must(r.space.ip("link", "set", iface(k), "up"))
		WaitFor(l.t, startLimit, "the router to be on LAN "+iface(k), func() bool {
			out, err := l.sw.output("ip", "-d", "-o", "link", "show", "dev", port)
			l.must(err)
			return strings.Contains(out, "state UP") && strings.Contains(out, "bridge_slave state forwarding")
		})
	}
	for i, h := range l.Hosts {
		for k := range l.opts.LANs {
			if l.opts.Attached != nil && !l.opts.Attached(i, k) {
				continue
			}
			if l.opts.Family != IPv6Only {
				l.must(h.space.ip("route", "add", "default", "via", gateway(k)))
			}
			if six {
				l.must(h.space.ip("addr", "add", local6(k, i+1)+"/64", "dev", iface(k)))
				l.must(h.space.ip("-6", "route", "add", "default", "via", local6(k, routerHost)))
			}
		}
	}
	return r
}

// Between has the router drop all that goes from one LAN to another, but what comes from or goes to these addresses.
func (r *Router) Between(only ...netip.Addr) {
	r.lan.t.Helper()
	var rules strings.Builder
	rules.WriteString("table inet lantest { chain forward { type filter hook forward priority 0; policy drop;\n")
	for _, a := range only {
		family := "ip"
		if a.Is6() {
			family = "ip6"
		}
		fmt.Fprintf(&rules, " %[1]s saddr %[2]s accept\n %[1]s daddr %[2]s accept\n", family, a)
	}
	rules.WriteString("}\n}\n")
	file := filepath.Join(r.dir, "forward.nft")
	r.lan.must(os.WriteFile(file, []byte(rules.String()), 0o600))
	r.lan.must(r.space.run("nft", "-f", file))
}

func gateway(k int) string { return fmt.Sprintf("10.%d.255.%d", 77+k, routerHost) }

// local6 is a unique local address (RFC 4193) on LAN k.
func local6(k, number int) string { return fmt.Sprintf("fd00:%x::%x", k+1, number) }
