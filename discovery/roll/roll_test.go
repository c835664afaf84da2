package roll

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/discovery/roll/rollpb"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/peertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// member is one peer of a workgroup.
type member struct {
	name  string
	key   crypto.PrivKey
	host  *host.Host
	view  *discovery.View
	roll  *Roll
	calls atomic.Int32 // exchanges that it answered
	known atomic.Pointer[[]peer.ID]
	stop  func()
}

func newMember(t testing.TB, name string, key crypto.PrivKey) *member {
	t.Helper()
	m := &member{name: name, key: key}
	m.host = peertest.Start(t, func(c *host.Config) { c.Key = key })
	m.view = discovery.NewView(m.host.ID(), "W")
	m.roll = New(Config{
		Key: key, Open: m.host, View: m.view, Logger: slog.New(slog.DiscardHandler), Known: func() []peer.ID {
			if known := m.known.Load(); known != nil {
				return *known
			}
			return nil
		},
		Advert: func() discovery.Advert {
			return discovery.Advert{ID: m.host.ID(), Name: peer.Name(name), Workgroup: "W", Version: "1", Count: 1, Revision: 3,
				Shares: []string{"docs of " + name}, Addrs: m.host.Addrs()}
		},
		Settle: 100 * time.Millisecond, Round: time.Second,
	})
	m.host.Handle(Protocol, Streams, func(ctx context.Context, s peer.Stream) error {
		m.calls.Add(1)
		return m.roll.Handle(ctx, s)
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := m.roll.Find(ctx, m.observe); err != nil {
			t.Error(err)
		}
	}()
	m.stop = func() { cancel(); <-done }
	t.Cleanup(m.stop)
	return m
}

func (m *member) observe(s discovery.Sighting) {
	m.view.Observe(time.Now(), s)
	if p, ok := m.view.Get(s.ID); ok {
		m.host.Learn(s.ID, p.Addrs)
	}
}

// hears has m learn of another.
func (m *member) hears(other *member, way discovery.Way) {
	m.observe(discovery.Sighting{ID: other.host.ID(), Way: way, Name: peer.Name(other.name), Workgroup: "W", Addrs: other.host.Addrs()})
}

// subnet starts n peers that hear each other by multicast.
func subnet(t testing.TB, name string, n int) []*member {
	t.Helper()
	var all []*member
	for i := range n {
		m := newMember(t, fmt.Sprint(name, i), peertest.Key(t))
		for _, other := range all {
			m.hears(other, discovery.MDNS)
			other.hears(m, discovery.MDNS)
		}
		all = append(all, m)
	}
	return all
}

func (m *member) names() (names []string) {
	for _, p := range m.view.Snapshot() {
		names = append(names, string(p.Name))
	}
	return names
}

func eventually(t testing.TB, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for ; !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("in 30 s it did not happen: %s", what)
		}
	}
	return time.Since(began)
}

func allSeeAll(t testing.TB, all []*member) time.Duration {
	t.Helper()
	return eventually(t, "all see all", func() bool {
		for _, m := range all {
			if len(m.names()) < len(all)-1 {
				return false
			}
		}
		return true
	})
}

func TestTwoSubnets(t *testing.T) {
	a, b := subnet(t, "a", 6), subnet(t, "b", 6)
	all := slices.Concat(a, b)
	for _, m := range all {
		if m.calls.Load() > 0 {
			t.Fatal("where multicast brings everybody, somebody is called")
		}
	}
	a[0].hears(b[0], discovery.Static)
	t.Logf("all saw all after %v", allSeeAll(t, all))
	p, _ := a[5].view.Get(b[5].host.ID())
	if p.Name != "b5" || len(p.Shares) != 1 || p.Shares[0] != "docs of b5" || p.Revision != 3 || p.Verified() || len(p.Addrs) == 0 {
		t.Errorf("a5 knows of b5 %+v", p)
	}

	late := newMember(t, "late", peertest.Key(t))
	for _, m := range a {
		m.hears(late, discovery.MDNS)
		late.hears(m, discovery.MDNS)
	}
	t.Logf("and a newcomer after %v", allSeeAll(t, append(all, late)))

	b[3].stop()
	eventually(t, "who leaves is seen to by all beyond", func() bool {
		return !slices.ContainsFunc(a, func(m *member) bool { return slices.Contains(m.names(), "b3") })
	})
}

// TestOneNeighbourhood has the user name a peer that multicast brings as well.
func TestOneNeighbourhood(t *testing.T) {
	a := subnet(t, "a", 3)
	a[0].hears(a[1], discovery.Static)
	time.Sleep(500 * time.Millisecond) // in which nothing is to happen
	for _, m := range a {
		if n := m.calls.Load(); n > 0 {
			t.Errorf("%s was called %d times", m.name, n)
		}
	}
}

func TestRemembered(t *testing.T) {
	a, b := subnet(t, "a", 3), subnet(t, "b", 3)
	gone := peertest.Start(t).ID()
	a[2].host.Hint(b[1].host.ID(), b[1].host.Addrs())
	a[2].known.Store(&[]peer.ID{gone, b[1].host.ID()})
	a[2].roll.Changed()
	t.Logf("all saw all after %v", allSeeAll(t, slices.Concat(a, b)))
}

