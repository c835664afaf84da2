package reader

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch/pull"
)

const (
	// restAfter is how long the sources of a file that nobody reads are held on to.
	restAfter = 30 * time.Second
	// othersFor is how long other sources have for a piece that the owner has no more.
	othersFor = 3 * time.Second
)

// gathering is a file's pieces that come from its sources, for as long as somebody wants some.
type gathering struct {
	h       *File
	pull    *pull.Pull
	stop    func()
	grow    pull.Growing
	refused chan struct{} // closed once refusal is set
	once    sync.Once
	refusal error // of the owner

	mu     sync.Mutex
	coming map[int][]byte // pieces that are verified, or as much of a long one as came
}

// gather gives the file's sources. h.mu is held.
func (h *File) gather() *gathering {
	h.idle.Reset(restAfter)
	if old := h.source; old != nil {
		if !old.ended() {
			return old
		}
		h.tasks.Go(func() { old.end(h) })
	}
	s := &gathering{h: h, refused: make(chan struct{}), coming: make(map[int][]byte)}
	s.grow = h.s.Shelf.Begin(h.file, h.layout, kept{h})
	s.pull, s.stop = h.s.Pull(h.file, h.layout, s, s.grow, s.refuse)
	h.source = s
	return s
}

// ended reports whether nothing comes any more, so that it is worth while to begin anew.
func (s *gathering) ended() bool {
	select {
	case <-s.pull.Done():
		return true
	case <-s.refused:
		return peer.KindOf(s.refusal) != peer.Conflict
	default:
		return false
	}
}

// rest lets go of the sources of a file that was not read for some time.
func (h *File) rest() {
	h.mu.Lock()
	s := h.source
	if s == nil || h.closed {
		h.mu.Unlock()
		return
	}
	if len(h.loads) > 0 {
		h.idle.Reset(restAfter)
		h.mu.Unlock()
		return
	}
	h.source = nil
	h.mu.Unlock()
	s.end(h)
}

// end ends it. It may be nil.
func (s *gathering) end(h *File) {
	if s == nil {
		return
	}
	s.once.Do(func() {
		s.stop()
		if m, ok := h.known.Manifest(); ok && s.pull.Any() {
			s.grow.Finish(m, "")
		}
		s.grow.Close()
	})
}

// fetch brings a piece from the file's sources.
func (h *File) fetch(ctx context.Context, l *load, want transfer.Hash) error {
	h.mu.Lock()
	if l.over {
		h.mu.Unlock()
		return nil
	}
	l.shelve = true
	s := h.gather()
	s.pull.Gone(l.index) // it was here before, perhaps
	s.pull.Known(l.index, want)
	h.tellWants()
	h.mu.Unlock()
	var late <-chan time.Time
	for refused := s.refused; ; {
		select {
		case <-l.done:
			return l.err
		case <-s.pull.Done():
			h.lost(s)
			if l.arrived() {
				return l.err
			}
			return h.final(s.pull.Err())
		case <-refused:
			switch err := h.final(s.refusal); {
			case peer.KindOf(err) != peer.Conflict:
				h.lost(s)
				return err
			case !s.pull.Others():
				return err
			}
			refused, late = nil, time.After(othersFor)
		case <-late:
			return s.refusal
		case <-h.s.Owner.Context().Done():
			return context.Cause(h.s.Owner.Context())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *load) arrived() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// lost parts from sources that give nothing any more, so that the next read begins anew.
func (h *File) lost(s *gathering) {
	h.mu.Lock()
	if h.source == s {
		h.source = nil
	}
	h.mu.Unlock()
	s.end(h)
}

// refuse is told that the owner gives the file no more.
func (s *gathering) refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refusal == nil {
		s.refusal = err
		close(s.refused)
	}
}

var _ pull.Taker = (*gathering)(nil)

// Buffer gives a buffer for a piece.
func (s *gathering) Buffer(n int) []byte { return s.h.memory.Buffer(n) }

// Recycle takes back what [gathering.Buffer] gave.
func (s *gathering) Recycle(b []byte) { s.h.memory.Recycle(b) }

// Take takes a piece without a copy.
func (s *gathering) Take(i int, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.coming[i]; old != nil {
		s.h.memory.Recycle(old)
	}
	s.coming[i] = b
}

// WriteAt takes a step of a long piece: of that memory is had as it arrives, not as a source says that it will.
func (s *gathering) WriteAt(b []byte, off int64) (int, error) {
	l := s.h.layout
	i := int(off >> l.Bits)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.coming[i] = append(s.coming[i][:off-l.Offset(i)], b...)
	return len(b), nil
}

// Here delivers a piece.
func (s *gathering) Here(i int) {
	s.mu.Lock()
	b := s.coming[i]
	delete(s.coming, i)
	s.mu.Unlock()
	if b != nil {
		s.h.deliver(i, b)
	}
}

// kept is what is here of a file, for others.
type kept struct{ h *File }

// ReadAt gives bytes of a piece, if it is here still.
func (k kept) ReadAt(b []byte, off int64) (int, error) {
	h := k.h
	i := int(off >> h.layout.Bits)
	at := off - h.layout.Offset(i)
	var n int
	if p := h.memory.Get(h.id, i); p != nil {
		n = copy(b, p.Data[at:])
		p.Release()
	} else if want, more := h.known.Hash(i); more == nil && at == 0 && h.layout.Length(i) == int64(len(b)) {
		// As if of another file, which is not looked for here.
		got, ok := h.s.Shelf.Piece(transfer.File{}, h.layout, i, want, b)
		if ok && h.right(got, i, want) {
			n = copy(b, got)
		}
	}
	if n < len(b) {
		return n, io.ErrUnexpectedEOF
	}
	return n, nil
}
