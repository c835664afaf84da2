package reader

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch/lane"
	"github.com/peerd/peerd/transfer/fetch/pull"
	"github.com/peerd/peerd/transfer/fetch/recent"
	"github.com/peerd/peerd/transfer/fetch/small"
	"github.com/peerd/peerd/transfer/serve"
)

// load is one piece on its way, however many wait for it. But for done it is guarded by File.mu.
type load struct {
	index   int
	readers int   // who wait
	ahead   int64 // bytes that it counts for as long as nobody waits; 0 if somebody ever did
	swept   bool  // it was begun for all of the file
	cancel  context.CancelFunc
	over    bool
	done    chan struct{} // closed once piece or err is set
	piece   *recent.Piece
	err     error
	shelve  bool          // the piece is for the shelf as well
	fresh   *recent.Piece // which is put there
}

// load gives the load of a piece, which begins if it is not under way. h.mu is held.
func (h *File) load(i int) *load {
	l := h.loads[i]
	if l != nil {
		return l
	}
	l = &load{index: i, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(h.ctx)
	l.cancel = cancel
	h.loads[i] = l
	if h.closed {
		h.settle(l, nil, context.Canceled)
		return l
	}
	h.tasks.Go(func() {
		defer cancel()
		if err := h.run(ctx, l); err != nil {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.settle(l, nil, err)
		}
	})
	return l
}

// settle ends a load. h.mu is held.
func (h *File) settle(l *load, p *recent.Piece, err error) {
	if l.over {
		return
	}
	l.over, l.piece, l.err = true, p, err
	if l.ahead > 0 {
		h.memory.Landed(l.ahead)
	}
	if h.loads[l.index] == l {
		delete(h.loads, l.index)
	}
	if p != nil && l.readers > 0 {
		p.Retain() // until the last of them is gone
	}
	if p != nil && l.shelve {
		p.Retain()
		l.fresh = p
	}
	close(l.done)
}

// giveUp ends a load that nobody wants any more. h.mu is held.
func (h *File) giveUp(l *load) {
	l.cancel()
	h.settle(l, nil, context.Canceled)
}

// wait waits for a load as one of its readers.
func (h *File) wait(ctx context.Context, l *load) (*recent.Piece, error) {
	defer h.leave(l)
	select {
	case <-l.done:
	default:
		select {
		case <-l.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if l.err != nil {
		return nil, l.err
	}
	l.piece.Retain()
	return l.piece, nil
}

// leave takes a reader from a load.
func (h *File) leave(l *load) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l.readers--; l.readers > 0 {
		return
	}
	if at := slices.Index(h.waited, l.index); at >= 0 {
		h.waited = slices.Delete(h.waited, at, at+1)
	}
	switch {
	case l.over && l.piece != nil:
		l.piece.Release()
	case !l.over && !l.swept && !h.places.wanted(l.index):
		h.giveUp(l)
		h.tellWants()
	}
}

// run brings a piece.
func (h *File) run(ctx context.Context, l *load) error {
	if h.layout.Pieces() == 1 {
		return h.small(ctx, l)
	}
	h.before.Do(func() {
		if m, ok := h.s.Shelf.Manifest(h.file); ok && m.Layout == h.layout {
			_ = h.learn(0, m.Pieces, m.Root) // what the owner says now is told from it when it is asked
		}
	})
	want, err := h.hash(ctx, l)
	if err != nil {
		return err
	}
	if data, ok := h.fromShelf(l.index, want); ok {
		h.s.Progress.Had(h.label(), int64(len(data)))
		h.deliver(l.index, data)
		return nil
	}
	err = h.fetch(ctx, l, want)
	h.mu.Lock()
	p := l.fresh
	l.shelve, l.fresh = false, nil
	later := p != nil && h.later(l.index)
	h.mu.Unlock()
	switch {
	case later:
		p.Release()
	case p != nil:
		h.keep(p, want)
	}
	return err
}

// deliver takes in a piece that is verified.
func (h *File) deliver(i int, data []byte) {
	p := h.memory.Put(h.id, i, data)
	defer p.Release()
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.loads[i]; l != nil {
		h.settle(l, p, nil)
	}
	if h.passes() && h.places.passed(i) {
		h.memory.Passed(h.id, i)
	}
}

// passes reports whether memory is to be told which pieces were passed, since it can't hold all. h.mu is held.
func (h *File) passes() bool { return h.layout.Size > h.memory.Limit() }

// keep puts a piece on the shelf for another time, and releases it. Where the disk is slower than what comes, some are not kept.
func (h *File) keep(p *recent.Piece, want transfer.Hash) {
	defer p.Release()
	n := int64(len(p.Data))
	defer h.s.keeping.Add(-n)
	if h.s.keeping.Add(n) <= mostKeeping {
		h.s.Shelf.Keep(want, p.Data)
	}
}

// small brings all of a file of one piece.
func (h *File) small(ctx context.Context, l *load) error {
	if want, more := h.known.Hash(0); more == nil {
		if data, ok := h.fromShelf(0, want); ok {
			h.s.Progress.Had(h.label(), int64(len(data)))
			h.deliver(0, data)
			return nil
		}
	}
	err := small.Get(ctx, h.s.Source, h.s.Owner, h.file.Path, h.layout.Size, func(data []byte, st transfer.State, root transfer.Hash) error {
		if st.Version != h.file.Version {
			return h.s.Source.Changed(h.file.Path)
		}
		if st.Size != h.layout.Size {
			return h.s.Source.Lie(h.file.Path, errors.New("a version has two sizes"))
		}
		if err := h.known.Learn(0, []transfer.Hash{root}); err != nil {
			return h.s.Source.Lie(h.file.Path, err)
		}
		h.s.Progress.Got(h.s.Source.Peer, h.label(), int64(len(data)))
		own := h.memory.Buffer(len(data))
		copy(own, data)
		h.deliver(0, own)
		return nil
	})
	if err != nil {
		return h.final(err)
	}
	if want, more := h.known.Hash(0); more == nil {
		if p := h.memory.Get(h.id, 0); p != nil {
			h.keep(p, want)
		}
	}
	return nil
}

// final keeps an error that no later read would mend.
func (h *File) final(err error) error {
	switch peer.KindOf(err) {
	case peer.Integrity:
		h.memory.Forget(h.id)
	case peer.Conflict:
	default:
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over == nil {
		h.over = err
	}
	return err
}

// ask is a request for hashes, from piece first on up to before end.
type ask struct {
	first, end int
	all        bool          // it is for all of a file
	waiters    int           // guarded by File.mu
	done       chan struct{} // closed once err is set
	err        error
}

// hash waits for the hash of a piece.
func (h *File) hash(ctx context.Context, l *load) (transfer.Hash, error) {
	for i := l.index; ; {
		hash, more := h.known.Hash(i)
		if more == nil {
			return hash, nil
		}
		h.mu.Lock()
		if h.over != nil {
			h.mu.Unlock()
			return hash, h.over
		}
		a := h.asked(i, l.readers == 0)
		if a == nil {
			a = h.ask(i, h.reach(i))
		}
		a.waiters++
		h.mu.Unlock()
		err := a.wait(ctx, more)
		h.mu.Lock()
		a.waiters--
		h.mu.Unlock()
		if err != nil {
			return hash, err
		}
	}
}

// wait waits until there may be news.
func (a *ask) wait(ctx context.Context, more <-chan struct{}) error {
	select {
	case <-more:
		return nil
	case <-a.done:
		return a.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// asked is the request for the hash of a piece that is under way, or nil. One for all of a file's may take long to come to it: it
// is only for those who are in no hurry. h.mu is held.
func (h *File) asked(i int, patient bool) *ask {
	for _, a := range h.asks {
		if a.first <= i && i < a.end && (patient || !a.all) {
			return a
		}
	}
	return nil
}

// reach is how many hashes from piece i on are of use: of one that is read for itself only its own. h.mu is held.
func (h *File) reach(i int) int {
	for _, d := range h.places.all {
		if from, to := h.places.pieces(d); from <= i && i < to {
			return 2 * (to - from)
		}
	}
	return 1
}

// ask asks the owner for hashes. h.mu is held.
func (h *File) ask(first, n int) *ask {
	a := &ask{first: first, end: min(first+min(n, serve.MaxRange), h.layout.Pieces()), done: make(chan struct{})}
	h.asks = append(h.asks, a)
	h.tasks.Go(func() {
		err := h.askAgain(a)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.asks = slices.DeleteFunc(h.asks, func(o *ask) bool { return o == a })
		a.err = err
		close(a.done)
	})
	return a
}

// askAgain asks until there is an answer, or nobody waits for it any more.
func (h *File) askAgain(a *ask) error {
	since := time.Now()
	for wait := 100 * time.Millisecond; ; {
		err := h.s.hashes(h.ctx, h.file, h.layout, a.first, a.end-a.first, h.learn)
		h.mu.Lock()
		h.trouble = err
		waited := a.waiters > 0
		h.mu.Unlock()
		if err == nil || h.ctx.Err() != nil || lane.Final(err) || peer.KindOf(err) == peer.Conflict || time.Since(since) > h.s.Patience {
			return h.final(err)
		}
		if !waited {
			return err
		}
		if err := pull.Pause(h.ctx, &wait); err != nil {
			return err
		}
	}
}

// learn takes in what the owner says of the hashes.
func (h *File) learn(first int, hashes []transfer.Hash, root transfer.Hash) error {
	if err := h.known.Learn(first, hashes); err != nil || root.IsZero() {
		return err
	}
	return h.known.Root(root)
}
