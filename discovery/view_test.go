package discovery

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/peer"

	"github.com/peerd/peerd/peer"
)

// id is the ID of the n-th peer.
func id(n int) peer.ID {
	_, pub, err := crypto.GenerateEd25519Key(bytes.NewReader(bytes.Repeat([]byte{byte(n), byte(n >> 8), 1, 2}, 16)))
	if err != nil {
		panic(err)
	}
	id, err := core.IDFromPublicKey(pub)
	if err != nil {
		panic(err)
	}
	return id
}

func addrs(list ...string) []peer.Addr {
	var out []peer.Addr
	for _, s := range list {
		out = append(out, Addrs(netip.MustParseAddrPort(s))[0])
	}
	return out
}

func start() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

func names(list []Peer) string {
	var out []string
	for _, p := range list {
		out = append(out, string(p.Name))
	}
	return strings.Join(out, " ")
}

func TestViewMerges(t *testing.T) {
	v, now := NewView(id(0), "W"), start()
	air := Sighting{ID: id(1), Way: MDNS, Name: "liar", Workgroup: "W", Count: 2, Shares: []string{"a", "b"}, Revision: 3,
		Addrs: addrs("10.0.0.1:4455", "10.0.0.2:4455")}
	proven := Sighting{ID: id(1), Way: Inbound, Name: "anna", Workgroup: "W", Version: "1", Count: -1, Addrs: addrs("10.0.0.2:4455", "10.0.0.3:4455")}
	v.Observe(now, air)
	v.Observe(now.Add(time.Second), proven)
	p, ok := v.Get(id(1))
	if !ok || p.Name != "anna" || p.Version != "1" || !p.Verified() {
		t.Errorf("what was proven does not count more: %+v", p)
	}
	if p.Count != 2 || p.Revision != 3 || len(p.Shares) != 2 {
		t.Errorf("shares are lost: %+v", p)
	}
	if got := fmt.Sprint(p.Addrs); got != "[/ip4/10.0.0.1/tcp/4455 /ip4/10.0.0.2/tcp/4455 /ip4/10.0.0.3/tcp/4455]" {
		t.Errorf("addresses are %s", got)
	}
	if !p.Since.Equal(now) || !p.Heard.Equal(now.Add(time.Second)) || fmt.Sprint(p.Ways) != "[inbound mdns]" {
		t.Errorf("since %s, heard %s, by %v", p.Since, p.Heard, p.Ways)
	}

	v.Observe(now, Sighting{ID: id(1), Way: MDNS, Gone: true})
	if p, ok := v.Get(id(1)); !ok || fmt.Sprint(p.Ways) != "[inbound]" {
		t.Error("a goodbye by one way took the other away")
	}
	v.Observe(now, Sighting{ID: id(1), Way: Inbound, Gone: true})
	if _, ok := v.Get(id(1)); ok {
		t.Error("nothing holds the peer, and it is there")
	}
}

func TestViewExpires(t *testing.T) {
	v, now := NewView(id(0), "W"), start()
	v.Observe(now, Sighting{ID: id(1), Way: MDNS, Name: "default"})
	v.Observe(now, Sighting{ID: id(2), Way: MDNS, Name: "short", TTL: 10 * time.Second})
	v.Observe(now, Sighting{ID: id(3), Way: Static, Name: "static"})
	v.Observe(now, Sighting{ID: id(4), Way: Inbound, Name: "inbound"})
	for _, step := range []struct {
		after, next time.Duration
		left        string
	}{
		{0, 10 * time.Second, "default inbound short static"},
		{10 * time.Second, 90 * time.Second, "default inbound static"},
		{119 * time.Second, 120 * time.Second, "default inbound"},
		{120 * time.Second, 0, "inbound"},
		{24 * time.Hour, 0, "inbound"},
	} {
		next := v.Expire(now.Add(step.after))
		if got := names(v.Snapshot()); got != step.left {
			t.Errorf("after %s: %q, want %q", step.after, got, step.left)
		}
		if step.next == 0 != next.IsZero() || step.next > 0 && !next.Equal(now.Add(step.next)) {
			t.Errorf("after %s: next at %s", step.after, next)
		}
	}
}

