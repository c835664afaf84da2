package transfertest

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
)

// Tape is a [peer.Stream] whose other side says what is on the tape, whatever it hears. Writes go to Out, if that is set.
type Tape struct {
	Out io.Writer

	mu sync.Mutex
	in *bytes.Reader // nil once closed
}

// NewTape makes a stream from which b is read and then the end.
func NewTape(b []byte) *Tape { return &Tape{in: bytes.NewReader(b)} }

// Read reads from the tape.
func (t *Tape) Read(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.in == nil {
		return 0, io.ErrClosedPipe
	}
	return t.in.Read(b)
}

// Write records what is said to the other side.
func (t *Tape) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.in == nil:
		return 0, io.ErrClosedPipe
	case t.Out != nil:
		return t.Out.Write(b)
	}
	return len(b), nil
}

// Close ends the tape.
func (t *Tape) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.in = nil
	return nil
}

// Reset ends the tape.
func (t *Tape) Reset() error { return t.Close() }

// CloseWrite does nothing: nobody listens.
func (t *Tape) CloseWrite() error { return nil }

// SetDeadline does nothing: a tape never blocks.
func (t *Tape) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (t *Tape) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (t *Tape) SetWriteDeadline(time.Time) error { return nil }

// Peer is [Reader].
func (t *Tape) Peer() peer.ID { return Reader }

// Remote is nil.
func (t *Tape) Remote() peer.Addr { return nil }

// Tapes is a [peer.Opener] whose streams of a protocol all say the same.
type Tapes map[string][]byte

// Open opens a [Tape].
func (t Tapes) Open(_ context.Context, _ peer.ID, protocol string, _ int) (peer.Stream, error) {
	return NewTape(t[protocol]), nil
}
