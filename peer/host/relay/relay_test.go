package relay

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/peertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const echo = "/test/echo/1"

// start starts a host that can dial circuits.
func start(t *testing.T, serve bool, allow func(peer.ID) bool) (*host.Host, *Relays) {
	t.Helper()
	h := peertest.Start(t)
	r, err := Start(h, serve, allow, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	h.Handle(echo, 4, func(_ context.Context, s peer.Stream) error {
		_, err := io.Copy(s, s)
		return err
	})
	return h, r
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in 20 s it did not happen: %s", what)
		}
	}
}

// keep has a host keep a place at relays until the test ends.
func keep(t *testing.T, r *Relays, at ...peer.ID) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Keep(ctx, nil, func() []peer.ID { return at }, func() {})
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func roundTrip(t *testing.T, from *host.Host, to peer.ID, lane int, text string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s, err := from.Open(ctx, to, echo, lane)
	if err != nil {
		return err
	}
	defer s.Close()
	go func() {
		_, _ = io.WriteString(s, text) // what goes wrong shows when reading
		_ = s.CloseWrite()
	}()
	got, err := io.ReadAll(s)
	if err == nil && string(got) != text {
		t.Errorf("%d bytes came back of %d", len(got), len(text))
	}
	if err == nil && Of(s.Remote()) == "" {
		t.Errorf("it went straight to %v", s.Remote())
	}
	return err
}

func TestMeetAtRelay(t *testing.T) {
	r, _ := start(t, true, func(peer.ID) bool { return true })
	a, ar := start(t, false, nil)
	b, br := start(t, false, nil)
	for _, h := range []*host.Host{a, b} {
		h.Learn(r.ID(), r.Addrs())
	}
	keep(t, ar, r.ID())
	eventually(t, "a has a place", func() bool { return len(ar.Addrs()) == 1 })
	circuit := ar.Addrs()[0]
	if Of(circuit) != r.ID() || !strings.HasSuffix(circuit.String(), "/p2p-circuit") {
		t.Errorf("the address is %v", circuit)
	}
	b.Learn(a.ID(), []peer.Addr{circuit})
	big := strings.Repeat("0123456789abcdef", 1<<17)
	for _, lane := range []int{0, 1} {
		if err := roundTrip(t, b, a.ID(), lane, big); err != nil {
			t.Errorf("lane %d: %v", lane, err)
		}
	}
	if len(br.Addrs()) != 0 {
		t.Error("b has a place that it did not ask for")
	}
	if !slices.ContainsFunc(b.Known(a.ID()), circuit.Equal) {
		t.Error("the address is forgotten")
	}
	// Without a place nobody is met.
	a.Learn(b.ID(), []peer.Addr{circuit})
	b.Disconnect(a.ID())
	eventually(t, "the circuit is gone", func() bool { return !a.Connected(b.ID()) })
	if err := roundTrip(t, a, b.ID(), 0, "x"); peer.KindOf(err) != peer.Unreachable {
		t.Errorf("met without a place: %v", err)
	}
}

func TestRelayServesMembersAlone(t *testing.T) {
	r, _ := start(t, true, func(peer.ID) bool { return false })
	a, ar := start(t, false, nil)
	a.Learn(r.ID(), r.Addrs())
	p := &place{}
	if ar.ask(t.Context(), r.ID(), p) || p.held {
		t.Error("a stranger has a place")
	}
	// And one that relays for nobody.
	b, _ := start(t, false, nil)
	a.Learn(b.ID(), b.Addrs())
	if ar.ask(t.Context(), b.ID(), p) || p.held {
		t.Error("who does not relay gave a place")
	}
}

// TestPlaceGoesWithConnection has the relay lose a peer, which notices and asks again.
func TestPlaceGoesWithConnection(t *testing.T) {
	r, _ := start(t, true, func(peer.ID) bool { return true })
	a, ar := start(t, false, nil)
	a.Learn(r.ID(), r.Addrs())
	at := func() []peer.ID { return []peer.ID{r.ID()} }
	if _, changed := ar.step(t.Context(), at()); !changed || len(ar.Addrs()) != 1 {
		t.Fatalf("a has no place: %v", ar.Addrs())
	}
	a.Disconnect(r.ID())
	eventually(t, "the connection is gone", func() bool { return !a.Connected(r.ID()) })
	if _, changed := ar.step(t.Context(), at()); !changed || len(ar.Addrs()) != 1 || !a.Connected(r.ID()) {
		t.Errorf("a has no place again: %v", ar.Addrs())
	}
	if _, changed := ar.step(t.Context(), nil); !changed || len(ar.Addrs()) != 0 {
		t.Errorf("a keeps a place that it does not need: %v", ar.Addrs())
	}
}
