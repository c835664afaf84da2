package host_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	corepeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/peertest"
)

// slowest pings again and again until stop is closed, and returns the time that 99 of 100 pings stay below.
func slowest(t *testing.T, from *host.Host, to peer.ID, stop <-chan struct{}) time.Duration {
	t.Helper()
	var took []time.Duration
	for {
		select {
		case <-stop:
			slices.Sort(took)
			return took[len(took)*99/100]
		default:
		}
		start := time.Now()
		if _, err := from.Ping(within(t, 10*time.Second), to); err != nil {
			t.Error(err)
			<-stop
			return 0
		}
		took = append(took, time.Since(start))
	}
}

// TestFlood has a stranger connect 10,000 times, say nothing or a byte now and then, and expects that others don't feel
// it, that connections which say nothing are closed, and that nothing is left of it all.
func TestFlood(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	victim := peertest.Start(t)
	good := peertest.Start(t)
	peertest.Heal(good, victim)
	if _, err := good.Ping(within(t, 10*time.Second), victim.ID()); err != nil {
		t.Fatal(err)
	}
	calm := peertest.Hosts(t, 2) // whom nobody floods: what is slow for them is this computer's load
	if _, err := calm[0].Ping(within(t, 10*time.Second), calm[1].ID()); err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()

	// 127.0.0.2 counts as another computer, unlike 127.0.0.1.
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, Timeout: 5 * time.Second}
	target := net.JoinHostPort("127.0.0.1", strconv.Itoa(victim.Port()))
	stop := make(chan struct{})
	p99, usual := make(chan time.Duration, 1), make(chan time.Duration, 1)
	go func() { p99 <- slowest(t, good, victim.ID(), stop) }()
	go func() { usual <- slowest(t, calm[0], calm[1].ID(), stop) }()

	var mu sync.Mutex
	var open []net.Conn
	var most atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 200 {
				c, err := from.Dial("tcp", target)
				if err != nil {
					continue
				}
				c.Write([]byte{0x13}) // the first byte of a handshake that never goes on
				mu.Lock()
				open = append(open, c)
				mu.Unlock()
				most.Store(max(most.Load(), int64(runtime.NumGoroutine())))
			}
		})
	}
	wg.Wait()
	close(stop)
	if d, u := <-p99, <-usual; d > time.Second+3*u {
		t.Errorf("1 of 100 pings of another peer took over %v, and %v where nobody floods", d, u)
	}
	if n := most.Load(); n > int64(before)+50+500 {
		t.Errorf("%d goroutines ran", n)
	}
	late := peertest.Start(t)
	late.Learn(victim.ID(), victim.Addrs())
	if _, err := late.Ping(within(t, 10*time.Second), victim.ID()); err != nil {
		t.Errorf("a new peer can't connect meanwhile: %v", err)
	}
	late.Close()

	go func() { // a byte at a time does not keep a connection
		for open[0].SetWriteDeadline(time.Now().Add(time.Second)) == nil {
			if _, err := open[0].Write([]byte{0}); err != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}()
	t.Logf("%d connects, at most %d goroutines, %d before", len(open), most.Load(), before)
	deadline := time.Now().Add(15 * time.Second)
	for _, c := range open {
		c.SetReadDeadline(deadline)
		if _, err := io.Copy(io.Discard, c); isTimeout(err) {
			t.Error("a connection that says nothing stays open")
		}
		c.Close()
	}
	eventually(t, "the goroutines return", func() bool { return runtime.NumGoroutine() <= before+before/10 })
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// stranger is a libp2p peer that is none of ours and knows no limits.
func stranger(t *testing.T, keyType int) core.Host {
	t.Helper()
	key, _, err := crypto.GenerateKeyPairWithReader(keyType, 2048, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h, err := libp2p.New(libp2p.Identity(key), libp2p.NoListenAddrs, libp2p.DisableMetrics(), libp2p.DisableRelay(),
		libp2p.ResourceManager(&network.NullResourceManager{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// TestStreamFlood has a peer that proved its ID open streams without end and name no protocol on any.
func TestStreamFlood(t *testing.T) {
	hosts := peertest.Hosts(t, 3)
	victim, good, calm := hosts[0], hosts[1], hosts[2]
	for _, h := range []*host.Host{victim, calm} {
		if _, err := good.Ping(within(t, 10*time.Second), h.ID()); err != nil {
			t.Fatal(err)
		}
	}
	bad := stranger(t, crypto.Ed25519)
	err := bad.Connect(within(t, 10*time.Second), corepeer.AddrInfo{ID: victim.ID(), Addrs: only(victim.Addrs(), false)})
	if err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	conn := bad.Network().ConnsToPeer(victim.ID())[0]
	for range 2000 {
		if _, err := conn.NewStream(within(t, 10*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the streams beyond the limit are reset", func() bool {
		n := 0
		for _, s := range conn.GetStreams() {
			s.SetReadDeadline(time.Now().Add(time.Millisecond))
			if _, err := s.Read(make([]byte, 1)); isTimeout(err) {
				n++
			}
		}
		return n > 0 && n <= 64
	})
	if n := runtime.NumGoroutine(); n > before+100 {
		t.Errorf("%d goroutines, %d before", n, before)
	}
	var took [2]time.Duration
	for i, h := range []*host.Host{victim, calm} {
		start := time.Now()
		if _, err := good.Ping(within(t, 10*time.Second), h.ID()); err != nil {
			t.Errorf("another peer's ping: %v", err)
		}
		took[i] = time.Since(start)
	}
	if took[0] > time.Second+3*took[1] {
		t.Errorf("another peer's ping took %v, and %v where nobody opens streams", took[0], took[1])
	}
	victim.Disconnect(bad.ID())
	eventually(t, "the goroutines return", func() bool { return runtime.NumGoroutine() <= before+before/10 })
}

// TestStreamsOfStrangers has throw-away IDs without any right hold as many streams as they get. Others come in as before, and
// have as many as they like once they showed a right.
func TestStreamsOfStrangers(t *testing.T) {
	const held = "/test/held/1"
	const strangers, each = 7, 8
	victim := peertest.Start(t)
	var in, most atomic.Int64
	victim.Handle(held, 64, func(_ context.Context, s peer.Stream) error {
		most.Store(max(most.Load(), in.Add(1)))
		defer in.Add(-1)
		_, err := io.Copy(io.Discard, s)
		return err
	})
	victim.Handle(echo, 64, func(ctx context.Context, s peer.Stream) error {
		peer.Welcome(s)
		return serveEcho(ctx, s)
	})
	for range strangers {
		bad := peertest.Start(t)
		bad.Learn(victim.ID(), victim.Addrs())
		for range 64 {
			s, err := bad.Open(within(t, 10*time.Second), victim.ID(), held, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Write([]byte{5}); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "the strangers have all that they get", func() bool { return in.Load() >= strangers*each })
	good := peertest.Start(t)
	good.Learn(victim.ID(), victim.Addrs())
	if err := roundTrip(t, good, victim.ID(), 0, "a right"); err != nil {
		t.Fatalf("a newcomer: %v", err)
	}
	var open []peer.Stream
	for range 48 {
		s, err := good.Open(within(t, 10*time.Second), victim.ID(), echo, 0)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
		_ = s.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := s.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
			t.Fatalf("stream %d of a peer that showed a right: %v", len(open), err)
		}
	}
	for _, s := range open {
		s.Reset()
	}
	if n := most.Load(); n > strangers*each {
		t.Errorf("%d strangers had %d streams", strangers, n)
	}
}

// TestStrangersWithOtherKeys has peers prove IDs of other types, which the handshake itself would let in.
func TestStrangersWithOtherKeys(t *testing.T) {
	for keyType, want := range map[int]bool{crypto.Ed25519: true, crypto.RSA: false, crypto.Secp256k1: false, crypto.ECDSA: false} {
		for _, quic := range []bool{false, true} {
			victim := peertest.Start(t)
			var connected atomic.Bool
			victim.OnConnect(func(peer.ID, peer.Addr, bool) { connected.Store(true) })
			victim.Handle(echo, 1, serveEcho)
			bad := stranger(t, keyType)
			bad.Peerstore().AddAddrs(victim.ID(), only(victim.Addrs(), quic), time.Hour)
			got := make([]byte, 1)
			s, err := bad.NewStream(within(t, 10*time.Second), victim.ID(), echo)
			if err == nil {
				s.SetDeadline(time.Now().Add(10 * time.Second))
				s.Write([]byte("x"))
				_, err = io.ReadFull(s, got)
			}
			if (err == nil) != want || connected.Load() != want {
				t.Errorf("key type %d, quic %v: got in %v, %v", keyType, quic, connected.Load(), err)
			}
		}
	}
}
