// Package transfertest lets the packages of transfer meet over real sockets, with cuts, counters and lying sources. Only
// tests import it.
package transfertest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/peerd/peerd/peer"
)

// The two peers of a [Net].
const (
	Source = peer.ID("the source's own key")
	Reader = peer.ID("the reader's own key")
)

// maxHeader bounds what a stream begins with: the name of its protocol and of who opens it, in bytes.
const maxHeader = 192

// Net is a network of one source and its readers over loopback TCP. It is a [peer.Opener] for the readers.
type Net struct {
	self    peer.ID // of the source
	ln      net.Listener
	ctx     context.Context
	stop    context.CancelFunc
	serving sync.WaitGroup

	received atomic.Int64
	opened   atomic.Int64

	mu       sync.Mutex
	handlers map[string]peer.Handler
	away     bool
	heard    *bytes.Buffer // all that the source reads, if that is recorded
	conns    map[*net.TCPConn]struct{}
	trap     func() // called once trapAt bytes were received
	trapAt   int64
}

// NewNet starts a network whose source answers protocols by handlers. It ends with the test, which fails if a handler does
// not return then.
func NewNet(t testing.TB, handlers map[string]peer.Handler) *Net {
	t.Helper()
	return newNet(t, Source, handlers)
}

func newNet(t testing.TB, self peer.ID, handlers map[string]peer.Handler) *Net {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &Net{self: self, ln: ln, handlers: handlers, conns: make(map[*net.TCPConn]struct{})}
	n.ctx, n.stop = context.WithCancel(context.Background())
	n.serving.Go(n.accept)
	t.Cleanup(func() {
		n.stop()
		n.ln.Close()
		n.Cut()
		done := make(chan struct{})
		go func() { n.serving.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("a handler still runs 10 s after all its streams ended")
		}
	})
	return n
}

// Received is how many bytes readers got so far.
func (n *Net) Received() int64 { return n.received.Load() }

// Opened is how many streams readers opened so far.
func (n *Net) Opened() int64 { return n.opened.Load() }

// At calls do once, when readers have got so many bytes from now on.
func (n *Net) At(bytes int64, do func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.trap, n.trapAt = do, n.received.Load()+bytes
}

// Kill resets all streams that are open.
func (n *Net) Kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		_ = c.SetLinger(0)
		c.Close()
	}
	clear(n.conns)
}

// Cut resets all streams, and lets none be opened until [Net.Restore].
func (n *Net) Cut() {
	n.mu.Lock()
	n.away = true
	n.mu.Unlock()
	n.Kill()
}

// Restore undoes [Net.Cut].
func (n *Net) Restore() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.away = false
}

// Handle gives the source other handlers, as another run of its program has.
func (n *Net) Handle(handlers map[string]peer.Handler) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handlers = handlers
}

func (n *Net) handler(protocol string) peer.Handler {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.handlers[protocol]
}

// Record keeps all that the source hears from now on, for [Net.Heard].
func (n *Net) Record() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.heard = new(bytes.Buffer)
}

// Heard is all that the source heard since [Net.Record].
func (n *Net) Heard() []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return bytes.Clone(n.heard.Bytes())
}

// Open opens a stream of [Reader] to the source.
func (n *Net) Open(ctx context.Context, id peer.ID, protocol string, _ int) (peer.Stream, error) {
	return n.open(ctx, Reader, id, protocol)
}

func (n *Net) open(ctx context.Context, from, id peer.ID, protocol string) (peer.Stream, error) {
	away := &peer.Error{Op: "open", Path: "//source", Kind: peer.Unreachable, Err: errors.New("it does not answer")}
	if id != n.self {
		return nil, away
	}
	n.opened.Add(1)
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", n.ln.Addr().String())
	if err != nil {
		return nil, err
	}
	s, err := n.adopt(conn.(*net.TCPConn), n.self)
	if err != nil {
		return nil, away
	}
	s.count = true
	header := protocol + "\x00" + string(from)
	if _, err := conn.Write(append(binary.AppendUvarint(nil, uint64(len(header))), header...)); err != nil {
		s.Reset()
		return nil, err
	}
	return s, nil
}

func (n *Net) adopt(conn *net.TCPConn, other peer.ID) (*stream, error) {
	// Small buffers, so that little is under way unseen.
	_ = conn.SetReadBuffer(128 << 10)
	_ = conn.SetWriteBuffer(128 << 10)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.away {
		conn.Close()
		return nil, errors.New("cut")
	}
	n.conns[conn] = struct{}{}
	return &stream{TCPConn: conn, net: n, other: other, in: conn}, nil
}

func (n *Net) accept() {
	for {
		conn, err := n.ln.Accept()
		if err != nil {
			return
		}
		s, err := n.adopt(conn.(*net.TCPConn), Reader)
		if err != nil {
			continue
		}
		n.serving.Go(func() { n.serve(s) })
	}
}

func (n *Net) serve(s *stream) {
	in := bufio.NewReader(s.TCPConn)
	s.in = in
	size, err := binary.ReadUvarint(in)
	name := make([]byte, min(size, maxHeader))
	if err == nil {
		_, err = io.ReadFull(in, name)
	}
	protocol, from, _ := strings.Cut(string(name), "\x00")
	s.other = peer.ID(from)
	if h := n.handler(protocol); err == nil && h != nil {
		err = h(n.ctx, s)
	} else if err == nil {
		err = fmt.Errorf("unknown protocol %q", protocol)
	}
	if err != nil {
		s.Reset()
		return
	}
	s.Close()
}

// stream is a [peer.Stream] on a connection of its own.
type stream struct {
	*net.TCPConn
	net   *Net
	other peer.ID
	in    io.Reader
	count bool // what is read counts as received
}

func (s *stream) Peer() peer.ID { return s.other }

func (s *stream) Remote() peer.Addr {
	a := s.RemoteAddr().(*net.TCPAddr)
	return ma.StringCast(fmt.Sprintf("/ip4/%v/tcp/%d", a.IP, a.Port))
}

func (s *stream) Read(b []byte) (int, error) {
	got, err := s.in.Read(b)
	switch {
	case s.count && got > 0:
		s.net.arrived(int64(got))
	case !s.count:
		s.net.record(b[:got])
	}
	return got, err
}

func (n *Net) record(b []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.heard != nil {
		n.heard.Write(b)
	}
}

func (n *Net) arrived(bytes int64) {
	total := n.received.Add(bytes)
	n.mu.Lock()
	trap := n.trap
	if trap == nil || total < n.trapAt {
		n.mu.Unlock()
		return
	}
	n.trap = nil
	n.mu.Unlock()
	trap()
}

// closeWait is how long Close lets the other side read what was written.
const closeWait = 5 * time.Second

func (s *stream) Close() error {
	defer s.forget()
	if s.CloseWrite() == nil { // else it is closed already
		_ = s.SetReadDeadline(time.Now().Add(closeWait))
		_, _ = io.Copy(io.Discard, s.in) // unread bytes would turn the close into a reset
	}
	return s.TCPConn.Close()
}

func (s *stream) Reset() error {
	defer s.forget()
	_ = s.SetLinger(0)
	return s.TCPConn.Close()
}

func (s *stream) forget() {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	delete(s.net.conns, s.TCPConn)
}
