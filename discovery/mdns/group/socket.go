package group

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Port is of UDP, RFC 6762 section 3.
const Port = 5353

const (
	maxPacket = 9000 // bytes, RFC 6762 section 17
	hopLimit  = 255  // RFC 6762 section 11
)

// groupAddr is RFC 6762 section 3.
func groupAddr(v6 bool) netip.Addr {
	if v6 {
		return netip.MustParseAddr("ff02::fb")
	}
	return netip.MustParseAddr("224.0.0.251")
}

// Socket listens and speaks to the group of one family on one link. One for each link, rather than one for all, tells
// where a packet came from on every system, Windows included.
type Socket struct {
	Link  Link
	IPv6  bool
	conn  *net.UDPConn
	group netip.AddrPort
}

// Open makes a socket for one family of a link that has addresses of it. Other programs may use the port too.
func Open(ctx context.Context, l Link, v6 bool) (*Socket, error) {
	network, at := "udp4", "0.0.0.0:5353"
	if v6 {
		network, at = "udp6", "[::]:5353"
	}
	control := func(_, _ string, raw syscall.RawConn) error {
		var err error
		if outer := raw.Control(func(fd uintptr) { err = share(fd, v6) }); outer != nil {
			return outer
		}
		return err
	}
	lc := net.ListenConfig{Control: control}
	pc, err := lc.ListenPacket(ctx, network, at)
	if err != nil {
		return nil, err
	}
	s := &Socket{Link: l, IPv6: v6, conn: pc.(*net.UDPConn), group: netip.AddrPortFrom(groupAddr(v6), Port)}
	if v6 {
		s.group = netip.AddrPortFrom(groupAddr(v6).WithZone(l.Name), Port)
	}
	if err := s.join(); err != nil {
		s.conn.Close()
		return nil, err
	}
	return s, nil
}

// membership is what x/net's ipv4 and ipv6 connections have in common.
type membership interface {
	SetMulticastInterface(*net.Interface) error
	SetMulticastLoopback(bool) error
	JoinGroup(*net.Interface, net.Addr) error
}

// join makes the socket one of the group on its link, heard by other programs of this computer as well.
func (s *Socket) join() error {
	i := &net.Interface{Index: s.Link.Index, Name: s.Link.Name}
	var g membership
	if s.IPv6 {
		p := ipv6.NewPacketConn(s.conn)
		if err := p.SetMulticastHopLimit(hopLimit); err != nil {
			return err
		}
		_ = p.SetHopLimit(hopLimit) // of the rare unicast answer
		g = p
	} else {
		p := ipv4.NewPacketConn(s.conn)
		if err := p.SetMulticastTTL(hopLimit); err != nil {
			return err
		}
		_ = p.SetTTL(hopLimit)
		g = p
	}
	if err := g.SetMulticastInterface(i); err != nil {
		return err
	}
	if err := g.SetMulticastLoopback(true); err != nil {
		return err
	}
	return g.JoinGroup(i, &net.UDPAddr{IP: s.group.Addr().AsSlice()})
}

// Read calls take for every packet that comes from the link itself, until the socket is closed or good for nothing.
// Other packets may have been sent from anywhere: RFC 6762 section 11.
func (s *Socket) Read(take func(b []byte, from netip.AddrPort)) error {
	const tolerated = 100 // failures in a row, e.g. a packet too long for the buffer on Windows
	buf := make([]byte, maxPacket)
	for failed := 0; ; {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			if failed++; errors.Is(err, net.ErrClosed) || failed > tolerated {
				return err
			}
			continue
		}
		failed = 0
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if s.Link.Near(from.Addr()) {
			take(buf[:n], from)
		}
	}
}

// Multicast sends a message to all who listen on the link.
func (s *Socket) Multicast(b []byte) error {
	if !s.Link.Loopback {
		return s.Send(b, s.group)
	}
	// Linux would send it from any other address.
	from := &ipv4.ControlMessage{Src: s.Link.Nets[0].Addr().AsSlice(), IfIndex: s.Link.Index}
	_, err := ipv4.NewPacketConn(s.conn).WriteTo(b, from, net.UDPAddrFromAddrPort(s.group))
	return err
}

// Send sends a message to one address.
func (s *Socket) Send(b []byte, to netip.AddrPort) error {
	_, err := s.conn.WriteToUDPAddrPort(b, to)
	return err
}

// Close ends Read.
func (s *Socket) Close() error { return s.conn.Close() }
