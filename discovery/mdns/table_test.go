package mdns

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/discovery/discoverytest"
	"github.com/peerd/peerd/peer"
)

func saying(n int, addrs ...string) heard {
	h := heard{label: fmt.Sprintf("host%d", n), said: discovery.Sighting{ID: discoverytest.ID(n), Way: discovery.MDNS, Name: "x",
		Workgroup: "W", TTL: 2 * time.Minute}}
	for _, a := range addrs {
		h.addrs = append(h.addrs, netip.MustParseAddrPort(a))
	}
	return h
}

func TestTable(t *testing.T) {
	now, tb := time.Unix(0, 0), newTable()
	me, from := discoverytest.ID(0), netip.MustParseAddr("10.1.0.1")
	tb.self = me
	if list, _ := tb.hear(now, "eth0", from, saying(0, "10.1.0.9:1")); len(list) > 0 {
		t.Error("heard itself")
	}
	if list, fresh := tb.hear(now, "eth0", from, saying(1, "10.1.0.1:1")); !fresh || len(list) != 1 {
		t.Error("a newcomer is not new")
	}
	if _, fresh := tb.hear(now, "eth0", from, saying(1, "10.1.0.1:1")); fresh {
		t.Error("the same again is new")
	}
	said, fresh := tb.hear(now, "eth1", netip.MustParseAddr("10.2.0.1"), saying(1, "10.2.0.1:1"))
	if got := fmt.Sprint(said[0].Addrs); !fresh || !strings.HasPrefix(got, "[/ip4/10.1.0.1/tcp/1 /ip4/10.2.0.1/tcp/1 ") {
		t.Errorf("on two links: %s, new %v", got, fresh)
	}
	if left := tb.bye(now, "eth0", "HOST1"); len(left) != 1 || left[0].Gone || len(left[0].Addrs) != 2 {
		t.Errorf("a goodbye on one of two links leaves %+v", left)
	}
	if left := tb.bye(now, "eth0", "host1"); len(left) != 0 {
		t.Errorf("a second goodbye: %+v", left)
	}
	if !tb.leftSince("Host1", now.Add(-time.Millisecond)) || tb.leftSince("host1", now) || tb.leftSince("host2", now.Add(-time.Hour)) {
		t.Error("it is not known who left when")
	}
	tb.expire(now.Add(time.Second))
	if len(tb.left) != 0 {
		t.Error("who left is remembered for ever")
	}
	if left := tb.drop("eth1"); len(left) != 1 || !left[0].Gone || left[0].ID != discoverytest.ID(1) {
		t.Errorf("the last link went: %+v", left)
	}
}

// TestLiar: who speaks in another's name can't take its addresses away.
func TestLiar(t *testing.T) {
	now, tb := time.Unix(0, 0), newTable()
	tb.hear(now, "eth0", netip.MustParseAddr("10.1.0.1"), saying(1, "10.1.0.1:1"))
	var said []discovery.Sighting
	for n := range 3 {
		said, _ = tb.hear(now, "eth0", netip.AddrFrom4([4]byte{10, 1, 6, byte(n)}), saying(1, "10.1.6.66:1", "10.1.6.67:1", "10.1.6.68:1", "10.1.6.69:1"))
	}
	if !slices.ContainsFunc(said[0].Addrs, func(a peer.Addr) bool { return a.String() == "/ip4/10.1.0.1/tcp/1" }) {
		t.Errorf("the true address is lost among %v", said[0].Addrs)
	}
	for n := range 100 {
		tb.hear(now, "eth0", netip.AddrFrom4([4]byte{10, 1, 7, byte(n)}), saying(1, "10.1.6.66:1"))
	}
	if got := len(tb.peers[discoverytest.ID(1)].links["eth0"].voices); got > maxVoices {
		t.Errorf("%d voices", got)
	}
}

