package mdns

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
)

// Bounds of what this computer brings in itself: container hosts have interfaces by the hundred.
const (
	maxLinks  = 16
	maxFamily = 4 // addresses of each family that a link announces
)

// link is one network interface with what is announced on it. Two links that are equal need no new sockets.
type link struct {
	index    int
	name     string
	loopback bool
	nets     []netip.Prefix // own addresses with their networks, IPv4 first
}

func (l link) equal(o link) bool {
	return l.index == o.index && l.name == o.name && slices.Equal(l.nets, o.nets)
}

// has reports whether the link has addresses of a family.
func (l link) has(v6 bool) bool { return len(l.addrs(v6)) > 0 }

// addrs gives the link's own addresses of a family, as many as are announced.
func (l link) addrs(v6 bool) []netip.Addr {
	var list []netip.Addr
	for _, n := range l.nets {
		if n.Addr().Is6() == v6 && len(list) < maxFamily {
			list = append(list, n.Addr())
		}
	}
	return list
}

// near reports whether an address is on the link itself, so that it needs no router.
func (l link) near(ip netip.Addr) bool {
	if ip.Is6() && ip.IsLinkLocalUnicast() {
		return ip.Zone() == l.name
	}
	ip = ip.WithZone("")
	return slices.ContainsFunc(l.nets, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// links lists the interfaces to use: those named, or else all that are up and can multicast, or else, on a computer
// without any network, the loopback, so that two peers on it still see each other.
func links(names []string) ([]link, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var list, loops []link
	for _, i := range all {
		named := slices.Contains(names, i.Name)
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0 || len(names) > 0 && !named {
			continue
		}
		l := newLink(i)
		switch {
		case len(l.nets) == 0:
		case l.loopback && !named:
			loops = append(loops, l)
		case l.loopback || i.Flags&net.FlagMulticast != 0 && i.Flags&net.FlagPointToPoint == 0:
			list = append(list, l)
		}
	}
	if len(list) == 0 {
		list = loops
	}
	// One with IPv4 is a network; one without may be the inner end of a container's cable.
	slices.SortStableFunc(list, func(a, b link) int {
		return cmp.Or(-cmp.Compare(len(a.addrs(false)), len(b.addrs(false))), cmp.Compare(a.index, b.index))
	})
	return list[:min(len(list), maxLinks)], nil
}

func newLink(i net.Interface) link {
	l := link{index: i.Index, name: i.Name, loopback: i.Flags&net.FlagLoopback != 0}
	addrs, _ := i.Addrs() // an interface that vanished meanwhile has none
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		if ip = ip.Unmap(); !ok || ip.IsUnspecified() || ip.IsMulticast() {
			continue
		}
		if l.loopback && ip.Is6() {
			continue // no multicast there
		}
		bits, _ := n.Mask.Size()
		l.nets = append(l.nets, netip.PrefixFrom(ip, bits))
	}
	slices.SortFunc(l.nets, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return l
}
