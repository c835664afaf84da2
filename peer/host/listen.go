package host

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host/book"
	"github.com/peerd/peerd/peer/host/limit"
)

// freePortTries is how often a free port is looked for that TCP and UDP of all families have in common.
const freePortTries = 8

var quicSuffix = ma.StringCast("/quic-v1")

// endpoint is one thing to listen on: a port at some addresses, by TCP, QUIC or both.
type endpoint struct {
	ips       []netip.Addr
	port      uint16 // 0 takes a free one
	tcp, quic bool
}

// anywhere are the addresses that stand for all of both families.
func anywhere() []netip.Addr { return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} }

// listen opens all listeners and sets h.port.
func (h *Host) listen() error {
	if len(h.cfg.Listen) == 0 {
		e := endpoint{ips: anywhere(), port: DefaultPort, tcp: true, quic: true}
		err := h.listenOn(e)
		if errors.Is(err, syscall.EADDRINUSE) {
			h.log.Info("the default port is taken, so a free one is used", "port", DefaultPort)
			e.port = 0
			err = h.listenOn(e)
		}
		return err
	}
	for _, s := range h.cfg.Listen {
		e, err := parseEndpoint(s)
		if err == nil {
			err = h.listenOn(e)
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			return &peer.Error{Op: "listen", Path: s, Kind: peer.Conflict, Err: errors.New("another program listens there"),
				Hint: "stop it, or choose another port with --listen"}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parseEndpoint reads IP:port, :port, localhost:port, or a multiaddr of TCP or QUIC.
func parseEndpoint(s string) (endpoint, error) {
	fail := func(err error) (endpoint, error) {
		return endpoint{}, &peer.Error{Op: "listen", Path: s, Kind: peer.Usage, Err: err, Hint: "give IP:port, :port or a multiaddr"}
	}
	if strings.HasPrefix(s, "/") {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return fail(err)
		}
		kind := book.KindOf(a)
		if kind == book.None {
			return fail(errors.New("it is neither TCP nor QUIC"))
		}
		_, hostPort, err := manet.DialArgs(a)
		if err != nil {
			return fail(err)
		}
		ap, err := netip.ParseAddrPort(hostPort)
		if err != nil {
			return fail(err)
		}
		return endpoint{[]netip.Addr{ap.Addr()}, ap.Port(), kind == book.TCP, kind == book.QUIC}, nil
	}
	host, portText, err := net.SplitHostPort(s)
	if err != nil {
		return fail(err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return fail(fmt.Errorf("%q is no port", portText))
	}
	e := endpoint{port: uint16(port), tcp: true, quic: true}
	switch host {
	case "":
		e.ips = anywhere()
	case "localhost":
		e.ips = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	default:
		ip, err := netip.ParseAddr(host)
		if err != nil {
			return fail(err)
		}
		e.ips = []netip.Addr{ip.Unmap()}
	}
	return e, nil
}

// listenOn opens all listeners of an endpoint on one port, or none.
func (h *Host) listenOn(e endpoint) (err error) {
	tries := 1
	if e.port == 0 {
		tries = freePortTries
	}
	for range tries {
		if err = h.tryListen(e); !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	if err != nil {
		return &peer.Error{Op: "listen", Kind: peer.KindOf(err), Err: err}
	}
	return nil
}

func (h *Host) tryListen(e endpoint) error {
	var open []ma.Multiaddr
	port := e.port
	add := func(ip netip.Addr, quic bool) error {
		a, err := listenAddr(netip.AddrPortFrom(ip, port), quic)
		if err != nil {
			return err
		}
		before := h.swarm.ListenAddresses()
		if err := h.swarm.AddListenAddr(a); err != nil {
			// A computer may be without IPv6.
			if len(e.ips) > 1 && ip.Is6() && (errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)) {
				return nil
			}
			return err
		}
		for _, now := range h.swarm.ListenAddresses() {
			if !ma.Contains(before, now) {
				open = append(open, now)
				port = portOf(now)
			}
		}
		return nil
	}
	var err error
	for _, quic := range []bool{false, true} {
		for _, ip := range e.ips {
			if err == nil && ((e.tcp && !quic) || (e.quic && quic)) {
				err = add(ip, quic)
			}
		}
	}
	if err != nil {
		h.swarm.ListenClose(open...)
		return err
	}
	if h.port == 0 {
		h.port = int(port)
	}
	return nil
}

func listenAddr(ap netip.AddrPort, quic bool) (ma.Multiaddr, error) {
	if !quic {
		return manet.FromNetAddr(net.TCPAddrFromAddrPort(ap))
	}
	a, err := manet.FromNetAddr(net.UDPAddrFromAddrPort(ap))
	if err != nil {
		return nil, err
	}
	return a.Encapsulate(quicSuffix), nil
}

// portOf is the port of a TCP or QUIC address, or 0.
func portOf(a ma.Multiaddr) uint16 {
	_, hostPort, err := manet.DialArgs(a)
	if err != nil {
		return 0
	}
	ap, _ := netip.ParseAddrPort(hostPort)
	return ap.Port()
}

// Port is where this peer listens, on TCP and, unless configured otherwise, on UDP for QUIC.
func (h *Host) Port() int { return h.port }

// Addrs are the addresses where this peer can be dialled now, in a fixed order: TCP before QUIC, IPv4 before IPv6. For a
// listener on all addresses they are those of all network interfaces that are up; IPv6 link-local ones carry the interface's
// name as their zone, which means something on this computer only. Loopback is told where nothing else is listened on.
func (h *Host) Addrs() []peer.Addr {
	var local []netip.Addr
	var addrs []peer.Addr
	for _, l := range h.swarm.ListenAddresses() {
		kind := book.KindOf(l)
		if kind == book.None {
			continue
		}
		ip, _ := limit.IP(l)
		if !ip.IsUnspecified() {
			addrs = append(addrs, l)
			continue
		}
		if local == nil {
			local = interfaceIPs()
		}
		for _, have := range local {
			if have.Is4() != ip.Is4() {
				continue
			}
			if a, err := listenAddr(netip.AddrPortFrom(have, portOf(l)), kind == book.QUIC); err == nil {
				addrs = append(addrs, a)
			}
		}
	}
	// The swarm tells of its listeners in any order.
	slices.SortFunc(addrs, func(a, b peer.Addr) int { return cmp.Or(int(book.KindOf(a))-int(book.KindOf(b)), a.Compare(b)) })
	return addrs
}

// interfaceIPs are the addresses of all interfaces that are up, without loopback, with zones where link-local.
func interfaceIPs() []netip.Addr {
	ifaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var ips []netip.Addr
	for _, iface := range ifaces {
		if iface.Flags&net.FlagUp == 0 || iface.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, err := iface.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue
			}
			ip := prefix.Addr().Unmap()
			if ip.Is6() && ip.IsLinkLocalUnicast() {
				ip = ip.WithZone(iface.Name)
			}
			ips = append(ips, ip)
		}
	}
	return ips
}
