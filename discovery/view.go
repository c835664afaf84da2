package discovery

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
)

// Limits of a view that are no business of the network's.
const (
	MaxOthers  = 64  // peers of other workgroups that are remembered
	MaxNewRate = 200 // peers that one source may bring in a minute

	maxSources = 256 // sources counted at a time; beyond, all new sources share one count
	rateWindow = time.Minute
)

// Peer is what all ways together say of one peer. It is not to be changed.
type Peer struct {
	ID        peer.ID
	Name      peer.Name
	Workgroup string
	Version   string
	Addrs     []peer.Addr // at most MaxAddrs, the best first
	Shares    []string    // at most MaxShares
	Count     int         // -1 unknown
	Revision  uint64
	Ways      []Way     // sorted
	Since     time.Time // without a break
	Heard     time.Time // the last time, by any way
}

// Verified reports whether the peer has proven its ID to us. Else all of it is hearsay.
func (p Peer) Verified() bool { return slices.ContainsFunc(p.Ways, verified) }

func verified(w Way) bool { return w != MDNS }

// View is the merged picture of the workgroup. It has no clock: whoever uses it says what time it is. Safe for use by
// several goroutines.
type View struct {
	self      peer.ID
	workgroup string

	mu      sync.Mutex
	peers   map[peer.ID]*entry
	others  map[peer.ID]*entry // of other workgroups
	sources map[source]*tally
	changed map[chan struct{}]struct{}
}

type entry struct {
	ways map[Way]held
	peer Peer
}

type held struct {
	Sighting
	heard   time.Time
	expires time.Time // zero: when it is said to be gone
}

type source struct {
	way  Way
	from string
}

type tally struct {
	start time.Time
	count int
}

// NewView starts an empty view of a workgroup. Sightings of self are dropped.
func NewView(self peer.ID, workgroup string) *View {
	return &View{
		self: self, workgroup: workgroup,
		peers: map[peer.ID]*entry{}, others: map[peer.ID]*entry{},
		sources: map[source]*tally{}, changed: map[chan struct{}]struct{}{},
	}
}

// Observe takes in one sighting. A sighting without TTL holds for 2 minutes by mDNS, 90 seconds by static, and by inbound
// until it is gone. Strangers beyond the limits are dropped; one who proved its ID displaces one who did not.
func (v *View) Observe(now time.Time, s Sighting) {
	if s.ID == "" || s.ID == v.self {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	e := v.lookup(s.ID)
	switch {
	case e == nil && (s.Gone || !v.admit(now, s)):
		return
	case e == nil:
		e = &entry{ways: map[Way]held{}, peer: Peer{ID: s.ID, Since: now}}
	}
	if s.Gone {
		delete(e.ways, s.Way)
	} else {
		e.ways[s.Way] = hold(now, s)
	}
	if v.settle(s.ID, e) {
		v.notify()
	}
}

// Expire drops what has not been heard of for its time to live, and says when to call it again; the zero time means
// after the next Observe.
func (v *View) Expire(now time.Time) (next time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	changed := false
	for _, table := range []map[peer.ID]*entry{v.peers, v.others} {
		for id, e := range table {
			before := len(e.ways)
			maps.DeleteFunc(e.ways, func(_ Way, h held) bool { return !h.expires.IsZero() && !now.Before(h.expires) })
			if len(e.ways) != before && v.settle(id, e) {
				changed = true
			}
			for _, h := range e.ways {
				if !h.expires.IsZero() && (next.IsZero() || h.expires.Before(next)) {
					next = h.expires
				}
			}
		}
	}
	maps.DeleteFunc(v.sources, func(_ source, t *tally) bool { return now.Sub(t.start) >= rateWindow })
	if changed {
		v.notify()
	}
	return next
}

// Snapshot is the workgroup without ourselves, sorted by name, then ID.
func (v *View) Snapshot() []Peer { return v.list(v.peers) }

// Others are peers seen of other workgroups, at most about MaxOthers, sorted by workgroup, name and ID.
func (v *View) Others() []Peer { return v.list(v.others) }

// Get gives one peer of the workgroup.
func (v *View) Get(id peer.ID) (Peer, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if e := v.peers[id]; e != nil {
		return e.peer, true
	}
	return Peer{}, false
}

// Subscribe gives a channel that holds one token whenever the view may have changed since the last was taken: somebody
// came, left, or says something else than before. stop ends it.
func (v *View) Subscribe() (changed <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.changed[c] = struct{}{}
	return c, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.changed, c)
	}
}

func (v *View) list(table map[peer.ID]*entry) []Peer {
	v.mu.Lock()
	list := make([]Peer, 0, len(table))
	for _, e := range table {
		list = append(list, e.peer)
	}
	v.mu.Unlock()
	slices.SortFunc(list, func(a, b Peer) int {
		return cmp.Or(cmp.Compare(a.Workgroup, b.Workgroup),
			cmp.Compare(strings.ToLower(string(a.Name)), strings.ToLower(string(b.Name))), cmp.Compare(a.ID, b.ID))
	})
	return list
}

