package discovery

import (
	"net/netip"
	"strconv"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/peerd/peerd/peer"
)

// Addrs gives the ways to dial a peer at an address and port: TCP first, then QUIC. An IPv6 link-local address keeps its
// zone as /ip6zone. There are none for an address or port that can't be dialled.
func Addrs(at netip.AddrPort) []peer.Addr {
	ip := at.Addr().Unmap()
	if !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || at.Port() == 0 {
		return nil
	}
	head := "/ip4/" + ip.String()
	if ip.Is6() {
		head = "/ip6/" + ip.WithZone("").String()
		if ip.Zone() != "" {
			head = "/ip6zone/" + ip.Zone() + head
		}
	}
	port := strconv.Itoa(int(at.Port()))
	tcp, err := ma.NewMultiaddr(head + "/tcp/" + port)
	if err != nil {
		return nil // a zone that is no name of an interface
	}
	quic, err := ma.NewMultiaddr(head + "/udp/" + port + "/quic-v1")
	if err != nil {
		return nil
	}
	return []peer.Addr{tcp, quic}
}
