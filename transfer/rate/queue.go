package rate

import (
	"time"

	"github.com/peerd/peerd/transfer"
)

// Class says how urgent bytes are.
type Class uint8

// The classes.
const (
	Bulk        Class = iota // pieces of large files
	Interactive              // small files, listings, first bytes: somebody looks at the screen
	classes
)

// Sizes, in bytes.
const (
	// MaxChunk is how much passes at once at most. Larger requests pass in parts.
	MaxChunk = 256 << 10
	// minChunk is how much passes at once under low limits.
	minChunk = 16 << 10
)

// bulkShare is how much of all Bulk gets at the least while both want more: one part of so many.
const bulkShare = 4

// maxLead is how many chunks of Interactive pass before the first of Bulk that waits.
const maxLead = 4

// burstTime is for how long what nobody used may be used later, so that timers that are late waste nothing.
const burstTime = 50 * time.Millisecond

// chunkTime is how long one chunk takes by the limit, within the bounds of chunks: so long waits whoever comes next.
const chunkTime = 10 * time.Millisecond

// chunkOf is how much passes at once under a limit.
func chunkOf(r transfer.Rate) int64 { return min(max(scale(r, chunkTime), minChunk), MaxChunk) }

// burstOf is by how many bytes a limit may be passed over in any span of time.
func burstOf(r transfer.Rate) int64 { return scale(r, burstTime) + chunkOf(r) }

// scale is what passes in d, rounded down.
func scale(r transfer.Rate, d time.Duration) int64 {
	return int64(r)/int64(time.Second)*int64(d) + int64(r)%int64(time.Second)*int64(d)/int64(time.Second)
}

// queue decides who may pass under a limit, and when. It has no clock and no lock: times come from the caller.
//
// Over any span of time no more passes than the limit allows in it, and [burstOf] once. Interactive goes before Bulk,
// which gets one part in [bulkShare] nevertheless. Within a class peers are equal.
type queue struct {
	limit transfer.Rate // > 0
	burst int64
	full  time.Time // when the burst is whole again if nothing passes

	lines [classes]line
	lead  int64 // what Interactive passed before Bulk that waits, less what Bulk made up for
}

// setLimit begins anew with another limit, without a burst. Who waits goes on waiting, and must want no more than
// chunkOf(r).
func (q *queue) setLimit(now time.Time, r transfer.Rate) {
	q.limit, q.burst = r, burstOf(r)
	q.full = now.Add(q.cost(q.burst))
}

// cost is how long n bytes take, rounded up. No n here is above the burst of [transfer.MaxRate], 2^33.
func (q *queue) cost(n int64) time.Duration {
	return time.Duration((n*int64(time.Second) + int64(q.limit) - 1) / int64(q.limit))
}

// wait is how long until n bytes may pass if none do meanwhile; n is at most the burst.
func (q *queue) wait(now time.Time, n int64) time.Duration {
	full := q.full
	if full.Before(now) {
		full = now
	}
	return full.Add(q.cost(n)).Sub(now) - q.cost(q.burst)
}

func (q *queue) take(now time.Time, n int64) {
	if q.full.Before(now) {
		q.full = now
	}
	q.full = q.full.Add(q.cost(n))
}

// giveBack undoes take for bytes that did not pass.
func (q *queue) giveBack(n int64) { q.full = q.full.Add(-q.cost(n)) }

func (q *queue) empty() bool { return q.lines[Bulk].empty() && q.lines[Interactive].empty() }

func (q *queue) add(w *waiter, c Class) { q.lines[c].add(w) }

// cancel takes a waiter out who does not want to pass any more, or did not though it was granted.
func (q *queue) cancel(w *waiter, c Class) {
	if w.granted {
		q.giveBack(w.n)
		return
	}
	q.lines[c].remove(w)
}

// next lets the next one pass. Else it says how long until somebody may, or 0 if nobody waits.
func (q *queue) next(now time.Time) (*waiter, time.Duration) {
	c := Interactive
	if bulk := !q.lines[Bulk].empty(); bulk && (q.lines[Interactive].empty() || q.lead >= maxLead*chunkOf(q.limit)) {
		c = Bulk
	}
	w := q.lines[c].first()
	if w == nil {
		return nil, 0
	}
	if d := q.wait(now, w.n); d > 0 {
		return nil, d
	}
	q.take(now, w.n)
	q.lines[c].pass(w)
	w.granted = true
	switch {
	case c == Bulk:
		q.lead = max(0, q.lead-(bulkShare-1)*w.n)
	case !q.lines[Bulk].empty():
		q.lead += w.n
	}
	return w, 0
}
