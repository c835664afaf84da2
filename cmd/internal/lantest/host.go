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
)

// Host is one computer of a [LAN]. Methods that change the network fail the test when they can't; they may be called
// from any goroutine of the test, one at a time.
type Host struct {
	Name string // its host name: h1, h2, …
	Home string // its home folder

	lan    *LAN
	index  int
	space  *space
	addrs  []netip.Addr // IPv4 by LAN, held or to be held
	limits []string     // by LAN, see Limit
}

// Addr is the host's IPv4 address on LAN k.
func (h *Host) Addr(k int) netip.Addr { return h.addrs[k] }

// Command prepares a program to run on this host, with the host's home and no other personal folder. Start it by
// [Host.Run] or [Host.Start].
func (h *Host) Command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = h.Home
	for _, v := range os.Environ() {
		if key, _, _ := strings.Cut(v, "="); key != "HOME" && !strings.HasPrefix(key, "XDG_") && !strings.HasPrefix(key, "PEERD_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "HOME="+h.Home)
	return cmd
}

// Do calls f on a thread inside the host's namespaces: sockets that f opens belong to this host. f must not start
// goroutines that open any, and blocks all else on this host while it runs.
func (h *Host) Do(f func() error) error { return h.space.do(f) }

func iface(k int) string          { return "eth" + strconv.Itoa(k) }
func (h *Host) port(k int) string { return fmt.Sprintf("p%d.%d", h.index+1, k) }

// AddIface connects the host to LAN k by an interface with its usual addresses, which works once it returns.
func (h *Host) AddIface(k int) {
	h.lan.t.Helper()
	h.connect(k)
	h.waitLink(k)
}

// waitLink waits until both ends of a cable carry packets and the link-local address is there. The kernel takes up to a
// second for that when many come up.
func (h *Host) waitLink(k int) {
	h.lan.t.Helper()
	WaitFor(h.lan.t, startLimit, h.Name+"'s "+iface(k)+" to be up", func() bool {
		dev, err := h.space.output("ip", "-o", "link", "show", "dev", iface(k))
		h.lan.must(err)
		port, err := h.lan.sw.output("ip", "-d", "-o", "link", "show", "dev", h.port(k))
		h.lan.must(err)
		addrs, err := h.space.output("ip", "-6", "-o", "addr", "show", "dev", iface(k))
		h.lan.must(err)
		if h.lan.opts.Family != IPv4Only && (!strings.Contains(addrs, "inet6 fe80:") || strings.Contains(addrs, "tentative")) {
			return false
		}
		return strings.Contains(dev, "state UP") && strings.Contains(port, "state UP") && strings.Contains(port, "bridge_slave state forwarding")
	})
	if h.lan.opts.Congestion != "" {
		h.Congestion(k, h.lan.opts.Congestion)
	}
}

func (h *Host) connect(k int) {
	h.lan.t.Helper()
	must, o, dev, port := h.lan.must, h.lan.opts, iface(k), h.port(k)
	mac := fmt.Sprintf("02:4c:41:4e:%02x:%02x", k, h.index+1) // as an adapter that is plugged in again has the same
	must(h.lan.sw.ip("link", "add", port, "type", "veth", "peer", "name", dev, "address", mac, "netns", h.space.proc("ns/net")))
	must(h.lan.sw.ip("link", "set", port, "master", bridge(k), "up"))
	if o.Family == IPv4Only {
		must(h.space.sysctl("net/ipv6/conf/"+dev+"/disable_ipv6", "1"))
	} else {
		must(h.space.sysctl("net/ipv6/conf/"+dev+"/accept_dad", "0")) // usable at once, not after a second of asking around
		must(h.space.sysctl("net/ipv6/conf/"+dev+"/accept_ra", "0"))
	}
	if o.Family != IPv6Only {
		must(h.space.ip("addr", "add", h.addrs[k].String()+"/16", "brd", "+", "dev", dev))
	}
	must(h.space.ip("link", "set", dev, "up"))
	if o.Family != IPv6Only && k == 0 {
		must(h.space.ip("route", "replace", "224.0.0.0/4", "dev", dev))
	}
	h.limits[k] = "" // the old cable had it
	h.Limit(k, o.Rate)
	if o.Loss > 0 {
		h.lose(port, o.Loss)
	}
}

// lose drops a part of the packets as they enter the switch, where the sender can't notice. It needs cls_bpf only, and
// not netem, which many kernels lack.
func (h *Host) lose(port string, part float64) {
	h.lan.t.Helper()
	const (
		loadRandom = "32 0 0 4294963256" // BPF_LD|BPF_W|BPF_ABS at SKF_AD_OFF+SKF_AD_RANDOM
		passIfMore = "37 0 1 %d"         // BPF_JMP|BPF_JGT: next when greater, else skip one
		pass       = "6 0 0 4294967295"  // TC_ACT_UNSPEC
		drop       = "6 0 0 2"           // TC_ACT_SHOT
	)
	program := fmt.Sprintf("4,"+loadRandom+","+passIfMore+","+pass+","+drop, uint32(part*(1<<32-1)))
	h.lan.must(h.lan.sw.run("tc", "qdisc", "add", "dev", port, "clsact"))
	h.lan.must(h.lan.sw.run("tc", "filter", "add", "dev", port, "ingress", "protocol", "all", "bpf", "direct-action", "bytecode", program))
}

// DelIface takes the host's interface on LAN k away, as a dock or a USB adapter that is pulled.
func (h *Host) DelIface(k int) {
	h.lan.t.Helper()
	h.lan.must(h.space.ip("link", "del", iface(k)))
}

// Unplug pulls the cable of LAN k: the interface stays, its carrier is lost.
func (h *Host) Unplug(k int) {
	h.lan.t.Helper()
	h.lan.must(h.lan.sw.ip("link", "set", h.port(k), "down"))
}

// Plug puts the cable of LAN k back; packets pass once it returns.
func (h *Host) Plug(k int) {
	h.lan.t.Helper()
	h.lan.must(h.lan.sw.ip("link", "set", h.port(k), "up"))
	h.waitLink(k)
}

// ChangeAddress gives the host another IPv4 address on LAN k in the old one's place, as a new DHCP lease does.
func (h *Host) ChangeAddress(k int, to netip.Addr) {
	h.lan.t.Helper()
	h.lan.must(h.space.ip("addr", "del", h.addrs[k].String()+"/16", "dev", iface(k)))
	h.lan.must(h.space.ip("addr", "add", to.String()+"/16", "brd", "+", "dev", iface(k)))
	h.addrs[k] = to
	if h.lan.opts.Congestion != "" {
		h.Congestion(k, h.lan.opts.Congestion)
	}
}

// Firewall drops whatever comes in but answers, pings, multicast DNS and one port, as the default of a desktop system.
func (h *Host) Firewall(port int) {
	h.lan.t.Helper()
	rules := fmt.Sprintf(`table inet lantest { chain input { type filter hook input priority 0; policy drop;
 iif lo accept
 ct state established,related accept
 meta l4proto { icmp, ipv6-icmp } accept
 ip daddr 224.0.0.251 udp dport 5353 accept
 ip6 daddr ff02::fb udp dport 5353 accept
 meta l4proto { tcp, udp } th dport %d accept
}
}
`, port)
	file := filepath.Join(h.Home, ".firewall.nft")
	h.lan.must(os.WriteFile(file, []byte(rules), 0o600))
	h.lan.must(h.space.run("nft", "-f", file))
}

// Avahi starts a system bus and avahi-daemon of the host's own.
func (h *Host) Avahi() {
	h.lan.t.Helper()
	Need(h.lan.t, "dbus-daemon", "avahi-daemon", "avahi-browse")
	h.lan.must(h.Do(func() error { return os.MkdirAll("/run/dbus", 0o755) }))
	h.Start(h.Command("dbus-daemon", "--system", "--nofork", "--nopidfile"))
	h.waitFile("/run/dbus/system_bus_socket")
	h.Start(h.Command("avahi-daemon", "--no-chroot", "--no-rlimits"))
	h.waitFile("/run/avahi-daemon/socket")
}

// waitFile waits for a file to be there as this host sees it.
func (h *Host) waitFile(path string) {
	h.lan.t.Helper()
	WaitFor(h.lan.t, startLimit, h.Name+" to have "+path, func() bool {
		return h.Do(func() error { _, err := os.Stat(path); return err }) == nil
	})
}

// Traffic is what passed an interface since it was made, every header counted.
type Traffic struct{ ReceivedBytes, ReceivedPackets, SentBytes, SentPackets uint64 }

// Traffic reads the counters of the host's interface on LAN k.
func (h *Host) Traffic(k int) Traffic {
	h.lan.t.Helper()
	b, err := os.ReadFile(h.space.proc("net/dev"))
	h.lan.must(err)
	for line := range strings.Lines(string(b)) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		if f := strings.Fields(rest); name == iface(k) && len(f) >= 10 {
			var n [10]uint64
			for i := range n {
				n[i], err = strconv.ParseUint(f[i], 10, 64)
				h.lan.must(err)
			}
			return Traffic{ReceivedBytes: n[0], ReceivedPackets: n[1], SentBytes: n[8], SentPackets: n[9]}
		}
	}
	h.lan.t.Fatalf("lantest: %s has no %s", h.Name, iface(k))
	return Traffic{}
}
