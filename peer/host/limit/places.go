package limit

import (
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/peerd/peerd/peer"
)

// Whoever showed a right to something here keeps room for as long as a grant lives.
const (
	knownFor = 10 * time.Minute
	maxKnown = 4096
)

// class is what an inbound stream counts as.
type class uint8

const (
	stranger class = iota // of a peer that showed no right
	carried               // of a library: what it carries lasts, and takes no right
	known                 // of a peer that showed one
)

// kind tells what a stream is counted by.
type kind uint8

const (
	strangersOfID kind = iota
	strangersOfHost
	strangersOfNet // an IPv6 /64
	strangers
	carriedOfHost
	carriedOfNet
	carriedAll
	allOfHost
)

// limit is how many streams there may be. What strangers and libraries can't have is left to those with a right, and one
// host, be it behind a grant that is free, leaves room for others.
func (k kind) limit() int {
	return [...]int{
		strangersOfID: 8, strangersOfHost: 32, strangersOfNet: 96, strangers: maxOneWay / 3,
		carriedOfHost: 64, carriedOfNet: 96, carriedAll: maxOneWay / 3,
		allOfHost: maxOneWay * 2 / 3,
	}[k]
}

// count is one number of streams; fields that its kind does not need are zero.
type count struct {
	kind kind
	id   peer.ID
	from netip.Prefix
}

// counts are those that a stream is part of. Programs of this computer all have one address, so it says nothing of them.
func counts(c class, id peer.ID, addr netip.Addr) (all []count) {
	addr = addr.WithZone("")
	host := netip.PrefixFrom(addr, addr.BitLen())
	from := addr.IsValid() && host != loopback4 && host != loopback6
	add := func(k kind, p netip.Prefix) { all = append(all, count{kind: k, from: p}) }
	var ofHost, ofNet kind
	switch c {
	case known:
		if from {
			add(allOfHost, host)
		}
		return all
	case stranger:
		all = append(all, count{kind: strangersOfID, id: id}, count{kind: strangers})
		ofHost, ofNet = strangersOfHost, strangersOfNet
	case carried:
		all = append(all, count{kind: carriedAll})
		ofHost, ofNet = carriedOfHost, carriedOfNet
	}
	if from {
		add(allOfHost, host)
		add(ofHost, host)
		if addr.Is6() {
			net, _ := addr.Prefix(64)
			add(ofNet, net)
		}
	}
	return all
}

// places are those of all inbound streams.
type places struct {
	now      func() time.Time
	patience time.Duration

	mu      sync.Mutex
	freed   chan struct{} // closed when there may be room; nil if nobody waits
	used    map[count]int
	addrs   map[peer.ID][]netip.Addr // of its connections, oldest first
	known   map[peer.ID]time.Time    // when a right was shown last
	strange map[peer.ID]map[*place]struct{}
}

func newPlaces() *places {
	return &places{
		now: time.Now, patience: Patience,
		used: make(map[count]int), addrs: make(map[peer.ID][]netip.Addr),
		known: make(map[peer.ID]time.Time), strange: make(map[peer.ID]map[*place]struct{}),
	}
}

// place is that of one stream.
type place struct {
	network.StreamManagementScope
	of   *places
	id   peer.ID
	addr netip.Addr

	class  class // under the places' lock, as is held
	counts []count
	held   bool
}

// enter waits a moment for a place. It holds up the one connection that the stream came on, so that no more wait than
// there are connections, and what waits takes nothing but its connection's own room.
func (p *places) enter(id peer.ID) *place {
	s := &place{of: p, id: id}
	late := time.NewTimer(p.patience)
	defer late.Stop()
	for {
		p.mu.Lock()
		at := p.addrs[id]
		if len(at) == 0 { // the connection is gone: nobody waits for what was still to be taken from it
			p.mu.Unlock()
			return nil
		}
		s.addr = at[0]
		class := stranger
		if p.now().Sub(p.known[id]) < knownFor {
			class = known
		}
		if p.take(s, class) {
			p.mu.Unlock()
			return s
		}
		if p.freed == nil {
			p.freed = make(chan struct{})
		}
		freed := p.freed
		p.mu.Unlock()
		select {
		case <-freed:
		case <-late.C:
			return nil
		}
	}
}

