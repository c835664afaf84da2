package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/multiformats/go-multistream"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host/book"
)

// The order in which addresses are tried (in the manner of RFC 8305).
const (
	dialStep   = 50 * time.Millisecond  // between one address and the next of its kind
	headStart  = 300 * time.Millisecond // of TCP before QUIC
	lastChance = time.Second            // of QUIC where TCP was refused everywhere
	patience   = time.Second            // of the direct ways before a circuit
	lookAgain  = time.Second            // for addresses that were learned meanwhile
	handshake  = time.Second            // of the first address that answers, before another is tried
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
	s, err := l.conn.NewStream(network.WithAllowLimitedConn(ctx, "a circuit carries what any connection does"))
	if err != nil {
		return nil, err
	}
	if err := s.SetProtocol(protocol.ID(proto)); err != nil {
		s.Reset()
		return nil, err
	}
	return &outStream{inStream{s}, multistream.NewMSSelect(s, proto)}, nil
}

// Connect makes sure that a lane to a peer has a connection, dialling if need be. Errors are those of [Host.Open].
func (h *Host) Connect(ctx context.Context, id peer.ID, lane int) error {
	if id == h.id || !h.gate.Trusts(id) {
		return &peer.Error{Op: "connect", Path: id.String(), Kind: peer.Denied, Err: errors.New("it is this peer itself, or blocked")}
	}
	_, err := h.link(ctx, laneKey{id, lane})
	return err
}

// link finds or dials the lane's connection.
func (h *Host) link(ctx context.Context, key laneKey) (*link, error) {
	h.mu.Lock()
	if l := h.linkOf(key); l != nil {
		h.mu.Unlock()
		return l, nil
	}
	first := laneKey{key.id, 0}
	// A circuit is there because nothing else answered.
	if l := h.linkOf(first); l != nil && (time.Now().Before(l.alone) || book.KindOf(l.conn.RemoteMultiaddr()) == book.Circuit) {
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
	r := h.route(key)
	if len(r.queue) == 0 {
		return nil, fail(errors.New("no address of it is known"))
	}
	ctx, cancel := context.WithTimeout(ctx, h.cfg.DialTimeout)
	defer cancel()
	conn, addr, err := h.race(ctx, key, r)
	if err != nil {
		h.log.Debug("dial failed", "peer", key.id, "lane", key.lane, "err", err)
		return nil, fail(err)
	}
	h.book.Worked(key.id, addr)
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

// route is where a peer may be, in the order to try: TCP, QUIC, circuits.
type route struct {
	queue       []peer.Addr
	tcp, direct int           // how many of the queue are TCP, and how many are no circuits
	detour      time.Duration // how long the direct ways are given before a circuit is tried
}

// route gives the ways to dial a lane. A circuit carries lane 0 alone: more of them would share one path.
func (h *Host) route(key laneKey) route {
	h.mu.Lock()
	noCircuit := h.relay == nil || key.lane > 0
	h.mu.Unlock()
	var by [book.Circuit + 1][]peer.Addr
	r := route{detour: patience}
	for i, a := range h.book.Addrs(key.id) {
		kind := book.KindOf(a)
		if !h.gate.Allows(a) || kind == book.Circuit && (noCircuit || book.RelayOf(a) == key.id) {
			continue
		}
		if i == 0 && kind == book.Circuit {
			r.detour = headStart // it worked last, so the others likely don't
		}
		by[kind] = append(by[kind], a)
	}
	r.queue = slices.Concat(by[book.TCP], by[book.QUIC], by[book.Circuit])
	r.tcp, r.direct = len(by[book.TCP]), len(by[book.TCP])+len(by[book.QUIC])
	return r
}

// after is a queue with those behind it that were not in it.
func (r route) after(queue []peer.Addr) []peer.Addr {
	for _, a := range r.queue {
		if !slices.ContainsFunc(queue, a.Equal) {
			queue = append(queue, a)
		}
	}
	return queue
}

// pause is how long to wait after the first n addresses were tried.
func (r route) pause(n int) time.Duration {
	switch n {
	case r.direct:
		return r.detour
	case r.tcp:
		return headStart
	}
	return dialStep
}

// race dials addresses one shortly after the other, and the next at once when one fails. The first that proves its ID
// wins, and what the others still bring is closed. Once an address answers, it has time to prove its ID: on a busy computer
// that takes longer than a step, and each address that is tried meanwhile makes it take longer still.
func (h *Host) race(ctx context.Context, key laneKey, r route) (transport.CapableConn, peer.Addr, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := r.queue
	results := make(chan attempt, len(queue))
	answers := make(chan transport.DialUpdate, 1) // the first; more are not waited for
	next, pending, refused := 0, 0, 0
	defer func() { h.drain(results, pending) }()

	timer := time.NewTimer(0)
	defer timer.Stop()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	var failed error
	for next < len(queue) || pending > 0 {
		select {
		case <-ctx.Done():
			return nil, nil, also(failed, fmt.Errorf("no answer: %w", ctx.Err()))
		case <-timer.C:
			h.try(ctx, key.id, queue[next], answers, results)
			next++
			pending++
			if next < len(queue) {
				timer.Reset(r.pause(next))
			}
		case <-answers:
			answers = nil
			if next < len(queue) {
				timer.Reset(handshake)
			}
		case <-again.C:
			// Others may wait for this very dial with a better address.
			if next == len(queue) {
				if queue = h.route(key).after(queue); next < len(queue) {
					timer.Reset(0)
				}
			}
			continue
		case got := <-results:
			pending--
			if got.err == nil {
				return got.conn, got.addr, nil
			}
			failed = also(failed, fmt.Errorf("%v: %w", got.addr, explain(got.err)))
			if errors.Is(got.err, syscall.ECONNREFUSED) {
				// It is up and peerd is not: QUIC would wait for nobody.
				if refused++; refused == r.tcp && r.direct == len(queue) {
					time.AfterFunc(lastChance, cancel)
				}
			}
			if next < r.tcp || (pending == 0 && next < len(queue)) {
				timer.Reset(0)
			}
		}
		if next == len(queue) {
			timer.Stop()
		}
	}
	return nil, nil, failed
}

// try dials one address. An answer is told as soon as there is a TCP connection, if there is room.
func (h *Host) try(ctx context.Context, id peer.ID, addr peer.Addr, answers chan<- transport.DialUpdate, results chan<- attempt) {
	dial := func() (transport.CapableConn, error) { return h.tcp.DialWithUpdates(ctx, addr, id, answers) }
	switch book.KindOf(addr) {
	case book.QUIC:
		dial = func() (transport.CapableConn, error) { return h.quic.Dial(ctx, addr, id) }
	case book.Circuit:
		dial = func() (transport.CapableConn, error) { return h.relay.Dial(ctx, addr, id) }
	}
	// The dial that waits for this holds Close off, which is why it may be a plain goroutine of the group.
	h.tasks.Go(func() {
		c, err := dial()
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

// also adds the failure of another address.
func also(failed, err error) error {
	if failed == nil {
		return err
	}
	return fmt.Errorf("%w; %w", failed, err)
}

// explain says in our words what a user can act on.
func explain(err error) error {
	var wrong sec.ErrPeerIDMismatch
	if errors.As(err, &wrong) {
		return fmt.Errorf("another computer answers there (%v): %w", wrong.Actual, err)
	}
	return err
}
