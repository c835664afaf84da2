package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/multiformats/go-multistream"

	"github.com/peerd/peerd/peer"
)

// The order in which addresses are tried (in the manner of RFC 8305).
const (
	dialStep   = 50 * time.Millisecond  // between one address and the next of its kind
	headStart  = 300 * time.Millisecond // of TCP before QUIC
	lastChance = time.Second            // of QUIC where TCP was refused everywhere
)

// lanePause is how long a peer that could not be dialled, but dialled us, is left with the lanes that there are.
const lanePause = 30 * time.Second

type laneKey struct {
	id   peer.ID
	lane int
}

// dial is one under way, which all that want the lane wait for.
type dial struct {
	done chan struct{}
	link *link
	err  error
}

// Open opens a stream on the lane's connection, dialling if there is none; lanes go from 0 to [MaxLanes] - 1. Lane 0 also
// uses a connection that the other side dialled, and so does a lane that can't be dialled. The protocol is agreed on with
// the first bytes: a peer that does not speak it makes the first read fail, as does one that is at its limits (Busy).
//
// Errors are of kind Unreachable when no address answers, Denied for a peer that is blocked, Busy at our own limits.
func (h *Host) Open(ctx context.Context, id peer.ID, proto string, lane int) (peer.Stream, error) {
	fail := func(kind peer.Kind, err error) error {
		return &peer.Error{Op: "connect", Path: id.String(), Kind: kind, Err: err}
	}
	switch {
	case lane < 0 || lane >= MaxLanes:
		return nil, fail(peer.Usage, fmt.Errorf("there is no lane %d", lane))
	case id == h.id:
		return nil, fail(peer.Usage, errors.New("it is this peer itself"))
	case !h.gate.Trusts(id):
		return nil, fail(peer.Denied, errors.New("the peer is blocked here"))
	}
	for retried := false; ; retried = true {
		l, err := h.link(ctx, laneKey{id, lane})
		if err != nil {
			return nil, err
		}
		s, err := openOn(ctx, l, proto)
		switch {
		case err == nil:
			return s, nil
		case errors.Is(err, network.ErrResourceLimitExceeded):
			return nil, fail(peer.Busy, err)
		case ctx.Err() != nil:
			return nil, fail(peer.Unreachable, ctx.Err())
		case retried:
			return nil, fail(peer.Unreachable, err)
		}
		// The connection had died unnoticed.
		l.conn.Close()
	}
}

