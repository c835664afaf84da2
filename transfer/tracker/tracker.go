// Package tracker keeps who has pieces of which file, as far as they said so to this peer: an owner names them to those that
// ask it for the file, and so does every other source. It has no clock and no network.
//
// Whoever fetches a file and gives on what it has is a member of the file's swarm for as long as it says so, and a source
// for [Linger] after. Members that still fetch are numbered, so that each can ask the owner for another part.
package tracker

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
)

// Bounds of a [Table].
const (
	MaxFiles   = 4096 // files; beyond, the one that was not asked for longest is forgotten
	MaxMembers = 128  // of one file
	MaxNamed   = 32   // sources named to one asker
	MaxAddrs   = 8    // of one source
)

// Linger is how long a peer that has all of a file counts as a source after it said so.
const Linger = 30 * time.Minute

// meeting is how long a member that came is left to reach those that came before it: were they told of it at once, they would
// reach for it at the same time, and two connections be made where one serves both.
const meeting = 500 * time.Millisecond

// lost is how long a peer counts as a source whose stream broke before it had all.
const lost = time.Minute

// Source is a peer that has pieces of a file, and where it may be reached.
type Source struct {
	Peer  peer.ID
	Addrs []peer.Addr
}

// Table is the swarms that this peer knows. It is safe for concurrent use.
type Table struct {
	mu    sync.Mutex
	files map[transfer.FileID]*swarm
	uses  uint64
	more  chan struct{} // closed and made anew when there is one more in files
}

// swarm is who has pieces of one file.
type swarm struct {
	members []*Member // in the order in which they came
	used    uint64
	changed chan struct{} // closed and made anew when members change
}

// Member is one asker. It is a source too, if it gives.
type Member struct {
	table  *Table
	file   transfer.FileID
	share  transfer.ShareID
	source Source
	gives  bool
	came   time.Time
	busy   bool      // it still fetches
	until  time.Time // once it is not busy any more
}

// New makes an empty Table.
func New() *Table { return &Table{files: make(map[transfer.FileID]*swarm), more: make(chan struct{})} }

// Join enters a peer that begins to fetch a file, in place of what it was before.
func (t *Table) Join(now time.Time, f transfer.File, s Source, gives bool) *Member {
	s.Addrs = slices.Clone(s.Addrs[:min(len(s.Addrs), MaxAddrs)])
	m := &Member{table: t, file: f.ID(), share: f.Share, source: s, gives: gives, came: now, busy: true}
	t.mu.Lock()
	defer t.mu.Unlock()
	sw := t.swarm(m.file)
	sw.prune(now)
	sw.members = slices.DeleteFunc(sw.members, func(old *Member) bool { return old.source.Peer == s.Peer })
	if len(sw.members) < MaxMembers {
		sw.members = append(sw.members, m)
	}
	sw.notify()
	return m
}

// Add enters a peer that has all of a file already.
func (t *Table) Add(now time.Time, f transfer.File, s Source) {
	t.Join(now, f, s, true).Done(now)
}

// Givers are the peers that give on files of a share.
func (t *Table) Givers(share transfer.ShareID) []peer.ID {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make(map[peer.ID]bool)
	for _, sw := range t.files {
		for _, m := range sw.members {
			if m.gives && m.share == share {
				all[m.source.Peer] = true
			}
		}
	}
	return slices.Collect(maps.Keys(all))
}

// Forget drops a share's files, as when a right to it ended: who still may, says so again.
func (t *Table) Forget(share transfer.ShareID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, sw := range t.files {
		n := len(sw.members)
		sw.members = slices.DeleteFunc(sw.members, func(m *Member) bool { return m.share == share && !m.busy })
		if len(sw.members) != n {
			sw.notify()
		}
	}
}

// Drop takes a peer out of all swarms of a share, whose files it may not have any more: it is named to nobody.
func (t *Table) Drop(share transfer.ShareID, who peer.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, sw := range t.files {
		n := len(sw.members)
		sw.members = slices.DeleteFunc(sw.members, func(m *Member) bool { return m.share == share && m.source.Peer == who })
		if len(sw.members) != n {
			sw.notify()
		}
	}
}

// Askers are the peers that fetch a file and give on what they have of it, and a channel that is closed when that may have changed.
func (t *Table) Askers(f transfer.File) ([]Source, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	sw := t.files[f.ID()]
	if sw == nil {
		return nil, t.more
	}
	var all []Source
	for _, m := range sw.members {
		if m.busy && m.gives {
			all = append(all, m.source)
		}
	}
	return all, sw.changed
}

// swarm gives the swarm of a file, and forgets another if there are too many. t.mu is held.
func (t *Table) swarm(f transfer.FileID) *swarm {
	sw := t.files[f]
	if sw == nil {
		if len(t.files) >= MaxFiles {
			oldest := slices.MinFunc(slices.Collect(maps.Keys(t.files)), func(a, b transfer.FileID) int {
				return int(t.files[a].used) - int(t.files[b].used)
			})
			delete(t.files, oldest)
		}
		sw = &swarm{changed: make(chan struct{})}
		t.files[f] = sw
		close(t.more)
		t.more = make(chan struct{})
	}
	t.uses++
	sw.used = t.uses
	return sw
}

func (sw *swarm) prune(now time.Time) {
	sw.members = slices.DeleteFunc(sw.members, func(m *Member) bool { return !m.busy && !now.Before(m.until) })
}

func (sw *swarm) notify() {
	close(sw.changed)
	sw.changed = make(chan struct{})
}

// Done says that the member has all of the file.
func (m *Member) Done(now time.Time) { m.end(now.Add(Linger)) }

// Leave says that the member is not heard of any more. If it was done, that changes nothing.
func (m *Member) Leave(now time.Time) { m.end(now.Add(lost)) }

func (m *Member) end(until time.Time) {
	m.table.mu.Lock()
	defer m.table.mu.Unlock()
	if !m.busy {
		return
	}
	m.busy, m.until = false, until
	if sw := m.table.files[m.file]; sw != nil {
		if !m.gives {
			sw.members = slices.DeleteFunc(sw.members, func(o *Member) bool { return o == m })
		}
		sw.notify()
	}
}

// News is what a member is told.
type News struct {
	Sources []Source // the others, those that came last first, at most MaxNamed
	// More is when there are others who are not named yet, as they are to meet this member first; or zero.
	More time.Time
	// The member is number Index of the Of that fetch the file now and give; Of is 0 for one that does not give.
	Index, Of int
}

// News tells a member of the others, and gives a channel that is closed when that changes.
func (m *Member) News(now time.Time) (News, <-chan struct{}) {
	m.table.mu.Lock()
	defer m.table.mu.Unlock()
	sw := m.table.swarm(m.file)
	sw.prune(now)
	var n News
	later := m.gives && slices.Contains(sw.members, m) // whom m was named to; as long as m itself was not passed
	for _, o := range slices.Backward(sw.members) {
		switch met := o.came.Add(meeting); {
		case o.source.Peer == m.source.Peer:
			later = false
		case !o.gives || len(n.Sources) == MaxNamed:
		case later && o.busy && now.Before(met):
			n.More = met
		default:
			n.Sources = append(n.Sources, o.source)
		}
	}
	for _, o := range sw.members {
		if o.busy && o.gives {
			if o == m {
				n.Index = n.Of
			}
			n.Of++
		}
	}
	if !m.gives {
		n.Index, n.Of = 0, 0
	}
	return n, sw.changed
}
