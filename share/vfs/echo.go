package vfs

import (
	"slices"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/watch"
	"github.com/peerd/peerd/transfer"
)

// echo is what this peer changed at a path, and the watch will tell of as well: what it tells of the path before the last of that
// is older than what is known.
type echo struct {
	running int  // changes that the owner has not answered yet
	blind   bool // when one of them began, nobody told of changes
	unsure  bool // of one that was made it is not known whether the watch tells of it
	due     []expected
	missed  []remote.Event // while some ran
	until   time.Time
}

// expected is an event that will come.
type expected struct {
	kind    watch.Kind
	dir     bool
	version transfer.Version // of a file
	from    share.Path       // of Moved
	to      share.Path
}

func (x expected) is(ev remote.Event) bool {
	switch x.kind {
	case watch.Removed:
		return ev.Kind == watch.Removed
	case watch.Moved:
		return ev.Kind == watch.Moved && ev.From == x.from && ev.Entry.Path == x.to
	}
	return (ev.Kind == watch.Created || ev.Kind == watch.Changed) && (ev.Entry.Kind == share.Dir) == x.dir && (x.dir || ev.Entry.Version == x.version)
}

// echoPatience is how long an echo is waited for.
const echoPatience = 3 * time.Second

// ownLocked says that this peer changes a path: what was asked of it before is not what is true.
func (pt *point) ownLocked(path string) {
	if a := pt.asks[path]; a != nil {
		a.stale = true
	}
	p, err := share.SplitPath(path)
	if err != nil {
		return
	}
	if parent := pt.find(p.Dir()); parent != nil && parent.Dir {
		if l, ok := parent.Folder().Listing.(*lister); ok {
			l.own[p.Base()] = true
		}
	}
}

// expectLocked announces a change at a path.
func (pt *point) expectLocked(path string) {
	pt.ownLocked(path)
	e := pt.echoes[path]
	if e == nil {
		e = &echo{}
		pt.echoes[path] = e
	}
	e.running++
	e.blind = e.blind || pt.epoch == 0
}

// doneLocked says what came of the change that was announced: kind 0 is nothing, or nothing that the watch will tell of.
func (f *FS) doneLocked(pt *point, path string, x expected) {
	pt.ownLocked(path)
	e := pt.echoes[path]
	if e == nil {
		return
	}
	e.running = max(e.running-1, 0)
	told := pt.epoch != 0 && !e.blind
	if x.kind != 0 && told {
		e.due, e.until = append(e.due, x), time.Now().Add(echoPatience)
	}
	e.unsure = e.unsure || x.kind != 0 && !told
	if e.running > 0 {
		return
	}
	missed, unsure := e.missed, e.unsure
	if e.missed, e.blind, e.unsure = nil, false, false; len(e.due) == 0 {
		delete(pt.echoes, path)
	}
	for _, ev := range missed {
		if unsure { // nobody can tell whether it was before what was changed here
			f.unclearLocked(pt, ev)
		} else {
			f.eventLocked(pt, ev, func(at share.Path) bool { return at.String() != path }) // there it was taken in when it came
		}
	}
}

// heardLocked reports whether an event tells of a path what this peer has changed there, and what is known therefore.
func (pt *point) heardLocked(path string, ev remote.Event) bool {
	e := pt.echoes[path]
	if e == nil {
		return false
	}
	i := slices.IndexFunc(e.due, func(x expected) bool { return x.is(ev) })
	if i < 0 {
		return false
	}
	e.missed = nil // it was before
	if e.due = e.due[i+1:]; len(e.due) == 0 && e.running == 0 {
		delete(pt.echoes, path)
	}
	return true
}

// olderLocked reports whether an event tells of a path what is not true any more.
func (f *FS) olderLocked(pt *point, path string, ev remote.Event) bool {
	e := pt.echoes[path]
	switch {
	case e == nil:
		return false
	case e.running > 0:
		e.missed = append(e.missed, ev)
		return true
	case time.Now().After(e.until):
		f.deafLocked(pt, path)
		return false
	}
	return true
}

// deafLocked gives up an echo that did not come. What is at the path is asked for anew, by those who follow as well.
func (f *FS) deafLocked(pt *point, path string) {
	if e := pt.echoes[path]; e != nil && e.running > 0 {
		e.unsure = true
	} else {
		delete(pt.echoes, path)
	}
	if p, err := share.SplitPath(path); err == nil {
		if parent := pt.find(p.Dir()); parent != nil && parent.Dir {
			parent.Folder().Epoch, parent.Folder().Seen = 0, 0
			n := parent.Child(p.Base())
			if n != nil {
				n.Epoch, n.Seen = 0, 0
				f.tellLocked(Change{What: Content, Ino: n.Ino})
			}
			f.tellName(n, parent, p.Base())
		}
	}
}

// unclearLocked has what an event tells of asked for anew.
func (f *FS) unclearLocked(pt *point, ev remote.Event) {
	f.deafLocked(pt, ev.Entry.Path.String())
	if ev.Kind == watch.Moved {
		f.deafLocked(pt, ev.From.String())
	}
}

// deafensLocked gives up the echoes that are waited for too long.
func (f *FS) deafensLocked(pt *point, now time.Time) {
	for path, e := range pt.echoes {
		if e.running == 0 && now.After(e.until) {
			f.deafLocked(pt, path)
		}
	}
}
