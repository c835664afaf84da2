package swarm

import (
	"fmt"
	"slices"
)

// Check tells what is wrong with the state between two events, or nil. It looks at everything, and is for tests.
func (s *Swarm) Check() error {
	if err := s.checkSources(); err != nil {
		return err
	}
	flying := 0
	for p := range s.layout.Pieces() {
		if err := s.checkPiece(p); err != nil {
			return fmt.Errorf("piece %d: %w", p, err)
		}
		if s.pieces.copies[p] > 0 {
			flying++
		}
	}
	if flying != s.pieces.flying {
		return fmt.Errorf("%d pieces are owed, %d are counted", flying, s.pieces.flying)
	}
	if full := s.pieces.here.Full(); full && !s.done || s.done && !full && !s.opts.Reading {
		return fmt.Errorf("done is %t with %d pieces left", s.done, s.Left())
	}
	return nil
}

func (s *Swarm) checkSources() error {
	for id, q := range s.sources {
		switch {
		case q.joined != slices.Contains(s.joined, q):
			return fmt.Errorf("%s: joined or not?", id)
		case q.joined && q.banned():
			return fmt.Errorf("%s lied %d times and is still asked", id, len(q.bad))
		case !q.joined && len(q.owed) > 0:
			return fmt.Errorf("%s left and owes %d pieces", id, len(q.owed))
		case q.stalled && len(q.owed) == 0:
			return fmt.Errorf("%s is stalled and owes nothing", id)
		case q.usual == 0 && len(q.owed) > maxLies:
			return fmt.Errorf("%s gave nothing yet and owes %d pieces", id, len(q.owed))
		case len(q.owed) > maxWindow || q.window > s.mostWindow():
			return fmt.Errorf("%s owes %d pieces, its window is %d", id, len(q.owed), q.window)
		case !slices.IsSortedFunc(q.owed, func(a, b request) int { return int(a.at - b.at) }):
			return fmt.Errorf("%s: what it owes is out of order", id)
		}
	}
	return nil
}

func (s *Swarm) checkPiece(p int) error {
	l := &s.pieces
	var holders, copies, cover int
	for _, q := range s.joined {
		if q.has.Has(p) && !q.origin {
			holders++
		}
		if i := q.index(p); i >= 0 {
			copies++
			if !q.stalled {
				cover++
			}
			if l.here.Has(p) || !l.known.Has(p) {
				return fmt.Errorf("%s is asked for what is here, or not known", q.id)
			}
			if s.opts.Reading && !s.wanted(p) {
				return fmt.Errorf("%s is asked for it while %v are wanted", q.id, s.wants)
			}
		}
	}
	if holders != int(l.holders[p]) || copies != int(l.copies[p]) || cover != int(l.cover[p]) || copies > maxCopies {
		return fmt.Errorf("%d have it, %d owe it, %d in time; counted are %d, %d, %d", holders, copies, cover, l.holders[p], l.copies[p], l.cover[p])
	}
	open := l.known.Has(p) && !l.here.Has(p) && cover == 0
	for n := range l.levels {
		if l.levels[n].Has(p) != (open && n == holders) {
			return fmt.Errorf("open is %t, %d have it, and yet it is or is not on level %d", open, holders, n)
		}
	}
	if open != l.open.Has(p) {
		return fmt.Errorf("open is %t", open)
	}
	if open {
		return s.checkWork(p)
	}
	return nil
}

// checkWork tells of a source that has room and could bring an open piece, and yet is not asked.
func (s *Swarm) checkWork(p int) error {
	if s.opts.Reading && !s.wanted(p) {
		return nil
	}
	for _, q := range s.joined {
		restrained := q.origin && s.place.Of > 1 && s.restrained(q)
		if q.room(s) > 0 && !restrained && q.has.Has(p) && s.may(q, p) {
			return fmt.Errorf("%s has room and could bring it", q.id)
		}
	}
	return nil
}