// TestClockBehind has a peer come back with its clock set back: its old statements are later than its new ones.
func TestClockBehind(t *testing.T) {
	a, b := subnet(t, "a", 1)[0], subnet(t, "b", 1)[0]
	old, err := sign(b.key, discovery.Advert{ID: b.host.ID(), Name: "old", Workgroup: "W"}, uint64(time.Now().Add(time.Hour).UnixMilli()), true)
	if err != nil {
		t.Fatal(err)
	}
	entry := &rollpb.Entry{Statement: old.raw, Signature: old.sig}
	if err := a.roll.take("somebody", []*rollpb.Entry{entry}); err != nil {
		t.Fatal(err)
	}
	a.hears(b, discovery.Static)
	allSeeAll(t, []*member{a, b})
	eventually(t, "the peer speaks louder than its old self", func() bool {
		a.roll.mu.Lock()
		defer a.roll.mu.Unlock()
		e := a.roll.table.peers[b.host.ID()]
		return e != nil && !e.gone && e.said.Name == "b0" && e.serial > old.serial
	})
}

func TestForged(t *testing.T) {
	a, b := subnet(t, "a", 1)[0], peertest.Key(t)
	id := peertest.Start(t, func(c *host.Config) { c.Key = b }).ID()
	good, err := sign(b, discovery.Advert{ID: id, Name: "b", Workgroup: "W"}, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := sign(b, discovery.Advert{ID: id, Name: "b", Workgroup: "V"}, 2, false)
	if err != nil {
		t.Fatal(err)
	}
	other, err := sign(peertest.Key(t), discovery.Advert{ID: id, Name: "evil", Workgroup: "W"}, 3, false)
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(good.raw)
	flipped[len(flipped)-1] ^= 1
	for name, e := range map[string]*rollpb.Entry{
		"signed by another": {Statement: other.raw, Signature: other.sig},
		"changed":           {Statement: flipped, Signature: good.sig},
		"unsigned":          {Statement: good.raw},
		"other workgroup":   {Statement: foreign.raw, Signature: foreign.sig},
		"too long":          {Statement: make([]byte, maxStatement+1), Signature: good.sig},
		"empty":             {},
	} {
		if err := a.roll.take("liar", []*rollpb.Entry{e}); peer.KindOf(err) != peer.Integrity {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := a.roll.take("liar", []*rollpb.Entry{{Statement: good.raw, Signature: good.sig, Age: uint32(lifetime / time.Second)}}); err != nil {
		t.Error(err)
	}
	if n := len(a.names()); n != 0 {
		t.Errorf("%d peers are seen", n)
	}
	if err := a.roll.take("friend", []*rollpb.Entry{{Statement: good.raw, Signature: good.sig}}); err != nil {
		t.Errorf("a good statement: %v", err)
	}
	eventually(t, "a good statement is told", func() bool { return len(a.names()) == 1 })
}

func TestTableIsBounded(t *testing.T) {
	tb := newTable("self", "W")
	now := time.Unix(1e9, 0)
	for range discovery.MaxPeers + 5 {
		key := peertest.Key(t)
		id, err := idOf(key)
		if err != nil {
			t.Fatal(err)
		}
		s, err := sign(key, discovery.Advert{ID: id, Workgroup: "W"}, 1, false)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := tb.merge(now, &rollpb.Entry{Statement: s.raw, Signature: s.sig}); err != nil {
			t.Fatal(err)
		}
	}
	if len(tb.peers) != discovery.MaxPeers || len(tb.byMark) != discovery.MaxPeers {
		t.Errorf("%d peers are kept", len(tb.peers))
	}
	lacks, wants := tb.compare(now, nil)
	if len(lacks) != discovery.MaxPeers || len(wants) != 0 {
		t.Errorf("%d entries, %d bytes wanted", len(lacks), len(wants))
	}
	if n := proto.Size(&rollpb.Call{Marks: tb.marks()}); n > maxCall {
		t.Errorf("a full roll makes a call of %d bytes", n)
	}
	tb.expire(now.Add(lifetime))
	if len(tb.peers) != 0 || len(tb.byMark) != 0 {
		t.Errorf("%d peers outlive their time", len(tb.peers))
	}
}

func FuzzParse(f *testing.F) {
	key := peertest.Key(f)
	id, err := idOf(key)
	if err != nil {
		f.Fatal(err)
	}
	s, err := sign(key, discovery.Advert{ID: id, Name: "n", Workgroup: "W", Shares: []string{"s"}}, 1, false)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.raw)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := parse(raw, nil, "W")
		if err != nil {
			return
		}
		if s.id == "" || s.said.Workgroup != "W" || len(s.said.Addrs) > discovery.MaxAddrs || len(s.said.Shares) > discovery.MaxShares {
			t.Errorf("accepted %+v", s)
		}
		if s.verify() == nil {
			t.Error("a statement without a signature is verified")
		}
	})
}

func idOf(key crypto.PrivKey) (peer.ID, error) { return core.IDFromPrivateKey(key) }
