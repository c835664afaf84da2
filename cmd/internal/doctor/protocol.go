package doctor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
)

// Protocol is what doctors ask of other peers. A request is one byte, what is wanted, and two bytes, a port in big-endian
// order. The answer to a call is one [Answer]; that to a stream is zeros, as many as go in [streamTime].
const Protocol = "/peerd/doctor/1"

const (
	wantCall   = 1 // call me back at my address and this port
	wantStream = 2 // send me something

	requestSize = 3
	requestTime = 5 * time.Second        // for a request to arrive
	backTime    = 1 * time.Second        // for calling back
	streamTime  = 400 * time.Millisecond // of sending
	pause       = time.Second            // between two calls, and two streams, for whomever: nobody keeps us busy with this
	streamUnit  = 128 << 10
	maxStream   = 512 << 20
)

// Identifier finds out who answers at an address.
type Identifier interface {
	Identify(ctx context.Context, addr peer.Addr) (peer.ID, error)
}

// Helper does what the doctors of other peers ask for: it calls them back, at the address that they call from and
// nowhere else, and sends them a little.
type Helper struct {
	identifier Identifier
	now        func() time.Time

	mu   sync.Mutex
	next map[byte]time.Time // of what is wanted, at the soonest
}

// NewHelper makes a Helper.
func NewHelper(i Identifier, now func() time.Time) *Helper {
	return &Helper{identifier: i, now: now, next: make(map[byte]time.Time)}
}

// turn reports whether something that is wanted may be done now.
func (h *Helper) turn(want byte) bool {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Before(h.next[want]) {
		return false
	}
	h.next[want] = now.Add(pause)
	return true
}

// Handle serves one request by [Protocol].
func (h *Helper) Handle(ctx context.Context, s peer.Stream) error {
	if err := s.SetDeadline(h.now().Add(requestTime)); err != nil {
		return err
	}
	var request [requestSize]byte
	if _, err := io.ReadFull(s, request[:]); err != nil {
		return err
	}
	switch request[0] {
	case wantCall:
		_, err := s.Write([]byte{byte(h.call(ctx, s, binary.BigEndian.Uint16(request[1:])))})
		return err
	case wantStream:
		return h.stream(s)
	}
	return &peer.Error{Op: "help a doctor", Kind: peer.Usage, Err: fmt.Errorf("request %d is not known", request[0])}
}

// call calls the other side of a stream.
func (h *Helper) call(ctx context.Context, s peer.Stream, port uint16) Answer {
	from, ok := addrPort(s.Remote())
	if !ok || isCircuit(s.Remote()) { // whose address is the relay's
		return Unknown
	}
	addrs := discovery.Addrs(netip.AddrPortFrom(from.Addr(), port))
	if len(addrs) == 0 {
		return Unknown
	}
	if !h.turn(wantCall) {
		return Unknown
	}
	ctx, cancel := context.WithTimeout(ctx, backTime)
	defer cancel()
	id, err := h.identifier.Identify(ctx, addrs[0])
	switch {
	case err == nil && id == s.Peer():
		return Open
	case err == nil:
		return Wrong
	}
	return answerOf(err)
}

// stream sends for a while.
func (h *Helper) stream(s peer.Stream) error {
	if !h.turn(wantStream) {
		return &peer.Error{Op: "help a doctor", Kind: peer.Busy}
	}
	now := h.now()
	buf := make([]byte, streamUnit)
	for sent := 0; sent < maxStream && h.now().Sub(now) < streamTime; sent += len(buf) {
		if _, err := s.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

// ask opens a stream with a request; it is reset when ctx ends.
func ask(ctx context.Context, o peer.Opener, id peer.ID, want byte, port, lane int) (s peer.Stream, stop func(), err error) {
	s, err = o.Open(ctx, id, Protocol, lane)
	if err != nil {
		return nil, nil, err
	}
	unwatch := context.AfterFunc(ctx, func() { _ = s.Reset() })
	stop = func() {
		unwatch()
		_ = s.Close()
	}
	if _, err := s.Write([]byte{want, byte(port >> 8), byte(port)}); err != nil {
		stop()
		return nil, nil, err
	}
	return s, stop, nil
}

// askBack asks a peer to call us. Unknown means that it does not do such things.
func askBack(ctx context.Context, o peer.Opener, id peer.ID, port int) Answer {
	s, stop, err := ask(ctx, o, id, wantCall, port, 0)
	if err != nil {
		return Unknown
	}
	defer stop()
	var answer [1]byte
	if _, err := io.ReadFull(s, answer[:]); err != nil || Answer(answer[0]) > Wrong {
		return Unknown
	}
	return Answer(answer[0])
}

// throughput is how fast bytes come from a peer, in bytes a second.
func throughput(ctx context.Context, o peer.Opener, id peer.ID, now func() time.Time) (float64, error) {
	s, stop, err := ask(ctx, o, id, wantStream, 0, 1) // lane 1, as for bulk
	if err != nil {
		return 0, err
	}
	defer stop()
	buf := make([]byte, streamUnit)
	if _, err := io.ReadFull(s, buf); err != nil { // the way there is no part of the rate
		return 0, err
	}
	began, n := now(), 0
	var last time.Time
	for {
		k, err := s.Read(buf)
		if n += k; k > 0 {
			last = now()
		}
		if err != nil {
			break // the end, or ours: what came is what counts
		}
	}
	if took := last.Sub(began); n > 0 && took > 0 {
		return float64(n) / took.Seconds(), nil
	}
	return 0, errors.New("too little came to tell")
}

// answerOf reads an error of a connection.
func answerOf(err error) Answer {
	var netErr net.Error
	switch {
	case err == nil:
		return Open
	case isRefused(err):
		return Refused
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.As(err, &netErr) && netErr.Timeout(),
		errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return Silent
	}
	return Wrong
}

// addrPort is the IP address and port of an address.
func addrPort(a peer.Addr) (netip.AddrPort, bool) {
	if a == nil {
		return netip.AddrPort{}, false
	}
	_, at, err := manet.DialArgs(a)
	if err != nil {
		return netip.AddrPort{}, false
	}
	ap, err := netip.ParseAddrPort(at)
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), err == nil
}

func isCircuit(a peer.Addr) bool {
	_, err := a.ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}

func isTCP(a peer.Addr) bool {
	_, err := a.ValueForProtocol(ma.P_TCP)
	return err == nil
}
