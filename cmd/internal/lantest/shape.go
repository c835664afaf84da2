//go:build linux

package lantest

import (
	"fmt"
	"strconv"
)

// Limit lets the cable of LAN k carry at most rate, as tc writes it ("50mbit"), each way; what waits longer than 50 ms for
// its turn is dropped. It replaces an earlier limit, under running connections too; "" takes it away.
func (h *Host) Limit(k int, rate string) {
	h.lan.t.Helper()
	for _, end := range []struct {
		space *space
		dev   string
	}{{h.space, iface(k)}, {h.lan.sw, h.port(k)}} {
		if rate != "" {
			h.lan.must(end.space.run("tc", "qdisc", "replace", "dev", end.dev, "root", "tbf", "rate", rate, "burst", burst(rate), "latency", "50ms"))
		} else if h.limits[k] != "" {
			h.lan.must(end.space.run("tc", "qdisc", "del", "dev", end.dev, "root"))
		}
	}
	h.limits[k] = rate
}

// burst is how many bytes a limited cable may carry at once: those of 4 ms, since the kernel's timer is that late where all
// processors are busy, which no cable is, and part of the line would be lost; and at least one of the packets of up to 64 KiB that
// veth carries whole, with the headers that are counted for each frame of it. Were it cut into its frames here, each would be taken
// in by itself there, which no adapter of 1 Gbit/s leaves to the processor.
func burst(rate string) string {
	const least, late = 128 << 10, 0.004
	var n float64
	var unit string
	if _, err := fmt.Sscanf(rate, "%g%s", &n, &unit); err != nil {
		return strconv.Itoa(least)
	}
	second := n / 8 * map[string]float64{"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}[unit]
	return strconv.Itoa(max(least, int(late*second)))
}

// Congestion has TCP of this host to all of LAN k use an algorithm, "cubic" or "bbr". Connections that are open keep theirs.
// A namespace can't allow what the whole system does not, but its routes can name anything that the kernel has loaded.
func (h *Host) Congestion(k int, algorithm string) {
	h.lan.t.Helper()
	if h.lan.opts.Family != IPv6Only {
		network := fmt.Sprintf("10.%d.0.0/16", 77+k)
		h.lan.must(h.space.ip("route", "replace", network, "dev", iface(k), "src", h.addrs[k].String(), "proto", "kernel", "scope", "link",
			"congctl", algorithm))
	}
	if h.lan.opts.Family != IPv4Only {
		h.lan.must(h.space.ip("-6", "route", "replace", "fe80::/64", "dev", iface(k), "proto", "kernel", "metric", "256", "congctl", algorithm))
	}
}