func TestTableExpires(t *testing.T) {
	start, tb := time.Unix(0, 0), newTable()
	from := netip.MustParseAddr("10.1.0.1")
	tb.hear(start, "eth0", from, saying(1, "10.1.0.1:1"))
	tb.hear(start.Add(time.Minute), "eth0", from, saying(2, "10.1.0.2:1"))
	if got := tb.fading("eth0", start.Add(150*time.Second)); fmt.Sprint(got) != "[host1]" {
		t.Errorf("fading %v", got)
	}
	if got := tb.expire(start.Add(119 * time.Second)); len(got) != 0 {
		t.Errorf("expired early: %v", got)
	}
	if got := tb.expire(start.Add(120 * time.Second)); len(got) != 1 || !got[0].Gone || got[0].ID != discoverytest.ID(1) {
		t.Errorf("expired: %v", got)
	}
	tb.doubt(start.Add(125 * time.Second))
	if got := tb.expire(start.Add(125 * time.Second)); len(got) != 1 || got[0].ID != discoverytest.ID(2) {
		t.Errorf("after a doubt: %v", got)
	}
}

func TestTableIsBounded(t *testing.T) {
	now, tb := time.Unix(0, 0), newTable()
	for n := range discovery.MaxPeers + 100 {
		tb.hear(now, "eth0", netip.MustParseAddr("10.1.0.1"), saying(n, "10.1.0.1:1"))
	}
	if len(tb.peers) != discovery.MaxPeers {
		t.Errorf("%d peers", len(tb.peers))
	}
	if got := len(tb.fading("eth0", now.Add(time.Hour))); got > maxInstances {
		t.Errorf("%d are asked for in one packet", got)
	}
}

// TestTableFlooded: whoever makes up peers can't keep an honest newcomer out, nor drive out who was there before.
func TestTableFlooded(t *testing.T) {
	now, tb := time.Unix(0, 0), newTable()
	honest := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 2, 0, byte(n)}) }
	for n := range 10 {
		tb.hear(now, "eth0", honest(n), saying(n, "10.2.0.1:1"))
	}
	for n := range 3 * discovery.MaxPeers {
		list, _ := tb.hear(now, "eth0", netip.AddrFrom4([4]byte{10, 1, 0, byte(n % 256)}), saying(100+n, "10.1.0.1:1"))
		if len(tb.peers) > discovery.MaxPeers {
			t.Fatal("the table is not bounded")
		}
		if len(list) == 2 && (!list[0].Gone || list[1].Gone || tb.peers[list[0].ID] != nil) {
			t.Fatalf("one made room for another, and the report is %+v", list)
		}
	}
	list, fresh := tb.hear(now, "eth0", honest(10), saying(10, "10.2.0.10:1"))
	if len(list) != 2 || !list[0].Gone || list[1].ID != discoverytest.ID(10) || !fresh {
		t.Errorf("of an honest newcomer the report is %+v", list)
	}
	for n := range 11 {
		if tb.peers[discoverytest.ID(n)] == nil {
			t.Errorf("the honest peer %d is not there", n)
		}
	}
	tb.expire(now.Add(time.Hour))
	if _, some := tb.crowd.Least(); some || len(tb.peers) > 0 {
		t.Error("something is left of those that fell silent")
	}
}

func TestSchedule(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	start := time.Unix(0, 0)
	s := schedule{period: 30 * time.Second}
	sent := func(limit time.Duration) (at []time.Duration) {
		for now := start; now.Sub(start) < limit; now = now.Add(10 * time.Millisecond) {
			if s.due(now, r) {
				at = append(at, now.Sub(start).Round(time.Second))
			}
		}
		return at
	}
	if s.request(start, r); len(sent(time.Minute)) != 0 {
		t.Error("something is due before the first burst")
	}
	s.burst(start)
	got := sent(95 * time.Second)
	if len(got) < 5 || fmt.Sprint(got[:3]) != "[0s 1s 3s]" || got[3] < 30*time.Second || got[3] > 36*time.Second {
		t.Errorf("sent at %v", got)
	}
	now := start.Add(100 * time.Second)
	s.due(now, r)
	var requested []time.Time
	for end := now.Add(10 * time.Second); now.Before(end); now = now.Add(5 * time.Millisecond) {
		s.request(now, r)
		if s.due(now, r) {
			requested = append(requested, now)
		}
	}
	if len(requested) < 8 {
		t.Errorf("only %d packets in 10 s of requests", len(requested))
	}
	for i := 1; i < len(requested); i++ {
		if requested[i].Sub(requested[i-1]) < time.Second {
			t.Errorf("two packets within %s", requested[i].Sub(requested[i-1]))
		}
	}
}