func (v *View) lookup(id peer.ID) *entry {
	if e := v.peers[id]; e != nil {
		return e
	}
	return v.others[id]
}

func (v *View) notify() {
	for c := range v.changed {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// settle merges an entry anew, puts it where it belongs, and reports whether anybody would care.
func (v *View) settle(id peer.ID, e *entry) bool {
	if len(e.ways) == 0 {
		delete(v.peers, id)
		delete(v.others, id)
		return true
	}
	was := e.peer
	e.peer = e.merge(v.workgroup)
	into, from := v.peers, v.others
	if e.peer.Workgroup != v.workgroup {
		into, from = from, into
	}
	_, there := into[id]
	into[id] = e
	delete(from, id)
	return !there || !was.same(e.peer)
}

// admit says whether a stranger may enter, and makes room for it.
func (v *View) admit(now time.Time, s Sighting) bool {
	table, limit := v.peers, MaxPeers
	if s.Workgroup != "" && s.Workgroup != v.workgroup {
		table, limit = v.others, MaxOthers
	}
	key := source{s.Way, s.From}
	if _, ok := v.sources[key]; !ok && len(v.sources) >= maxSources {
		key = source{}
	}
	t := v.sources[key]
	if t == nil || now.Sub(t.start) >= rateWindow {
		t = &tally{start: now}
		v.sources[key] = t
	}
	t.count++
	return t.count <= MaxNewRate && (len(table) < limit || verified(s.Way) && evictHearsay(table))
}

// evictHearsay drops the youngest peer that never proved its ID: in a flood that is part of the flood.
func evictHearsay(table map[peer.ID]*entry) bool {
	var victim *entry
	for _, e := range table {
		if !e.peer.Verified() && (victim == nil || e.peer.Since.After(victim.peer.Since)) {
			victim = e
		}
	}
	if victim == nil {
		return false
	}
	delete(table, victim.peer.ID)
	return true
}

func hold(now time.Time, s Sighting) held {
	s.Addrs = slices.Clone(s.Addrs[:min(len(s.Addrs), MaxAddrs)])
	s.Shares = slices.Clone(s.Shares[:min(len(s.Shares), MaxShares)])
	h := held{Sighting: s, heard: now}
	if s.TTL <= 0 {
		switch s.Way {
		case MDNS:
			s.TTL = 2 * time.Minute
		case Static:
			s.TTL = 90 * time.Second
		}
	}
	if s.TTL > 0 {
		h.expires = now.Add(s.TTL)
	}
	return h
}

// merge takes each fact from the way that knows it best. Who a peer says it is counts more from a proven connection than
// from the air; what it offers, from whoever heard last; where it is, first from the local network.
func (e *entry) merge(workgroup string) Peer {
	p := Peer{ID: e.peer.ID, Since: e.peer.Since, Count: -1, Ways: slices.Sorted(maps.Keys(e.ways))}
	for _, w := range []Way{Inbound, Static, MDNS} {
		h, ok := e.ways[w]
		if !ok {
			continue
		}
		p.Name = cmp.Or(p.Name, h.Name)
		p.Workgroup = cmp.Or(p.Workgroup, h.Workgroup)
		p.Version = cmp.Or(p.Version, h.Version)
	}
	p.Name = cmp.Or(p.Name, peer.Name(peer.Short(p.ID)))
	p.Workgroup = cmp.Or(p.Workgroup, workgroup)

	var told time.Time
	for _, w := range p.Ways { // sorted, so that ties always fall alike
		h := e.ways[w]
		if h.heard.After(p.Heard) {
			p.Heard = h.heard
		}
		if (h.Revision != 0 || len(h.Shares) > 0 || h.Count > 0) && h.heard.After(told) {
			told, p.Shares, p.Count, p.Revision = h.heard, h.Shares, h.Count, h.Revision
		}
	}
	for _, w := range []Way{MDNS, Static, Inbound} {
		for _, a := range e.ways[w].Addrs {
			if len(p.Addrs) < MaxAddrs && !slices.ContainsFunc(p.Addrs, a.Equal) {
				p.Addrs = append(p.Addrs, a)
			}
		}
	}
	return p
}

// same compares all but the time of hearing.
func (p Peer) same(q Peer) bool {
	return p.ID == q.ID && p.Name == q.Name && p.Workgroup == q.Workgroup && p.Version == q.Version &&
		p.Count == q.Count && p.Revision == q.Revision && p.Since.Equal(q.Since) &&
		slices.Equal(p.Shares, q.Shares) && slices.Equal(p.Ways, q.Ways) &&
		slices.EqualFunc(p.Addrs, q.Addrs, func(a, b peer.Addr) bool { return a.Equal(b) })
}
