package reader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch/recent"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/swarm"
)

// longest is the longest piece that is read, in bytes: that of a file of 4 TiB. All of a piece is in memory at once.
const longest = 64 << 20

// atOnce is how many bytes of one read are waited for together.
const atOnce = 8 << 20

// Hashes are asked for ahead of those who read in order, so that others can go on when the owner goes.
const (
	leastAsked = 8        // at a time
	hashAhead  = 64 << 20 // bytes beyond what is read ahead
)

// File reads one version of one file, at any place, from whoever has it; what somebody reads in order is read ahead. It is safe
// for concurrent use, and holds nothing at the owner as long as nobody reads.
type File struct {
	s      *Share
	file   transfer.File
	id     transfer.FileID
	layout transfer.Layout
	memory *recent.Cache
	known  *recent.Known
	begun  time.Time
	before sync.Once // looks for what an earlier run knew

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	places  cursors
	ordered int           // of places, as memory was told
	loads   map[int]*load // pieces on their way
	waited  []int         // those of them that somebody waits for
	asks    []*ask
	sweep   sweep
	source  *gathering // nil as long as nothing is asked of the swarm
	idle    *time.Timer
	over    error // why no more can be had of this version than is kept here
	trouble error // why the owner did not answer when it was last asked
}

// Open gives a version of a file to read. Nothing is asked of the owner yet: that it has another version by now is told by the
// first read of what is not here, in an error of kind [peer.Conflict].
func (s *Share) Open(path []string, st transfer.State) (*File, error) {
	l, err := transfer.LayoutOf(st.Size)
	if err != nil {
		return nil, s.Source.Lie(path, err)
	}
	if l.Length(0) > longest {
		return nil, &peer.Error{Op: "open", Path: s.Source.Path(path), Err: fmt.Errorf("its pieces of %d bytes are too large to be read singly", l.Length(0)), Hint: "copy it"}
	}
	h := &File{
		s: s, layout: l, memory: s.Memory, begun: time.Now(), places: cursors{layout: l}, loads: make(map[int]*load),
		file: transfer.File{Owner: s.Source.Peer, Share: s.Source.Share, Path: slices.Clone(path), Version: st.Version},
	}
	h.id = h.file.ID()
	h.known = h.memory.Known(h.id, l)
	h.ctx, h.cancel = context.WithCancel(s.ctx)
	h.idle = time.AfterFunc(time.Hour, h.rest)
	h.idle.Stop()
	return h, nil
}

// Version is which version is read.
func (h *File) Version() transfer.Version { return h.file.Version }

// Close lets go of all that is held. Reads that are under way fail.
func (h *File) Close() error {
	h.cancel()
	h.mu.Lock()
	h.closed = true
	h.idle.Stop()
	h.memory.Readers(-h.ordered)
	h.ordered = 0
	g := h.source
	h.source = nil
	h.mu.Unlock()
	g.end(h)
	h.tasks.Wait()
	return nil
}

