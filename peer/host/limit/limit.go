// Package limit says who may connect, and how much of this computer's means connections and streams may take. Each limit
// is there because a stranger on the network could otherwise use it up.
package limit

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/x/rate"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/peerd/peerd/peer"
)

// AcceptTimeout bounds the handshake of an inbound TCP connection. On a local network it takes milliseconds.
const AcceptTimeout = 5 * time.Second

// MaxLanes is how many connections a peer may have dialled to another at a time.
const MaxLanes = 4

// Limits of connections. Per address there may be twice what two peers have in both directions, as two daemons may run on
// one computer.
const (
	maxInbound    = 256
	maxOutbound   = 256
	maxHandshakes = 64 // inbound connections whose peer is not known yet
	maxLoopback   = 224
	maxPerAddress = 4 * MaxLanes
	maxPerSubnet  = 512 // of one IPv6 /64
)

// PeerStreams is how many streams two peers may have with each other, all protocols and directions together.
const PeerStreams = 64

// Limits of streams. Each stream has 256 KiB reserved for it, and windows may grow while half of the memory is free. So
// memory for twice the streams is what makes sure that there is always some for the next stream: yamux never gives back
// the place among those under way of a stream that got none (go-yamux v5.1.0, Session.OpenStream).
//
// Beside it there is room for some windows that have grown to MaxWindow, as far paths need: a window that was refused its growth
// carries 256 KiB in a round trip, 13 MB/s at 20 ms, and one that grew does not shrink while its stream is open, be it idle. Counted
// is what the windows allow; what is held is what came and was not read yet.
const (
	maxStreams    = 512
	maxOneWay     = 384 // inbound or outbound, so that neither side's requests keep the other's out
	streamMemory  = 256 << 10
	wideStreams   = 16 // whose windows may be MaxWindow at a time, of all peers together
	peerWide      = 6  // and of one: the lanes of a mount, and those of a copy beside it
	maxMemory     = 2 * (maxStreams*streamMemory + wideStreams*MaxWindow)
	maxPeerMemory = 2 * (PeerStreams*streamMemory + peerWide*MaxWindow)
)

// MaxWindow is how many bytes may be on their way on one stream.
const MaxWindow = 8 << 20

// New makes the resource manager. Nothing in it is scaled to the machine: a peer's needs don't grow with it.
//
// go-libp2p counts IPv6 addresses by /56 and lets 8 connections in from each, which is 8 computers of a local network
// (libp2p/go-libp2p#3431); here they count by themselves. Loopback, which it does not limit at all, has a bound of its own.
func New() (network.ResourceManager, error) {
	system := rcmgr.ResourceLimits{
		Conns: maxInbound + maxOutbound, ConnsInbound: maxInbound, ConnsOutbound: maxOutbound, FD: maxInbound + maxOutbound,
		Streams: maxStreams, StreamsInbound: maxOneWay, StreamsOutbound: maxOneWay, Memory: maxMemory,
	}
	perPeer := rcmgr.ResourceLimits{
		Conns: 2 * MaxLanes, ConnsInbound: 2 * MaxLanes, ConnsOutbound: 2 * MaxLanes, FD: 2 * MaxLanes,
		Streams: PeerStreams, StreamsInbound: PeerStreams, StreamsOutbound: PeerStreams, Memory: maxPeerMemory,
	}
	limits := rcmgr.PartialLimitConfig{
		System: system,
		Transient: rcmgr.ResourceLimits{
			Conns: maxHandshakes + maxOutbound, ConnsInbound: maxHandshakes, ConnsOutbound: maxOutbound, FD: maxHandshakes + maxOutbound,
			Streams: maxOneWay, StreamsInbound: maxOneWay / 2, StreamsOutbound: maxOneWay, Memory: maxMemory / 4,
		},
		// Nothing is on an allowlist.
		AllowlistedSystem:    rcmgr.ResourceLimits{Conns: rcmgr.BlockAllLimit, Streams: rcmgr.BlockAllLimit},
		AllowlistedTransient: rcmgr.ResourceLimits{Conns: rcmgr.BlockAllLimit, Streams: rcmgr.BlockAllLimit},
		ServiceDefault:       system,
		ServicePeerDefault:   perPeer,
		ProtocolDefault:      system, // Handle has the caps of protocols
		ProtocolPeerDefault:  perPeer,
		PeerDefault:          perPeer,
		Conn:                 rcmgr.ResourceLimits{Conns: 1, ConnsInbound: 1, ConnsOutbound: 1, FD: 1, Memory: maxPeerMemory},
		Stream:               rcmgr.ResourceLimits{Streams: 1, StreamsInbound: 1, StreamsOutbound: 1, Memory: maxPeerMemory},
	}
	m, err := rcmgr.NewResourceManager(
		rcmgr.NewFixedLimiter(limits.Build(rcmgr.InfiniteLimits)),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithNetworkPrefixLimit(
			[]rcmgr.NetworkPrefixLimit{{Network: loopback4, ConnCount: maxLoopback}},
			[]rcmgr.NetworkPrefixLimit{{Network: loopback6, ConnCount: maxLoopback}}),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: maxPerAddress}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 128, ConnCount: maxPerAddress}, {PrefixLength: 64, ConnCount: maxPerSubnet}}),
		rcmgr.WithConnRateLimiters(&rate.Limiter{}))
	if err != nil {
		return nil, err
	}
	return &manager{ResourceManager: m, limiter: newRate(), places: newPlaces()}, nil
}

