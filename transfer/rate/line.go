package rate

import (
	"slices"
	"time"

	"github.com/peerd/peerd/peer"
)

// waiter is somebody who wants n bytes to pass. It stands in at most one line at a time.
type waiter struct {
	who     peer.ID
	n       int64
	since   time.Time // when it came, and once granted, when it passed; for slots alone
	granted bool
	ready   chan struct{} // told when granted; has room for one
}

// line is a queue that is fair to peers by bytes, however many waiters a peer has. It is start-time fair queueing (Goyal,
// Vin and Cheng, 1996): a peer has a tag, the bytes that it passed, and the lowest is next. Round robin would do as well
// if peers were in line all the time; one with a single stream is out of it whenever a chunk of it is under way, and is
// no poorer for it here. The zero line is empty, and an empty line remembers nothing.
type line struct {
	flows []*flow
	spare []*flow // empty ones, to be used again
	now   int64   // the tag of who passed last, below which nobody comes in
}

// flow is what one peer waits for, first come first served.
type flow struct {
	who     peer.ID
	waiters []*waiter
	tag     int64
}

// maxSpare bounds how many flows are kept for later.
const maxSpare = 64

func (l *line) empty() bool { return len(l.flows) == 0 }

func (l *line) find(who peer.ID) *flow {
	for _, f := range l.flows {
		if f.who == who {
			return f
		}
	}
	return nil
}

func (l *line) add(w *waiter) {
	f := l.find(w.who)
	if f == nil {
		if i := len(l.spare) - 1; i >= 0 {
			f, l.spare = l.spare[i], l.spare[:i]
		} else {
			f = &flow{}
		}
		f.who, f.tag = w.who, l.now
		l.flows = append(l.flows, f)
	}
	f.tag = max(f.tag, l.now)
	f.waiters = append(f.waiters, w)
}

// remove takes a waiter out, if it stands there.
func (l *line) remove(w *waiter) {
	f := l.find(w.who)
	if f == nil {
		return
	}
	if i := slices.Index(f.waiters, w); i >= 0 {
		f.waiters = slices.Delete(f.waiters, i, i+1)
		l.forget()
	}
}

// forget lets go of peers of which nobody waits and that have no more than others, and of all once nobody waits.
func (l *line) forget() {
	waits := slices.ContainsFunc(l.flows, func(f *flow) bool { return len(f.waiters) > 0 })
	l.flows = slices.DeleteFunc(l.flows, func(f *flow) bool {
		idle := len(f.waiters) == 0 && (!waits || f.tag <= l.now)
		if idle && len(l.spare) < maxSpare {
			f.who = ""
			l.spare = append(l.spare, f)
		}
		return idle
	})
	if !waits {
		l.now = 0
	}
}

// first is whose turn it is, or nil.
func (l *line) first() *waiter {
	var next *flow
	for _, f := range l.flows {
		if len(f.waiters) > 0 && (next == nil || f.tag < next.tag) {
			next = f
		}
	}
	if next == nil {
		return nil
	}
	return next.waiters[0]
}

// oldest is who waits for the longest time, or nil.
func (l *line) oldest() *waiter {
	var w *waiter
	for _, f := range l.flows {
		if len(f.waiters) > 0 && (w == nil || f.waiters[0].since.Before(w.since)) {
			w = f.waiters[0]
		}
	}
	return w
}

// pass lets one go that is the first of its peer.
func (l *line) pass(w *waiter) {
	f := l.find(w.who)
	l.now = max(l.now, f.tag)
	f.tag += w.n
	l.remove(w)
}
