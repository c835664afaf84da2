package host

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host/limit"
)

// negotiateTimeout bounds how long an inbound stream takes to name its protocol.
const negotiateTimeout = 10 * time.Second

// service is one protocol that is served.
type service struct {
	*limit.Service
	handler peer.Handler
}

// Handle serves a protocol. A peer may have perPeer streams of it open at a time, and all peers together 32 times as many;
// what exceeds that waits for up to [limit.Patience] and is then reset, which the other side sees as Busy. The handler's context ends with the connection and when
// the host begins to close; reads from the stream then fail, and a last word may still be written. The handler sets its
// own deadlines. A panic in it is logged and resets the stream.
//
// Handle may be called at any time, and replaces an earlier handler for new streams.
func (h *Host) Handle(proto string, perPeer int, handler peer.Handler) {
	s := &service{limit.NewService(perPeer), handler}
	h.mu.Lock()
	h.services[proto] = s
	h.mu.Unlock()
	h.protocol.AddHandler(proto, nil)
}

// serve runs one inbound stream, in the goroutine that the swarm made for it.
func (h *Host) serve(s network.Stream) {
	h.mu.Lock()
	if h.closing {
		h.mu.Unlock()
		s.ResetWithError(network.StreamShutdown)
		return
	}
	h.serving.Add(1)
	h.mu.Unlock()
	defer h.serving.Done()

	id := s.Conn().RemotePeer()
	s.SetDeadline(time.Now().Add(negotiateTimeout))
	proto, _, err := h.protocol.Negotiate(s)
	if err != nil {
		s.ResetWithError(network.StreamProtocolNegotiationFailed)
		return
	}
	s.SetDeadline(time.Time{})
	h.mu.Lock()
	svc := h.services[proto]
	h.mu.Unlock()
	l := h.linkOfConn(s.Conn())
	if l == nil {
		s.Reset() // the connection is gone
		return
	}
	if !svc.Enter(l.ctx, id) {
		h.log.Debug("stream refused: too many", "peer", id, "protocol", proto)
		s.ResetWithError(network.StreamResourceLimitExceeded)
		return
	}
	defer svc.Leave(id)
	if err := s.SetProtocol(protocol.ID(proto)); err != nil {
		s.ResetWithError(network.StreamResourceLimitExceeded)
		return
	}
	if err := h.run(l.ctx, svc, &inStream{s}); err != nil {
		h.log.Debug("stream failed", "peer", id, "protocol", proto, "err", err)
		s.Reset()
		return
	}
	s.Close()
}

// run calls the handler and makes an error of its panic.
func (h *Host) run(ctx context.Context, svc *service, s peer.Stream) (err error) {
	stop := context.AfterFunc(ctx, func() { s.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
			h.log.Error("a handler panicked", "peer", s.Peer(), "panic", r, "stack", string(debug.Stack()))
		}
	}()
	return svc.handler(ctx, s)
}
