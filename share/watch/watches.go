package watch

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/watch/notify"
)

// maxSwaps is how many watches are given to other folders at a time.
const maxSwaps = 64

// open gets a notifier, or takes down why there is none.
func (l *loop) open(now time.Time) {
	l.openAt = now.Add(max(l.opt.Rescan, retry))
	if l.opt.MaxWatches < 0 {
		return
	}
	n, err := l.opt.notify()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limit = err; err != nil {
		l.opt.Log.Warn("can't be told of changes", "err", err)
		return
	}
	l.notifier = n
	l.listening.Go(func() {
		for notice := range n.Notices() {
			l.heed(notice)
		}
	})
	for p := range l.ix.folders { // to watch it
		l.queue.add(p, now)
	}
}

// hangUp gives up the notifier with all its watches.
func (l *loop) hangUp() {
	if l.notifier == nil {
		return
	}
	l.notifier.Close()
	l.listening.Wait()
	l.notifier, l.openAt, l.added = nil, time.Time{}, nil
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.ix.folders {
		f.watched = false
	}
	l.ix.watched, l.limit, l.full = 0, nil, false
}

// watch watches a folder if it may, and reports whether it was not watched before. A folder that is watched already gets its watch again,
// since another folder may have taken its name.
func (l *loop) watch(p share.Path, f *folder) (added bool) {
	if l.notifier == nil {
		return false
	}
	l.dropStale() // one of them may have the same name
	l.mu.Lock()
	was, full := f.watched, l.full
	switch {
	case was:
	case l.ix.watched >= l.opt.MaxWatches:
		full, l.limit = true, &notify.Limit{Text: fmt.Sprintf("peerd watches at most %d folders", l.opt.MaxWatches)}
	case notify.FilesCost && len(f.items) > notify.ManyFiles:
		full = true
	}
	l.mu.Unlock()
	if full && !was {
		return false
	}
	err := l.notifier.Add(l.real(p))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ix.folders[p] != f { // noted meanwhile
		l.ix.stale = append(l.ix.stale, p)
		return false
	}
	if err != nil {
		if limit, ok := notify.LimitOf(err); ok {
			l.limit, l.full = limit, true
		} else if !errors.Is(err, fs.ErrNotExist) {
			l.opt.Log.Debug("watch folder", "folder", p.String(), "err", err)
		}
		l.ix.unwatch(p, f)
		return false
	}
	if !f.watched {
		f.watched = true
		l.ix.watched++
		if !was {
			l.added = append(l.added, p)
		}
	}
	return !was
}

// dropStale takes away watches that are of no use.
func (l *loop) dropStale() {
	l.mu.Lock()
	stale := l.ix.stale
	l.ix.stale = nil
	l.mu.Unlock()
	if len(stale) == 0 || l.notifier == nil {
		return
	}
	for _, p := range stale {
		l.notifier.Remove(l.real(p))
	}
	if l.tidyAt.IsZero() {
		l.tidyAt = later(time.Now().Add(settle), l.tidied.Add(max(tidyGap, time.Duration(len(l.added))*time.Millisecond)))
	}
}

// tidy gives folders that came lately their watches again. The system's watches follow a folder that moves, and a new watch on one that
// still has one under its old name is not made: so it had none of its own until that was taken away.
func (l *loop) tidy(now time.Time) {
	if l.tidyAt.IsZero() || now.Before(l.tidyAt) {
		return
	}
	l.tidyAt, l.tidied = time.Time{}, now
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.added {
		if f := l.ix.folders[p]; f != nil && f.watched {
			l.queue.add(p, now) // which adds its watch again
		}
	}
}

// ranked is a folder by how much it deserves a watch: less is more.
type ranked struct {
	path share.Path
	*folder
	rank float64
}

// rank puts folders near the root first, and those that changed lately: a level further down weighs as much as twice the hours since.
func rank(p share.Path, changed, now int64) float64 {
	if p.IsRoot() {
		return math.Inf(-1)
	}
	return float64(depth(p)) + math.Log2(1+float64(max(now-changed, 0))/3600)
}

// balance gives the watches that there are to the folders that deserve them most.
func (l *loop) balance() {
	if l.notifier == nil {
		return
	}
	l.mu.Lock()
	var with, without []ranked
	now := time.Now().Unix()
	if l.ix.watched < len(l.ix.folders) {
		for p, f := range l.ix.folders {
			r := ranked{p, f, rank(p, f.changed, now)}
			if f.watched {
				with = append(with, r)
			} else {
				without = append(without, r)
			}
		}
	}
	last := l.limit
	l.limit, l.full = nil, false
	l.mu.Unlock()
	byRank := func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.path.String(), b.path.String()))
	}
	slices.SortFunc(with, byRank)
	slices.SortFunc(without, byRank)
	swaps := 0
	for _, best := range without {
		l.rewatch(best)
		if l.limit == nil { // it has one, or can't have one for reasons of its own
			continue
		}
		last = l.limit
		if swaps == maxSwaps || swaps == len(with) || with[len(with)-1-swaps].rank <= best.rank+1 {
			break
		}
		l.unwatch(with[len(with)-1-swaps])
		l.rewatch(best)
		swaps++
	}
	if swaps > 0 {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.limit = last
	}
}

// rewatch watches a folder and has it looked at, for what happened since it was last.
func (l *loop) rewatch(r ranked) {
	if l.watch(r.path, r.folder) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.queue.add(r.path, time.Now())
	}
}

func (l *loop) unwatch(r ranked) {
	l.mu.Lock()
	was := r.watched
	if was {
		r.watched = false // not by index.unwatch: its watch is taken away at once
		l.ix.watched--
	}
	l.limit, l.full = nil, false
	l.mu.Unlock()
	if was {
		l.notifier.Remove(l.real(r.path))
	}
}

// depth is how many folders a path is below the root.
func depth(p share.Path) int {
	if p.IsRoot() {
		return 0
	}
	return strings.Count(p.String(), "/") + 1
}
