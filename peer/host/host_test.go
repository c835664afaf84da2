package host_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/peertest"
)

const echo = "/test/echo/1"

// serveEcho sends back what comes, to the end.
func serveEcho(_ context.Context, s peer.Stream) error {
	_, err := io.Copy(s, s)
	return err
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// roundTrip sends text on a new stream and expects it back.
func roundTrip(t testing.TB, from *host.Host, to peer.ID, lane int, text string) error {
	t.Helper()
	s, err := from.Open(within(t, 10*time.Second), to, echo, lane)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	written := make(chan error, 1)
	go func() {
		_, err := io.WriteString(s, text)
		written <- errors.Join(err, s.CloseWrite())
	}()
	got, err := io.ReadAll(s)
	if werr := <-written; err == nil {
		err = werr
	}
	if err == nil && string(got) != text {
		t.Errorf("%d bytes came back of %d", len(got), len(text))
	}
	return err
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in 20 s it did not happen: %s", what)
		}
	}
}

func TestStreamsOnLanes(t *testing.T) {
	hosts := peertest.Hosts(t, 2)
	a, b := hosts[0], hosts[1]
	var conns atomic.Int32
	b.OnConnect(func(peer.ID, peer.Addr, bool) { conns.Add(1) })
	b.Handle(echo, 32, serveEcho)
	big := strings.Repeat("0123456789abcdef", 1<<17) // 2 MiB
	for lane := range 2 {
		for range 3 {
			if err := roundTrip(t, a, b.ID(), lane, big); err != nil {
				t.Fatalf("lane %d: %v", lane, err)
			}
		}
	}
	if n := conns.Load(); n != 2 {
		t.Errorf("%d connections were made for 2 lanes", n)
	}
	if !a.Connected(b.ID()) || !b.Connected(a.ID()) {
		t.Error("they are not connected")
	}
}

