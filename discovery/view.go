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

	maxSources = 4 * MaxPeers // sources counted at a time; beyond, all new sources share one count
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
	Relay     bool      // it relays for others
	Ways      []Way     // sorted
	Since     time.Time // without a break
	Heard     time.Time // the last time, by any way
}

// Verified reports whether the peer has proven its ID to us. Else all of it is hearsay.
func (p Peer) Verified() bool { return slices.ContainsFunc(p.Ways, verified) }

func verified(w Way) bool { return w != MDNS && w != DHT }

// Near reports whether the peer is heard on the local network.
func (p Peer) Near() bool { return slices.Contains(p.Ways, MDNS) }

// View is the merged picture of the workgroup. It has no clock: whoever uses it says what time it is. Safe for use by
// several goroutines.
type View struct {
	self      peer.ID
	workgroup string

	mu      sync.Mutex
	peers   table
	others  table // of other workgroups
	tallies map[teller]*tally
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

// teller is who said something by one way.
type teller struct {
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
		peers: newTable(MaxPeers), others: newTable(MaxOthers),
		tallies: map[teller]*tally{}, changed: map[chan struct{}]struct{}{},
	}
}

// Observe takes in one sighting. A sighting without TTL holds for 2 minutes by mDNS, 90 seconds by static, and by any other
// way until it is gone. When there are too many, one who proved its ID displaces one who did not, and hearsay displaces hearsay
// from a source that tells of more (see [Crowd]); else the stranger is dropped. displaced is who had to go, if somebody had.
func (v *View) Observe(now time.Time, s Sighting) (displaced peer.ID) {
	if s.ID == "" || s.ID == v.self {
		return ""
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	e := v.lookup(s.ID)
	switch {
	case e == nil && (s.Gone || !v.admit(now, s)):
		return ""
	case e == nil:
		e = &entry{ways: map[Way]held{}, peer: Peer{ID: s.ID, Since: now}}
	}
	if s.Gone {
		delete(e.ways, s.Way)
	} else {
		e.ways[s.Way] = hold(now, s)
	}
	changed, displaced := v.settle(e)
	if changed {
		v.notify()
	}
	return displaced
}

// Expire drops what has not been heard of for its time to live, and says when to call it again; the zero time means
// after the next Observe.
func (v *View) Expire(now time.Time) (next time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	changed := false
	for _, t := range []table{v.peers, v.others} {
		for _, e := range t.entries {
			before := len(e.ways)
			maps.DeleteFunc(e.ways, func(_ Way, h held) bool { return !h.expires.IsZero() && !now.Before(h.expires) })
			if len(e.ways) != before {
				differs, _ := v.settle(e)
				changed = changed || differs
			}
			for _, h := range e.ways {
				if !h.expires.IsZero() && (next.IsZero() || h.expires.Before(next)) {
					next = h.expires
				}
			}
		}
	}
	maps.DeleteFunc(v.tallies, func(_ teller, t *tally) bool { return now.Sub(t.start) >= rateWindow })
	if changed {
		v.notify()
	}
	return next
}

// Snapshot is the workgroup without ourselves, sorted by name, then ID.
func (v *View) Snapshot() []Peer { return v.list(v.peers) }

// Others are peers seen of other workgroups, at most MaxOthers, sorted by workgroup, name and ID.
func (v *View) Others() []Peer { return v.list(v.others) }

// Get gives one peer of the workgroup.
func (v *View) Get(id peer.ID) (Peer, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if e := v.peers.entries[id]; e != nil {
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

func (v *View) list(t table) []Peer {
	v.mu.Lock()
	list := make([]Peer, 0, len(t.entries))
	for _, e := range t.entries {
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
	if e := v.peers.entries[id]; e != nil {
		return e
	}
	return v.others.entries[id]
}

func (v *View) notify() {
	for c := range v.changed {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// settle merges an entry anew, puts it where it belongs, and reports whether anybody would care and who had to make room.
// A peer that goes over to a workgroup that has no room for it is dropped.
func (v *View) settle(e *entry) (changed bool, displaced peer.ID) {
	id := e.peer.ID
	if len(e.ways) == 0 {
		v.peers.drop(id)
		v.others.drop(id)
		return true, ""
	}
	was := e.peer
	e.peer = e.merge(v.workgroup)
	into, from := v.peers, v.others
	if e.peer.Workgroup != v.workgroup {
		into, from = from, into
	}
	moved := from.drop(id)
	there := into.entries[id] != nil
	displaced, ok := into.put(e)
	return moved || ok && (!there || !was.same(e.peer)), displaced
}

// admit counts how many strangers a source brings in, and says when they are too many.
func (v *View) admit(now time.Time, s Sighting) bool {
	key := teller{s.Way, s.From}
	if _, ok := v.tallies[key]; !ok && len(v.tallies) >= maxSources {
		key = teller{}
	}
	t := v.tallies[key]
	if t == nil || now.Sub(t.start) >= rateWindow {
		t = &tally{start: now}
		v.tallies[key] = t
	}
	t.count++
	return t.count <= MaxNewRate
}

// table is the peers of one workgroup, or of all others.
type table struct {
	limit   int
	entries map[peer.ID]*entry
	hearsay *Crowd // those of entries that are not verified
}

func newTable(limit int) table {
	return table{limit: limit, entries: map[peer.ID]*entry{}, hearsay: NewCrowd()}
}

// put takes an entry in if it is there already, or there is room, or somebody makes room.
func (t table) put(e *entry) (displaced peer.ID, ok bool) {
	id, from, proven := e.peer.ID, e.ways[MDNS].From, e.peer.Verified()
	if t.entries[id] == nil && len(t.entries) >= t.limit {
		if proven {
			displaced, ok = t.hearsay.Least()
		} else {
			displaced, ok = t.hearsay.Yields(from)
		}
		if !ok {
			return "", false
		}
		t.drop(displaced)
	}
	t.entries[id] = e
	if proven {
		t.hearsay.Remove(id)
	} else {
		t.hearsay.Add(id, from)
	}
	return displaced, true
}

func (t table) drop(id peer.ID) (was bool) {
	_, was = t.entries[id]
	delete(t.entries, id)
	t.hearsay.Remove(id)
	return was
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
	for _, w := range []Way{Inbound, Static, MDNS, DHT, Relay} {
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
		p.Relay = p.Relay || h.Relay
		if w == DHT && len(p.Ways) > 1 && e.told() {
			continue // what others pass on is older than what the peer itself says
		}
		if (h.Revision != 0 || len(h.Shares) > 0 || h.Count > 0) && h.heard.After(told) {
			told, p.Shares, p.Count, p.Revision = h.heard, h.Shares, h.Count, h.Revision
		}
	}
	for _, w := range []Way{MDNS, Static, Inbound, DHT} {
		for _, a := range e.ways[w].Addrs {
			if len(p.Addrs) < MaxAddrs && !slices.ContainsFunc(p.Addrs, a.Equal) {
				p.Addrs = append(p.Addrs, a)
			}
		}
	}
	return p
}

// told reports whether the peer itself told of its shares.
func (e *entry) told() bool {
	for w, h := range e.ways {
		if w != DHT && (h.Revision != 0 || len(h.Shares) > 0 || h.Count > 0) {
			return true
		}
	}
	return false
}

// same compares all but the time of hearing.
func (p Peer) same(q Peer) bool {
	return p.ID == q.ID && p.Name == q.Name && p.Workgroup == q.Workgroup && p.Version == q.Version &&
		p.Count == q.Count && p.Revision == q.Revision && p.Relay == q.Relay && p.Since.Equal(q.Since) &&
		slices.Equal(p.Shares, q.Shares) && slices.Equal(p.Ways, q.Ways) &&
		slices.EqualFunc(p.Addrs, q.Addrs, func(a, b peer.Addr) bool { return a.Equal(b) })
}
