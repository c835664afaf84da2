package servetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share/serve"
)

// Stream is a stream whose other side says what was written down before, and whose answers are kept.
type Stream struct {
	In  io.Reader
	Out bytes.Buffer
	ID  peer.ID

	Welcomed int // how often a right was found good

	reset atomic.Bool
}

var _ peer.Stream = (*Stream)(nil)

// Read gives what was written down.
func (s *Stream) Read(b []byte) (int, error) {
	if s.reset.Load() {
		return 0, errors.New("the stream was reset")
	}
	return s.In.Read(b)
}

// Write keeps what is said.
func (s *Stream) Write(b []byte) (int, error) { return s.Out.Write(b) }

// Close does nothing.
func (s *Stream) Close() error { return nil }

// CloseWrite does nothing.
func (s *Stream) CloseWrite() error { return nil }

// SetDeadline does nothing: what is written down comes at once.
func (s *Stream) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (s *Stream) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (s *Stream) SetWriteDeadline(time.Time) error { return nil }

// Welcome counts.
func (s *Stream) Welcome() { s.Welcomed++ }

// Peer is ID.
func (s *Stream) Peer() peer.ID { return s.ID }

// Remote is no address.
func (s *Stream) Remote() peer.Addr { return nil }

// Reset makes all further reads fail.
func (s *Stream) Reset() error {
	s.reset.Store(true)
	return nil
}

// Frames are messages as they go over a stream.
func Frames(tb testing.TB, all ...proto.Message) []byte {
	tb.Helper()
	var b []byte
	for _, m := range all {
		var err error
		if b, err = wire.AppendMsg(b, m); err != nil {
			tb.Fatal(err)
		}
	}
	return b
}

// Endless is a stream's input that is the same bytes again and again.
type Endless struct {
	Bytes []byte
	at    int
}

// Read never ends.
func (e *Endless) Read(b []byte) (int, error) {
	n := copy(b, e.Bytes[e.at:])
	e.at = (e.at + n) % len(e.Bytes)
	return n, nil
}

// Opener opens a stream for a protocol to whatever peer.
type Opener func(protocol string) *Stream

var _ peer.Opener = Opener(nil)

// Open opens a stream.
func (o Opener) Open(_ context.Context, id peer.ID, protocol string, _ int) (peer.Stream, error) {
	s := o(protocol)
	s.ID = id
	return s, nil
}

// Add offers one more share.
func (o *Offers) Add(s serve.Offer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, s)
}
