package swarm

import (
	"slices"

	"github.com/peerd/peerd/transfer"
)

// pool is what there is to ask for. A piece is open when its hash is known, it is not here, and nobody who answers in time
// owes it. Open pieces are sorted by how many sources have them, origins aside (they have all), so that the rarest are
// found by looking at a few words of a bitmap.
type pool struct {
	known, here transfer.Set
	open        transfer.Set
	levels      []transfer.Set // of open pieces: levels[n] are those that n sources have
	holders     []uint16       // by piece: sources that have it
	copies      []uint8        // by piece: sources that owe it
	cover       []uint8        // by piece: sources that owe it and are not stalled
	flying      int            // pieces that somebody owes
}

func newPool(pieces int) pool {
	return pool{
		known: transfer.NewSet(pieces), here: transfer.NewSet(pieces), open: transfer.NewSet(pieces),
		levels:  []transfer.Set{transfer.NewSet(pieces)},
		holders: make([]uint16, pieces), copies: make([]uint8, pieces), cover: make([]uint8, pieces),
	}
}

// hold says that one source more, or less, has a piece.
func (l *pool) hold(piece, change int) {
	n := int(l.holders[piece]) + change
	for len(l.levels) <= n {
		l.levels = append(l.levels, transfer.NewSet(l.open.Size()))
	}
	if l.levels[l.holders[piece]].Remove(piece) {
		l.levels[n].Add(piece)
	}
	l.holders[piece] = uint16(n)
}

// settle puts a piece among the open ones, or takes it out, as it should be, and reports whether it became open.
func (l *pool) settle(piece int) bool {
	level := &l.levels[l.holders[piece]]
	if l.known.Has(piece) && !l.here.Has(piece) && l.cover[piece] == 0 {
		return level.Add(piece) && l.open.Add(piece)
	}
	level.Remove(piece)
	l.open.Remove(piece)
	return false
}

// owe says that one source more, or less, owes a piece, and whether that source is stalled.
func (l *pool) owe(piece, change int, stalled bool) {
	before := l.copies[piece]
	l.copies[piece] += uint8(change)
	if !stalled {
		l.cover[piece] += uint8(change)
	}
	switch {
	case before == 0:
		l.flying++
	case l.copies[piece] == 0:
		l.flying--
	}
}

// gain notes that a source has a piece.
func (s *Swarm) gain(q *source, piece int) {
	if !q.has.Add(piece) {
		return
	}
	if !q.origin {
		s.pieces.hold(piece, 1)
	}
	q.dry = q.dry && !s.pieces.open.Has(piece)
}

// settle puts a piece where it belongs after something about it changed, and wakes the sources that could bring it.
func (s *Swarm) settle(piece int) {
	if !s.pieces.settle(piece) {
		return
	}
	for _, q := range s.joined {
		if q.has.Has(piece) {
			q.dry, q.ownDry, q.stretchDry = false, false, false
		}
	}
}

// stir has every source looked at again, after a change that may open pieces to any.
func (s *Swarm) stir() {
	for _, q := range s.joined {
		q.dry, q.ownDry, q.stretchDry = false, false, false
	}
}

// arrive notes that a piece is here, and takes back what is still asked of it.
func (s *Swarm) arrive(piece int) {
	if piece < 0 || piece >= s.layout.Pieces() {
		return
	}
	s.pieces.here.Add(piece)
	for _, q := range s.joined {
		if s.pieces.copies[piece] == 0 {
			break
		}
		s.cancel(q, piece)
	}
	s.settle(piece)
}

// request asks a source for a piece. Should two owe it already, both are stalled: who was asked first is let off.
func (s *Swarm) request(q *source, piece int) {
	if s.pieces.copies[piece] >= maxCopies {
		var first *source
		var asked request
		for _, o := range s.joined {
			if r, ok := o.owes(piece); ok && (first == nil || r.at < asked.at) {
				first, asked = o, r
			}
		}
		s.cancel(first, piece)
	}
	if len(q.owed) == 0 {
		q.since = s.now
	}
	q.owed = append(q.owed, request{piece: piece, at: s.now, depth: len(q.owed) + 1})
	s.pieces.owe(piece, 1, q.stalled)
	s.settle(piece)
	s.do(Ask{q.id, piece})
}

// cancel takes back what is asked of a source, if it is.
func (s *Swarm) cancel(q *source, piece int) {
	if s.release(q, piece) {
		s.do(Cancel{q.id, piece})
	}
}

// release notes that a source does not owe a piece any more, and reports whether it did.
func (s *Swarm) release(q *source, piece int) bool {
	i := q.index(piece)
	if i < 0 {
		return false
	}
	if len(q.owed) == 1 {
		q.mute += s.now - q.since
	}
	q.owed = slices.Delete(q.owed, i, i+1)
	s.pieces.owe(piece, -1, q.stalled)
	q.stalled = q.stalled && len(q.owed) > 0
	s.settle(piece)
	return true
}

// part takes a source out: what it had is rarer now, what it owed may be asked of others.
func (s *Swarm) part(q *source) {
	for len(q.owed) > 0 {
		s.release(q, q.owed[0].piece)
	}
	s.forget(q)
	q.joined, q.has = false, transfer.Set{}
	for i, o := range s.joined {
		if o == q {
			s.joined = append(s.joined[:i], s.joined[i+1:]...)
			break
		}
	}
	if s.place.Source == q.id {
		s.place, s.own, s.blind, s.stretch = Place{}, transfer.Set{}, 0, transfer.Set{}
	}
	s.stir()
}

// forget takes back what a source has from the count of holders.
func (s *Swarm) forget(q *source) {
	if !q.origin {
		for p := range q.has.All() {
			s.pieces.hold(p, -1)
		}
	}
}
