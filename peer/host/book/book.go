// Package book keeps where peers may be dialled. What stands in it came from others, so it is bounded, and who answers at an
// address proves its ID or is not talked to.
package book

import (
	"slices"
	"sync"

	core "github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host/limit"
)

// Limits of the addresses that are kept, which strangers choose.
const (
	MaxPeers = 1024
	MaxAddrs = 8 // of each
)

// Book holds addresses by peer. It is safe for concurrent use.
type Book struct {
	mu    sync.Mutex
	peers map[peer.ID]*page
	clock uint64 // counts uses, to find the page that was not used for longest
}

type page struct {
	addrs []peer.Addr
	used  uint64
	hint  bool // nobody who answers for the peer said so
}

// New makes an empty book.
func New() *Book { return &Book{peers: make(map[peer.ID]*page)} }

// Set replaces the addresses of a peer; without any that can be dialled, it is forgotten. What exceeds [MaxAddrs] is
// dropped, and beyond [MaxPeers] the peer that was not used for longest.
func (b *Book) Set(id peer.ID, addrs []peer.Addr) { b.set(id, addrs, false) }

// Hint gives addresses to a peer of which none are known but by hints.
func (b *Book) Hint(id peer.ID, addrs []peer.Addr) { b.set(id, addrs, true) }

func (b *Book) set(id peer.ID, addrs []peer.Addr, hint bool) {
	addrs = good(addrs)
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.peers[id]
	switch {
	case hint && (len(addrs) == 0 || p != nil && !p.hint):
		return
	case len(addrs) == 0:
		delete(b.peers, id)
		return
	case p == nil:
		if len(b.peers) >= MaxPeers {
			b.dropOldest()
		}
		p = &page{}
		b.peers[id] = p
	}
	// The address that worked last stays in front.
	if len(p.addrs) > 0 {
		if i := slices.IndexFunc(addrs, p.addrs[0].Equal); i > 0 {
			addrs = moveToFront(addrs, i)
		}
	}
	b.clock++
	p.addrs, p.used, p.hint = addrs, b.clock, hint
}

// good are the addresses that can be dialled, without the ID that they may end in, and each once.
func good(addrs []peer.Addr) []peer.Addr {
	var out []peer.Addr
	for _, a := range addrs {
		a, _ = core.SplitAddr(a)
		if KindOf(a) != None && !ma.Contains(out, a) && len(out) < MaxAddrs {
			out = append(out, a)
		}
	}
	return out
}

func (b *Book) dropOldest() {
	var oldest peer.ID
	for id, p := range b.peers {
		if oldest == "" || p.used < b.peers[oldest].used {
			oldest = id
		}
	}
	delete(b.peers, oldest)
}

// Addrs gives the addresses of a peer, the one that worked last in front.
func (b *Book) Addrs(id peer.ID) []peer.Addr {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.peers[id]
	if p == nil {
		return nil
	}
	b.clock++
	p.used = b.clock
	return slices.Clone(p.addrs)
}

// Worked remembers the address at which a peer answered.
func (b *Book) Worked(id peer.ID, addr peer.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.peers[id]; p != nil {
		if i := slices.IndexFunc(p.addrs, addr.Equal); i > 0 {
			p.addrs = moveToFront(p.addrs, i)
		}
	}
}

// Len is how many peers stand in the book.
func (b *Book) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.peers)
}

func moveToFront(addrs []peer.Addr, i int) []peer.Addr {
	front := addrs[i]
	return slices.Insert(slices.Delete(slices.Clone(addrs), i, i+1), 0, front)
}

// Kind is which transport dials an address.
type Kind int

// The kinds. A circuit goes through a relay: /ip4/…/tcp/…/p2p/RELAY/p2p-circuit.
const (
	None Kind = iota
	TCP
	QUIC
	Circuit
)

// KindOf tells how to dial an address that has no ID at its end, or [None] if it can't be.
func KindOf(a peer.Addr) Kind {
	if len(a) == 0 {
		return None
	}
	last := a[len(a)-1].Protocol().Code
	if last == ma.P_CIRCUIT {
		relay, id := core.SplitAddr(a[:len(a)-1])
		if k := KindOf(relay); id == "" || k != TCP && k != QUIC {
			return None
		}
		return Circuit
	}
	network, _, err := manet.DialArgs(a)
	if err != nil {
		return None
	}
	if _, ok := limit.IP(a); !ok {
		return None
	}
	switch {
	case last == ma.P_TCP && network[:3] == "tcp":
		return TCP
	case last == ma.P_QUIC_V1 && network[:3] == "udp":
		return QUIC
	}
	return None
}

// RelayOf gives the relay of a circuit, or "".
func RelayOf(a peer.Addr) peer.ID {
	if KindOf(a) != Circuit {
		return ""
	}
	_, id := core.SplitAddr(a[:len(a)-1])
	return id
}