// The one address of each family that programs on the same computer use. The rest of 127.0.0.0/8 counts as any other.
var (
	loopback4 = netip.MustParsePrefix("127.0.0.1/32")
	loopback6 = netip.MustParsePrefix("::1/128")
)

// newRate is how often connections may come in. A computer that reconnects all its lanes four times at once passes; fifty
// that start in the same second pass; a loop that connects does not.
func newRate() *rate.Limiter {
	host := rate.Limit{RPS: 1, Burst: 8 * MaxLanes}
	local := rate.Limit{RPS: 50, Burst: 512}
	return &rate.Limiter{
		NetworkPrefixLimits: []rate.PrefixLimit{{Prefix: loopback4, Limit: local}, {Prefix: loopback6, Limit: local}},
		GlobalLimit:         rate.Limit{RPS: 50, Burst: 512},
		SubnetRateLimiter: rate.SubnetLimiter{
			IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: host}},
			IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 128, Limit: host}, {PrefixLength: 64, Limit: rate.Limit{RPS: 20, Burst: 512}}},
			GracePeriod:      time.Minute,
		},
	}
}

// manager limits how often connections come in, and who may have how many of the inbound streams. The resource manager's
// own limiter counts connections that go out as well, so that trying to reach a peer that is off would keep it out when
// it is back.
type manager struct {
	network.ResourceManager
	limiter *rate.Limiter
	places  *places
}

func (m *manager) OpenConnection(dir network.Direction, usefd bool, addr ma.Multiaddr) (network.ConnManagementScope, error) {
	ip, ok := IP(addr)
	if dir == network.DirInbound && ok && !m.limiter.Allow(ip) {
		return nil, errors.New("connections come in too fast")
	}
	scope, err := m.ResourceManager.OpenConnection(dir, usefd, addr)
	if err != nil {
		return nil, err
	}
	return &from{ConnManagementScope: scope, of: m.places, addr: ip}, nil
}

// OpenStream takes a place for a stream. One that comes in may have to wait for it a little.
func (m *manager) OpenStream(id peer.ID, dir network.Direction) (network.StreamManagementScope, error) {
	if dir != network.DirInbound {
		return m.ResourceManager.OpenStream(id, dir)
	}
	s := m.places.enter(id)
	if s == nil {
		return nil, fmt.Errorf("streams of peers that showed no right: %w", network.ErrResourceLimitExceeded)
	}
	var err error
	if s.StreamManagementScope, err = m.ResourceManager.OpenStream(id, dir); err != nil {
		s.leave()
		return nil, err
	}
	return s, nil
}

// IP is the IP address that a multiaddr begins with, without its zone.
func IP(addr ma.Multiaddr) (netip.Addr, bool) {
	ip, err := manet.ToIP(addr)
	if err != nil {
		return netip.Addr{}, false
	}
	a, ok := netip.AddrFromSlice(ip)
	return a.Unmap(), ok
}

// sharedSpace is RFC 6598's, which VPNs between own computers use.
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// Gate decides who may connect and be connected to, for both directions and all transports. It is a libp2p
// ConnectionGater.
type Gate struct {
	AllowPublic bool
	Blocked     func(peer.ID) bool // safe for concurrent use
}

var _ connmgr.ConnectionGater = (*Gate)(nil)

// Allows reports whether an address is one to talk to: loopback, private (RFC 1918, RFC 4193), link-local or shared
// (RFC 6598), and any if so configured.
func (g *Gate) Allows(addr ma.Multiaddr) bool {
	ip, ok := IP(addr)
	if !ok || ip.IsUnspecified() || ip.IsMulticast() {
		return false
	}
	return g.AllowPublic || ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || sharedSpace.Contains(ip)
}

// Trusts reports whether a peer may connect at all. Keys other than Ed25519 are refused: large RSA keys burn time in the
// handshake (CVE-2023-39533), and a peer has one kind of ID.
func (g *Gate) Trusts(id peer.ID) bool {
	key, err := id.ExtractPublicKey()
	return err == nil && key.Type() == crypto.Ed25519 && !g.Blocked(id)
}

// InterceptPeerDial implements ConnectionGater.
func (g *Gate) InterceptPeerDial(id peer.ID) bool { return g.Trusts(id) }

// InterceptAddrDial implements ConnectionGater.
func (g *Gate) InterceptAddrDial(_ peer.ID, a ma.Multiaddr) bool { return g.Allows(a) }

// InterceptAccept implements ConnectionGater.
func (g *Gate) InterceptAccept(c network.ConnMultiaddrs) bool { return g.Allows(c.RemoteMultiaddr()) }

// InterceptSecured implements ConnectionGater.
func (g *Gate) InterceptSecured(_ network.Direction, id peer.ID, _ network.ConnMultiaddrs) bool {
	return g.Trusts(id)
}

// InterceptUpgraded implements ConnectionGater.
func (g *Gate) InterceptUpgraded(c network.Conn) (bool, control.DisconnectReason) {
	return g.Trusts(c.RemotePeer()), 0
}
