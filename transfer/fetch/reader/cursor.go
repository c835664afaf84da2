package reader

import (
	"slices"
	"time"

	"github.com/peerd/peerd/transfer"
)

// Bounds of reading ahead, in bytes.
const (
	firstAhead = 256 << 10 // what it begins with, if that is two pieces or more
	leastAhead = 4 << 20   // what it may grow to however slow the reader is: 1 Gbit/s at 30 ms
	mostAhead  = 8 << 20   // 1 Gbit/s at 65 ms; what is far ahead takes new memory, which is dear
	mostPlaces = 8         // places of one file that are read from at once, as far as they are told apart
	slack      = 512 << 10 // how far from where a reader was expected it may be: kernels ask in any order
	skip       = 256 << 10 // how far it may skip, and still read in order
	settled    = 2 << 20   // what somebody reads in order at a new place before it is taken to have left the old one
	inOrder    = 128 << 10 // what somebody reads in order before it counts as that
	much       = 512 << 10 // what nobody asks for at once, from the beginning of a file on, who will not go on
	leftAfter  = time.Second
)

// cursors are the places of a file that somebody reads at, and what is read ahead of each. They are not for use by several
// goroutines at once.
type cursors struct {
	layout transfer.Layout
	all    []*cursor
	turns  uint64
}

// cursor is one such place.
type cursor struct {
	at     int64 // where the next read is expected
	run    int64 // bytes that were read in order
	reads  int
	window int64 // bytes that are read ahead; 0 while it is not known that there is an order

	began, used uint64        // turns
	seen        time.Duration // of the last read
	grown       time.Duration // when the window grew last
	since       int64         // bytes read since then

	told  [2]int // the pieces that were last read ahead
	asked int    // up to before which they were asked for
	left  int    // up to before which memory was told that they are behind
}

// note takes in a read at a time, of which the first is any, by somebody who may be share bytes ahead. It reports whether places
// went that were read ahead of.
func (c *cursors) note(now time.Duration, off, n, share int64) (left bool) {
	c.turns++
	d := c.near(off)
	if d == nil {
		d = &cursor{at: off, began: c.turns, seen: now, grown: now, left: int(off >> c.layout.Bits)}
		if len(c.all) == mostPlaces {
			left = c.evict()
		}
		c.all = append(c.all, d)
	}
	d.used, d.seen = c.turns, now
	d.reads++
	step := max(0, off+n-d.at)
	if off > d.at+skip {
		step = 0
	}
	d.at += step
	d.run += min(step, n)
	d.since += min(step, n)
	if off == 0 && n >= much && d.reads == 1 {
		d.begin(now, max(2<<c.layout.Bits, firstAhead, min(4*n, leastAhead)), max(share, 1<<c.layout.Bits))
	}
	d.grow(now, int64(1)<<c.layout.Bits, share)
	return c.leave(func(o *cursor) bool {
		return o != d && (now-o.seen > leftAfter || d.run >= settled && o.used < d.began)
	}) || left
}

// begin begins to read ahead.
func (d *cursor) begin(now time.Duration, window, most int64) {
	d.window, d.grown, d.since = min(window, most), now, 0
}

// grow makes the window what it should be.
func (d *cursor) grow(now time.Duration, piece, share int64) {
	if d.window == 0 {
		if d.reads > 1 && d.run >= inOrder {
			d.begin(now, max(2*piece, firstAhead), max(share, piece))
		}
		return
	}
	if d.since < d.window {
		return
	}
	second := int64(mostAhead)
	if took := now - d.grown; took > 0 {
		second = int64(min(float64(d.since)/took.Seconds(), mostAhead))
	}
	limit := max(min(max(second, leastAhead, 2*piece), share), piece)
	d.window, d.grown, d.since = min(2*d.window, limit), now, 0
}

// seen is when the last read was.
func (c *cursors) seen() (last time.Duration) {
	for _, d := range c.all {
		last = max(last, d.seen)
	}
	return last
}

// near is the cursor that a read belongs to, or nil.
func (c *cursors) near(off int64) *cursor {
	var best *cursor
	for _, d := range c.all {
		if far := max(off-d.at, d.at-off); far <= slack && (best == nil || far < max(off-best.at, best.at-off)) {
			best = d
		}
	}
	return best
}

// evict gives up the place that was read at longest ago, of those that are not read ahead of, if there are any.
func (c *cursors) evict() (left bool) {
	worst := c.all[0]
	for _, d := range c.all {
		if (d.window > 0) != (worst.window > 0) && worst.window > 0 || (d.window > 0) == (worst.window > 0) && d.used < worst.used {
			worst = d
		}
	}
	return c.leave(func(d *cursor) bool { return d == worst })
}

// leave gives up places, and reports whether anything was read ahead of them.
func (c *cursors) leave(which func(*cursor) bool) (left bool) {
	c.all = slices.DeleteFunc(c.all, func(d *cursor) bool {
		gone := which(d)
		left = left || gone && d.window > 0
		return gone
	})
	return left
}

// pieces are those that are read ahead of a place.
func (c *cursors) pieces(d *cursor) (from, to int) {
	if d.window == 0 || d.at >= c.layout.Size {
		return 0, 0
	}
	return int(d.at >> c.layout.Bits), int((min(d.at+d.window, c.layout.Size)-1)>>c.layout.Bits) + 1
}

// passed reports whether a piece that comes only now was asked for by somebody who is behind it by now: kernels ask for what
// follows before they have what they asked for.
func (c *cursors) passed(i int) bool {
	return !c.wanted(i) && slices.ContainsFunc(c.all, func(d *cursor) bool {
		return i < d.left && c.layout.Offset(d.left)-c.layout.Offset(i) <= mostAhead
	})
}

// wanted reports whether a piece is read ahead of any place.
func (c *cursors) wanted(i int) bool {
	return slices.ContainsFunc(c.all, func(d *cursor) bool {
		from, to := c.pieces(d)
		return from <= i && i < to
	})
}

// ordered is how many places are read ahead of.
func (c *cursors) ordered() (n int) {
	for _, d := range c.all {
		if d.window > 0 {
			n++
		}
	}
	return n
}
