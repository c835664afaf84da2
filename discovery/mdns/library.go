package mdns

import (
	"context"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/mdns"
	"github.com/miekg/dns"

	"github.com/peerd/peerd/discovery/mdns/group"
)

// queryTime is how long answers to one query are collected. The library can't be cut short, so it is short.
const queryTime = 400 * time.Millisecond

// zone is what the library's server answers from, in its own goroutines. The server does not say on which network a
// question came, so it is used only where there is one; see [loop.serve].
type zone struct{ now atomic.Pointer[zoneState] }

type zoneState struct {
	self *self
	link group.Link
}

// Records implements [mdns.Zone].
func (z *zone) Records(q dns.Question) []dns.RR {
	if now := z.now.Load(); now != nil {
		return now.self.answer(q, now.link)
	}
	return nil
}

// serve starts the library's server on a link.
func serve(z *zone, l group.Link, logger *slog.Logger) (*mdns.Server, error) {
	return mdns.NewServer(&mdns.Config{Zone: z, Iface: &net.Interface{Index: l.Index, Name: l.Name}, Logger: quiet(logger)})
}

// query asks once on one link, by one family (a failure of one must not spoil the other), and gives who answered.
func query(ctx context.Context, l group.Link, v6, unicast bool, logger *slog.Logger) ([]heard, error) {
	entries := make(chan *mdns.ServiceEntry, 4096)
	err := mdns.QueryContext(ctx, &mdns.QueryParam{
		Service: strings.TrimSuffix(service, ".local."), Timeout: queryTime, Entries: entries,
		Interface:           &net.Interface{Index: l.Index, Name: l.Name},
		WantUnicastResponse: unicast, DisableIPv4: v6, DisableIPv6: !v6, Logger: quiet(logger),
	})
	close(entries)
	var list []heard
	for e := range entries { // only now: before, the library still writes to them
		label, ok := instanceOf(e.Name)
		if !ok {
			continue
		}
		var ips []netip.Addr
		for _, raw := range []net.IP{e.AddrV4, addr6(e)} {
			if ip, ok := netip.AddrFromSlice(raw); ok {
				ips = append(ips, ip.Unmap())
			}
		}
		h, ok := readInstance(label, e.Port, e.InfoFields, ips, ttlSeconds*time.Second, l)
		if first := at0(h.addrs); ok && (first.Is4() && l.Near(first) || zone6(e) == l.Name) {
			list = append(list, h) // the library hears other links as well, where these addresses would lead astray
		}
	}
	return list, err
}

func addr6(e *mdns.ServiceEntry) net.IP {
	if e.AddrV6IPAddr == nil {
		return nil
	}
	return e.AddrV6IPAddr.IP
}

func zone6(e *mdns.ServiceEntry) string {
	if e.AddrV6IPAddr == nil {
		return ""
	}
	return e.AddrV6IPAddr.Zone
}

func at0(addrs []netip.AddrPort) netip.Addr {
	if len(addrs) == 0 {
		return netip.Addr{}
	}
	return addrs[0].Addr()
}

// quiet gives the library a logger for what it has to say of every odd packet on the network.
func quiet(logger *slog.Logger) *log.Logger { return log.New(debugWriter{logger}, "", 0) }

type debugWriter struct{ logger *slog.Logger }

func (w debugWriter) Write(b []byte) (int, error) {
	if w.logger.Enabled(context.Background(), slog.LevelDebug) {
		w.logger.Debug("mdns library", "says", cut(strings.TrimSpace(string(b)), 200))
	}
	return len(b), nil
}
