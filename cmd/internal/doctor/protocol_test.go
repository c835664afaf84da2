package doctor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/peertest"
)

// freePort is one that nothing listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestCallBack(t *testing.T) {
	h := peertest.Hosts(t, 3)
	asker, helper, other := h[0], h[1], h[2]
	later := time.Now()
	now := func() time.Time { later = later.Add(pause); return later } // one question comes after the other
	helper.Handle(Protocol, 4, NewHelper(helper, now).Handle)
	for _, tt := range []struct {
		name string
		who  *host.Host
		port int
		want Answer
	}{
		{"reached", helper, asker.Port(), Open},
		{"nobody listens", helper, freePort(t), Refused},
		{"somebody else listens", helper, other.Port(), Wrong},
		{"no port", helper, 0, Unknown},
		{"it does not do that", other, asker.Port(), Unknown},
	} {
		if got := askBack(t.Context(), asker, tt.who.ID(), tt.port); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// mute is an identifier that gets no answer.
type mute struct{ asked chan peer.Addr }

func (m mute) Identify(ctx context.Context, addr peer.Addr) (peer.ID, error) {
	m.asked <- addr
	return "", &peer.Error{Kind: peer.Unreachable, Err: context.DeadlineExceeded}
}

// TestCallBackGoesNowhereElse: whoever asks can't have others called.
func TestCallBackGoesNowhereElse(t *testing.T) {
	h := peertest.Hosts(t, 2)
	m := mute{make(chan peer.Addr, 1)}
	h[1].Handle(Protocol, 4, NewHelper(m, time.Now).Handle)
	if got := askBack(t.Context(), h[0], h[1].ID(), 22); got != Silent {
		t.Errorf("%v, want %v", got, Silent)
	}
	if got := <-m.asked; got.String() != "/ip4/127.0.0.1/tcp/22" {
		t.Errorf("called %v", got)
	}
}

// TestCallsBackSeldom: nobody has ports tried by a peer one after the other, nor those of a relay that carries its circuit.
func TestCallsBackSeldom(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	m := mute{make(chan peer.Addr, 4)}
	h := NewHelper(m, func() time.Time { return now })
	ask := func(remote string) {
		t.Helper()
		s := &wireStream{in: bytes.NewReader([]byte("\x01\x11\x67")), remote: ma.StringCast(remote)}
		if err := h.Handle(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	const near = "/ip4/10.0.0.9/tcp/50000"
	ask(near + "/p2p/12D3KooWBXwPMCcQVzR7vo55jcacRdf9qj6Qj9qNAU3M37EaxJ2e/p2p-circuit")
	if n := len(m.asked); n != 0 {
		t.Error("a relay was called")
	}
	ask(near)
	ask("/ip4/10.0.0.8/tcp/50000")
	if n := len(m.asked); n != 1 {
		t.Errorf("%d were called in a second", n)
	}
	now = now.Add(pause)
	ask(near)
	if n := len(m.asked); n != 2 {
		t.Errorf("%d were called in two seconds", n)
	}
}

func TestThroughput(t *testing.T) {
	h := peertest.Hosts(t, 2)
	helper := NewHelper(h[1], time.Now)
	h[1].Handle(Protocol, 4, helper.Handle)
	r, err := throughput(t.Context(), h[0], h[1].ID(), time.Now)
	if err != nil || r < 1e6 {
		t.Fatalf("%v, %v", r, err)
	}
	helper.mu.Lock()
	helper.next[wantStream] = time.Now().Add(time.Hour) // as if it had just served another
	helper.mu.Unlock()
	if r, err := throughput(t.Context(), h[0], h[1].ID(), time.Now); err == nil {
		t.Errorf("a busy helper sends %v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := throughput(ctx, h[0], h[1].ID(), time.Now); err == nil {
		t.Error("an examination that was given up goes on")
	}
}

// wireStream is a stream whose other side has said all it will.
type wireStream struct {
	in     *bytes.Reader
	out    bytes.Buffer
	remote peer.Addr
}

func (s *wireStream) Read(b []byte) (int, error)       { return s.in.Read(b) }
func (s *wireStream) Write(b []byte) (int, error)      { return s.out.Write(b[:min(len(b), 8)]) }
func (s *wireStream) Close() error                     { return nil }
func (s *wireStream) CloseWrite() error                { return nil }
func (s *wireStream) Reset() error                     { return nil }
func (s *wireStream) SetDeadline(time.Time) error      { return nil }
func (s *wireStream) SetReadDeadline(time.Time) error  { return nil }
func (s *wireStream) SetWriteDeadline(time.Time) error { return nil }
func (s *wireStream) Peer() peer.ID                    { return "asker" }
func (s *wireStream) Remote() peer.Addr                { return s.remote }

func FuzzHelper(f *testing.F) {
	for _, b := range []string{"", "\x01", "\x01\x11\x67", "\x01\x00\x00", "\x02\x00\x00", "\x03\x00\x00", "\x01\x11\x67 and more"} {
		f.Add([]byte(b), uint8(0))
	}
	remotes := []peer.Addr{ma.StringCast("/ip4/10.0.0.9/tcp/50000"), ma.StringCast("/ip6zone/eth0/ip6/fe80::9/udp/50000/quic-v1"), ma.StringCast("/dns4/x"), nil}
	f.Fuzz(func(t *testing.T, request []byte, remote uint8) {
		m := mute{make(chan peer.Addr, 1)}
		var clock time.Duration
		now := func() time.Time { clock += 50 * time.Millisecond; return time.Unix(0, int64(clock)) }
		s := &wireStream{in: bytes.NewReader(request), remote: remotes[int(remote)%len(remotes)]}
		err := NewHelper(m, now).Handle(t.Context(), s)
		if (err == nil) != (len(request) >= requestSize && (request[0] == wantCall || request[0] == wantStream)) {
			t.Fatalf("request %q: %v", request, err)
		}
		if len(request) > 0 && request[0] == wantCall && s.out.Len() > 1 {
			t.Fatalf("a call is answered with %q", s.out.Bytes())
		}
		select {
		case a := <-m.asked:
			called, _ := addrPort(a)
			if asker, _ := addrPort(s.remote); called.Addr() != asker.Addr() {
				t.Fatalf("%v was called for %v", a, s.remote)
			}
		default:
		}
	})
}

func TestAnswerOf(t *testing.T) {
	refused := dialError(t, freePort(t))
	for _, tt := range []struct {
		err  error
		want Answer
	}{
		{nil, Open}, {refused, Refused}, {&peer.Error{Kind: peer.Unreachable, Err: refused}, Refused},
		{context.DeadlineExceeded, Silent}, {&net.OpError{Op: "dial", Err: context.DeadlineExceeded}, Silent}, {io.EOF, Wrong}, {errors.New("x"), Wrong},
	} {
		if got := answerOf(tt.err); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.err, got, tt.want)
		}
	}
}

func dialError(t *testing.T, port int) error {
	t.Helper()
	c, err := net.Dial("tcp", netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)).String())
	if err == nil {
		c.Close()
		t.Fatal("somebody listens on a free port")
	}
	return err
}

func TestKnock(t *testing.T) {
	p := Patient{Network: System{}}
	h := peertest.Start(t, func(c *host.Config) { c.Logger = slog.New(slog.DiscardHandler) })
	at := func(port int) []peer.Addr {
		return discovery.Addrs(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)))
	}
	for _, tt := range []struct {
		name  string
		addrs []peer.Addr
		want  Answer
	}{
		{"open beats refused", append(at(freePort(t)), at(h.Port())...), Open},
		{"refused", at(freePort(t)), Refused},
		{"no address", nil, Silent},
		{"only UDP", at(h.Port())[1:], Silent},
	} {
		if got := p.knock(t.Context(), discovery.Peer{Addrs: tt.addrs}); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
