package host

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
	maxKnown = 1024 // peers
	maxAddrs = 8    // of each
)

// book keeps where peers may be dialled.
type book struct {
	mu    sync.Mutex
	peers map[peer.ID]*page
	clock uint64 // counts uses, to find the page that was not used for longest
}

type page struct {
	addrs []peer.Addr
	used  uint64
}

func newBook() *book { return &book{peers: make(map[peer.ID]*page)} }

// Learn replaces the addresses that a peer is dialled at: TCP and QUIC by IP, with a zone where link-local. Others are
// dropped, and so is what exceeds 8 addresses. They are hints: who answers there proves its ID or is not talked to. Beyond
// 1,024 peers the one that was not used for longest is forgotten.
func (h *Host) Learn(id peer.ID, addrs []peer.Addr) {
	var good []peer.Addr
	for _, a := range addrs {
		a, _ = core.SplitAddr(a) // the ID that it may end in
		if kindOf(a) != noKind && !ma.Contains(good, a) && len(good) < maxAddrs {
			good = append(good, a)
		}
	}
	h.book.set(id, good)
}

// Forget drops what was learned of a peer's addresses. Open connections stay.
func (h *Host) Forget(id peer.ID) { h.book.set(id, nil) }

func (b *book) set(id peer.ID, addrs []peer.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(addrs) == 0 {
		delete(b.peers, id)
		return
	}
	p := b.peers[id]
	if p == nil {
		if len(b.peers) >= maxKnown {
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
	p.addrs, p.used = addrs, b.clock
}

func (b *book) dropOldest() {
	var oldest peer.ID
	for id, p := range b.peers {
		if oldest == "" || p.used < b.peers[oldest].used {
			oldest = id
		}
	}
	delete(b.peers, oldest)
}

func (b *book) addrs(id peer.ID) []peer.Addr {
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

// worked remembers the address at which a peer answered.
func (b *book) worked(id peer.ID, addr peer.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.peers[id]; p != nil {
		if i := slices.IndexFunc(p.addrs, addr.Equal); i > 0 {
			p.addrs = moveToFront(p.addrs, i)
		}
	}
}

func moveToFront(addrs []peer.Addr, i int) []peer.Addr {
	front := addrs[i]
	return slices.Insert(slices.Delete(slices.Clone(addrs), i, i+1), 0, front)
}

// addrKind is which transport dials an address.
type addrKind int

const (
	noKind addrKind = iota
	tcpKind
	quicKind
)

func kindOf(a peer.Addr) addrKind {
	network, _, err := manet.DialArgs(a)
	if err != nil {
		return noKind
	}
	if _, ok := limit.IP(a); !ok {
		return noKind
	}
	last := a[len(a)-1].Protocol().Code
	switch {
	case last == ma.P_TCP && network[:3] == "tcp":
		return tcpKind
	case last == ma.P_QUIC_V1 && network[:3] == "udp":
		return quicKind
	}
	return noKind
}
