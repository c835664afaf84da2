package reader

import (
	"time"

	"github.com/peerd/peerd/transfer/swarm"
)

// Who reads here and there in a file that is not large will want most of it: all of it is brought then, behind what anybody waits for.
const (
	mostSwept  = 256 << 20 // bytes of a file
	sweepAhead = 8 << 20   // bytes of it that are on their way at a time, if more than a piece
	manyJumps  = 12        // reads of what is not here, in no order, before all is brought
	jumpsFor   = 30 * time.Second
)

// When pieces of such a file are put on the shelf that memory holds all of.
const (
	restFor  = 100 * time.Millisecond // after the last read
	shelveBy = 10 * time.Second       // after all came, however much is read
)

// sweep is how a file is brought that is read here and there. It is guarded by File.mu.
type sweep struct {
	jumps int // lately
	last  time.Time
	begun bool
	span  swarm.Span // of pieces that are on their way for it
	open  bool       // pieces may be left to shelve
	left  []int      // those that are
}

// jumped counts a read of what is not here, in no order, and has all of the file brought when there were many. h.mu is held.
func (h *File) jumped() {
	w := &h.sweep
	if h.layout.Size > mostSwept || w.begun || h.closed {
		return
	}
	if time.Since(w.last) > jumpsFor {
		w.jumps = 0
	}
	w.jumps++
	w.last = time.Now()
	if w.jumps >= manyJumps {
		w.begun, w.open = true, !h.passes()
		h.ask(0, h.layout.Pieces()).all = true
		h.tasks.Go(h.bringAll)
	}
}

// bringAll brings what is not here of a file, from its beginning on, once.
func (h *File) bringAll() {
	var under []*load
	most := int(max(1, sweepAhead>>h.layout.Bits))
	for i := 0; i < h.layout.Pieces(); {
		if len(under) >= most && !h.landed(&under) {
			break
		}
		l, full := h.bring(i, under)
		if full && (len(under) == 0 || !h.landed(&under)) {
			break // there is no room: whoever reads in order comes first
		}
		if l != nil {
			under = append(under, l)
		}
		if !full {
			i++
		}
	}
	for len(under) > 0 && h.landed(&under) {
	}
	h.mu.Lock()
	h.sweep.span = swarm.Span{}
	h.mu.Unlock()
	h.shelve()
}

// later reports whether a piece is put on the shelf once nobody reads: who reads here and there waits for all of the file as it is.
// h.mu is held.
func (h *File) later(i int) bool {
	if h.sweep.open {
		h.sweep.left = append(h.sweep.left, i)
	}
	return h.sweep.open
}

// shelve waits until nobody reads, and puts the pieces on the shelf that were left. What memory holds no more is not kept.
func (h *File) shelve() {
	by := time.Now().Add(shelveBy)
	h.mu.Lock()
	for {
		wait := min(restFor-time.Since(h.begun)+h.places.seen(), time.Until(by))
		if wait <= 0 || h.ctx.Err() != nil {
			break
		}
		h.mu.Unlock()
		select {
		case <-time.After(wait):
		case <-h.ctx.Done():
		}
		h.mu.Lock()
	}
	left := h.sweep.left
	h.sweep.open, h.sweep.left = false, nil
	h.mu.Unlock()
	for _, i := range left {
		want, more := h.known.Hash(i)
		if p := h.memory.Get(h.id, i); p != nil && more == nil {
			h.keep(p, want)
		} else if p != nil {
			p.Release()
		}
	}
}

// landed waits for the first of some loads, and reports whether more should begin.
func (h *File) landed(under *[]*load) bool {
	l := (*under)[0]
	*under = (*under)[1:]
	select {
	case <-l.done:
		return l.err == nil
	case <-h.ctx.Done():
		return false
	}
}

// bring begins to load a piece that is not here, or reports that there is no room for it now.
func (h *File) bring(i int, under []*load) (l *load, full bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	size := h.layout.Length(i)
	switch {
	case h.loads[i] != nil || h.memory.Has(h.id, i):
		return nil, false
	case h.over != nil || h.closed:
		return nil, true
	case !h.memory.Ahead(size):
		return nil, true
	}
	l = h.load(i)
	l.ahead, l.swept = size, true
	h.sweep.span = swarm.Span{From: i, To: i + 1}
	if len(under) > 0 {
		h.sweep.span.From = under[0].index
	}
	return l, false
}

// Here reads what is all in memory, and reports whether it is. Nothing is waited for.
func (h *File) Here(b []byte, off int64) (n int, ok bool) {
	if off < 0 || len(b) == 0 || int64(len(b)) > h.layout.Size-off {
		return 0, false
	}
	first, last := int(off>>h.layout.Bits), int((off+int64(len(b))-1)>>h.layout.Bits)
	for i := first; i <= last; i++ {
		p := h.memory.Get(h.id, i)
		if p == nil {
			return 0, false
		}
		n += copy(b[n:], p.Data[max(off-h.layout.Offset(i), 0):])
		p.Release()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lied() != nil {
		return 0, false
	}
	if h.layout.Pieces() > 1 && !h.closed && h.readAhead(off, int64(len(b))) {
		h.tellWants()
	}
	return n, true
}