func TestViewOtherWorkgroups(t *testing.T) {
	v, now := NewView(id(0), "W"), start()
	v.Observe(now, Sighting{ID: id(0), Way: MDNS, Name: "self", Workgroup: "W"})
	v.Observe(now, Sighting{ID: id(1), Way: MDNS, Name: "ours", Workgroup: "W"})
	v.Observe(now, Sighting{ID: id(2), Way: MDNS, Name: "theirs", Workgroup: "X"})
	if ours, others := names(v.Snapshot()), names(v.Others()); ours != "ours" || others != "theirs" {
		t.Errorf("ours %q, others %q", ours, others)
	}
	v.Observe(now, Sighting{ID: id(2), Way: MDNS, Name: "theirs", Workgroup: "W"})
	if ours, others := names(v.Snapshot()), names(v.Others()); ours != "ours theirs" || others != "" {
		t.Errorf("after a change: ours %q, others %q", ours, others)
	}
	for n := range 2 * MaxOthers {
		v.Observe(now, Sighting{ID: id(100 + n), Way: MDNS, Workgroup: "X", From: fmt.Sprint(n)})
	}
	if got := len(v.Others()); got != MaxOthers {
		t.Errorf("%d of other workgroups", got)
	}
	v.Expire(now.Add(time.Hour))
	if len(v.Others()) != 0 {
		t.Error("others do not expire")
	}
}

func TestViewIsBounded(t *testing.T) {
	v, now := NewView(id(0), "W"), start()
	for n := range MaxNewRate + 50 {
		v.Observe(now, Sighting{ID: id(n + 1), Way: MDNS, From: "10.0.0.1"})
	}
	if got := len(v.Snapshot()); got != MaxNewRate {
		t.Errorf("one source brought in %d in a minute", got)
	}
	v.Observe(now, Sighting{ID: id(5000), Way: MDNS, From: "10.0.0.2", Name: "honest"})
	if _, ok := v.Get(id(5000)); !ok {
		t.Error("a flood from one source keeps another out")
	}
	for n := range 2 * MaxPeers {
		v.Observe(now.Add(time.Second), Sighting{ID: id(n + 1), Way: MDNS, From: fmt.Sprint("s", n%200)})
	}
	if got := len(v.Snapshot()); got != MaxPeers {
		t.Errorf("%d peers, want %d", got, MaxPeers)
	}
	v.Observe(now.Add(2*time.Second), Sighting{ID: id(9000), Way: MDNS, From: "s1"})
	if _, ok := v.Get(id(9000)); ok {
		t.Error("a full view took in more hearsay from a source that told of as many as any")
	}
	v.Observe(now.Add(2*time.Second), Sighting{ID: id(9001), Way: Inbound, From: "y"})
	if _, ok := v.Get(id(9001)); !ok {
		t.Error("a flood of hearsay keeps out a peer that proved its ID")
	}
	if _, ok := v.Get(id(5000)); !ok || len(v.Snapshot()) != MaxPeers {
		t.Error("the old went, not the flood")
	}
	var many Sighting
	many.ID, many.Way = id(5000), MDNS
	for n := range 100 {
		many.Addrs = append(many.Addrs, addrs(fmt.Sprintf("10.0.1.%d:1", n))...)
	}
	many.Shares = make([]string, 10*MaxShares)
	v.Observe(now, many)
	if p, _ := v.Get(id(5000)); len(p.Addrs) > MaxAddrs || len(p.Shares) > MaxShares {
		t.Errorf("%d addresses, %d shares", len(p.Addrs), len(p.Shares))
	}
	if len(v.tallies) > maxSources+1 {
		t.Errorf("%d sources", len(v.tallies))
	}
}

// TestViewFlooded: forged announcements from many addresses keep no honest newcomer out, and drive nobody out.
func TestViewFlooded(t *testing.T) {
	const honest, proven = 20, 20
	for _, sources := range []int{1, 32, 256, 900} {
		t.Run(fmt.Sprint(sources, " sources"), func(t *testing.T) {
			v, now := NewView(id(0), "W"), start()
			made := 1000
			flood := func(count int) {
				for n := range count {
					made++
					v.Observe(now, Sighting{ID: peer.ID(fmt.Sprint("forged ", made)), Way: MDNS, From: fmt.Sprint("liar ", n%sources), Name: "liar"})
				}
			}
			present := func(n int) {
				t.Helper()
				if _, ok := v.Get(id(n)); !ok {
					t.Errorf("the honest peer %d is not in the view", n)
				}
			}
			for n := 1; n <= honest; n++ {
				v.Observe(now, Sighting{ID: id(n), Way: MDNS, From: fmt.Sprint("host ", n)})
			}
			for n := honest + 1; n <= honest+proven; n++ { // all behind one address
				v.Observe(now, Sighting{ID: id(n), Way: MDNS, From: "gateway"})
				v.Observe(now, Sighting{ID: id(n), Way: Inbound})
			}
			flood(7000)
			v.Observe(now, Sighting{ID: id(500), Way: MDNS, From: "newcomer"})
			present(500)
			flood(7000)
			// Who speaks of honest peers from the addresses of the flood does not make them a part of it.
			for n := 1; n <= honest; n++ {
				v.Observe(now, Sighting{ID: id(n), Way: MDNS, From: "liar 0"})
			}
			flood(7000)
			for n := 1; n <= honest+proven; n++ {
				present(n)
			}
			present(500)
			if got := len(v.Snapshot()); got > MaxPeers || sources > 5 && got < MaxPeers {
				t.Errorf("%d peers", got)
			}
		})
	}
}

