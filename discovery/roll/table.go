package roll

import (
	"encoding/binary"
	"time"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/discovery/roll/rollpb"
	"github.com/peerd/peerd/peer"
)

// table is the roll: the last statement of each peer, our own among them. It has no clock.
type table struct {
	self      peer.ID
	workgroup string
	peers     map[peer.ID]*entry
	byMark    map[mark]peer.ID
	past      map[mark]tomb // what was dropped, so that it does not come back
}

// tomb is the last that was heard of a peer that fell silent.
type tomb struct {
	serial uint64
	until  time.Time
}

type entry struct {
	*statement
	signed time.Time // by our clock, as far as those who passed it on say
}

func newTable(self peer.ID, workgroup string) *table {
	return &table{self: self, workgroup: workgroup, peers: make(map[peer.ID]*entry), byMark: make(map[mark]peer.ID), past: make(map[mark]tomb)}
}

// put enters a statement that is known to be good.
func (t *table) put(now time.Time, s *statement) {
	t.peers[s.id] = &entry{s, now}
	t.byMark[markOf(s.id)] = s.id
}

// merge takes in what somebody passed on. It gives the entry if it is later than what was there, and whether it says
// anything else than that the peer is still here. One about ourselves is given back with err nil and not entered.
func (t *table) merge(now time.Time, in *rollpb.Entry) (e *entry, news bool, err error) {
	age := time.Duration(in.Age) * time.Second
	if age >= lifetime {
		return nil, false, nil
	}
	s, err := parse(in.Statement, in.Signature, t.workgroup)
	if err != nil {
		return nil, false, err
	}
	old := t.peers[s.id]
	if old != nil && old.serial >= s.serial {
		return nil, false, nil
	}
	if old == nil && (len(t.peers) >= discovery.MaxPeers || t.past[markOf(s.id)].serial >= s.serial) {
		return nil, false, nil
	}
	if err := s.verify(); err != nil {
		return nil, false, err
	}
	e = &entry{s, now.Add(-age)}
	if s.id == t.self {
		return e, false, nil
	}
	t.peers[s.id] = e
	t.byMark[markOf(s.id)] = s.id
	return e, old == nil && !s.gone || old != nil && !same(old.said, s.said), nil
}

func same(a, b discovery.Sighting) bool {
	if a.Gone != b.Gone || a.Name != b.Name || a.Version != b.Version || a.Count != b.Count || a.Revision != b.Revision ||
		a.Relay != b.Relay || len(a.Shares) != len(b.Shares) || len(a.Addrs) != len(b.Addrs) {
		return false
	}
	for i := range a.Shares {
		if a.Shares[i] != b.Shares[i] {
			return false
		}
	}
	for i := range a.Addrs {
		if !a.Addrs[i].Equal(b.Addrs[i]) {
			return false
		}
	}
	return true
}

// expire drops what is too old. That somebody left is remembered as long, or it would come back by those who did not hear.
func (t *table) expire(now time.Time) {
	for id, e := range t.peers {
		if id != t.self && now.Sub(e.signed) >= lifetime {
			m := markOf(id)
			delete(t.peers, id)
			delete(t.byMark, m)
			if len(t.past) < discovery.MaxPeers {
				t.past[m] = tomb{e.serial, now.Add(lifetime)}
			}
		}
	}
	for m, p := range t.past {
		if !now.Before(p.until) {
			delete(t.past, m)
		}
	}
}

// here reports whether a peer is on the roll and did not leave.
func (t *table) here(id peer.ID) bool {
	e := t.peers[id]
	return e != nil && !e.gone
}

const markSize = len(mark{}) + 8

// marks says what is in the table.
func (t *table) marks() []byte {
	b := make([]byte, 0, markSize*len(t.peers))
	for m, id := range t.byMark {
		b = append(b, m[:]...)
		b = binary.BigEndian.AppendUint64(b, t.peers[id].serial)
	}
	return b
}

// compare gives what one with such marks lacks, and the marks of what it has and we lack.
func (t *table) compare(now time.Time, marks []byte) (lacks []*rollpb.Entry, wants []byte) {
	has := make(map[mark]uint64, len(marks)/markSize)
	for ; len(marks) >= markSize; marks = marks[markSize:] {
		m, serial := mark(marks[:8]), binary.BigEndian.Uint64(marks[8:])
		has[m] = serial
		id, known := t.byMark[m]
		if !known && len(t.peers) < discovery.MaxPeers && t.past[m].serial < serial || known && t.peers[id].serial < serial {
			wants = append(wants, m[:]...)
		}
	}
	for m, id := range t.byMark {
		if e := t.peers[id]; e.serial > has[m] {
			lacks = append(lacks, e.pass(now))
		}
	}
	return lacks, wants
}

// take gives the entries that somebody wants.
func (t *table) take(now time.Time, wants []byte) (out []*rollpb.Entry) {
	for ; len(wants) >= len(mark{}); wants = wants[len(mark{}):] {
		if id, ok := t.byMark[mark(wants[:8])]; ok && len(out) < discovery.MaxPeers {
			out = append(out, t.peers[id].pass(now))
		}
	}
	return out
}

// pass is an entry as it is passed on.
func (e *entry) pass(now time.Time) *rollpb.Entry {
	return &rollpb.Entry{Statement: e.raw, Signature: e.sig, Age: uint32(max(now.Sub(e.signed), 0) / time.Second)}
}

// sighting is what discovery is told of an entry.
func (e *entry) sighting(now time.Time, from peer.ID) discovery.Sighting {
	s := e.said
	s.From = from.String()
	s.TTL = max(lifetime-now.Sub(e.signed), time.Second)
	return s
}
