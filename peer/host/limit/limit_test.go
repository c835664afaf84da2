package limit

import (
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	core "github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/peerd/peerd/peer"
)

// TestLimitsFitLAN checks that fifty computers, each with two lanes dialled at once, four times over, stay below every
// limit on each kind of network, and that one computer alone does not get many connections.
func TestLimitsFitLAN(t *testing.T) {
	for name, format := range map[string]string{
		"IPv4 /24":        "/ip4/192.168.1.%d/tcp/4455",
		"fe80::/64":       "/ip6zone/eth0/ip6/fe80::%x/tcp/4455",
		"ULA /64":         "/ip6/fd00:1:2:3::%x/tcp/4455",
		"QUIC, fe80::/64": "/ip6zone/eth0/ip6/fe80::%x/udp/4455/quic-v1",
	} {
		t.Run(name, func(t *testing.T) {
			m, err := New()
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			for range 4 {
				var open []network.ConnManagementScope
				for i := 1; i <= 50; i++ {
					addr := ma.StringCast(fmt.Sprintf(format, i))
					for lane := range 2 {
						c, err := m.OpenConnection(network.DirInbound, true, addr)
						if err != nil {
							t.Fatalf("host %d, lane %d: %v", i, lane, err)
						}
						id := testID(t)
						if err := c.SetPeer(id); err != nil {
							t.Fatal(err)
						}
						open = append(open, c)
					}
				}
				for _, c := range open {
					c.Done()
				}
			}
			n := 0
			for range 10_000 {
				if c, err := m.OpenConnection(network.DirInbound, true, ma.StringCast(fmt.Sprintf(format, 99))); err == nil {
					defer c.Done()
					n++
				}
			}
			if n > 16 {
				t.Errorf("one host has %d connections", n)
			}
		})
	}
}

func TestLimitsBoundLoopback(t *testing.T) {
	for _, addr := range []string{"/ip4/127.0.0.1/tcp/4455", "/ip6/::1/tcp/4455"} {
		m, err := New()
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		n := 0
		for range 10_000 {
			if c, err := m.OpenConnection(network.DirInbound, true, ma.StringCast(addr)); err == nil {
				defer c.Done()
				if err := c.SetPeer(testID(t)); err != nil {
					t.Fatal(err)
				}
				n++
			}
		}
		if n < 50 || n > 224 {
			t.Errorf("%s: %d connections", addr, n)
		}
	}
}

func TestLimitsBoundAll(t *testing.T) {
	for name, tt := range map[string]struct {
		proven bool
		most   int
	}{"whose peer is not known": {false, 64}, "of known peers": {true, 256}} {
		m, err := New()
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		n := 0
		for i := range 2000 {
			c, err := m.OpenConnection(network.DirInbound, true, ma.StringCast(fmt.Sprintf("/ip4/10.0.%d.%d/tcp/1", i>>8, i&255)))
			if err != nil {
				continue
			}
			defer c.Done()
			if tt.proven && c.SetPeer(testID(t)) != nil {
				continue
			}
			n++
		}
		if n > tt.most {
			t.Errorf("%d connections %s", n, name)
		}
	}
}

func TestOutboundIsNotRateLimited(t *testing.T) {
	m, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for i := range 1000 { // a peer that is off, tried again and again
		c, err := m.OpenConnection(network.DirOutbound, true, ma.StringCast("/ip4/192.168.1.7/tcp/4455"))
		if err != nil {
			t.Fatalf("dial %d: %v", i, err)
		}
		c.Done()
	}
}

func TestGateAllows(t *testing.T) {
	for addr, want := range map[string]bool{
		"/ip4/127.0.0.1/tcp/1":            true,
		"/ip4/10.1.2.3/tcp/1":             true,
		"/ip4/172.31.0.1/tcp/1":           true,
		"/ip4/192.168.0.1/udp/1/quic-v1":  true,
		"/ip4/169.254.3.4/tcp/1":          true,
		"/ip4/100.64.0.1/tcp/1":           true,
		"/ip6/::1/tcp/1":                  true,
		"/ip6/fd00::1/tcp/1":              true,
		"/ip6zone/eth0/ip6/fe80::1/tcp/1": true,
		"/ip6/::ffff:192.168.0.1/tcp/1":   true,
		"/ip4/172.32.0.1/tcp/1":           false,
		"/ip4/100.128.0.1/tcp/1":          false,
		"/ip4/8.8.8.8/tcp/1":              false,
		"/ip6/2001:db8::1/tcp/1":          false,
		"/ip6/::ffff:8.8.8.8/tcp/1":       false,
		"/ip4/0.0.0.0/tcp/1":              false,
		"/ip4/224.0.0.251/udp/1/quic-v1":  false,
		"/dns4/example.com/tcp/1":         false,
		"/memory/1":                       false,
	} {
		a := ma.StringCast(addr)
		if got := (&Gate{}).Allows(a); got != want {
			t.Errorf("%s: %v", addr, got)
		}
		if ip, ok := IP(a); ok && !ip.IsUnspecified() && !ip.IsMulticast() && !(&Gate{AllowPublic: true}).Allows(a) {
			t.Errorf("%s: refused although public addresses are let in", addr)
		}
	}
}

// testID makes a peer ID, new each time.
func testID(t *testing.T) peer.ID {
	t.Helper()
	_, pub, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := core.IDFromPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestGateTrustsEd25519Alone(t *testing.T) {
	g := &Gate{Blocked: func(peer.ID) bool { return false }}
	if !g.Trusts(testID(t)) {
		t.Error("Ed25519 is refused")
	}
	for _, kind := range []int{crypto.RSA, crypto.Secp256k1, crypto.ECDSA} {
		_, pub, err := crypto.GenerateKeyPairWithReader(kind, 2048, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		id, err := core.IDFromPublicKey(pub)
		if err != nil {
			t.Fatal(err)
		}
		if g.Trusts(id) {
			t.Errorf("a key of type %v is let in", pub.Type())
		}
	}
}

// Some streams of a peer may have windows as wide as they get, while as many are open as may be.
func TestWindowsMayGrow(t *testing.T) {
	m, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	id := testID(t)
	var all []network.StreamManagementScope
	for i := range PeerStreams {
		s, err := m.OpenStream(id, network.DirOutbound)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Done()
		if err := s.ReserveMemory(streamMemory, network.ReservationPriorityAlways); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
		all = append(all, s)
	}
	const growing = 128 // the priority that yamux asks with
	for i, s := range all[:peerWide] {
		if err := s.ReserveMemory(MaxWindow-streamMemory, growing); err != nil {
			t.Errorf("window %d can't grow: %v", i, err)
		}
	}
}
