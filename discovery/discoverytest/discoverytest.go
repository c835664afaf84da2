// Package discoverytest tests what every [discovery.Finder] and [discovery.Announcer] must do.
package discoverytest

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
)

// Limit is how long a finder may take to report what is there to be found.
const Limit = 10 * time.Second

// ID is the ID of the n-th test peer, the same in every process.
func ID(n int) peer.ID {
	_, pub, err := crypto.GenerateEd25519Key(bytes.NewReader(bytes.Repeat([]byte{byte(n), byte(n >> 8), 7, 11}, 16)))
	if err != nil {
		panic(err)
	}
	id, err := core.IDFromPublicKey(pub)
	if err != nil {
		panic(err)
	}
	return id
}

// Finding is a finder at work.
type Finding struct {
	t    *testing.T
	way  discovery.Way
	stop context.CancelFunc
	done chan error

	mu    sync.Mutex
	seen  map[peer.ID]discovery.Sighting
	ended bool
}

// Find runs a finder for the time of a test and checks all that it reports.
func Find(t *testing.T, way discovery.Way, f discovery.Finder) *Finding {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r := &Finding{t: t, way: way, stop: stop, done: make(chan error, 1), seen: map[peer.ID]discovery.Sighting{}}
	go func() { r.done <- f.Find(ctx, r.take) }()
	t.Cleanup(r.Stop)
	return r
}

func (r *Finding) take(s discovery.Sighting) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		r.t.Error("a sighting after the end")
		return
	}
	Check(r.t, r.way, s)
	if s.Gone {
		delete(r.seen, s.ID)
	} else {
		r.seen[s.ID] = s
	}
}

// Stop ends the finder, which must return nil soon and report nothing from then on.
func (r *Finding) Stop() {
	r.stop()
	r.mu.Lock()
	ended := r.ended
	r.mu.Unlock()
	if ended {
		return
	}
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Errorf("Find ended with %v", err)
		}
	case <-time.After(Limit):
		r.t.Error("Find does not end with its context")
	}
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
}

// Seen is what was last said of a peer, unless it is gone.
func (r *Finding) Seen(id peer.ID) (discovery.Sighting, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.seen[id]
	return s, ok
}

// Await waits until what is seen of a peer (or that it is not) is as it should be.
func (r *Finding) Await(what string, id peer.ID, ok func(s discovery.Sighting, seen bool) bool) discovery.Sighting {
	r.t.Helper()
	for deadline := time.Now().Add(Limit); ; {
		s, seen := r.Seen(id)
		if ok(s, seen) {
			return s
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("not within %s: %s; last: %+v", Limit, what, s)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Check says what is wrong with a sighting, whatever the network said.
func Check(t testing.TB, way discovery.Way, s discovery.Sighting) {
	t.Helper()
	if s.Way != way {
		t.Errorf("a sighting by %q, want %q", s.Way, way)
	}
	if err := s.ID.Validate(); err != nil {
		t.Errorf("a sighting of nobody: %v", err)
	}
	if s.Gone {
		return
	}
	if len(s.Addrs) == 0 || len(s.Addrs) > discovery.MaxAddrs || len(s.Shares) > discovery.MaxShares || s.Count < -1 || s.TTL <= 0 {
		t.Errorf("a sighting beyond its limits: %d addresses, %d shares, count %d, TTL %s", len(s.Addrs), len(s.Shares), s.Count, s.TTL)
	}
	if _, err := peer.ParseName(string(s.Name)); err != nil {
		t.Errorf("a name that is none: %v", err)
	}
	if err := peer.CheckText(s.Workgroup, peer.MaxWorkgroup); err != nil {
		t.Errorf("workgroup %q: %v", s.Workgroup, err)
	}
	for _, a := range s.Addrs {
		if !dialable(a) {
			t.Errorf("address %s can't be dialled", a)
		}
	}
	for _, name := range s.Shares {
		if peer.CheckText(name, 255) != nil || strings.HasSuffix(name, "$") || strings.ContainsAny(name, `/\`) {
			t.Errorf("share %q", name)
		}
	}
}

// dialable reports whether an address has an IP address, with a zone where that is needed, and a port of TCP or QUIC.
func dialable(a peer.Addr) bool {
	var ip, zone, port bool
	local := strings.Contains(a.String(), "/ip6/fe80:")
	for _, c := range a {
		switch c.Code() {
		case ma.P_IP4, ma.P_IP6:
			ip = true
		case ma.P_IP6ZONE:
			zone = true
		case ma.P_TCP, ma.P_QUIC_V1:
			port = true
		case ma.P_P2P:
			return false // the ID stands elsewhere
		}
	}
	return ip && port && zone == local
}

// Node is both sides of discovery.
type Node interface {
	discovery.Finder
	discovery.Announcer
}

// Pair tests two nodes that make makes, which must be able to hear each other: they find each other, hear of changes,
// and one that stops is gone for the other.
func Pair(t *testing.T, way discovery.Way, make func(t *testing.T) Node) {
	t.Helper()
	first := discovery.Advert{ID: ID(1), Name: "anna", Workgroup: "W", Version: "1.2", Port: 4455,
		Shares: []string{"docs", "Bücher", `a "b" c`, "secret$"}, Count: 3, Revision: 1}
	second := discovery.Advert{ID: ID(2), Name: "Zoë's PC. (2)", Workgroup: "X", Port: 4456, Count: -1}
	a, b := make(t), make(t)
	a.Announce(first)
	b.Announce(second)
	atA, atB := Find(t, way, a), Find(t, way, b)

	seen := atB.Await("b sees a", first.ID, func(_ discovery.Sighting, ok bool) bool { return ok })
	if seen.Name != first.Name || seen.Workgroup != "W" || seen.Version != "1.2" || seen.Count != 3 || seen.Revision != 1 ||
		strings.Join(seen.Shares, "|") != `docs|Bücher|a "b" c` {
		t.Errorf("b sees a as %+v", seen)
	}
	seen = atA.Await("a sees b", second.ID, func(_ discovery.Sighting, ok bool) bool { return ok })
	if seen.Name != second.Name || seen.Workgroup != "X" || seen.Count != -1 || !strings.Contains(seen.Addrs[0].String(), "4456") {
		t.Errorf("a sees b as %+v", seen)
	}
	if _, ok := atA.Seen(first.ID); ok {
		t.Error("a sees itself")
	}

	first.Shares, first.Revision, first.Name = append(first.Shares, "new"), 2, "Anna B."
	a.Announce(first)
	atB.Await("a change of shares and name", first.ID, func(s discovery.Sighting, ok bool) bool {
		return ok && s.Revision == 2 && s.Name == "Anna B." && len(s.Shares) == 4
	})
	atA.Stop()
	atB.Await("a is gone", first.ID, func(_ discovery.Sighting, ok bool) bool { return !ok })

	again := Find(t, way, a)
	again.Await("a sees b again", second.ID, func(_ discovery.Sighting, ok bool) bool { return ok })
	atB.Await("b sees a again", first.ID, func(_ discovery.Sighting, ok bool) bool { return ok })
}
