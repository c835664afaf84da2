package static

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/discovery/discoverytest"
	"github.com/peerd/peerd/peer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// net is who answers where.
type network struct {
	mu    sync.Mutex
	up    map[string]peer.ID
	names map[string][]netip.Addr
	calls []string
}

func (n *network) set(addr string, id peer.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.up[addr] = id
}

func (n *network) probe(ctx context.Context, addr peer.Addr) (discovery.Sighting, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls = append(n.calls, addr.String())
	id, ok := n.up[addr.String()]
	if _, limited := ctx.Deadline(); !limited {
		return discovery.Sighting{}, errors.New("a probe without a limit")
	}
	if !ok {
		return discovery.Sighting{}, errors.New("refused")
	}
	return discovery.Sighting{ID: id, Name: "anna", Workgroup: "W", Count: -1, Addrs: []peer.Addr{addr}}, nil
}

func (n *network) called(addr string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for _, c := range n.calls {
		if c == addr {
			count++
		}
	}
	return count
}

func (n *network) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if ips, ok := n.names[host]; ok {
		return ips, nil
	}
	return nil, errors.New("no such host")
}

func newFinder(t *testing.T, n *network, targets ...string) *Finder {
	t.Helper()
	f, err := New(Config{Targets: targets, Probe: n.probe, Logger: quiet(), Resolver: n,
		Up: 20 * time.Millisecond, Down: 5 * time.Millisecond, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func newNetwork() *network {
	return &network{up: map[string]peer.ID{}, names: map[string][]netip.Addr{}}
}

func TestComesAndGoes(t *testing.T) {
	const at = "/ip4/10.0.0.1/tcp/4455"
	n := newNetwork()
	found := discoverytest.Find(t, discovery.Static, newFinder(t, n, "10.0.0.1"))
	one, two := discoverytest.ID(1), discoverytest.ID(2)
	for range 2 {
		n.set(at, one)
		found.Await("it is up", one, func(_ discovery.Sighting, ok bool) bool { return ok })
		n.set(at, "")
		found.Await("who says no ID is nobody", one, func(_ discovery.Sighting, ok bool) bool { return !ok })
	}
	n.set(at, one)
	found.Await("it is up", one, func(_ discovery.Sighting, ok bool) bool { return ok })
	n.set(at, two)
	found.Await("another answers there", two, func(_ discovery.Sighting, ok bool) bool { return ok })
	found.Await("the first is gone", one, func(_ discovery.Sighting, ok bool) bool { return !ok })
	before := n.called(at)
	found.Await("it is probed on", two, func(discovery.Sighting, bool) bool { return n.called(at) > before+2 })
}

func TestNamesAndFallback(t *testing.T) {
	n := newNetwork()
	n.names["anna.example"] = []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}
	n.set("/ip6/fd00::1/udp/99/quic-v1", discoverytest.ID(1))
	found := discoverytest.Find(t, discovery.Static, newFinder(t, n, "anna.example:99", "unknown.example"))
	found.Await("found at the last address", discoverytest.ID(1), func(_ discovery.Sighting, ok bool) bool { return ok })
	n.mu.Lock()
	defer n.mu.Unlock()
	want := []string{"/ip4/10.0.0.1/tcp/99", "/ip6/fd00::1/tcp/99", "/ip4/10.0.0.1/udp/99/quic-v1", "/ip6/fd00::1/udp/99/quic-v1"}
	if len(n.calls) < 4 || !slices.Equal(n.calls[:4], want) {
		t.Errorf("called at %v, want %v", n.calls, want)
	}
}

// TestTwoTargetsOnePeer: a peer that is known by two addresses is gone when neither answers.
func TestTwoTargetsOnePeer(t *testing.T) {
	n := newNetwork()
	a, b := "/ip4/10.0.0.1/tcp/4455", "/ip4/10.0.0.2/tcp/4455"
	n.set(a, discoverytest.ID(1))
	n.set(b, discoverytest.ID(1))
	found := discoverytest.Find(t, discovery.Static, newFinder(t, n, "10.0.0.1", "10.0.0.2"))
	found.Await("both answered", discoverytest.ID(1), func(_ discovery.Sighting, ok bool) bool {
		return ok && n.called(a) > 1 && n.called(b) > 1
	})
	n.set(a, "")
	silent := n.called(a)
	found.Await("one is silent, the peer is there", discoverytest.ID(1), func(_ discovery.Sighting, ok bool) bool {
		if !ok {
			t.Fatal("gone, though it answers at the other address")
		}
		return n.called(a) > silent+3
	})
	n.set(b, "")
	found.Await("both are silent", discoverytest.ID(1), func(_ discovery.Sighting, ok bool) bool { return !ok })
}

// TestBackOff: who does not answer is called less and less often, but never less than who does.
func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		f := newFinder(t, n, "10.0.0.1")
		f.cfg.Up, f.cfg.Down = 300*time.Millisecond, 10*time.Millisecond
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := f.Find(ctx, func(s discovery.Sighting) { t.Errorf("found %v", s) }); err != nil {
			t.Fatal(err)
		}
		// 10, 20, 40, 80, 160, 300, 300 ms, give or take a tenth.
		if calls := n.called("/ip4/10.0.0.1/tcp/4455"); calls < 7 || calls > 8 {
			t.Errorf("%d calls in a second", calls)
		}
	})
}

