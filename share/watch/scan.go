package watch

import (
	"context"
	"time"

	"github.com/peerd/peerd/share"
)

// Bounds of how often a share is scanned.
const (
	scanShare  = 20  // one part of the time in so many, at most, goes into scans
	calmShare  = 200 // the same where all is watched, so that there is little to find
	calmLimit  = 10 * time.Minute
	hurryShare = 4 // the same after hints were lost
	scanSlice  = 20 * time.Millisecond
)

// scan looks at many folders, one after the other.
type scan struct {
	todo []share.Path
	full bool // all folders
	mark int  // how many watches were added before it began
}

// plan is when scans begin: a full one, and one of the folders that aren't watched. Zero is never.
type plan struct {
	full, part time.Time
	ended      time.Time     // when the last one did
	took       time.Duration // the last full one
	lost       bool          // hints were, since then
}

// after plans on when a scan has ended: it took so long, and rescan is the shortest time between two. It gives how often folders that
// are not watched are looked at.
func (p *plan) after(full bool, now time.Time, took, rescan time.Duration, watched, folders int) (every time.Duration) {
	unwatched := folders - watched
	p.ended = now
	part := took
	if full {
		p.took = took
		p.full = now.Add(max(rescan, scanShare*took, min(calmShare*took, calmLimit)))
		part = took * time.Duration(unwatched) / time.Duration(max(folders, 1))
	}
	every = max(rescan, scanShare*part)
	p.part = time.Time{}
	if unwatched > 0 {
		p.part = now.Add(every)
	}
	return every
}

// hurry has a full scan begin as soon as the last one is some time ago.
func (p *plan) hurry(now time.Time) {
	p.lost = true
	if at := later(now.Add(settle), p.ended.Add(hurryShare*p.took)); p.full.IsZero() || at.Before(p.full) {
		p.full = at
	}
}

func (p *plan) next() time.Time {
	if p.full.IsZero() || !p.part.IsZero() && p.part.Before(p.full) {
		return p.part
	}
	return p.full
}

// scanSome goes on with a scan for a moment, or begins one that is due, and reports whether there was something to do.
func (l *loop) scanSome(ctx context.Context, now time.Time) bool {
	l.mu.Lock()
	ready, unseen := l.state.Ready, l.ix.unseen
	l.mu.Unlock()
	switch {
	case !ready && unseen > 0:
		return false
	case !ready:
		l.scan = &scan{full: true}
	case l.scan == nil && !l.plan.next().IsZero() && !now.Before(l.plan.next()):
		l.begin(now)
	}
	if l.scan == nil {
		return false
	}
	for len(l.scan.todo) > 0 && time.Since(now) < scanSlice {
		p := l.scan.todo[0]
		l.scan.todo = l.scan.todo[1:]
		l.look(ctx, p)
		if ctx.Err() != nil || l.away {
			return false
		}
	}
	if len(l.scan.todo) == 0 {
		l.end()
	}
	return true
}

func (l *loop) begin(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	full := !l.plan.full.IsZero() && !now.Before(l.plan.full) || l.ix.watched == 0
	l.scan = &scan{full: full, mark: len(l.added)}
	for p, f := range l.ix.folders {
		if full && l.plan.lost { // no telling which watches are whose
			l.ix.unwatch(p, f)
		}
		if full || !f.watched {
			l.scan.todo = append(l.scan.todo, p)
		}
	}
	l.spent, l.plan.lost = 0, l.plan.lost && !full
}

// end plans the next scan, and makes the share ready after the first.
func (l *loop) end() {
	l.balance()
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.state.Every = l.plan.after(l.scan.full, now, l.spent, l.opt.Rescan, l.ix.watched, len(l.ix.folders))
	if l.scan.full {
		l.state.Scanned, l.state.Took = now, l.spent
		l.added = append([]share.Path(nil), l.added[l.scan.mark:]...)
	}
	l.scan = nil
	if !l.state.Ready {
		l.state.Ready = true
		l.feed.Break() // what followers were told before was not all
		close(l.ready)
	}
}
