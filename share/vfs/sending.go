package vfs

import (
	"context"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/vfs/content"
)

// Bounds of what is sent while it is still written.
const (
	// aheadFrom is how many bytes of a file were written, from its start on, when that begins. What its owner has of the file is
	// smaller: else much of it may be the same, and is not sent at all.
	aheadFrom = 8 << 20
	// window is how many bytes are sent in one go; what is left behind the last is sent when the file is closed.
	window = 4 << 20
	// manyAhead is how many files of a share are sent so at once, at most: each takes a stream.
	manyAhead = 4
	// refusal is how long it is not tried again with an owner that does not take it.
	refusal = time.Hour
)

// aheadLocked has a file that grows sent while it does.
func (f *FS) aheadLocked(b *body) {
	if b.ahead != nil {
		b.grow()
		return
	}
	pt := b.pt
	if b.gone || b.overlay || !f.running || pt.remote == nil || b.n.Known && b.n.Size >= aheadFrom || b.c.Grown() < aheadFrom {
		return
	}
	p, err := f.placeLocked(b.n)
	if now := time.Now(); err != nil || pt.aheads == manyAhead || now.Before(pt.noAhead) || pt.muteLocked(now) {
		return
	}
	ctx, end := context.WithCancel(f.base)
	b.ahead, b.grown = end, make(chan struct{}, 1)
	r := pt.remote
	pt.aheads++
	f.taskLocked(func() {
		defer end()
		err := r.Ahead(ctx, b.c.ID(), p.path, (&sending{fs: f, b: b, at: p.path}).next)
		f.mu.Lock()
		defer f.mu.Unlock()
		pt.aheads--
		if err == nil || ctx.Err() != nil {
			return
		}
		f.log.Debug("a file is not sent while it is written", "share", pt.label(), "err", err)
		if kind := peer.KindOf(err); kind == peer.Denied || kind == peer.Usage {
			pt.noAhead = time.Now().Add(refusal)
		}
	})
}

// grow lets who sends the file know that there may be more of it. FS.mu is held.
func (b *body) grow() {
	select {
	case b.grown <- struct{}{}:
	default:
	}
}

// endAhead ends that the file is sent while it is written. FS.mu is held.
func (b *body) endAhead() {
	if b.ahead != nil {
		b.ahead()
	}
}

// sending cuts a file that grows into windows.
type sending struct {
	fs *FS
	b  *body
	at share.Path
	to int64 // end of the last window
}

// next waits for the next window; there is none once nobody writes any more.
func (s *sending) next(ctx context.Context) (w remote.Window, ok bool) {
	for ctx.Err() == nil {
		s.fs.mu.Lock()
		over := s.b.writers == 0 || s.b.gone
		s.fs.mu.Unlock()
		if over {
			break
		}
		if s.b.c.Grown() >= s.to+window {
			c := s.b.c.Window(s.to, window)
			s.to += window
			return remote.Window{Size: window, Open: func(context.Context) (share.OpenFile, error) { return sentWindow{c, s.at}, nil }}, true
		}
		select {
		case <-s.b.grown:
		case <-ctx.Done():
		}
	}
	return w, false
}

// sentWindow shows a window to who fetches it.
type sentWindow struct {
	*content.Window
	at share.Path
}

func (w sentWindow) ReadAt(b []byte, off int64) (int, error) {
	n, err := w.Window.ReadAt(b, off)
	if !w.Intact() {
		return 0, written(w.at.String())
	}
	return n, err
}

func (sentWindow) Close() error { return nil }

func (w sentWindow) Entry() (share.Entry, error) {
	if !w.Intact() {
		return share.Entry{}, written(w.at.String())
	}
	return share.Entry{Path: w.at, Kind: share.File, Size: w.Size, ModTime: time.Unix(0, 0), Version: w.Version}, nil
}
