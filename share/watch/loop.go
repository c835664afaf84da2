package watch

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/watch/notify"
)

const (
	settle   = 20 * time.Millisecond // after a hint, so that a burst of them is one listing
	restless = 5 * time.Second       // the longest that a large folder which changes all the time is left alone
	retry    = 5 * time.Second       // after a folder could not be looked at
	tidyGap  = time.Second           // between two times that watches are put right
)

// loop is what only the goroutine of Run knows.
type loop struct {
	*Watcher
	notifier  notifier // nil while there is none
	listening sync.WaitGroup
	openAt    time.Time // when to try again to get one
	full      bool      // the system refused a watch lately, so none is asked for
	away      bool
	awayUntil time.Time // when to look again whether the share is there

	added  []share.Path // folders that got a watch since the full scan before the last began
	tidyAt time.Time    // when to put their watches right; zero: no need
	tidied time.Time

	spent time.Duration // on the looks of the scan that runs, or of the first one
	scan  *scan
	plan  plan
}

// turn does what is due, and gives how long nothing will be.
func (l *loop) turn(ctx context.Context) time.Duration {
	now := time.Now()
	if l.away {
		if now.Before(l.awayUntil) {
			return l.awayUntil.Sub(now)
		}
		if _, err := l.fs.Stat(ctx, share.Path{}); err != nil {
			l.lose(err)
			return time.Until(l.awayUntil)
		}
		l.back()
	}
	if l.notifier == nil && !now.Before(l.openAt) {
		l.open(now)
	}
	due := l.takeDue(now)
	l.tidy(now)
	for _, p := range due {
		l.look(ctx, p)
		if ctx.Err() != nil || l.away {
			return 0
		}
	}
	switch {
	case len(due) > 0 || l.scanSome(ctx, now):
		return 0
	case l.away:
		return 0
	}
	return l.pause(now)
}

// takeDue gives the folders to look at.
func (l *loop) takeDue(now time.Time) []share.Path {
	l.mu.Lock()
	due := l.queue.take(now)
	if l.overflowed {
		l.plan.hurry(now)
		l.overflowed = false
	}
	l.mu.Unlock()
	l.dropStale()
	return due
}

