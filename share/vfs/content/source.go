package content

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/peerd/peerd/peer"
)

// Reader reads one version of a file at its owner.
type Reader interface {
	ReadAt(ctx context.Context, b []byte, off int64) (int, error)
	io.Closer
}

// Lender is a [Reader] that can give bytes where they lie in memory. They are not written to, and stay as they are until done is
// called, once. What can't be lent has no parts and no error, and is to be read.
type Lender interface {
	Lend(ctx context.Context, n, off int64) (parts [][]byte, done func(), err error)
}

// Source reads a version of a file, and opens it when it is first needed. It is safe for concurrent use.
type Source struct {
	open func(context.Context) (Reader, error)
	turn chan struct{} // held by who opens

	mu sync.Mutex
	r  Reader
}

// NewSource makes a source of what open gives. When the reader is told that the file is not what it was, open is asked once
// more: the same bytes may have another name now.
func NewSource(open func(context.Context) (Reader, error)) *Source {
	return &Source{open: open, turn: make(chan struct{}, 1)}
}

// reader opens the file, unless it is open and another one than old.
func (s *Source) reader(ctx context.Context, old Reader) (Reader, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	r := s.r
	s.mu.Unlock()
	if r != nil && r != old {
		return r, nil
	}
	r, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.r = r
	s.mu.Unlock()
	if old != nil {
		_ = old.Close()
	}
	return r, nil
}

// Open opens the file if it is not open yet.
func (s *Source) Open(ctx context.Context) error {
	_, err := s.reader(ctx, nil)
	return err
}

// ReadAt reads by the rules of [io.ReaderAt].
func (s *Source) ReadAt(ctx context.Context, b []byte, off int64) (n int, err error) {
	err = s.use(ctx, func(r Reader) error {
		n, err = r.ReadAt(ctx, b, off)
		return err
	})
	return n, err
}

// Lend gives bytes as a [Lender] does.
func (s *Source) Lend(ctx context.Context, n, off int64) (parts [][]byte, done func(), err error) {
	err = s.use(ctx, func(r Reader) error {
		if l, ok := r.(Lender); ok {
			parts, done, err = l.Lend(ctx, n, off)
			return err
		}
		return nil
	})
	return parts, done, err
}

// use reads with the reader, and if that is told that the file is not what it was, once more with another one.
func (s *Source) use(ctx context.Context, do func(Reader) error) error {
	s.mu.Lock()
	r := s.r
	s.mu.Unlock()
	if r == nil {
		var err error
		if r, err = s.reader(ctx, nil); err != nil {
			return err
		}
	}
	err := do(r)
	if k := peer.KindOf(err); err != nil && !errors.Is(err, io.EOF) && (k == peer.Conflict || k == peer.NotFound) {
		if again, e := s.reader(ctx, r); e == nil {
			return do(again)
		}
	}
	return err
}

// Close gives the source up.
func (s *Source) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.r != nil {
		_ = s.r.Close()
		s.r = nil
	}
}