// TestViewCountsFloodOnce: who was first told of by a liar is no part of the flood once it speaks for itself.
func TestViewCountsFloodOnce(t *testing.T) {
	v, now := NewView(id(0), "W"), start()
	for n := range 150 {
		v.Observe(now, Sighting{ID: peer.ID(fmt.Sprint("forged ", n)), Way: MDNS, From: "liar"})
	}
	v.Observe(now, Sighting{ID: id(1), Way: MDNS, From: "liar"})
	v.Observe(now, Sighting{ID: id(1), Way: MDNS, From: "honest"})
	for n := range 2 * MaxPeers {
		v.Observe(now, Sighting{ID: peer.ID(fmt.Sprint("more ", n)), Way: MDNS, From: fmt.Sprint("liar ", n%64)})
	}
	if _, ok := v.Get(id(1)); !ok {
		t.Error("a peer went with the flood that told of it")
	}
}

// TestViewChangesOfWorkgroup: going over to another workgroup is no way around the limits.
func TestViewChangesOfWorkgroup(t *testing.T) {
	v, now := NewView(id(0), "W"), start()
	for n := range MaxPeers {
		s := Sighting{ID: peer.ID(fmt.Sprint("forged ", n)), Way: MDNS, From: fmt.Sprint("liar ", n%32), Workgroup: "W"}
		v.Observe(now, s)
		s.Workgroup = "X"
		v.Observe(now, s)
	}
	if ours, others := len(v.Snapshot()), len(v.Others()); ours != 0 || others != MaxOthers {
		t.Errorf("%d here, %d in other workgroups", ours, others)
	}
	gone := v.Observe(now, Sighting{ID: id(1), Way: MDNS, From: "host", Workgroup: "X"})
	if _, ok := v.Get(id(1)); ok || !strings.HasPrefix(string(gone), "forged ") {
		t.Errorf("%q made room", gone)
	}
}

// BenchmarkViewFlooded is one forged announcement that a full view takes in or refuses.
func BenchmarkViewFlooded(b *testing.B) {
	v, now := NewView(id(0), "W"), start()
	n := 0
	for b.Loop() {
		n++
		now = now.Add(time.Millisecond)
		v.Observe(now, Sighting{ID: peer.ID(fmt.Sprint("forged ", n)), Way: MDNS, From: fmt.Sprint("liar ", n%(300+n>>12))})
	}
}

func TestViewSubscribe(t *testing.T) {
	v, now := NewView(id(0), "W"), start()
	changed, stop := v.Subscribe()
	told := func() bool {
		select {
		case <-changed:
			return true
		default:
			return false
		}
	}
	s := Sighting{ID: id(1), Way: MDNS, Name: "anna", Addrs: addrs("10.0.0.1:1")}
	v.Observe(now, s)
	s2 := s
	s2.ID = id(2)
	v.Observe(now, s2)
	if !told() || told() {
		t.Error("two changes should leave one token")
	}
	v.Observe(now.Add(time.Minute), s)
	if told() {
		t.Error("hearing the same again is no news")
	}
	s.Addrs = addrs("10.0.0.2:1")
	v.Observe(now.Add(time.Minute), s)
	if !told() {
		t.Error("a new address is news")
	}
	v.Expire(now.Add(2 * time.Minute)) // of the second
	if !told() {
		t.Error("the end of a peer is news")
	}
	stop()
	v.Observe(now, Sighting{ID: id(1), Way: MDNS, Gone: true})
	if told() {
		t.Error("told after the end")
	}
}