// pause is how long nothing is due.
func (l *loop) pause(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := now.Add(time.Hour)
	for _, at := range []time.Time{l.queue.next(), l.tidyAt, l.plan.next()} {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	if l.notifier == nil && l.openAt.Before(next) {
		next = l.openAt
	}
	if len(l.ix.stale) > 0 || l.overflowed {
		return 0
	}
	return max(next.Sub(now), time.Millisecond)
}

// look lists a folder and publishes what differs from the index.
func (l *loop) look(ctx context.Context, p share.Path) {
	began := time.Now()
	l.mu.Lock()
	f := l.ix.folders[p]
	clear(l.noted)
	l.mu.Unlock()
	if f == nil {
		return
	}
	if !notify.FilesCost {
		l.watch(p, f)
	}
	items, err := l.list(ctx, p)
	if ctx.Err() != nil {
		return
	}
	if err == nil || !p.IsRoot() {
		// A share that went away while it was listed did not lose its files.
		if _, rerr := l.fs.Stat(ctx, share.Path{}); rerr != nil {
			err, p = rerr, share.Path{}
		}
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil && (p.IsRoot() || peer.KindOf(err) == peer.Unreachable) {
		l.lose(err)
		return
	}
	l.take(p, f, items, err, began)
	if notify.FilesCost && l.watch(p, f) {
		l.mu.Lock()
		l.queue.add(p, time.Now().Add(settle))
		l.mu.Unlock()
	}
}

func (l *loop) list(ctx context.Context, p share.Path) (items []item, err error) {
	for e, err := range l.fs.List(ctx, p) {
		if err != nil {
			return nil, err
		}
		items = append(items, itemOf(e))
	}
	return items, nil
}

// take compares what a folder was seen to hold with the index, or judges why it could not be seen.
func (l *loop) take(p share.Path, f *folder, items []item, err error, began time.Time) {
	l.mu.Lock()
	now := time.Now()
	if other := l.ix.folders[p]; other != f { // noted meanwhile
		if other != nil {
			l.queue.add(p, now)
		}
		l.mu.Unlock()
		return
	}
	var out outcome
	switch kind := peer.KindOf(err); {
	case err == nil, kind == peer.Denied: // a folder that its owner's system does not let peerd read shows nothing, as in Walk
		c := comparison{ix: l.ix, path: p, folder: f, at: now, hasty: !l.state.Ready, busy: l.busyLocked}
		out = c.compare(items)
	case kind == peer.NotFound, kind == peer.Usage, kind == peer.Conflict: // the folder above tells whether it is gone
		l.queue.add(p.Dir(), now.Add(settle))
		l.queue.add(p, now.Add(retry))
	default:
		l.queue.add(p, now.Add(retry))
		l.opt.Log.Debug("look at folder", "folder", p.String(), "err", err)
	}
	l.ix.see(f)
	took := now.Sub(began)
	f.rest = now.Add(min(20*took, restless))
	l.spent += took
	if !out.again.IsZero() {
		l.queue.add(p, out.again)
	}
	l.settleLocked()
	if !l.state.Ready {
		out.changes = nil
	}
	events := make([]Event, len(out.changes))
	for i, c := range out.changes {
		events[i] = c.Event
	}
	l.feed.Publish(events...)
	l.mu.Unlock()
	for _, c := range out.changes {
		l.opt.Changed(c.Event, c.before)
	}
}

// lose takes down that the share's folder is away. Nothing is taken for removed until it is back.
func (l *loop) lose(err error) {
	if !l.away {
		l.opt.Log.Info("share is away", "err", err)
		l.hangUp()
	}
	l.away, l.scan, l.tidyAt = true, nil, time.Time{}
	l.awayUntil = time.Now().Add(min(l.opt.Rescan, retry))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Away = err
	clear(l.queue)
	l.ix.stale = nil
}

// back has all looked at again.
func (l *loop) back() {
	l.away = false
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Away = nil
	now := time.Now()
	for p := range l.ix.folders {
		l.queue.add(p, now)
	}
}

func (l *loop) real(p share.Path) string {
	return filepath.Join(l.dir, filepath.FromSlash(p.String()))
}

// soonLocked is when a folder is looked at after a hint.
func (w *Watcher) soonLocked(p share.Path) time.Time {
	at := time.Now().Add(settle)
	if f := w.ix.folders[p]; f != nil {
		at = later(at, f.rest)
	}
	return at
}

// heed takes a hint: the folder of what is named is looked at soon.
func (w *Watcher) heed(n notify.Notice) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n.Overflow {
		w.overflowed = true
		w.wakeUp()
		return
	}
	rel, below := strings.CutPrefix(n.Name, w.dir)
	if !below {
		return
	}
	p, err := share.ParsePath(strings.FieldsFunc(rel, func(r rune) bool { return r == filepath.Separator }))
	if err != nil { // no peer can name it, so it is in no listing
		return
	}
	if n.Gone {
		w.suspectLocked(p)
	}
	dir := p.Dir()
	f := w.ix.folders[dir]
	if f == nil {
		return
	}
	if _, waiting := f.waiting[p.Base()]; waiting && n.Write { // it is looked at when it has had time to become quiet
		return
	}
	w.queue.add(dir, w.soonLocked(dir))
	w.wakeUp()
}

// suspectLocked has a folder and all below watched anew: it may have moved, and its watches with it, and another may have its name.
func (w *Watcher) suspectLocked(p share.Path) {
	f := w.ix.folders[p]
	if f == nil {
		return
	}
	w.ix.unwatch(p, f)
	w.queue.add(p, w.soonLocked(p))
	for _, it := range f.items {
		if q, err := p.Join(it.name); err == nil && it.kind == share.Dir {
			w.suspectLocked(q)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
