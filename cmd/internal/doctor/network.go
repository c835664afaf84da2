package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	mdnsPort  = 5353
	hopLimit  = 255  // RFC 6762 section 11
	maxHeard  = 1024 // computers that are told apart
	maxPacket = 9000 // bytes, RFC 6762 section 17
)

// System is the [Network] of this computer.
type System struct{}

// Links implements [Network].
func (System) Links() ([]Link, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var links []Link
	for _, i := range all {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		l := Link{Name: i.Name, Index: i.Index, Multicast: i.Flags&net.FlagMulticast != 0 && i.Flags&net.FlagPointToPoint == 0}
		addrs, _ := i.Addrs() // one that vanished meanwhile has none
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue
			}
			ip := prefix.Addr().Unmap()
			if ip.Is6() && ip.IsLinkLocalUnicast() {
				ip = ip.WithZone(i.Name)
			}
			l.Addrs = append(l.Addrs, ip)
		}
		if len(l.Addrs) > 0 {
			links = append(links, l)
		}
	}
	return links, nil
}

// Knock implements [Network].
func (System) Knock(ctx context.Context, at netip.AddrPort) Answer {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", at.String())
	if err != nil {
		return answerOf(err)
	}
	_ = conn.Close()
	return Open
}

// Listen implements [Network].
func (System) Listen(ctx context.Context, links []Link, mark string, speak func()) Heard {
	var ears []*ear
	heard := Heard{Own: make(map[string]bool)}
	for _, v6 := range []bool{false, true} {
		with := slices.DeleteFunc(slices.Clone(links), func(l Link) bool { return !l.has(v6) })
		if len(with) == 0 {
			continue
		}
		e, err := openEar(with, v6)
		if err != nil {
			heard.Taken = heard.Taken || isTaken(err)
			heard.Err = err
			continue
		}
		ears = append(ears, e)
	}
	if len(ears) > 0 {
		heard.Err = nil
	}
	hush := func() {
		for _, e := range ears {
			_ = e.conn.Close()
		}
	}
	defer hush()
	defer context.AfterFunc(ctx, hush)()
	names := make(map[netip.Addr]string) // of links, by own addresses
	for _, a := range ownAddrs() {
		names[a] = "" // e.g. the loopback's, which Avahi speaks from
	}
	for _, l := range links {
		for _, a := range l.Addrs {
			names[a] = l.Name
		}
	}
	var mu sync.Mutex
	others := make(map[netip.Addr]bool)
	var wg sync.WaitGroup
	for _, e := range ears {
		wg.Go(func() {
			e.read(func(packet []byte, from netip.Addr) {
				mu.Lock()
				defer mu.Unlock()
				switch link, own := names[from]; {
				case !own && len(others) < maxHeard:
					others[from] = true
				case link != "" && strings.Contains(string(packet), mark):
					heard.Own[link] = true
				}
			})
		})
	}
	for _, e := range ears {
		e.ask()
	}
	speak()
	wg.Wait()
	heard.Others = len(others)
	return heard
}

// ownAddrs are all addresses of this computer, without zones.
func ownAddrs() []netip.Addr {
	list, _ := net.InterfaceAddrs() // none then
	var own []netip.Addr
	for _, a := range list {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, prefix.Addr().Unmap())
		}
	}
	return own
}

// multicast are the links that can.
func multicast(links []Link) []Link {
	return slices.DeleteFunc(slices.Clone(links), func(l Link) bool { return !l.Multicast })
}

func (l Link) has(v6 bool) bool {
	return slices.ContainsFunc(l.Addrs, func(a netip.Addr) bool { return a.Is6() == v6 })
}

// ear is a socket of the multicast DNS group beside the daemon's.
type ear struct {
	conn  *net.UDPConn
	links []Link
	group *net.UDPAddr
	send  func(b []byte, l Link) error
}

// openEar joins the group of one family on several links, of which at least one must do.
func openEar(links []Link, v6 bool) (*ear, error) {
	network, group := "udp4", &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: mdnsPort}
	if v6 {
		network, group = "udp6", &net.UDPAddr{IP: net.ParseIP("ff02::fb"), Port: mdnsPort}
	}
	conn, err := net.ListenMulticastUDP(network, links[0].iface(), group)
	for len(links) > 1 && err != nil && !isTaken(err) { // a link may be about to go
		links = links[1:]
		conn, err = net.ListenMulticastUDP(network, links[0].iface(), group)
	}
	if err != nil {
		return nil, err
	}
	e := &ear{conn: conn, links: links, group: group}
	if v6 {
		p := ipv6.NewPacketConn(conn)
		_ = p.SetMulticastHopLimit(hopLimit)
		for _, l := range links[1:] {
			_ = p.JoinGroup(l.iface(), group)
		}
		e.send = func(b []byte, l Link) error {
			_, err := p.WriteTo(b, &ipv6.ControlMessage{IfIndex: l.Index}, group)
			return err
		}
		return e, nil
	}
	p := ipv4.NewPacketConn(conn)
	_ = p.SetMulticastTTL(hopLimit)
	for _, l := range links[1:] {
		_ = p.JoinGroup(l.iface(), group)
	}
	e.send = func(b []byte, l Link) error {
		if err := p.SetMulticastInterface(l.iface()); err != nil {
			return err
		}
		_, err := p.WriteTo(b, nil, group)
		return err
	}
	return e, nil
}

func (l Link) iface() *net.Interface { return &net.Interface{Index: l.Index, Name: l.Name} }

// ask asks everybody for anything: programs of any kind answer for their services, and peerd for its peers.
func (e *ear) ask() {
	b, err := question()
	if err != nil {
		return
	}
	for _, l := range e.links {
		_ = e.send(b, l) // a failure shows as silence
	}
}

// question asks for the services that there are (RFC 6763 section 9), and for peerd.
func question() ([]byte, error) {
	m := dnsmessage.Message{}
	for _, name := range []string{"_services._dns-sd._udp.local.", "_peerd._tcp.local."} {
		n, err := dnsmessage.NewName(name)
		if err != nil {
			return nil, err
		}
		m.Questions = append(m.Questions, dnsmessage.Question{Name: n, Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET})
	}
	return m.Pack()
}

// read hands packets over until the socket is closed.
func (e *ear) read(take func(packet []byte, from netip.Addr)) {
	const tolerated = 100 // failures in a row, e.g. a packet that is too long on Windows
	buf := make([]byte, maxPacket)
	for failed := 0; failed < tolerated; {
		n, from, err := e.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			failed++
			continue
		}
		failed = 0
		take(buf[:n], from.Addr().Unmap())
	}
}
