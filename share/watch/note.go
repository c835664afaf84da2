package watch

import (
	"time"

	"github.com/peerd/peerd/share"
)

// Note takes in a change that peerd itself has made on the disk, and publishes it: ev has Kind, Entry, By and, for Moved, From. Of
// a folder that is removed all that is known below is told first; a folder on the way that isn't known is told as made; what is
// created is told as changed if it was known, and the other way round. A time that is zero is now. The disk's own notification then
// finds nothing new, unless it came first: see [Watcher.Hold].
func (w *Watcher) Note(ev Event) {
	if ev.Time.IsZero() {
		ev.Time = time.Now()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var events []Event
	tell := func(kind Kind, e share.Entry) {
		events = append(events, Event{Kind: kind, Entry: e, By: ev.By, Time: ev.Time})
	}
	p := ev.Entry.Path
	switch ev.Kind {
	case Removed:
		w.ix.drop(p, tell)
		if n := len(events); n > 0 { // the last is the path itself
			events = events[:n-1]
		}
	case Moved:
		w.ix.move(ev.From, ev.Entry, tell)
		w.touchLocked(ev.From)
	default:
		ev.Kind = Created
		if e, known := w.ix.get(p); known && e.Kind == ev.Entry.Kind {
			ev.Kind = Changed
		}
		w.ix.put(ev.Entry, tell)
	}
	w.touchLocked(p)
	w.settleLocked()
	w.feed.Publish(append(events, ev)...)
	w.wakeUp()
}

// touchLocked keeps the listing that runs from judging p, of which it may have seen an older state, and has its folder looked at, or
// the nearest above that is known.
func (w *Watcher) touchLocked(p share.Path) {
	for w.noted[p] = struct{}{}; w.ix.folders[p.Dir()] == nil; w.noted[p] = struct{}{} {
		p = p.Dir()
	}
	w.queue.add(p.Dir(), w.soonLocked(p.Dir()))
}

// Hold keeps what is at the paths, and below them, from being taken for an edit by the owner's own programs until release is called: the
// paths are about to be changed by peerd, which notes each change before it releases them. What else happened to them is found then.
func (w *Watcher) Hold(paths ...share.Path) (release func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holdLocked(paths, 1)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.holdLocked(paths, -1)
		for _, p := range paths {
			w.touchLocked(p)
			if w.ix.folders[p] != nil {
				w.queue.add(p, w.soonLocked(p))
			}
		}
		w.wakeUp()
	}
}

func (w *Watcher) holdLocked(paths []share.Path, n int) {
	count := func(in map[share.Path]int, p share.Path) {
		if in[p] += n; in[p] == 0 {
			delete(in, p)
		}
	}
	for _, p := range paths {
		count(w.held, p)
		for !p.IsRoot() {
			p = p.Dir()
			count(w.heldBelow, p)
		}
	}
}

// busyLocked reports whether a difference at p is left for later.
func (w *Watcher) busyLocked(p share.Path) bool {
	if _, ok := w.noted[p]; ok || w.heldBelow[p] > 0 {
		return true
	}
	for len(w.held) > 0 {
		if w.held[p] > 0 {
			return true
		}
		if p.IsRoot() {
			break
		}
		p = p.Dir()
	}
	return false
}
