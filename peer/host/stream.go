package host

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-yamux/v5"
	"github.com/multiformats/go-multistream"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host/limit"
)

// inStream is a stream that the other side opened.
type inStream struct {
	network.Stream
}

var _ peer.Stream = (*inStream)(nil)

func (s *inStream) Peer() peer.ID     { return s.Conn().RemotePeer() }
func (s *inStream) Remote() peer.Addr { return s.Conn().RemoteMultiaddr() }

// Welcome has the peer's streams not count as a stranger's any more; see [peer.Welcome].
func (s *inStream) Welcome() { limit.Welcome(s.Scope()) }

func (s *inStream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	return n, s.wrap("read", err)
}

func (s *inStream) Write(p []byte) (int, error) {
	n, err := s.Stream.Write(p)
	return n, s.wrap("write", err)
}

// wrap makes a peer.Error of what ends a stream. io.EOF stays what it is.
func (s *inStream) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	e := &peer.Error{Op: op, Path: s.Peer().String(), Kind: peer.Unreachable, Err: err}
	var reset *network.StreamError
	var unknown multistream.ErrNotSupported[string]
	switch {
	case errors.Is(err, yamux.ErrTimeout):
		e.Err = os.ErrDeadlineExceeded
	case errors.As(err, &unknown), errors.As(err, &reset) && reset.Remote && reset.ErrorCode == network.StreamProtocolNegotiationFailed:
		e.Kind, e.Err = peer.Other, errors.New("the peer does not speak this protocol")
		e.Hint = "run the same version of peerd on both computers"
	case errors.As(err, &reset) && reset.Remote && reset.ErrorCode == network.StreamResourceLimitExceeded:
		e.Kind, e.Err = peer.Busy, errors.New("the peer has too much to do")
	case errors.As(err, &reset) && reset.Remote:
		e.Kind = peer.Other // the peer itself broke off, so it can be reached
	}
	return e
}

// closeWait bounds how long closing a stream waits for the other side to agree on a protocol on which nothing was read.
const closeWait = 2 * time.Second

// outStream is a stream opened here, whose protocol is agreed on when first used.
type outStream struct {
	inStream
	lazy multistream.LazyConn
}

func (s *outStream) Read(p []byte) (int, error) {
	n, err := s.lazy.Read(p)
	return n, s.wrap("read", err)
}

func (s *outStream) Write(p []byte) (int, error) {
	n, err := s.lazy.Write(p)
	return n, s.wrap("write", err)
}

func (s *outStream) Close() error {
	_ = s.SetReadDeadline(time.Now().Add(closeWait))
	return s.wrap("close", s.lazy.Close())
}

func (s *outStream) CloseWrite() error {
	// What is wrong with it shows when reading.
	_ = s.lazy.Flush()
	return s.wrap("close", s.Stream.CloseWrite())
}

const pingProtocol = "/peerd/ping/1"

// pingSize is what is sent and comes back, in bytes.
const pingSize = 8

func answerPing(_ context.Context, s peer.Stream) error {
	if err := s.SetDeadline(time.Now().Add(negotiateTimeout)); err != nil {
		return err
	}
	var b [pingSize]byte
	if _, err := io.ReadFull(s, b[:]); err != nil {
		return err
	}
	_, err := s.Write(b[:])
	return err
}

// Ping finds out whether a peer can be reached, dialling if need be, and how long it takes to answer once connected. That it has too
// much to do is an answer; an error of kind Busy is about our own limits.
func (h *Host) Ping(ctx context.Context, id peer.ID) (time.Duration, error) {
	s, err := h.Open(ctx, id, pingProtocol, 0)
	if err != nil {
		return 0, err
	}
	return ping(ctx, s, h.cfg.DeadAfter)
}

// ping runs a stream of the ping protocol to its end, within a time.
func ping(ctx context.Context, s peer.Stream, timeout time.Duration) (time.Duration, error) {
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { s.Reset() })
	defer stop()
	if err := s.SetDeadline(time.Now().Add(timeout)); err != nil {
		return 0, err
	}
	start := time.Now()
	var b [pingSize]byte
	_, err := s.Write(b[:])
	if err == nil {
		_, err = io.ReadFull(s, b[:])
	}
	if err != nil && peer.KindOf(err) != peer.Busy {
		return 0, err
	}
	return time.Since(start), nil
}
