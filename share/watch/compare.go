package watch

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/transfer"
)

// A file is told of when nothing has written to it for quietFor, and if that never happens every longestWait.
const (
	quietFor    = 200 * time.Millisecond
	longestWait = 5 * time.Second
)

// wait is a file that was seen to differ and may still be written to.
type wait struct {
	version transfer.Version // seen last
	at      time.Time        // since when it is this version
	since   time.Time        // when it was first seen to differ
}

// change is an event with what was there before.
type change struct {
	Event
	before share.Entry
}

// outcome is what follows from a listing.
type outcome struct {
	changes []change
	again   time.Time // when to look at this folder again, for a file that is being written; zero if for none
}

// comparison is of one folder with the index. It has no clock and reads nothing, so that tables and fuzzing test it.
type comparison struct {
	ix      *index
	path    share.Path
	folder  *folder
	at      time.Time
	hasty   bool                  // files that are being written are taken as they are
	busy    func(share.Path) bool // what is about to be noted, or was since the listing began: it is left as it is
	waiting map[string]wait
	outcome
}

// compare takes in what a folder was seen to hold, sorted by name, and tells what changed.
func (c *comparison) compare(now []item) outcome {
	old := c.folder.items
	if slices.Equal(old, now) {
		c.folder.waiting = nil
		return outcome{}
	}
	next := make([]item, 0, len(now))
	for len(old) > 0 || len(now) > 0 {
		var was, is *item
		order := -1
		switch {
		case len(old) == 0:
			order = 1
		case len(now) > 0:
			order = cmp.Compare(old[0].name, now[0].name)
		}
		if order <= 0 {
			was, old = &old[0], old[1:]
		}
		if order >= 0 {
			is, now = &now[0], now[1:]
		}
		if keep := c.step(was, is); keep != nil {
			next = append(next, *keep)
		}
	}
	c.folder.items, c.folder.waiting = next, c.waiting
	if len(c.changes) > 0 && c.folder.seen {
		c.folder.changed = c.at.Unix()
	}
	return c.outcome
}

// step compares one name, and gives what the index holds of it from now on.
func (c *comparison) step(was, is *item) *item {
	if was != nil && is != nil && *was == *is {
		return was
	}
	name := cmp.Or(was, is).name
	p, err := c.path.Join(name)
	switch {
	case err != nil: // can't be: it was listed
		return was
	case c.busy(p):
		return was
	case is == nil:
		c.leave(p, *was)
		return nil
	case was == nil:
		return c.arrive(p, is)
	case was.kind != is.kind:
		c.leave(p, *was)
		return c.arrive(p, is)
	case is.kind == share.Dir:
		c.ix.enter = append(c.ix.enter, p)
		is.name = was.name
		return is
	case !c.quiet(is):
		return was
	}
	c.ix.count(*was, -1)
	c.ix.count(*is, 1)
	c.tell(Changed, is.entry(p), was.entry(p))
	is.name = was.name
	return is
}

func (c *comparison) leave(p share.Path, it item) {
	c.ix.forget(p, it, func(_ Kind, e share.Entry) { c.tell(Removed, e, e) })
}

func (c *comparison) arrive(p share.Path, it *item) *item {
	if it.kind == share.Dir {
		c.ix.add(p, it.sec)
	} else if !c.quiet(it) {
		return nil
	}
	it.name = strings.Clone(it.name) // else it keeps the whole path in memory
	c.ix.count(*it, 1)
	c.tell(Created, it.entry(p), share.Entry{})
	return it
}

func (c *comparison) tell(kind Kind, e, before share.Entry) {
	c.changes = append(c.changes, change{Event{Kind: kind, Entry: e, Time: c.at}, before})
}

// quiet reports whether a file that differs can be told of, or remembers to look again.
func (c *comparison) quiet(it *item) bool {
	if c.hasty || c.at.Sub(it.modTime()) >= quietFor {
		return true
	}
	w, ok := c.folder.waiting[it.name]
	if !ok {
		w.since = c.at
	}
	if !ok || w.version != it.version {
		w.version, w.at = it.version, c.at
	}
	until := w.at.Add(quietFor)
	if last := w.since.Add(longestWait); last.Before(until) {
		until = last
	}
	if !c.at.Before(until) {
		return true
	}
	if c.waiting == nil {
		c.waiting = map[string]wait{}
	}
	c.waiting[strings.Clone(it.name)] = w
	if c.again.IsZero() || until.Before(c.again) {
		c.again = until
	}
	return false
}
