package rate

import (
	"slices"
	"time"
)

// Bounds of how many pieces are under way at a time. Two keep a path busy while one of them is read from the disk.
const (
	minWidth   = 2
	firstWidth = 4
	maxWidth   = 64
)

// Bounds of how long a piece counts as under way. Beyond, its reader is slow, and another may go besides it.
const (
	minPatience = 100 * time.Millisecond
	maxPatience = 5 * time.Second
)

// maxStay is how long somebody waits for a turn at most: well below the time after which readers give up.
const maxStay = 5 * time.Second

// few decides whose piece is next, so that only a few are under way. It has no clock and no lock: times come from the
// caller.
//
// How many are a few can't be known: one may fill the path out of here, or each reader may be slower than that. So it is
// tried out, see [climb].
type few struct {
	line  line
	held  []*waiter
	climb climb
	usual time.Duration // that pieces took lately
}

func newFew() few { return few{climb: climb{width: firstWidth}} }

func (s *few) add(w *waiter, now time.Time) {
	w.since = now
	s.line.add(w)
}

// cancel takes a waiter out who does not want to pass any more, or did not though it was granted.
func (s *few) cancel(w *waiter) {
	if w.granted {
		s.drop(w)
		return
	}
	s.line.remove(w)
}

func (s *few) drop(w *waiter) {
	if i := slices.Index(s.held, w); i >= 0 {
		s.held = slices.Delete(s.held, i, i+1)
	}
}

// patience is how long a piece counts: some times what is usual, since all are slow where the path is.
func (s *few) patience() time.Duration { return min(max(4*s.usual, minPatience), maxPatience) }

// next lets the next piece go. Else it says how long until one may in any case, or 0 if nobody waits.
func (s *few) next(now time.Time) (*waiter, time.Duration) {
	w := s.line.first()
	if w == nil {
		return nil, 0
	}
	busy, patience := 0, s.patience()
	soonest := maxStay
	for _, h := range s.held {
		if left := h.since.Add(patience).Sub(now); left > 0 {
			busy++
			soonest = min(soonest, left)
		}
	}
	if busy >= s.climb.width {
		w = s.line.oldest()
		if stay := w.since.Add(maxStay).Sub(now); stay > 0 {
			return nil, min(soonest, stay)
		}
	}
	s.line.pass(w)
	w.granted, w.since = true, now
	s.held = append(s.held, w)
	return w, 0
}

// leave ends a piece that was let go.
func (s *few) leave(w *waiter, now time.Time) {
	s.drop(w)
	took := now.Sub(w.since)
	s.usual += (min(took, s.patience()) - s.usual) / 8
	s.climb.done(now, w.n, !s.line.empty())
}

// climb finds the least width that brings the most: it measures, tries another width, and keeps it if it is better.
type climb struct {
	width int
	home  int     // the width that trial is compared with
	base  float64 // bytes a second by it
	step  int     // of the trial: up, down, or 0 while home is measured
	down  bool    // the next trial goes down
	skip  int     // pieces that were begun with another width

	begin time.Time
	bytes int64
	count int
}

// A measurement takes at least so many pieces for each that is under way, and so long.
const (
	measurePieces = 8
	measureTime   = 100 * time.Millisecond
)

// A trial is kept if it brings so much of what there was: going up must pay.
const (
	upPays    = 1.1
	downCosts = 0.97
)

// done tells of a piece that has been sent, and whether somebody waited: else nothing is learned from it.
func (c *climb) done(now time.Time, n int64, wanted bool) {
	switch {
	case !wanted:
		c.begin, c.bytes, c.count = time.Time{}, 0, 0
		return
	case c.skip > 0:
		c.skip--
		return
	case c.begin.IsZero():
		c.begin = now
		return
	}
	c.bytes += n
	c.count++
	if span := now.Sub(c.begin); span >= measureTime && c.count >= measurePieces*c.width {
		c.judge(float64(c.bytes) / span.Seconds())
		c.begin, c.bytes, c.count = time.Time{}, 0, 0
	}
}

// judge goes on by the rate that the present width brought.
func (c *climb) judge(rate float64) {
	switch {
	case c.step == 0:
		c.home, c.base = c.width, rate
		c.step = 1
		if c.down {
			c.step = -1
		}
		c.down = !c.down
	case c.step > 0 && rate >= upPays*c.base:
		c.home, c.base = c.width, rate
	case c.step < 0 && rate >= downCosts*c.base:
		c.home = c.width
	default:
		c.step = 0
	}
	before := c.width
	switch c.width = c.home; c.step {
	case 1:
		c.width = min(c.home+max(1, c.home/2), maxWidth)
	case -1:
		c.width = max(c.home-max(1, c.home/3), minWidth)
	}
	if c.width == c.home {
		c.step = 0
	}
	if c.width != before {
		c.skip = max(before, c.width)
	}
}