func TestStreamKnowsItsPeer(t *testing.T) {
	hosts := peertest.Hosts(t, 2)
	a, b := hosts[0], hosts[1]
	got := make(chan peer.Stream, 1)
	b.Handle("/test/who/1", 1, func(_ context.Context, s peer.Stream) error {
		got <- s
		return nil
	})
	s, err := a.Open(within(t, 10*time.Second), b.ID(), "/test/who/1", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	in := <-got
	if in.Peer() != a.ID() || s.Peer() != b.ID() {
		t.Errorf("the sides take each other for %v and %v", in.Peer(), s.Peer())
	}
	if !strings.HasPrefix(in.Remote().String(), "/ip4/127.0.0.1/tcp/") || !s.Remote().Equal(b.Addrs()[0]) {
		t.Errorf("the sides see each other at %v and %v", in.Remote(), s.Remote())
	}
}

// silent is an address where the kernel accepts connections and nobody ever says a word.
func silent(t *testing.T) peer.Addr { return addrOf(t, listen(t)) }

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func addrOf(t *testing.T, l net.Listener) peer.Addr {
	t.Helper()
	a, err := manet.FromNetAddr(l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestPeerThatCannotBeDialled(t *testing.T) {
	const dialTimeout = time.Second
	hosts := peertest.Hosts(t, 2, func(c *host.Config) { c.DialTimeout = dialTimeout })
	a, b := hosts[0], hosts[1]
	a.Handle(echo, 4, serveEcho)
	if _, err := a.Ping(within(t, 10*time.Second), b.ID()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b sees the connection", func() bool { return b.Connected(a.ID()) })
	b.Learn(a.ID(), []peer.Addr{silent(t)})
	for i, lane := range []int{0, 1, 1, 1, 1, 1, 2, 3} {
		start := time.Now()
		if err := roundTrip(t, b, a.ID(), lane, "back"); err != nil {
			t.Errorf("lane %d: %v", lane, err)
		}
		if d := time.Since(start); d > dialTimeout && i != 1 {
			t.Errorf("lane %d was dialled again, for %v", lane, d)
		}
	}
}

func TestOpenAtOnceDialsOnce(t *testing.T) {
	hosts := peertest.Hosts(t, 2)
	a, b := hosts[0], hosts[1]
	var conns atomic.Int32
	b.OnConnect(func(peer.ID, peer.Addr, bool) { conns.Add(1) })
	b.Handle(echo, 64, func(ctx context.Context, s peer.Stream) error {
		peer.Welcome(s) // strangers have fewer at once
		return serveEcho(ctx, s)
	})
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if err := roundTrip(t, a, b.ID(), 0, "x"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
}

func TestPing(t *testing.T) {
	hosts := peertest.Hosts(t, 2)
	if rtt, err := hosts[0].Ping(within(t, 10*time.Second), hosts[1].ID()); err != nil || rtt <= 0 {
		t.Errorf("got %v, %v", rtt, err)
	}
	peertest.Cut(hosts[0], hosts[1])
	if _, err := hosts[0].Ping(within(t, 10*time.Second), hosts[1].ID()); peer.KindOf(err) != peer.Unreachable {
		t.Errorf("cut off: %v", err)
	}
	peertest.Heal(hosts[0], hosts[1])
	if _, err := hosts[0].Ping(within(t, 10*time.Second), hosts[1].ID()); err != nil {
		t.Errorf("healed: %v", err)
	}
}

func TestWrongPeerAtAddress(t *testing.T) {
	for _, quic := range []bool{false, true} {
		a, b, c := peertest.Start(t), peertest.Start(t), peertest.Start(t)
		b.Handle(echo, 1, func(context.Context, peer.Stream) error {
			t.Error("a stream for somebody else was served")
			return nil
		})
		a.Learn(c.ID(), only(b.Addrs(), quic))
		err := roundTrip(t, a, c.ID(), 0, "for c alone")
		if peer.KindOf(err) != peer.Unreachable {
			t.Errorf("quic %v: got %v", quic, err)
		}
		if !quic && !strings.Contains(err.Error(), "another computer") {
			t.Errorf("%q does not say what is wrong", err)
		}
	}
}

// only keeps the addresses of one transport.
func only(addrs []peer.Addr, quic bool) []peer.Addr {
	var out []peer.Addr
	for _, a := range addrs {
		if strings.HasSuffix(a.String(), "/quic-v1") == quic {
			out = append(out, a)
		}
	}
	return out
}

func TestQUICWhereTCPIsClosed(t *testing.T) {
	a, b := peertest.Start(t), peertest.Start(t)
	b.Handle(echo, 4, serveEcho)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed, err := manet.FromNetAddr(l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	a.Learn(b.ID(), append([]peer.Addr{closed}, only(b.Addrs(), true)...))
	for lane := range 2 {
		if err := roundTrip(t, a, b.ID(), lane, strings.Repeat("by QUIC ", 1<<17)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestQUICWhereTCPIsSilent(t *testing.T) {
	a, b := peertest.Start(t), peertest.Start(t)
	b.Handle(echo, 4, serveEcho)
	a.Learn(b.ID(), append([]peer.Addr{silent(t)}, only(b.Addrs(), true)...))
	start := time.Now()
	if err := roundTrip(t, a, b.ID(), 0, "by QUIC"); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("it took %v", d)
	}
}

// TestSlowAnswerIsWaitedFor: an address that answers has time to prove its ID, and nothing else is dialled meanwhile.
func TestSlowAnswerIsWaitedFor(t *testing.T) {
	a, b := peertest.Start(t), peertest.Start(t)
	b.Handle(echo, 4, serveEcho)
	slow, other := listen(t), listen(t)
	go func() {
		in, err := slow.Accept()
		if err != nil {
			return
		}
		defer in.Close()
		time.Sleep(150 * time.Millisecond) // the second address would be dialled after 50 ms
		out, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(b.Port())))
		if err != nil {
			return
		}
		defer out.Close()
		go func() { _, _ = io.Copy(out, in) }()
		_, _ = io.Copy(in, out)
	}()
	dialled := make(chan struct{}, 1)
	go func() {
		if c, err := other.Accept(); err == nil {
			dialled <- struct{}{}
			c.Close()
		}
	}()
	a.Learn(b.ID(), append([]peer.Addr{addrOf(t, slow), addrOf(t, other)}, only(b.Addrs(), true)...))
	if err := roundTrip(t, a, b.ID(), 0, "by the first"); err != nil {
		t.Fatal(err)
	}
	if len(dialled) > 0 {
		t.Error("another address was dialled while the first was about to prove its ID")
	}
}

func TestUnreachable(t *testing.T) {
	// Who would wait for a dial's time to be over would wait for an hour.
	a, b := peertest.Start(t, func(c *host.Config) { c.DialTimeout = time.Hour }), peertest.Start(t)
	addrs := b.Addrs()
	b.Close()
	for name, tt := range map[string]struct {
		addrs []peer.Addr
		text  string
	}{
		"refused": {only(addrs, false), "refused"},
		"unknown": {nil, "no address"},
		"public":  {[]peer.Addr{ma.StringCast("/ip4/8.8.8.8/tcp/4455")}, "no address"},
	} {
		t.Run(name, func(t *testing.T) {
			a.Learn(b.ID(), tt.addrs)
			_, err := a.Open(within(t, time.Minute), b.ID(), echo, 0)
			if peer.KindOf(err) != peer.Unreachable || !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), "doctor") {
				t.Errorf("got %v", err)
			}
			if errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("it waited: %v", err)
			}
		})
	}
	t.Run("caller gives up", func(t *testing.T) {
		a.Learn(b.ID(), []peer.Addr{silent(t)})
		_, err := a.Open(within(t, 50*time.Millisecond), b.ID(), echo, 0)
		if !errors.Is(err, context.DeadlineExceeded) || peer.KindOf(err) != peer.Unreachable {
			t.Errorf("got %v", err)
		}
	})
	t.Run("itself", func(t *testing.T) {
		if _, err := a.Open(context.Background(), a.ID(), echo, 0); peer.KindOf(err) != peer.Usage {
			t.Errorf("got %v", err)
		}
	})
}

func TestBlocked(t *testing.T) {
	var blocked atomic.Value
	blocked.Store(peer.ID(""))
	a := peertest.Start(t, func(c *host.Config) {
		c.Blocked = func(id peer.ID) bool { return id == blocked.Load().(peer.ID) }
	})
	b := peertest.Start(t)
	peertest.Heal(a, b)
	a.Handle(echo, 4, serveEcho)
	if err := roundTrip(t, b, a.ID(), 0, "x"); err != nil {
		t.Fatal(err)
	}
	blocked.Store(b.ID())
	a.Disconnect(b.ID())
	eventually(t, "b notices", func() bool { return !b.Connected(a.ID()) })
	for _, quic := range []bool{false, true} {
		b.Learn(a.ID(), only(a.Addrs(), quic))
		if err := roundTrip(t, b, a.ID(), 0, "x"); err == nil {
			t.Errorf("quic %v: a blocked peer got in", quic)
		}
	}
	if _, err := a.Open(within(t, 10*time.Second), b.ID(), echo, 0); peer.KindOf(err) != peer.Denied {
		t.Errorf("dialling a blocked peer: %v", err)
	}
}

func TestKeysOfOtherTypes(t *testing.T) {
	for _, kind := range []int{crypto.RSA, crypto.Secp256k1, crypto.ECDSA} {
		key, _, err := crypto.GenerateKeyPairWithReader(kind, 2048, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := host.New(host.Config{Key: key, Listen: []string{"127.0.0.1:0"}}); peer.KindOf(err) != peer.Usage {
			t.Errorf("a host with a key of type %v: %v", key.Type(), err)
		}
	}
}

func TestConnectEvents(t *testing.T) {
	hosts := peertest.Hosts(t, 2)
	a, b := hosts[0], hosts[1]
	in, out, gone := make(chan bool, 1), make(chan bool, 1), make(chan peer.ID, 1)
	a.OnConnect(func(_ peer.ID, _ peer.Addr, inbound bool) { out <- inbound })
	b.OnConnect(func(_ peer.ID, _ peer.Addr, inbound bool) { in <- inbound })
	b.OnDisconnect(func(id peer.ID) { gone <- id })
	if _, err := a.Ping(within(t, 10*time.Second), b.ID()); err != nil {
		t.Fatal(err)
	}
	if <-out || !<-in {
		t.Error("the sides disagree on who dialled")
	}
	a.Disconnect(b.ID())
	if id := <-gone; id != a.ID() {
		t.Errorf("%v is told gone", id)
	}
}

func TestIdleConnectionsClose(t *testing.T) {
	hosts := peertest.Hosts(t, 2, func(c *host.Config) { c.IdleTimeout = 200 * time.Millisecond })
	a, b := hosts[0], hosts[1]
	b.Handle(echo, 1, serveEcho)
	s, err := a.Open(within(t, 10*time.Second), b.ID(), echo, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Second)
	for time.Now().Before(until) {
		if !a.Connected(b.ID()) {
			t.Fatal("a connection with a stream was closed")
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.Reset()
	eventually(t, "the idle connection closes", func() bool { return !a.Connected(b.ID()) && !b.Connected(a.ID()) })
	if err := roundTrip(t, a, b.ID(), 0, "again"); err != nil {
		t.Error(err)
	}
}

func TestDeadConnectionIsReplaced(t *testing.T) {
	hosts := peertest.Hosts(t, 2)
	a, b := hosts[0], hosts[1]
	b.Handle(echo, 4, serveEcho)
	for range 20 {
		b.Disconnect(a.ID()) // a may not have noticed yet
		eventually(t, "a new stream works", func() bool { return roundTrip(t, a, b.ID(), 0, "x") == nil })
	}
}