func TestLookup(t *testing.T) {
	v, now := NewView(id(0), "W"), start()
	one, two, three, four := id(1), id(2), id(3), id(4)
	for n, s := range []Sighting{
		{ID: one, Name: "anna"}, {ID: two, Name: "Bert"}, {ID: three, Name: "bert"},
		{ID: four, Name: peer.Name(peer.Short(one))}, // takes the place of another's ID
		{ID: id(5), Name: "stranger", Workgroup: "X"},
	} {
		s.Way = MDNS
		v.Observe(now.Add(time.Duration(n)), s)
	}
	tests := []struct {
		who  string
		want peer.ID
		kind peer.Kind
		says string
	}{
		{"anna", one, 0, ""},
		{"ANNA", one, 0, ""},
		{"Bert", two, 0, ""},
		{"bert", three, 0, ""},
		{"BERT", "", peer.Usage, peer.Short(two)},
		{one.String(), one, 0, ""},
		{peer.Short(two), two, 0, ""},
		{two.String()[:30], two, 0, ""},
		{two.String()[:8], "", peer.Usage, "may be any of"},
		{two.String()[45:], "", peer.NotFound, "no such peer"}, // too short
		{peer.Short(one), "", peer.Usage, peer.Short(four)},
		{id(7).String(), "", peer.NotFound, "no such peer"},
		{"nobody", "", peer.NotFound, "no such peer"},
		{"stranger", "", peer.NotFound, "is in workgroup X"},
		{"", "", peer.NotFound, ""},
	}
	for _, tt := range tests {
		p, err := v.Lookup(tt.who)
		if tt.want != "" {
			if err != nil || p.ID != tt.want {
				t.Errorf("Lookup(%q) = %s, %v, want %s", tt.who, p.ID, err, tt.want)
			}
			continue
		}
		if err == nil || peer.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("Lookup(%q) = %s, %v, want kind %v that says %q", tt.who, p.ID, err, tt.kind, tt.says)
		}
	}
}

func TestAddrs(t *testing.T) {
	tests := []struct{ at, want string }{
		{"10.0.0.1:4455", "[/ip4/10.0.0.1/tcp/4455 /ip4/10.0.0.1/udp/4455/quic-v1]"},
		{"[fd00::1]:1", "[/ip6/fd00::1/tcp/1 /ip6/fd00::1/udp/1/quic-v1]"},
		{"[fe80::1%eth0]:1", "[/ip6zone/eth0/ip6/fe80::1/tcp/1 /ip6zone/eth0/ip6/fe80::1/udp/1/quic-v1]"},
		{"[::ffff:10.0.0.1]:1", "[/ip4/10.0.0.1/tcp/1 /ip4/10.0.0.1/udp/1/quic-v1]"},
		{"10.0.0.1:0", "[]"},
		{"0.0.0.0:1", "[]"},
		{"224.0.0.1:1", "[]"},
		{"[fe80::1%a/b]:1", "[]"},
	}
	for _, tt := range tests {
		if got := fmt.Sprint(Addrs(netip.MustParseAddrPort(tt.at))); got != tt.want {
			t.Errorf("Addrs(%s) = %s, want %s", tt.at, got, tt.want)
		}
	}
}

// TestHearsayFromBeyond has others tell of a peer: it counts for less than what the peer itself says, and proves nothing.
func TestHearsayFromBeyond(t *testing.T) {
	v, now := NewView(id(0), "W"), start()
	told := Sighting{ID: id(1), Way: DHT, Name: "told", Workgroup: "W", Addrs: addrs("10.1.0.1:1"), Shares: []string{"old"}, Count: 1, Revision: 1, TTL: time.Minute, Relay: true}
	v.Observe(now, told)
	p, ok := v.Get(id(1))
	if !ok || p.Verified() || p.Near() || !p.Relay || p.Name != "told" || p.Revision != 1 {
		t.Errorf("told of: %+v", p)
	}
	v.Observe(now, Sighting{ID: id(1), Way: MDNS, Name: "heard", Workgroup: "W", Addrs: addrs("10.0.0.1:1"), Shares: []string{"new"}, Count: 1, Revision: 2})
	v.Observe(now.Add(time.Second), told)
	p, _ = v.Get(id(1))
	if p.Name != "heard" || p.Revision != 2 || p.Shares[0] != "new" || !p.Near() || p.Verified() || len(p.Addrs) != 2 || p.Addrs[0].String() != "/ip4/10.0.0.1/tcp/1" {
		t.Errorf("told of and heard: %+v", p)
	}
	v.Observe(now, Sighting{ID: id(1), Way: MDNS, Gone: true})
	v.Observe(now, Sighting{ID: id(1), Way: Relay, Workgroup: "W"})
	v.Expire(now.Add(2 * time.Minute))
	if p, ok = v.Get(id(1)); !ok || !p.Verified() {
		t.Errorf("connected by a relay: %+v, %v", p, ok)
	}
}
