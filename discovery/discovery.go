// Package discovery says where peers are: what was heard of them, by which way, and the one merged view of the workgroup.
//
// Whatever comes from the network before a handshake is a hint: bounded in number and size, shown as unverified, and
// never a reason to trust anybody.
package discovery

import (
	"context"
	"iter"
	"time"

	"github.com/peerd/peerd/peer"
)

// Way is how something was learned of a peer.
type Way string

// The ways.
const (
	MDNS    Way = "mdns"    // multicast on the local network
	Static  Way = "static"  // --join or configuration, and whoever joined us
	Inbound Way = "inbound" // it connected to us
	DHT     Way = "dht"     // others told of it, from beyond the local network
	Relay   Way = "relay"   // we are connected by a relay, since neither reaches the other
)

// Sighting is one thing heard of one peer. Gone is set when the peer said goodbye or fell silent on this way.
type Sighting struct {
	ID        peer.ID
	Way       Way
	Gone      bool
	Name      peer.Name
	Workgroup string
	Version   string
	Addrs     []peer.Addr // at most MaxAddrs; ready to dial, with a zone where link-local
	Shares    []string    // names that the peer advertises, at most MaxShares
	Count     int         // shares it says it has, which may be more than it names; -1 unknown
	Revision  uint64      // changes with the peer's share list
	Relay     bool        // it relays for others
	From      string      // who said so, e.g. an IP address; strangers are counted by it
	TTL       time.Duration
}

// Limits of what is kept of strangers.
const (
	MaxPeers  = 1024
	MaxAddrs  = 8
	MaxShares = 256
)

// Advert is what this peer tells of itself. Hidden shares never stand in it.
type Advert struct {
	ID        peer.ID
	Name      peer.Name
	Workgroup string
	Version   string
	Port      int      // of TCP, and of QUIC on UDP
	Shares    []string // advertised names, in a fixed order
	Count     int      // visible shares; -1 keeps it private
	Revision  uint64
	Addrs     []peer.Addr // where it may be dialled from other networks; multicast tells its own
	Relay     bool        // it relays for others
}

// Finder reports what it hears to found until ctx ends. found may be called from several goroutines.
type Finder interface {
	Find(ctx context.Context, found func(Sighting)) error
}

// Announcer tells others of this peer; the last advert counts. Close of the announcer's context says goodbye.
type Announcer interface {
	Announce(Advert)
}

// Sources is where it is told and asked who has what. A key of 32 bytes stands for a thing; whoever passes it on sees it, so it
// must tell nothing to those who may not know: a keyed hash, with a key that only those have who may read the thing.
type Sources interface {
	// Provide tells that this peer has what the key stands for. It holds for a bounded time, and is said again before.
	Provide(ctx context.Context, key [32]byte) error
	// Providers yields peers that said they have it, each once and without this one, until ctx ends or nobody else is
	// found. They are hints; where they are is known to the host.
	Providers(ctx context.Context, key [32]byte) iter.Seq[peer.ID]
}
