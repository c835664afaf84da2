// Package rewind works out what the paths of a share were before one peer's changes, from the records of these, newest first. It
// does nothing to any disk.
package rewind

import (
	"cmp"
	"slices"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change/history"
	"github.com/peerd/peerd/transfer"
)

// Source is where what a path was can be had.
type Source uint8

// The sources.
const (
	Nothing Source = iota // nothing was there
	Folder                // a folder was; what was in it is wanted by itself
	Old                   // it is version ID of Path
	There                 // it was moved to Path by change ID
)

// Want is what a path was, and where that is now.
type Want struct {
	From   Source
	Path   share.Path
	ID     history.ID
	Left   transfer.Version // what is at Path, if nobody changed it since it was moved there
	Expect transfer.Version // what the peer left at the wanted path; zero for nothing
}

// Wants are what is wanted of each path.
type Wants map[share.Path]*Want

// Back takes one change back, which is older than those before. A move of a folder it can't: that is done at once, so that earlier
// changes are met by the names that they had.
func (ws Wants) Back(r history.Record) (ok bool) {
	switch {
	case r.Act == history.Mkdir:
		ws.at(r.Path, r.After).From = Nothing
		return true
	case r.Act == history.Rmdir:
		ws.at(r.Path, share.Entry{}).From = Folder
		return true
	case r.Act == history.Place && !r.From.IsRoot() && r.After.Kind == share.Dir:
		return false
	}
	_, known := ws[r.Path]
	if r.Act == history.Touch { // its bytes stay; so do the time and the bits that it got
		if w := ws.at(r.Path, r.After); !known {
			w.From, w.Path, w.ID, w.Left = There, r.Path, r.ID, r.After.Version
		}
		return true
	}
	w := ws.at(r.Path, r.After)
	if !r.From.IsRoot() {
		f := ws.at(r.From, share.Entry{})
		if known {
			f.From, f.Path, f.ID, f.Left = w.From, w.Path, w.ID, w.Left
		} else {
			f.From, f.Path, f.ID, f.Left = There, r.Path, r.ID, r.After.Version
		}
	}
	if w.From, w.Path, w.ID = Nothing, r.Path, r.ID; r.Keeps() {
		w.From = Old
	}
	return true
}

// at gives what is wanted of a path; expect is what the peer's newest change left there.
func (ws Wants) at(p share.Path, expect share.Entry) *Want {
	if ws[p] == nil {
		ws[p] = &Want{Expect: expect.Version}
	}
	return ws[p]
}

// Of gives the paths that are to be had from a source, in order.
func (ws Wants) Of(from Source) (ps []share.Path) {
	for p, w := range ws {
		if w.From == from {
			ps = append(ps, p)
		}
	}
	slices.SortFunc(ps, func(a, b share.Path) int { return cmp.Compare(a.String(), b.String()) })
	return ps
}

// Moves are the files that are to be moved back, and which of them must go first.
type Moves struct {
	after map[share.Path]share.Path // where what is at a path goes
	above map[share.Path]bool       // the folders that such paths are in
}

// Moves gives the moves that are wanted.
func (ws Wants) Moves() Moves {
	ms := Moves{after: map[share.Path]share.Path{}, above: map[share.Path]bool{}}
	for p, w := range ws {
		if w.From != There {
			continue
		}
		ms.after[w.Path] = p
		for dir := w.Path.Dir(); !dir.IsRoot(); dir = dir.Dir() {
			ms.above[dir] = true
		}
	}
	return ms
}

// To is where what is at a path goes.
func (ms Moves) To(p share.Path) (to share.Path, goes bool) {
	to, goes = ms.after[p]
	return to, goes
}

// Near reports whether a file that is to be moved is at a path, or below or above it.
func (ms Moves) Near(p share.Path) bool {
	for q := p; !q.IsRoot(); q = q.Dir() {
		if _, ok := ms.after[q]; ok {
			return true
		}
	}
	return ms.above[p]
}

// Before gives where the files go that must leave before something comes to p.
func (ms Moves) Before(p share.Path) (first []share.Path) {
	for q := p; !q.IsRoot(); q = q.Dir() {
		if to, ok := ms.after[q]; ok {
			first = append(first, to)
		}
	}
	if ms.above[p] {
		for from, to := range ms.after {
			if _, below := from.Below(p); below {
				first = append(first, to)
			}
		}
	}
	return first
}