// ReadAt reads like [io.ReaderAt]. It gives up when ctx ends: at its deadline with an error of kind [peer.Unreachable]. What is
// kept here is read whether the owner is there or not. An error of kind [peer.Conflict] says that the owner has another version.
func (h *File) ReadAt(ctx context.Context, b []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, &peer.Error{Op: "read", Path: h.label(), Kind: peer.Usage, Err: errors.New("a file begins at byte 0")}
	}
	end := min(off+int64(len(b)), h.layout.Size)
	for at := off; at < end; at = off + int64(n) {
		err := h.each(ctx, at, min(atOnce, end-at), func(_ *recent.Piece, p []byte) error {
			n += copy(b[n:], p)
			return nil
		})
		if err != nil {
			return n, h.failed(ctx, err)
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// Lend gives n bytes from off on like [File.ReadAt], but where they lie in memory, in order. They are not written to, and stay as
// they are until done is called, once. A part that is too long, or not all in the file, is not lent: then there are no parts, and
// no error.
func (h *File) Lend(ctx context.Context, n, off int64) (parts [][]byte, done func(), err error) {
	if off < 0 || n <= 0 || n > atOnce || n > h.layout.Size-off {
		return nil, nil, nil
	}
	var lent []*recent.Piece
	done = func() {
		for _, p := range lent {
			p.Release()
		}
	}
	err = h.each(ctx, off, n, func(p *recent.Piece, b []byte) error {
		p.Retain()
		lent, parts = append(lent, p), append(parts, b)
		return nil
	})
	if err != nil {
		done()
		return nil, nil, h.failed(ctx, err)
	}
	return parts, done, nil
}

// Copy writes bytes from up to before to, or the file's end, to w, in order.
func (h *File) Copy(ctx context.Context, w io.Writer, from, to int64) error {
	to = min(to, h.layout.Size)
	for at := max(from, 0); at < to; {
		i := int(at >> h.layout.Bits)
		end := min(h.layout.Offset(i)+h.layout.Length(i), to)
		err := h.each(ctx, at, end-at, func(_ *recent.Piece, b []byte) error {
			_, err := w.Write(b)
			return err
		})
		if err != nil {
			return h.failed(ctx, err)
		}
		at = end
	}
	return nil
}

func (h *File) label() string { return h.s.Source.Path(h.file.Path) }

// failed is the error of a read.
func (h *File) failed(ctx context.Context, err error) error {
	if h.ctx.Err() != nil && h.s.ctx.Err() == nil {
		return &peer.Error{Op: "read", Path: h.label(), Kind: peer.Usage, Err: errors.New("it was closed")}
	}
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	err = errors.New("nobody who is here gives what was asked for in time")
	if h.trouble != nil {
		err = h.trouble
	}
	return &peer.Error{Op: "read", Path: h.label(), Kind: peer.Unreachable, Err: err, Hint: "read again when the owner is back"}
}

// wanted is a piece that a read needs: it is here, or on its way.
type wanted struct {
	piece *recent.Piece
	load  *load
}

// each calls do with n bytes from off on, in order, and the pieces that they are of. They are not written to, and not used after it
// unless their piece is retained.
func (h *File) each(ctx context.Context, off, n int64, do func(*recent.Piece, []byte) error) error {
	first, last := int(off>>h.layout.Bits), int((off+n-1)>>h.layout.Bits)
	var few [4]wanted
	all, err := h.want(few[:0], first, last, off, n)
	for i, w := range all {
		p := w.piece
		if p == nil && err == nil {
			p, err = h.wait(ctx, w.load)
		} else if p == nil {
			h.leave(w.load)
		}
		if p == nil {
			continue
		}
		if begin := h.layout.Offset(first + i); err == nil {
			err = do(p, p.Data[max(off-begin, 0):min(off+n-begin, int64(len(p.Data)))])
		}
		p.Release()
	}
	return err
}

// want has pieces loaded that are not here, and those read ahead that are likely to be read next.
func (h *File) want(all []wanted, first, last int, off, n int64) ([]wanted, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.lied(); err != nil {
		return nil, err
	}
	change, missed := false, false
	for i := first; i <= last; i++ {
		if p := h.memory.Get(h.id, i); p != nil {
			all = append(all, wanted{piece: p})
			continue
		}
		missed = missed || h.loads[i] == nil
		l := h.load(i)
		if l.readers++; l.readers == 1 {
			h.waited = append(h.waited, i)
			change = true
		}
		all = append(all, wanted{load: l})
	}
	if h.layout.Pieces() > 1 && !h.closed {
		change = h.readAhead(off, n) || change
		for i := first; h.passes() && i <= last; i++ {
			if h.places.passed(i) { // what follows was asked for first
				h.memory.Passed(h.id, i)
			}
		}
		if d := h.places.near(off + n); missed && (d == nil || d.window == 0) {
			h.jumped()
		}
	}
	if change {
		h.tellWants()
	}
	return all, nil
}

// lied is the error of an owner who is caught lying, of whom nothing is given. h.mu is held.
func (h *File) lied() error {
	if peer.KindOf(h.over) == peer.Integrity {
		return h.over
	}
	return nil
}

// readAhead has read what follows on what is read in order, and reports whether that is another part than before. h.mu is held.
func (h *File) readAhead(off, n int64) (changed bool) {
	if h.places.note(time.Since(h.begun), off, n, h.memory.Share()) {
		changed = true
		for i, l := range h.loads {
			if l.readers == 0 && !l.swept && !h.places.wanted(i) {
				h.giveUp(l)
			}
		}
	}
	if now := h.places.ordered(); now != h.ordered {
		h.memory.Readers(now - h.ordered)
		h.ordered, changed = now, true
	}
	d := h.places.near(off + n)
	if d == nil || h.over != nil {
		return changed
	}
	for d.window > 0 && h.passes() && h.layout.Offset(d.left+1) <= d.at-slack {
		h.memory.Passed(h.id, d.left)
		d.left++
	}
	from, to := h.places.pieces(d)
	if from == d.told[0] && to == d.told[1] {
		return changed
	}
	for i := max(from, d.asked); i < to; i++ {
		if h.loads[i] == nil && !h.memory.Has(h.id, i) {
			size := h.layout.Length(i)
			if !h.memory.Ahead(size) {
				to = i
				break
			}
			h.load(i).ahead = size
		}
	}
	d.told, d.asked = [2]int{from, to}, to
	if from < to {
		next := min(to+max(to-from, hashAhead>>h.layout.Bits), h.layout.Pieces())
		if gap := h.known.Gap(to, next); gap < next && h.asked(gap, true) == nil && len(h.asks) < 2 {
			h.ask(gap, max(to-from, leastAsked))
		}
	}
	return true
}

// tellWants tells the swarm what is waited for and what is read ahead. h.mu is held.
func (h *File) tellWants() {
	if h.source == nil {
		return
	}
	now := make([]swarm.Span, 0, len(h.waited))
	for _, i := range h.waited {
		now = append(now, swarm.Span{From: i, To: i + 1})
	}
	var ahead []swarm.Span
	for _, d := range h.places.all {
		if from, to := h.places.pieces(d); from < to {
			ahead = append(ahead, swarm.Span{From: from, To: to})
		}
	}
	if w := h.sweep.span; w.From < w.To {
		ahead = append(ahead, w)
	}
	h.source.pull.Want(now, ahead)
}

// fromShelf gives a piece that was fetched before.
func (h *File) fromShelf(i int, want transfer.Hash) ([]byte, bool) {
	size := int(h.layout.Length(i))
	if size > transfer.UsualPiece {
		return nil, false
	}
	buf := h.memory.Buffer(size)
	b, ok := h.s.Shelf.Piece(h.file, h.layout, i, want, buf)
	if ok && len(b) == size && h.right(b, i, want) {
		return b, true
	}
	h.memory.Recycle(buf)
	return nil, false
}

// right reports whether a piece has its hash.
func (h *File) right(b []byte, i int, want transfer.Hash) bool {
	if h.layout.Pieces() == 1 {
		return manifest.Whole(b) == want
	}
	hasher := h.s.hashers.Get().(*manifest.Hasher)
	defer h.s.hashers.Put(hasher)
	return hasher.Subtree(b, h.layout.Offset(i)) == want
}
