package dht

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	"go.uber.org/goleak"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/peertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// member is one peer of a table.
type member struct {
	host *host.Host
	*DHT
}

// table starts n peers of a workgroup which know of the first alone, and the first of all.
func table(t testing.TB, n int, workgroup string) []member {
	t.Helper()
	all := make([]member, n)
	for i := range all {
		h := peertest.Start(t)
		d, err := New(h, workgroup, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
		all[i] = member{h, d}
		if i > 0 {
			meet(all[i], all[0])
		}
	}
	return all
}

// meet has two peers know of each other, without a connection.
func meet(a, b member) {
	a.host.Learn(b.host.ID(), b.host.Addrs())
	b.host.Learn(a.host.ID(), a.host.Addrs())
	a.Add(b.host.ID())
	b.Add(a.host.ID())
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func ids(t *testing.T, d *DHT, key [32]byte) map[peer.ID]bool {
	t.Helper()
	got := make(map[peer.ID]bool)
	for id := range d.Providers(within(t, 20*time.Second), key) {
		got[id] = true
	}
	return got
}

func TestProviders(t *testing.T) {
	all := table(t, 12, "W")
	for _, m := range all {
		if m.Size() == 0 || m.host.Connected(all[0].host.ID()) {
			t.Fatal("a table that nobody asks connects")
		}
	}
	key := [32]byte{1, 2, 3}
	for _, m := range all[1:3] {
		if err := m.Provide(within(t, 20*time.Second), key); err != nil {
			t.Fatal(err)
		}
	}
	last := all[len(all)-1]
	got := ids(t, last.DHT, key)
	if len(got) != 2 || !got[all[1].host.ID()] || !got[all[2].host.ID()] {
		t.Errorf("found %v", got)
	}
	if _, err := last.host.Ping(within(t, 10*time.Second), all[1].host.ID()); err != nil {
		t.Errorf("the host does not know where the provider is: %v", err)
	}
	if got := ids(t, all[1].DHT, key); got[all[1].host.ID()] || len(got) != 1 {
		t.Errorf("a provider found %v", got)
	}
	if got := ids(t, last.DHT, [32]byte{9}); len(got) != 0 {
		t.Errorf("a key of nobody gives %v", got)
	}
}

func TestFindPeer(t *testing.T) {
	all := table(t, 12, "W")
	first, last := all[1], all[len(all)-1]
	addrs, err := last.FindPeer(within(t, 20*time.Second), first.host.ID())
	if err != nil || len(addrs) == 0 {
		t.Fatalf("found %v, %v", addrs, err)
	}
	if _, err := last.host.Ping(within(t, 10*time.Second), first.host.ID()); err != nil {
		t.Error(err)
	}
	stranger := peertest.Start(t)
	if addrs, err := last.FindPeer(within(t, 20*time.Second), stranger.ID()); peer.KindOf(err) != peer.NotFound {
		t.Errorf("a stranger is at %v, %v", addrs, err)
	}
}

// TestGone has most of those off that keep a record.
func TestGone(t *testing.T) {
	all := table(t, 6, "W")
	for i, a := range all {
		for _, b := range all[:i] {
			meet(a, b)
		}
	}
	key := [32]byte{7}
	if err := all[0].Provide(within(t, 20*time.Second), key); err != nil {
		t.Fatal(err)
	}
	for _, m := range all[1:4] {
		if err := m.host.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := ids(t, all[5].DHT, key); !got[all[0].host.ID()] {
		t.Errorf("found %v", got)
	}
}

func TestAlone(t *testing.T) {
	only := table(t, 1, "W")[0]
	key := [32]byte{1}
	if err := only.Provide(within(t, 10*time.Second), key); err != nil {
		t.Error(err)
	}
	if got := ids(t, only.DHT, key); len(got) != 0 {
		t.Errorf("found %v", got)
	}
}

// TestWorkgroupsApart has a peer know one of another workgroup, which does not answer it.
func TestWorkgroupsApart(t *testing.T) {
	a, b := table(t, 1, "A")[0], table(t, 1, "B")[0]
	meet(a, b)
	key := [32]byte{1}
	if err := b.Provide(within(t, 10*time.Second), key); err != nil {
		t.Log(err) // nobody could be told
	}
	if got := ids(t, a.DHT, key); len(got) != 0 {
		t.Errorf("a found %v", got)
	}
	if a.Size() != 0 {
		t.Error("who does not speak the protocol is still asked")
	}
}

func TestPrefix(t *testing.T) {
	// echo -n WORKGROUP | sha256sum
	if got := Prefix("WORKGROUP"); got != "/peerd/8c0312d1ef1f2a38" {
		t.Errorf("got %s", got)
	}
}

func TestProvidersAreBounded(t *testing.T) {
	addrs, err := pstoremem.NewPeerstore()
	if err != nil {
		t.Fatal(err)
	}
	defer addrs.Close()
	s := newProviders("self", peerstore.AddrBook(addrs))
	now := time.Unix(1e9, 0)
	for i := range maxPerPeer + 10 {
		s.add(now, fmt.Sprint("key", i), "hoarder")
	}
	if s.count["hoarder"] != maxPerPeer {
		t.Errorf("one peer has %d records", s.count["hoarder"])
	}
	for i := range maxPerKey + 10 {
		s.add(now, "key", peer.ID(fmt.Sprint("peer", i)))
	}
	if got := len(s.get(now, "key")); got != maxPerKey {
		t.Errorf("one key has %d providers", got)
	}
	for i := range maxRecords {
		s.add(now, fmt.Sprint("other", i), peer.ID(fmt.Sprint("p", i/1000)))
	}
	if s.total != maxRecords {
		t.Errorf("%d records in all", s.total)
	}
	s.add(now, "mine", "self")
	if len(s.get(now, "mine")) != 1 {
		t.Error("others' records keep this peer's own out")
	}
	if got := s.get(now.Add(Lifetime), "key"); len(got) != 0 {
		t.Errorf("%d records outlive their time", len(got))
	}
	s.add(now.Add(Lifetime), "new", "newcomer")
	if s.total != 1 || len(s.byKey) != 1 || len(s.count) != 1 {
		t.Errorf("%d records of %d keys and %d peers are left", s.total, len(s.byKey), len(s.count))
	}
}