// take gives a stream a place of a class, in exchange for the one that it holds. p.mu is held.
func (p *places) take(s *place, c class) bool {
	next := counts(c, s.id, s.addr)
	had, before := s.held, s.counts
	p.count(before, had, -1)
	for _, n := range next {
		if p.used[n] >= n.kind.limit() {
			p.count(before, had, 1)
			return false
		}
	}
	p.unlist(s)
	s.class, s.counts, s.held = c, next, true
	p.count(next, true, 1)
	if c == stranger {
		if p.strange[s.id] == nil {
			p.strange[s.id] = make(map[*place]struct{})
		}
		p.strange[s.id][s] = struct{}{}
	}
	if had {
		p.wake()
	}
	return true
}

func (p *places) count(all []count, held bool, by int) {
	if !held {
		return
	}
	for _, n := range all {
		if p.used[n] += by; p.used[n] == 0 {
			delete(p.used, n)
		}
	}
}

func (p *places) unlist(s *place) {
	if delete(p.strange[s.id], s); len(p.strange[s.id]) == 0 {
		delete(p.strange, s.id)
	}
}

func (p *places) wake() {
	if p.freed != nil {
		close(p.freed)
		p.freed = nil
	}
}

// leave gives the place back.
func (s *place) leave() {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.of.count(s.counts, s.held, -1)
	s.of.unlist(s)
	s.held = false
	s.of.wake()
}

// Done ends the stream's scope and its place.
func (s *place) Done() {
	s.StreamManagementScope.Done()
	s.leave()
}

// welcome makes a peer one that showed a right, with all its streams.
func (p *places) welcome(id peer.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if _, ok := p.known[id]; !ok && len(p.known) >= maxKnown {
		oldest, first := id, now
		for other, last := range p.known {
			if !last.After(first) {
				oldest, first = other, last
			}
		}
		delete(p.known, oldest)
	}
	p.known[id] = now
	for s := range maps.Clone(p.strange[id]) {
		p.take(s, known) // it takes nothing that it has not got
	}
}

// Welcome says that whoever opened a stream showed a right to something here. The scope is that of the stream.
func Welcome(scope network.StreamScope) {
	if s, ok := scope.(*place); ok {
		s.of.welcome(s.id)
	}
}

// Carry counts a stream among those of libraries, or says that there are too many.
func Carry(scope network.StreamScope) error {
	s, ok := scope.(*place)
	if !ok {
		return nil
	}
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	if s.held && s.class == stranger && !s.of.take(s, carried) {
		return fmt.Errorf("streams of libraries: %w", network.ErrResourceLimitExceeded)
	}
	return nil
}

// from is a connection of which is known where it comes from, so that its streams can be counted by that.
type from struct {
	network.ConnManagementScope
	of   *places
	addr netip.Addr

	end sync.Once
	id  peer.ID // under the places' lock; "" before it is proven, and after the end
}

// SetPeer says whose connection it is.
func (c *from) SetPeer(id peer.ID) error {
	if err := c.ConnManagementScope.SetPeer(id); err != nil {
		return err
	}
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.id = id
	c.of.addrs[id] = append(c.of.addrs[id], c.addr)
	return nil
}

// Done ends the connection's scope.
func (c *from) Done() {
	c.ConnManagementScope.Done()
	c.end.Do(func() {
		c.of.mu.Lock()
		defer c.of.mu.Unlock()
		addrs := c.of.addrs[c.id]
		for i, a := range addrs {
			if a == c.addr {
				addrs = append(addrs[:i:i], addrs[i+1:]...)
				break
			}
		}
		if c.of.addrs[c.id] = addrs; len(addrs) == 0 {
			delete(c.of.addrs, c.id)
			c.of.wake()
		}
	})
}
