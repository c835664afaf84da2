package host

import (
	"crypto/rand"
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host/book"
	"github.com/peerd/peerd/peer/host/limit"
)

func TestParseEndpoint(t *testing.T) {
	for _, tt := range []struct {
		in        string
		ips       string
		port      uint16
		tcp, quic bool
	}{
		{"127.0.0.1:4455", "[127.0.0.1]", 4455, true, true},
		{":0", "[0.0.0.0 ::]", 0, true, true},
		{"[::1]:1", "[::1]", 1, true, true},
		{"[fe80::1%lo]:1", "[fe80::1%lo]", 1, true, true},
		{"localhost:80", "[127.0.0.1]", 80, true, true},
		{"/ip4/10.0.0.1/tcp/7", "[10.0.0.1]", 7, true, false},
		{"/ip6/::/udp/7/quic-v1", "[::]", 7, false, true},
		{"/ip6zone/lo/ip6/fe80::1/tcp/7", "[fe80::1%lo]", 7, true, false},
	} {
		e, err := parseEndpoint(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		if fmt.Sprint(e.ips) != tt.ips || e.port != tt.port || e.tcp != tt.tcp || e.quic != tt.quic {
			t.Errorf("%s: got %+v", tt.in, e)
		}
	}
	for _, in := range []string{
		"", "4455", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:http", "host.example:1", "/ip4/127.0.0.1",
		"/ip4/127.0.0.1/udp/1", "/dns4/a/tcp/1", "/ip4/127.0.0.1/tcp/1/ws", "/nonsense",
	} {
		if e, err := parseEndpoint(in); peer.KindOf(err) != peer.Usage {
			t.Errorf("%q: got %+v, %v", in, e, err)
		}
	}
}

func start(t *testing.T, listen ...string) (*Host, error) {
	t.Helper()
	h, err := New(Config{Key: testKey(t), Listen: listen})
	if err == nil {
		t.Cleanup(func() { h.Close() })
	}
	return h, err
}

func TestDefaultPort(t *testing.T) {
	a, err := start(t)
	if err != nil {
		t.Fatal(err)
	}
	b, err := start(t) // the port is taken by now, by a if by nobody else
	if err != nil {
		t.Fatal(err)
	}
	if b.Port() == 0 || b.Port() == DefaultPort || b.Port() == a.Port() {
		t.Errorf("they listen on %d and %d", a.Port(), b.Port())
	}
	for _, a := range b.Addrs() {
		if int(portOf(a)) != b.Port() {
			t.Errorf("%v is not on port %d", a, b.Port())
		}
		if ip, _ := limit.IP(a); ip.IsLoopback() || ip.IsUnspecified() {
			t.Errorf("%v is no address for others", a)
		}
	}
}

func TestPortTaken(t *testing.T) {
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for _, taken := range []string{tcp.Addr().String(), udp.LocalAddr().String()} {
		if _, err := start(t, taken); peer.KindOf(err) != peer.Conflict {
			t.Errorf("%s: %v", taken, err)
		}
	}
}

func TestAddrsPutsTCPFirst(t *testing.T) {
	h, err := start(t, "127.0.0.1:0", "[::1]:0")
	if err != nil {
		t.Skip(err) // no IPv6
	}
	var kinds []book.Kind
	for _, a := range h.Addrs() {
		kinds = append(kinds, book.KindOf(a))
	}
	if !slices.Equal(kinds, []book.Kind{book.TCP, book.TCP, book.QUIC, book.QUIC}) {
		t.Errorf("got %v", h.Addrs())
	}
	first := h.Addrs()
	for range 50 {
		if again := h.Addrs(); !slices.EqualFunc(first, again, func(a, b peer.Addr) bool { return a.Equal(b) }) {
			t.Fatalf("the order changes: %v, then %v", first, again)
		}
	}
}

func TestBook(t *testing.T) {
	h := &Host{book: book.New()}
	id := testID(t)
	var many []peer.Addr
	for i := range 20 {
		many = append(many, ma.StringCast("/ip4/10.0.0.1/tcp/"+string(rune('1'+i%9))+"000"))
	}
	many = append([]peer.Addr{ma.StringCast("/dns4/example.com/tcp/1"), ma.StringCast("/ip4/10.0.0.1/udp/5"),
		ma.StringCast("/ip4/10.0.0.2/tcp/1/p2p/" + id.String())}, many...)
	h.Learn(id, many)
	got := h.book.Addrs(id)
	if len(got) != book.MaxAddrs || got[0].String() != "/ip4/10.0.0.2/tcp/1" {
		t.Fatalf("kept %v", got)
	}
	best := got[5]
	h.book.Worked(id, best)
	h.Learn(id, got)
	if again := h.book.Addrs(id); len(again) != book.MaxAddrs || !again[0].Equal(best) {
		t.Errorf("the address that worked is not first: %v", again)
	}
	for range 2 * book.MaxPeers {
		h.Learn(testID(t), got)
		h.book.Addrs(id) // in use
	}
	if h.book.Len() != book.MaxPeers || h.book.Addrs(id) == nil {
		t.Errorf("%d peers are known; the one in use %v", h.book.Len(), h.book.Addrs(id))
	}
	h.Forget(id)
	if h.book.Addrs(id) != nil {
		t.Error("it is not forgotten")
	}
}

// testID makes a peer ID, new each time.
func testID(t *testing.T) peer.ID {
	t.Helper()
	id, err := core.IDFromPrivateKey(testKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func testKey(t *testing.T) crypto.PrivKey {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