func TestTargets(t *testing.T) {
	tests := []struct {
		text, host string
		port       uint16
		bad        string
	}{
		{text: "anna", host: "anna", port: 4455},
		{text: "anna:1", host: "anna", port: 1},
		{text: "10.0.0.1", host: "10.0.0.1", port: 4455},
		{text: "10.0.0.1:65535", host: "10.0.0.1", port: 65535},
		{text: "fd00::1", host: "fd00::1", port: 4455},
		{text: "[fd00::1]", host: "fd00::1", port: 4455},
		{text: "[fe80::1%eth0]:7", host: "fe80::1%eth0", port: 7},
		{text: "fe80::1%eth0", host: "fe80::1%eth0", port: 4455},
		{text: "/ip4/10.0.0.1/tcp/7"},
		{text: "/ip4/nonsense", bad: "nonsense"},
		{text: "", bad: "no host"},
		{text: ":1", bad: "no host"},
		{text: "anna:", bad: "no port"},
		{text: "anna:0", bad: "no port"},
		{text: "anna:65536", bad: "no port"},
		{text: "anna:http", bad: "no port"},
		{text: "a b", bad: "no host"},
		{text: "[fd00::1", bad: "missing"},
		{text: strings.Repeat("a", 254), bad: "no host"},
	}
	for _, tt := range tests {
		f, err := New(Config{Targets: []string{tt.text}, Logger: quiet()})
		if tt.bad != "" {
			if err == nil || peer.KindOf(err) != peer.Usage || !strings.Contains(err.Error(), tt.bad) {
				t.Errorf("%q: %v, want one that says %q", tt.text, err, tt.bad)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		if got := f.targets[0]; got.host != tt.host || got.port != tt.port || got.addr != nil != strings.HasPrefix(tt.text, "/") {
			t.Errorf("%q is read as %+v", tt.text, got)
		}
	}
	if _, err := New(Config{Targets: make([]string, MaxTargets+1), Logger: quiet()}); peer.KindOf(err) != peer.Usage {
		t.Errorf("too many targets: %v", err)
	}
}

func FuzzTarget(f *testing.F) {
	for _, s := range []string{"anna", "10.0.0.1:4455", "[fe80::1%eth0]:7", "/ip4/10.0.0.1/tcp/7", "[", "a:b:c", "%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parse(s, DefaultPort)
		if err == nil && got.addr == nil && (got.port == 0 || got.host == "" || fmt.Sprint(got.ip) == "") {
			t.Errorf("%q is read as %+v", s, got)
		}
	})
}
