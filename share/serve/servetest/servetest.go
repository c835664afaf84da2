// Package servetest is an owner with shares, and two peers that would like to see them, for tests: real hosts on loopback,
// a real gate, a clock that tests set.
package servetest

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/auth"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/peertest"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/local"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/edit"
	"github.com/peerd/peerd/transfer"
	transferserve "github.com/peerd/peerd/transfer/serve"
)

// Offers is a set of shares that tests change at will.
type Offers struct {
	mu      sync.Mutex
	all     []serve.Offer
	changed func() // after each change; may be nil
}

func (o *Offers) find(match func(serve.Offer) bool) (serve.Offer, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.all {
		if match(s) {
			return s, true
		}
	}
	return serve.Offer{}, false
}

// Named finds a share by its name.
func (o *Offers) Named(name string) (serve.Offer, bool) {
	return o.find(func(s serve.Offer) bool { return share.FoldKey(string(s.Name)) == share.FoldKey(name) })
}

// ByID finds a share by its ID.
func (o *Offers) ByID(id share.ID) (serve.Offer, bool) {
	return o.find(func(s serve.Offer) bool { return s.ID == id })
}

// Listed are the shares that are not hidden.
func (o *Offers) Listed(to peer.ID) ([]share.Info, uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []share.Info
	for _, s := range o.all {
		if !s.Hidden {
			if s.Standing != nil {
				s.Open, _ = s.Standing(to).Free(s.Open)
			}
			out = append(out, s.Info)
		}
	}
	return out, 1
}

// Change edits the share of a name.
func (o *Offers) Change(name share.Name, edit func(*serve.Offer)) {
	o.mu.Lock()
	for i := range o.all {
		if o.all[i].Name == name {
			edit(&o.all[i])
		}
	}
	changed := o.changed
	o.mu.Unlock()
	if changed != nil {
		changed()
	}
}

// noManifests keeps nothing.
type noManifests struct{}

func (noManifests) Get(transfer.FileID) (transfer.Manifest, bool) { return transfer.Manifest{}, false }
func (noManifests) Put(transfer.FileID, transfer.Manifest)        {}

// World is an owner with the shares docs, other and secret$, all closed, and the peers Anna and Berta.
type World struct {
	t                  testing.TB
	Key                crypto.PrivKey // the owner's
	Owner, Anna, Berta *host.Host
	Offers             *Offers
	Throttle           auth.Throttle
	Gate               *serve.Gate
	Bytes              *transferserve.Service
	Locks              *serve.Locks

	change changeable

	mu  sync.Mutex
	now time.Time
}

// Each share holds two files of x, and one that is a hole.
const (
	SmallSize = 12
	LargeSize = 2<<20 + 77
	HugeSize  = 1 << 30
)

// New makes a World until the test ends.
func New(t testing.TB) *World {
	t.Helper()
	w := &World{t: t, Key: peertest.Key(t), now: time.Now(), Offers: &Offers{}, Locks: serve.NewLocks()}
	w.change.dirs, w.change.shares = make(map[share.ID]string), make(map[share.ID]edit.Share)
	hosts := peertest.Hosts(t, 3, func(c *host.Config) {
		if w.Owner == nil && len(w.Offers.all) == 0 {
			c.Key = w.Key
			w.Offers.all = []serve.Offer{{}} // the first host alone gets the key
		}
	})
	w.Offers.all = nil
	w.Owner, w.Anna, w.Berta = hosts[0], hosts[1], hosts[2]
	for _, name := range []share.Name{"docs", "other", "secret$"} {
		w.Offers.all = append(w.Offers.all, w.share(name))
	}
	gate, err := serve.NewGate(w.Key, w.Offers, w.Now)
	if err != nil {
		t.Fatal(err)
	}
	w.Gate, w.Offers.changed = gate, gate.Recheck
	dummy, err := auth.NewDummy([]byte(strings.Repeat("a node's secret ", 2)))
	if err != nil {
		t.Fatal(err)
	}
	bytes := transferserve.New(transferserve.Options{Auth: serve.NewBytes(gate), Manifests: noManifests{}, Log: slog.New(slog.DiscardHandler)})
	w.Bytes = bytes
	w.Owner.Handle(serve.MetaProtocol, 8, serve.NewLister(gate, w.Locks).Handle)
	w.Owner.Handle(serve.AuthProtocol, 2, serve.NewDoorman(gate, dummy, &w.Throttle).Handle)
	w.Owner.Handle(transferserve.ManifestProtocol, 8, bytes.Manifest)
	w.Owner.Handle(transferserve.GetProtocol, 8, bytes.Get)
	w.Owner.Handle(transferserve.SwarmProtocol, 8, bytes.Swarm)
	w.changes()
	return w
}

// Add offers one more share, in which something is said of every device.
func (w *World) Add(name share.Name, st serve.Standing) share.ID {
	w.t.Helper()
	o := w.share(name)
	o.Standing = func(peer.ID) serve.Standing { return st }
	w.Offers.Add(o)
	return o.ID
}

// Now is the owner's clock.
func (w *World) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// Pass moves the owner's clock on.
func (w *World) Pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *World) share(name share.Name) serve.Offer {
	w.t.Helper()
	dir, err := filepath.EvalSymlinks(w.t.TempDir())
	if err != nil {
		w.t.Fatal(err)
	}
	for file, size := range map[string]int{"small": SmallSize, "large": LargeSize} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(strings.Repeat("x", size)), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	huge := filepath.Join(dir, "huge")
	if err := errors.Join(os.WriteFile(huge, nil, 0o600), os.Truncate(huge, HugeSize)); err != nil {
		w.t.Fatal(err)
	}
	fs, err := local.New(dir, local.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	var id share.ID
	if _, err := rand.Read(id[:]); err != nil {
		w.t.Fatal(err)
	}
	unset := sync.OnceValues(func() (auth.Credentials, error) {
		var c auth.Credentials
		for slot, at := range map[auth.Slot]*auth.Credential{auth.Read: &c.Read, auth.Full: &c.Full} {
			at.Keys = auth.NewServerKeys()
			var err error
			if at.Record, err = auth.RegisterUnset(at.Keys, id, slot); err != nil {
				return c, err
			}
		}
		return c, nil
	})
	w.change.mu.Lock()
	w.change.dirs[id] = dir
	w.change.mu.Unlock()
	return serve.Offer{
		Info: share.Info{ID: id, Name: name}, Hidden: name.Hidden(), Epochs: grant.Epochs{Read: 7, Full: 9}, FS: fs, Credentials: unset,
		Old: w.old(id), Space: w.space(id),
	}
}