// openOn opens a stream on one connection.
func openOn(ctx context.Context, l *link, proto string) (*outStream, error) {
	s, err := l.conn.NewStream(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.SetProtocol(protocol.ID(proto)); err != nil {
		s.Reset()
		return nil, err
	}
	return &outStream{inStream{s}, multistream.NewMSSelect(s, proto)}, nil
}

// link finds or dials the lane's connection.
func (h *Host) link(ctx context.Context, key laneKey) (*link, error) {
	h.mu.Lock()
	if l := h.linkOf(key); l != nil {
		h.mu.Unlock()
		return l, nil
	}
	first := laneKey{key.id, 0}
	if l := h.linkOf(first); l != nil && time.Now().Before(l.alone) {
		h.mu.Unlock()
		return l, nil
	}
	d := h.dials[key]
	if d == nil {
		if h.closing {
			h.mu.Unlock()
			return nil, &peer.Error{Op: "connect", Path: key.id.String(), Kind: peer.Unreachable, Err: errors.New("this peer is closing")}
		}
		d = &dial{done: make(chan struct{})}
		h.dials[key] = d
		h.tasks.Go(func() {
			d.link, d.err = h.dial(h.ctx, key)
			h.mu.Lock()
			delete(h.dials, key)
			if l := h.linkOf(first); d.err != nil && l != nil {
				l.alone = time.Now().Add(lanePause)
				d.link, d.err = l, nil
			}
			h.mu.Unlock()
			close(d.done)
		})
	}
	h.mu.Unlock()
	select {
	case <-d.done:
		return d.link, d.err
	case <-ctx.Done():
		return nil, &peer.Error{Op: "connect", Path: key.id.String(), Kind: peer.Unreachable, Err: ctx.Err()}
	}
}

// dial connects one lane of a peer.
func (h *Host) dial(ctx context.Context, key laneKey) (*link, error) {
	fail := func(err error) error {
		return &peer.Error{Op: "connect", Path: key.id.String(), Kind: peer.Unreachable, Err: err, Hint: `run "peerd doctor"`}
	}
	var tcp, quic []peer.Addr
	for _, a := range h.book.addrs(key.id) {
		switch {
		case !h.gate.Allows(a):
		case kindOf(a) == tcpKind:
			tcp = append(tcp, a)
		default:
			quic = append(quic, a)
		}
	}
	if len(tcp)+len(quic) == 0 {
		return nil, fail(errors.New("no address of it is known"))
	}
	ctx, cancel := context.WithTimeout(ctx, h.cfg.DialTimeout)
	defer cancel()
	conn, addr, err := h.race(ctx, key.id, tcp, quic)
	if err != nil {
		h.log.Debug("dial failed", "peer", key.id, "lane", key.lane, "err", err)
		return nil, fail(err)
	}
	h.book.worked(key.id, addr)
	l, err := h.feed.give(conn, key.lane)
	if err != nil {
		return nil, fail(err)
	}
	return l, nil
}

// attempt is what came of one address.
type attempt struct {
	conn transport.CapableConn
	addr peer.Addr
	err  error
}

// race dials addresses one shortly after the other, and the next at once when one fails. The first that proves its ID
// wins, and what the others still bring is closed.
func (h *Host) race(ctx context.Context, id peer.ID, tcp, quic []peer.Addr) (transport.CapableConn, peer.Addr, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := append(tcp, quic...)
	results := make(chan attempt, len(queue))
	next, pending, refused := 0, 0, 0
	defer func() { h.drain(results, pending) }()

	timer := time.NewTimer(0)
	defer timer.Stop()
	var failed attempts
	for next < len(queue) || pending > 0 {
		select {
		case <-ctx.Done():
			return nil, nil, append(failed, fmt.Errorf("no answer: %w", ctx.Err()))
		case <-timer.C:
			h.try(ctx, id, queue[next], results)
			next++
			pending++
			if next == len(tcp) {
				timer.Reset(headStart)
			} else if next < len(queue) {
				timer.Reset(dialStep)
			}
		case r := <-results:
			pending--
			if r.err == nil {
				return r.conn, r.addr, nil
			}
			failed = append(failed, fmt.Errorf("%v: %w", r.addr, explain(r.err)))
			if errors.Is(r.err, syscall.ECONNREFUSED) {
				if refused++; refused == len(tcp) { // it is up and peerd is not: QUIC would wait for nobody
					time.AfterFunc(lastChance, cancel)
				}
			}
			if next < len(tcp) || (pending == 0 && next < len(queue)) {
				timer.Reset(0)
			}
		}
		if next == len(queue) {
			timer.Stop()
		}
	}
	return nil, nil, failed
}

func (h *Host) try(ctx context.Context, id peer.ID, addr peer.Addr, results chan<- attempt) {
	t := h.tcp
	if kindOf(addr) == quicKind {
		t = h.quic
	}
	// The dial that waits for this holds Close off, which is why it may be a plain goroutine of the group.
	h.tasks.Go(func() {
		c, err := t.Dial(ctx, addr, id)
		results <- attempt{c, addr, err}
	})
}

// drain closes what attempts that lost the race still bring.
func (h *Host) drain(results <-chan attempt, pending int) {
	if pending == 0 {
		return
	}
	h.tasks.Go(func() {
		for range pending {
			if r := <-results; r.err == nil {
				r.conn.Close()
			}
		}
	})
}

// attempts are the failures of all addresses.
type attempts []error

func (a attempts) Error() string {
	texts := make([]string, len(a))
	for i, err := range a {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (a attempts) Unwrap() []error { return a }

// explain says in our words what a user can act on.
func explain(err error) error {
	var wrong sec.ErrPeerIDMismatch
	if errors.As(err, &wrong) {
		return fmt.Errorf("another computer answers there (%v): %w", wrong.Actual, err)
	}
	return err
}
