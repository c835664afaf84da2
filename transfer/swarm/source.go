package swarm

import (
	"slices"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
)

// Limits, each with its reason.
const (
	maxCopies = 2 // sources that owe one piece: a third would rather waste a link than win time
	maxLies   = 3 // bad pieces: one may be a disk's fault, three are none

	firstWindow = 2        // pieces that a source owes before its first came, and at most maxLies
	maxWindow   = 64       // pieces that a source owes
	maxQueue    = 16 << 20 // bytes that a source owes: what 1 GB/s carries in 16 ms
	fewSources  = 4        // up to here two pieces each keep the own link busy while one is on its way

	queueTime   = 50 * time.Millisecond  // that a piece may wait at the source for those before it
	fillTime    = 200 * time.Millisecond // and while a path fills
	fillGain    = 5                      // a path fills while a piece takes a fifth less with each round trip
	baseTerm    = 10 * time.Second       // after which the delay of the path is taken anew
	guessDelay  = 250 * time.Millisecond // of a source that gave nothing yet
	minPatience = 2 * time.Second        // after which a piece is late
	lateFactor  = 8                      // times its usual delay, and a piece is late
	maxStalls   = 6                      // doublings of patience
	slowestRate = 128 << 10              // bytes a second that a source is given time for
	minSilence  = 15 * time.Second       // without a piece while others deliver
)

// request is a piece that a source owes.
type request struct {
	piece int
	at    time.Duration // when it was asked
	depth int           // pieces that the source owed then, with this
}

// source is somebody who may be asked.
type source struct {
	id     peer.ID
	joined bool
	origin bool
	has    transfer.Set
	bad    []int // pieces that it gave wrong, at most maxLies
	bytes  int64
	owed   []request // in the order asked

	dry    bool // nothing open that it may be asked for, as long as nothing becomes open
	ownDry bool // and so for what is this fetcher's own part

	stretchDry bool // and its stretch

	heard   time.Duration // when it answered last, or joined
	gave    time.Duration // when it gave a piece last
	since   time.Duration // from when on it has owed pieces, one or another, and not answered
	mute    time.Duration // how long it did so before that, since it answered
	window  int           // pieces that it may owe
	filling bool          // more comes with each round trip: the path is not full yet
	round   time.Duration // when this round trip began
	came    int           // pieces in it so far
	begun   int           // the window when it began
	fastest time.Duration // that a piece took in a round trip
	usual   time.Duration // smoothed delay from asking to getting; 0 before the first
	pace    time.Duration // smoothed time that a piece takes when others are asked with it
	base    time.Duration // delay of the path alone
	recent  time.Duration // shortest delay of this term of a piece with few before it; 0 before the first
	term    time.Duration // when this term began
	stalled bool          // what it owes is late, and others may be asked for it
	stalls  int           // since it gave a piece
}

func (q *source) banned() bool { return len(q.bad) >= maxLies }

// join forgets how the source was when it was here before, but for its lies.
func (q *source) join(pieces int, now time.Duration) {
	*q = source{id: q.id, bad: q.bad, bytes: q.bytes, joined: true, has: transfer.NewSet(pieces), heard: now, window: firstWindow, filling: true, round: now}
}

// asked is the joined source of an ID, or nil.
func (s *Swarm) asked(id peer.ID) *source {
	if q := s.sources[id]; q != nil && q.joined {
		return q
	}
	return nil
}

func (q *source) index(piece int) int {
	return slices.IndexFunc(q.owed, func(r request) bool { return r.piece == piece })
}

func (q *source) owes(piece int) (request, bool) {
	if i := q.index(piece); i >= 0 {
		return q.owed[i], true
	}
	return request{}, false
}

// room is how many pieces more a source may owe now, or less than that.
func (q *source) room(s *Swarm) int {
	w := q.window
	if n := len(q.bad); n > 0 {
		w = min(w, maxLies-n)
	}
	return w - len(q.owed)
}

// learn adapts the window to the delay of a piece that came. While it waited for others no longer than half of queueTime
// the window grows, by a third in each round trip; beyond queueTime it shrinks. Pieces asked for when the window was much
// smaller say nothing of the one that it has now. As long as a path fills, see fill, the window doubles with each round trip.
func (q *source) learn(s *Swarm, r request) {
	d := max(s.now-r.at, time.Microsecond)
	s.deliver(q)
	if q.usual == 0 {
		q.base, q.term = d, s.now
		q.usual, q.pace = d, d/time.Duration(r.depth)
	}
	q.usual += (d - q.usual) / 8
	q.pace += (d/time.Duration(r.depth) - q.pace) / 8
	q.rebase(s, r, d)
	waited := d - q.base
	q.fill(s, r, waited)
	switch full := len(q.owed) >= q.window; {
	case q.filling && full:
		q.window++
	case q.filling:
	case waited <= queueTime/2 && full && 4*r.depth >= 3*q.window:
		q.window++
	case waited > queueTime:
		q.window--
	}
	q.window = min(max(q.window, s.leastWindow()), s.mostWindow())
}

