package audit

import (
	"slices"
	"strings"
	"time"

	"github.com/peerd/peerd/peer"
)

// maxFloods is how many refusals are told apart at once, and how many grants; see [Event].Count.
const maxFloods = 64

// Stamped is an event and when it happened.
type Stamped struct {
	Event
	At time.Time
}

// floodKey is what equal refusals have in common.
type floodKey struct {
	kind                  Kind
	result                string
	peer                  peer.ID
	share, shareID, right string
	folder                string
	others                bool // of what is too much to be told apart
}

// Gatherer makes one event of many equal ones. It has no clock.
type Gatherer struct {
	Window time.Duration
	floods map[floodKey]*flood
}

// flood is what came after an event that was let through.
type flood struct {
	key   floodKey
	until time.Time
	sum   Stamped // zero if nothing came
}

// isFree reports whether an event is one that somebody without any right may cause as often as he likes.
func isFree(e Event) bool {
	switch e.Kind {
	case KindRefused, KindPeerSeen, KindPeerClash: // IDs and names are free
		return true
	case KindGrant: // so is what is open to all, and what comes by a ticket for whoever has one
		return true
	}
	switch e.Result {
	case "", OK, peer.Conflict.String():
		return false
	}
	return true
}

// Add reports whether the event is to be written now, and keeps it else.
func (g *Gatherer) Add(e Stamped) bool {
	if !isFree(e.Event) {
		return true
	}
	key := floodKey{e.Kind, e.Result, e.Peer, e.Share, e.ShareID, e.Right, folderOf(e.Path), false}
	f := g.floods[key]
	if f == nil && g.crowded(e.Event) {
		key = floodKey{kind: e.Kind, result: e.Result, others: true}
		f = g.floods[key]
	}
	if f != nil {
		f.add(e)
		return false
	}
	f = &flood{key: key, until: e.At.Add(g.Window)}
	if g.floods == nil {
		g.floods = map[floodKey]*flood{}
	}
	g.floods[key] = f
	if key.others {
		f.add(e)
	}
	return !key.others
}

// crowded reports whether there are too many floods for another one: refusals and strangers do not hide who got a grant.
func (g *Gatherer) crowded(e Event) bool {
	n := 0
	for key := range g.floods {
		if got := key.kind == KindGrant && key.result == OK; got == (e.Kind == KindGrant && e.Result == OK) {
			n++
		}
	}
	return n >= maxFloods
}

func (f *flood) add(e Stamped) {
	if f.sum.Count == 0 {
		f.sum = e
		f.sum.First = e.At
		if f.key.others {
			f.sum.Event = Event{Kind: e.Kind, Result: e.Result, Bytes: e.Bytes, First: e.At,
				Why: "too many different ones came at once to be told apart"}
		}
	} else {
		f.sum.Bytes += e.Bytes
		if !f.key.others {
			f.sum.Why = e.Why
		}
	}
	if f.sum.Serial != e.Serial { // of many grants
		f.sum.Serial = ""
	}
	if f.sum.Path != e.Path && f.sum.Path != "" {
		f.sum.Path = f.key.folder
	}
	f.sum.Count += e.Times()
	f.sum.Last, f.sum.At = e.At, e.At
}

// folderOf is the path without its last component, and with a slash at the end.
func folderOf(path string) string {
	i := strings.LastIndexByte(path, '/')
	if i < 0 && path != "" {
		return "/"
	}
	return path[:i+1]
}

// Due gives what was gathered in windows that have ended, in the order of its last events; all says that every window ends now.
func (g *Gatherer) Due(now time.Time, all bool) []Stamped {
	var out []Stamped
	for key, f := range g.floods {
		if !all && now.Before(f.until) {
			continue
		}
		if f.sum.Count == 0 {
			delete(g.floods, key)
			continue
		}
		out = append(out, f.sum)
		f.sum, f.until = Stamped{}, now.Add(g.Window)
	}
	slices.SortFunc(out, func(a, b Stamped) int { return a.At.Compare(b.At) })
	return out
}

// Next is when Due has something to give or to forget, or zero.
func (g *Gatherer) Next() (at time.Time) {
	for _, f := range g.floods {
		if at.IsZero() || f.until.Before(at) {
			at = f.until
		}
	}
	return at
}
