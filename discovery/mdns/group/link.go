// Package group is the multicast group of mDNS on the networks that a computer is on: which there are, when that
// changes, and a socket to listen and speak on each. It knows nothing of what is said there.
package group

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
)

// Bounds of what this computer brings in itself: container hosts have interfaces by the hundred.
const (
	MaxLinks  = 16
	MaxFamily = 4 // addresses of each family that a link tells
)

// Link is one network interface as it was at a moment.
type Link struct {
	Index    int
	Name     string
	Loopback bool
	Nets     []netip.Prefix // own addresses with their networks: IPv4, IPv6 link-local, other IPv6
}

// Equal reports whether nothing changed: sockets of the one serve the other.
func (l Link) Equal(o Link) bool {
	return l.Index == o.Index && l.Name == o.Name && slices.Equal(l.Nets, o.Nets)
}

// Has reports whether the link has addresses of a family.
func (l Link) Has(v6 bool) bool { return len(l.Addrs(v6)) > 0 }

// Addrs gives the link's own addresses of a family, at most MaxFamily.
func (l Link) Addrs(v6 bool) []netip.Addr {
	var list []netip.Addr
	for _, n := range l.Nets {
		if n.Addr().Is6() == v6 && len(list) < MaxFamily {
			list = append(list, n.Addr())
		}
	}
	return list
}

// Near reports whether an address is on the link itself, so that it needs no router.
func (l Link) Near(ip netip.Addr) bool {
	if ip.Is6() && ip.IsLinkLocalUnicast() {
		return ip.Zone() == l.Name
	}
	ip = ip.WithZone("")
	return slices.ContainsFunc(l.Nets, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// Links lists the interfaces to use: those named, or else all that are up and can multicast, or else, on a computer
// without any network, the loopback, so that two peers on it still see each other.
func Links(names []string) ([]Link, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var list, loops []Link
	for _, i := range all {
		named := slices.Contains(names, i.Name)
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0 || len(names) > 0 && !named {
			continue
		}
		l := newLink(i)
		switch {
		case len(l.Nets) == 0:
		case l.Loopback && !named:
			loops = append(loops, l)
		case l.Loopback || i.Flags&net.FlagMulticast != 0 && i.Flags&net.FlagPointToPoint == 0:
			list = append(list, l)
		}
	}
	if len(list) == 0 {
		list = loops
	}
	// One with IPv4 is a network; one without may be the inner end of a container's cable.
	slices.SortStableFunc(list, func(a, b Link) int {
		return cmp.Or(-cmp.Compare(len(a.Addrs(false)), len(b.Addrs(false))), cmp.Compare(a.Index, b.Index))
	})
	return list[:min(len(list), MaxLinks)], nil
}

func newLink(i net.Interface) Link {
	l := Link{Index: i.Index, Name: i.Name, Loopback: i.Flags&net.FlagLoopback != 0}
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
		if l.Loopback && ip.Is6() {
			continue // no multicast there
		}
		bits, _ := n.Mask.Size()
		l.Nets = append(l.Nets, netip.PrefixFrom(ip, bits))
	}
	slices.SortFunc(l.Nets, func(a, b netip.Prefix) int {
		return cmp.Or(rank(a.Addr())-rank(b.Addr()), a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return l
}

// rank puts first what every network has; of other IPv6 addresses there may be many, and they change.
func rank(ip netip.Addr) int {
	switch {
	case ip.Is4():
		return 0
	case ip.IsLinkLocalUnicast():
		return 1
	}
	return 2
}
