// Package loop lets a peer ask itself what it asks others, so that its own shares are used by the same ways as all, through the
// same gate. Nothing of it leaves the process.
package loop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/peerd/peerd/peer"
)

// Loop is a [peer.Opener] whose streams to this peer itself are pipes in memory. It is safe for concurrent use.
type Loop struct {
	self peer.ID
	next peer.Opener
	log  *slog.Logger
	ctx  context.Context // ends with Close
	end  context.CancelFunc

	mu       sync.Mutex
	closed   bool
	handlers map[string]peer.Handler
	serving  sync.WaitGroup
}

var _ peer.Opener = (*Loop)(nil)

// New makes a Loop of the peer self, which asks all others by next.
func New(self peer.ID, next peer.Opener, log *slog.Logger) *Loop {
	l := &Loop{self: self, next: next, log: log, handlers: make(map[string]peer.Handler)}
	l.ctx, l.end = context.WithCancel(context.Background())
	return l
}

// Handle serves a protocol to this peer itself.
func (l *Loop) Handle(protocol string, h peer.Handler) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handlers[protocol] = h
}

// Close ends all streams, and waits for those who serve them.
func (l *Loop) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.end()
	l.serving.Wait()
}

// Open opens a stream, see [peer.Opener].
func (l *Loop) Open(ctx context.Context, id peer.ID, protocol string, lane int) (peer.Stream, error) {
	if id != l.self {
		return l.next.Open(ctx, id, protocol, lane)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.handlers[protocol]
	switch {
	case l.closed:
		return nil, &peer.Error{Op: "connect", Path: id.String(), Kind: peer.Unreachable, Err: errors.New("this peer is closing")}
	case h == nil:
		return nil, &peer.Error{Op: "connect", Path: id.String(), Kind: peer.Other, Err: errors.New("the peer does not speak this protocol")}
	}
	near, far := l.pair()
	l.serving.Go(func() { l.serve(h, far, protocol) })
	return near, nil
}

// serve runs one stream.
func (l *Loop) serve(h peer.Handler, st *stream, protocol string) {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	stop := context.AfterFunc(l.ctx, func() { st.Reset() })
	defer stop()
	err := func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("panic: %v", r)
			}
		}()
		return h(ctx, st)
	}()
	if err != nil {
		l.log.Debug("a stream to this peer itself failed", "protocol", protocol, "err", err)
		st.Reset()
		return
	}
	st.Close()
}

// pair makes the two ends of a stream.
func (l *Loop) pair() (near, far *stream) {
	up, down := newPipe(), newPipe()
	return &stream{in: down, out: up, self: l.self}, &stream{in: up, out: down, self: l.self}
}

// stream is one end.
type stream struct {
	in, out *pipe
	self    peer.ID
}

var _ peer.Stream = (*stream)(nil)

// Peer is this peer itself.
func (s *stream) Peer() peer.ID { return s.self }

// Remote is loopback, without a port.
func (s *stream) Remote() peer.Addr { return ma.StringCast("/ip4/127.0.0.1") }
