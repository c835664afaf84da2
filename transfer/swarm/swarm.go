// Package swarm decides which piece of one file is asked of which source. It is a pure state machine: events in, actions
// out, and time is part of an event; who runs it owns the clock, the streams and the disk.
//
//   - Pieces are asked for rarest first, so that fetchers soon have something for each other; readers that wait get what they
//     want instead, and in their order.
//   - When several fetch at once, each asks the origin for a part of its own and the others for theirs: the origin sends
//     each piece once, the least that any plan can do with.
//   - What a source may owe follows its bandwidth and delay: enough to keep its link busy, and no more, so that nothing
//     is stuck in a queue when somebody else could bring it.
//   - Nobody is trusted. Three pieces with wrong hashes, and a source is banned; what comes late is asked of others.
package swarm

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
)

// Options say how a file is fetched. The zero Options suit a copy.
type Options struct {
	// Reading is for readers that wait: nothing is asked for but what Want names, and in its order.
	Reading bool
	// Seed decides between pieces that are as rare. Each fetcher should have its own, or all ask for the same; a run
	// with the same seed and events gives the same actions.
	Seed uint64
}

// Swarm is the plan for one file. It is not for use by several goroutines at once.
type Swarm struct {
	layout transfer.Layout
	opts   Options
	rng    *rand.Rand

	now     time.Duration // of the event at hand
	actions []Action      // so far, of the event at hand
	done    bool
	gave    time.Duration // when a piece came last

	pieces  pool
	sources map[peer.ID]*source // all that ever joined
	joined  []*source           // those that can be asked, in the order they came
	turn    int                 // who of joined is asked first

	wants []Span // when Reading
	place Place
	own   transfer.Set // what the place makes this fetcher's own part
	blind int          // pieces of the own part whose hashes are not known yet
	// Of what is left of the others' parts when they are late this fetcher helps with what is in its stretch of the file.
	stretch transfer.Set
}

// New is the plan for a file of which nothing is known or here.
func New(layout transfer.Layout, opts Options) *Swarm {
	return &Swarm{
		layout:  layout,
		opts:    opts,
		rng:     rand.New(rand.NewPCG(opts.Seed, 0)),
		pieces:  newPool(layout.Pieces()),
		sources: map[peer.ID]*source{},
	}
}

// Apply takes note of an event at a time, counted from any fixed moment and never running backward, and gives what is to
// be done.
func (s *Swarm) Apply(at time.Duration, e Event) []Action {
	s.now = max(s.now, at)
	s.actions = nil
	e.apply(s)
	s.review()
	s.fill()
	if !s.done && s.pieces.here.Full() {
		s.done = true
		s.do(Done{})
	}
	return s.actions
}

func (s *Swarm) do(a Action) { s.actions = append(s.actions, a) }

// Left is how many pieces are not here yet.
func (s *Swarm) Left() int { return s.layout.Pieces() - s.pieces.here.Len() }

// Have reports whether a piece is here.
func (s *Swarm) Have(piece int) bool { return s.pieces.here.Has(piece) }

// Missing gives the pieces, lowest first, that are not here and that no joined source has.
func (s *Swarm) Missing() []int {
	var missing []int
	for p := range s.layout.Pieces() {
		if !s.pieces.here.Has(p) && !slices.ContainsFunc(s.joined, func(q *source) bool { return q.has.Has(p) }) {
			missing = append(missing, p)
		}
	}
	return missing
}

// Stats tells of every source that ever joined, in no order.
func (s *Swarm) Stats() []Stats {
	all := make([]Stats, 0, len(s.sources))
	for _, q := range s.sources {
		st := Stats{Source: q.id, Joined: q.joined, Banned: q.banned(), Bytes: q.bytes, Bad: len(q.bad), Owed: len(q.owed), Delay: q.usual}
		if q.pace > 0 {
			st.Rate = float64(s.layout.Length(0)) / q.pace.Seconds()
		}
		all = append(all, st)
	}
	return all
}

// NextTick is when a Tick is due unless something else happens before; it reports false when none is.
func (s *Swarm) NextTick() (time.Duration, bool) {
	const never = time.Duration(1<<63 - 1)
	next := never
	for _, q := range s.joined {
		if len(q.owed) == 0 {
			continue
		}
		if !q.stalled {
			next = min(next, q.lateAt(s))
		}
		if s.heardOfOthers(q) {
			next = min(next, q.silentAt(s))
		}
	}
	if s.closing() && slices.ContainsFunc(s.joined, func(q *source) bool { return q.room(s) > 0 }) {
		next = min(next, s.now+endgamePoll)
	}
	return max(next, s.now+time.Millisecond), next != never
}