// fill finds out whether a path fills: pieces come faster with each round trip in which more were asked for. How long they wait
// tells nothing then, up to fillTime: TCP begins slowly, and does not become faster while there is little to send.
func (q *source) fill(s *Swarm, r request, waited time.Duration) {
	q.came++
	q.filling = q.filling && waited <= fillTime
	if r.at < q.round {
		return
	}
	took := (s.now - q.round) / time.Duration(q.came)
	if q.window > q.begun {
		q.filling = q.filling && (q.fastest == 0 || took < q.fastest-q.fastest/fillGain)
		q.fastest = took
	}
	q.round, q.came, q.begun = s.now, 0, q.window
}

// rebase keeps the delay of the path alone, the shortest seen. Paths change: once in a term it is taken anew, but only
// from pieces with nearly none before them, or the swarm's own queues would count as the path's and grow for ever.
func (q *source) rebase(s *Swarm, r request, d time.Duration) {
	if r.depth <= s.leastWindow() && (q.recent == 0 || d < q.recent) {
		q.recent = d
	}
	if s.now-q.term >= baseTerm {
		if q.recent > 0 {
			q.base = q.recent
		}
		q.recent, q.term = 0, s.now
	}
	q.base = min(q.base, d)
}

func (s *Swarm) leastWindow() int {
	if len(s.joined) <= fewSources {
		return 2
	}
	return 1
}

func (s *Swarm) mostWindow() int {
	return int(min(maxWindow, max(maxQueue/max(s.layout.Length(0), 1), 4)))
}

// allowance is how long a piece may take, going by what the source usually needs.
func (q *source) allowance(s *Swarm) time.Duration {
	slowest := time.Duration(float64(s.layout.Length(0)) / slowestRate * float64(time.Second))
	return max(minPatience, lateFactor*q.usual, slowest)
}

// patience is how long a source that owes pieces may give nothing before they are late. It doubles with each time in
// vain, or sources that are all slower than it would lose their pieces to each other for ever.
func (q *source) patience(s *Swarm) time.Duration { return q.allowance(s) << min(q.stalls, maxStalls) }

// lateAt and silentAt are when a source that owes pieces is late, and when it is silent for too long if others deliver.
// That others brought what it was asked for first does not end its silence.
func (q *source) lateAt(s *Swarm) time.Duration { return max(q.heard, q.owed[0].at) + q.patience(s) }
func (q *source) silentAt(s *Swarm) time.Duration {
	return q.since - q.mute + max(minSilence, q.allowance(s))
}

// deliver notes that a source gave a piece. If all had been silent together, say since this computer slept, none is to
// blame, and the silence of the others begins anew.
func (s *Swarm) deliver(q *source) {
	if s.now-s.gave > minSilence/2 {
		for _, o := range s.joined {
			o.since, o.mute = s.now, 0
		}
	}
	q.gave, q.stalls, s.gave = s.now, 0, s.now
}

// heardOfOthers reports whether somebody delivered toward the end of a source's silence.
func (s *Swarm) heardOfOthers(q *source) bool {
	late := q.silentAt(s) - minSilence/2
	return slices.ContainsFunc(s.joined, func(o *source) bool { return o != q && o.gave > late })
}

// expect is when a piece could come that a source is asked for now, counted from now.
func (q *source) expect() time.Duration {
	if q.usual == 0 {
		return guessDelay
	}
	return max(q.base, q.pace*time.Duration(len(q.owed)+1))
}

// due is when a piece that a source owes should come, counted from now. What is late is taken to need as long again.
func (q *source) due(r request, now time.Duration) time.Duration {
	whole := guessDelay
	if q.usual > 0 {
		whole = max(q.base, q.pace*time.Duration(r.depth))
	}
	left := r.at + whole - now
	return max(left, -left)
}

// review looks for sources that are late or silent.
func (s *Swarm) review() {
	for i := len(s.joined) - 1; i >= 0; i-- {
		q := s.joined[i]
		switch {
		case len(q.owed) == 0:
		case s.now >= q.silentAt(s) && s.heardOfOthers(q):
			s.do(Drop{q.id, Slow})
			s.part(q)
		case !q.stalled && s.now >= q.lateAt(s):
			s.stall(q)
		}
	}
}

// stall opens what a source owes to others. It has no room then: a stalled source always owes something.
func (s *Swarm) stall(q *source) {
	q.stalled, q.window, q.filling = true, 1, false
	q.stalls++
	for _, r := range q.owed {
		s.pieces.cover[r.piece]--
		s.settle(r.piece)
	}
}

// resume notes that a source answered: what it owes counts again.
func (s *Swarm) resume(q *source) {
	q.heard, q.since, q.mute = s.now, s.now, 0
	if !q.stalled {
		return
	}
	q.stalled = false
	for _, r := range q.owed {
		s.pieces.cover[r.piece]++
		s.settle(r.piece)
	}
}
