package lan

import (
	"errors"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/peerd/peerd/cmd/internal/config"
	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/discovery/discoverytest"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/peertest"
	"github.com/peerd/peerd/share/offer"
	"github.com/peerd/peerd/share/registry"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/remote/ticket"
	"github.com/peerd/peerd/share/sharepb"
)

// A peer that is blocked is forgotten, whatever way it was found, and not heard of again until it is not.
func TestBlocked(t *testing.T) {
	l := open(t)
	reg, h, workgroup := l.cfg.Offers.Registry, l.host, l.cfg.Workgroup
	anna := peertest.Start(t)
	heard := func() {
		for _, way := range []discovery.Way{discovery.MDNS, discovery.Static, discovery.Inbound, discovery.DHT} {
			l.Observe(discovery.Sighting{ID: anna.ID(), Way: way, Name: "anna", Workgroup: workgroup, Addrs: anna.Addrs()})
		}
	}
	heard()
	if p, ok := l.View().Get(anna.ID()); !ok || len(p.Ways) != 4 || len(h.Known(anna.ID())) == 0 {
		t.Fatalf("before: %+v", p)
	}
	if err := reg.Block(anna.ID(), "anna", time.Now()); err != nil {
		t.Fatal(err)
	}
	l.Drop(anna.ID())
	for range 2 {
		if p, ok := l.View().Get(anna.ID()); ok || len(h.Known(anna.ID())) > 0 {
			t.Errorf("blocked: %+v, known at %v", p, h.Known(anna.ID()))
		}
		for _, who := range []string{"anna", "ANNA", anna.ID().String()} {
			if _, err := l.Lookup(t.Context(), who); peer.KindOf(err) != peer.Denied {
				t.Errorf("looked for as %s: %v", who, err)
			}
		}
		heard()
	}
	if err := reg.Unblock(anna.ID()); err != nil {
		t.Fatal(err)
	}
	heard()
	if p, err := l.Lookup(t.Context(), "anna"); err != nil || p.ID != anna.ID() {
		t.Errorf("afterwards: %+v, %v", p, err)
	}
}

// Nobody who is blocked is listed once that is carried out, however often it is told of in the midst of it.
func TestBlockedMeanwhile(t *testing.T) {
	l := open(t)
	reg := l.cfg.Offers.Registry
	anna, done := discoverytest.ID(1), make(chan struct{})
	var wg sync.WaitGroup
	for _, way := range []discovery.Way{discovery.MDNS, discovery.Inbound, discovery.DHT} {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					l.Observe(discovery.Sighting{ID: anna, Way: way, Name: "anna", Workgroup: l.cfg.Workgroup})
				}
			}
		})
	}
	defer wg.Wait()
	defer close(done)
	for range 200 {
		for _, ok := l.View().Get(anna); !ok; _, ok = l.View().Get(anna) {
			runtime.Gosched()
		}
		if err := reg.Block(anna, "anna", time.Now()); err != nil {
			t.Fatal(err)
		}
		l.Drop(anna)
		for range 20 {
			if p, ok := l.View().Get(anna); ok {
				t.Fatalf("blocked: %+v", p)
			}
			runtime.Gosched()
		}
		if err := reg.Unblock(anna); err != nil {
			t.Fatal(err)
		}
	}
}

// open makes what a peer knows of others, with nothing that finds them.
func open(t *testing.T) *LAN {
	t.Helper()
	dir := t.TempDir()
	paths, err := config.FindPaths(dir, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default(paths, "berta")
	cfg.MDNS, cfg.DHT = false, false
	reg, err := registry.Open(filepath.Join(dir, "state"), registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	key := peertest.Key(t)
	h := peertest.Start(t, func(c *host.Config) { c.Key = key })
	tickets, err := ticket.Open(filepath.Join(dir, "saved"), time.Now(), func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	l, err := New(Config{
		Config: cfg, Key: key, Host: h, Offers: offer.New(reg, quiet()), Client: remote.NewClient(h, h.ID(), tickets, time.Now),
		Tickets: tickets, Hello: func(peer.ID) *sharepb.Hello { return &sharepb.Hello{} }, Log: quiet(), Clash: func(peer.ID, peer.ID) {}, Started: time.Now().Add(-time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// TestFoundIsKnown: who looks for a peer that is just being heard of gets it once the host knows where it is.
func TestFoundIsKnown(t *testing.T) {
	l := open(t)
	anna := peertest.Start(t)
	found := make(chan error)
	l.seen.Lock()
	l.view.Observe(time.Now(), discovery.Sighting{ID: anna.ID(), Way: discovery.MDNS, Name: "anna", Workgroup: l.cfg.Workgroup, Addrs: anna.Addrs()})
	go func() {
		_, err := l.Lookup(t.Context(), "anna")
		if err == nil && len(l.host.Known(anna.ID())) == 0 {
			err = errors.New("no address of it is known")
		}
		found <- err
	}()
	select {
	case err := <-found:
		t.Error(err)
		l.seen.Unlock()
		return
	case <-time.After(100 * time.Millisecond):
	}
	l.host.Learn(anna.ID(), anna.Addrs())
	l.seen.Unlock()
	if err := <-found; err != nil {
		t.Error(err)
	}
}