func (e Joined) apply(s *Swarm) {
	q := s.sources[e.Source]
	if q == nil {
		q = &source{id: e.Source}
		s.sources[e.Source] = q
	}
	if q.banned() {
		s.do(Drop{q.id, Lying})
		return
	}
	if !q.joined {
		q.join(s.layout.Pieces(), s.now)
		s.joined = append(s.joined, q)
	}
	if e.Origin && !q.origin {
		s.forget(q)
		q.origin, q.has = true, transfer.FullSet(s.layout.Pieces())
	}
	if e.Of > 0 {
		Place{e.Source, e.Index, e.Of}.apply(s)
	}
}

func (e Has) apply(s *Swarm) {
	if q := s.asked(e.Source); q != nil {
		for _, p := range e.Pieces {
			s.gain(q, p)
		}
	}
}

func (e HasSet) apply(s *Swarm) {
	if q := s.asked(e.Source); q != nil {
		for p := range e.Set.All() {
			s.gain(q, p)
		}
	}
}

func (e Place) apply(s *Swarm) {
	q := s.asked(e.Source)
	if q == nil || !q.origin {
		return
	}
	if e.Of < 2 || e.Index < 0 || e.Index >= e.Of {
		e = Place{}
	}
	s.place, s.own, s.blind, s.stretch = e, transfer.NewSet(s.layout.Pieces()), 0, transfer.NewSet(s.layout.Pieces())
	if e.Of > 0 {
		s.own = ownPart(s.layout.Pieces(), e.Index, e.Of)
		s.stretch = stretch(s.layout.Pieces(), e.Index, e.Of)
		for p := range s.own.All() {
			if !s.pieces.known.Has(p) {
				s.blind++
			}
		}
		s.revoke(q)
	}
	s.stir()
}

// revoke takes back what an origin was asked for of others' parts, but for the piece that it may be sending.
func (s *Swarm) revoke(q *source) {
	for _, r := range slices.Clone(q.owed[min(1, len(q.owed)):]) {
		if !s.own.Has(r.piece) {
			s.cancel(q, r.piece)
		}
	}
}

func (e Known) apply(s *Swarm) {
	if s.pieces.known.Add(e.Piece) {
		if s.own.Has(e.Piece) {
			s.blind--
		}
		s.settle(e.Piece)
	}
}

func (e Here) apply(s *Swarm) { s.arrive(e.Piece) }

func (e Gone) apply(s *Swarm) {
	if s.opts.Reading && s.pieces.here.Remove(e.Piece) {
		s.settle(e.Piece)
	}
}

func (e Want) apply(s *Swarm) {
	if !s.opts.Reading {
		return
	}
	s.wants = s.wants[:0]
	for _, w := range e.Spans {
		if w = (Span{max(w.From, 0), min(w.To, s.layout.Pieces())}); w.From < w.To {
			s.wants = append(s.wants, w)
		}
	}
	for _, q := range s.joined {
		for _, r := range slices.Clone(q.owed) {
			if !s.wanted(r.piece) {
				s.cancel(q, r.piece)
			}
		}
	}
}

// wanted reports whether a reader wants a piece.
func (s *Swarm) wanted(piece int) bool {
	return slices.ContainsFunc(s.wants, func(w Span) bool { return w.From <= piece && piece < w.To })
}

func (e Got) apply(s *Swarm) {
	q := s.sources[e.Source]
	if q == nil || e.Piece < 0 || e.Piece >= s.layout.Pieces() {
		return
	}
	q.bytes += s.layout.Length(e.Piece)
	if r, ok := q.owes(e.Piece); ok {
		q.learn(s, r)
		s.release(q, e.Piece)
		s.resume(q)
	}
	s.arrive(e.Piece)
}

func (e Bad) apply(s *Swarm) {
	q := s.sources[e.Source]
	if q == nil || e.Piece < 0 || e.Piece >= s.layout.Pieces() || q.banned() {
		return
	}
	q.bad = append(q.bad, e.Piece)
	s.release(q, e.Piece)
	s.resume(q)
	s.stir() // others who gave it wrong may be all that is left
	if q.banned() {
		s.do(Drop{q.id, Lying})
		s.part(q)
	}
}

func (e Refused) apply(s *Swarm) {
	q := s.asked(e.Source)
	if q == nil {
		return
	}
	if q.has.Remove(e.Piece) && !q.origin {
		s.pieces.hold(e.Piece, -1)
	}
	s.release(q, e.Piece)
	s.resume(q)
	s.stir() // others who gave it wrong may be all that is left
}

func (e Left) apply(s *Swarm) {
	if q := s.asked(e.Source); q != nil {
		s.part(q)
	}
}

func (Tick) apply(*Swarm) {}
