package watch

import (
	"cmp"
	"slices"
	"time"

	"github.com/peerd/peerd/share"
)

// queue is the folders to look at, and when.
type queue map[share.Path]time.Time

// add asks for a look at a folder at the time given, or sooner if that was asked already.
func (q queue) add(p share.Path, at time.Time) {
	if due, ok := q[p]; !ok || at.Before(due) {
		q[p] = at
	}
}

// take removes what is due and gives it, those nearest the root first.
func (q queue) take(now time.Time) (due []share.Path) {
	for p, at := range q {
		if !at.After(now) {
			due = append(due, p)
			delete(q, p)
		}
	}
	slices.SortFunc(due, func(a, b share.Path) int {
		return cmp.Or(cmp.Compare(depth(a), depth(b)), cmp.Compare(a.String(), b.String()))
	})
	return due
}

// next is when something is due, or zero.
func (q queue) next() (first time.Time) {
	for _, at := range q {
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}
