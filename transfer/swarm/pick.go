package swarm

import (
	"slices"
	"time"

	"github.com/peerd/peerd/transfer"
)

// endgamePoll is how often it is looked whether a late piece should be asked of a second source.
const endgamePoll = 100 * time.Millisecond

// fewLeft is how many pieces that only an origin has are likely all on their way to who fetches them first.
const fewLeft = 3

// fill asks whoever has room, one piece each in turn, until nobody has or nothing is left to ask.
func (s *Swarm) fill() {
	s.turn++
	for asked := true; asked; {
		asked = false
		for i := range s.joined {
			q := s.joined[(s.turn+i)%len(s.joined)]
			if q.room(s) <= 0 {
				continue
			}
			if p := s.pick(q); p >= 0 {
				s.request(q, p)
				asked = true
			}
		}
	}
}

// pick is the piece that a source is asked for next, or -1.
func (s *Swarm) pick(q *source) int {
	p := -1
	switch {
	case s.opts.Reading:
		p = s.neediest(q)
	case s.place.Of > 1 && q.origin:
		p = s.fromOrigin(q)
	default:
		p = s.scan(q, 0)
	}
	if p < 0 && s.closing() {
		p = s.duplicate(q)
	}
	return p
}

// neediest is the first open piece that a source has, in the order in which pieces are wanted, or -1.
func (s *Swarm) neediest(q *source) int {
	for _, w := range s.wants {
		for p := w.From; ; p++ {
			if p = s.pieces.open.NextIn(p, &q.has); p < 0 || p >= w.To {
				break
			}
			if s.may(q, p) {
				return p
			}
		}
	}
	return -1
}

// fromOrigin picks for an origin that several fetch from: what only it has of the own part, and where others wait for a part's
// fetcher, of theirs. After that others are likely to bring what is missing, and it is asked for one piece at a time: for what
// others have sooner than for what they are about to get from it.
func (s *Swarm) fromOrigin(q *source) int {
	if !q.ownDry {
		if p := s.choose(q, &s.pieces.levels[0], &q.has, &s.own); p >= 0 {
			return p
		}
		q.ownDry = true
	}
	if p := s.fromStretch(q); p >= 0 {
		return p
	}
	if s.restrained(q) {
		return -1
	}
	return s.scan(q, 1)
}

// fromStretch is a piece of the own stretch that an origin is asked for though it is of another's part, or -1: the own part is here
// then, the others bring nothing, and what is left is more than may be on its way to them.
func (s *Swarm) fromStretch(q *source) int {
	if q.stretchDry || s.blind > 0 || s.pieces.levels[0].Len() <= fewLeft || !s.idle() ||
		slices.ContainsFunc(q.owed, func(r request) bool { return s.own.Has(r.piece) }) {
		return -1
	}
	p := s.choose(q, &s.pieces.levels[0], &q.has, &s.stretch)
	q.stretchDry = p < 0
	return p
}

// idle reports whether half or more of the sources that have something, origins aside, owe nothing: all of it is here, and what is
// missing waits for whoever should fetch it first.
func (s *Swarm) idle() bool {
	some, idle := 0, 0
	for _, q := range s.joined {
		if !q.origin && q.has.Len() > 0 {
			some++
			if len(q.owed) == 0 {
				idle++
			}
		}
	}
	return some > 0 && 2*idle >= some
}

// restrained reports whether others are likely to bring this fetcher what it misses, so that an origin is left to those
// who still need its pieces: they owe some, and are not much slower than the origin. And as long as the own
// part is not known, it is not asked for other parts instead.
func (s *Swarm) restrained(q *source) bool {
	return len(q.owed) > 0 || s.blind > 0 || slices.ContainsFunc(s.joined, func(o *source) bool {
		return !o.origin && len(o.owed) > 0 && !o.stalled && o.pace < 2*q.pace
	})
}

// scan is a piece that a source may be asked for: of the first level, counted from 0 and round, where there is one, or -1.
// From 0 it is a piece that as few others as possible have.
func (s *Swarm) scan(q *source, first int) int {
	if q.dry {
		return -1
	}
	levels := s.pieces.levels
	for i := range levels {
		if p := s.choose(q, &levels[(first+i)%len(levels)], &q.has); p >= 0 {
			return p
		}
	}
	q.dry = true
	return -1
}

// choose is a piece of a level and of all sets, by chance, that a source may be asked for, or -1.
func (s *Swarm) choose(q *source, level *transfer.Set, sets ...*transfer.Set) int {
	if level.Len() == 0 {
		return -1
	}
	start := s.rng.IntN(s.layout.Pieces())
	for _, part := range [2][2]int{{start, s.layout.Pieces()}, {0, start}} {
		for p := part[0]; ; p++ {
			if p = level.NextIn(p, sets...); p < 0 || p >= part[1] {
				break
			}
			if s.may(q, p) {
				return p
			}
		}
	}
	return -1
}

// may reports whether a source that has a piece may be asked for it: if it gave it wrong, so did all others that have it.
func (s *Swarm) may(q *source, piece int) bool {
	return !slices.Contains(q.bad, piece) || !slices.ContainsFunc(s.joined, func(o *source) bool {
		return o.has.Has(piece) && !slices.Contains(o.bad, piece)
	})
}

// closing reports whether all that is left is on its way: of the file, or when Reading of what is wanted.
func (s *Swarm) closing() bool {
	if s.opts.Reading {
		return s.pieces.flying > 0
	}
	return s.pieces.flying > 0 && s.pieces.flying == s.Left()
}

// duplicate is the piece that is expected last, and that a source would bring in less than half that time, or -1. Two
// copies of a piece are the most, and of what is late already others are asked without this.
func (s *Swarm) duplicate(q *source) int {
	best, latest := -1, 2*q.expect()
	for _, o := range s.joined {
		if o == q {
			continue
		}
		for _, r := range o.owed {
			if s.pieces.copies[r.piece] > 1 || !q.has.Has(r.piece) || !s.may(q, r.piece) {
				continue
			}
			if due := o.due(r, s.now); due > latest {
				best, latest = r.piece, due
			}
		}
	}
	return best
}
