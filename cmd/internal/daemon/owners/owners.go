// Package owners is the workgroup as the tree of share/vfs needs it: who is there under which name, what they offer, and each
// share with the right that this peer has in it, at its owner or quickly known to be away.
package owners

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/peerd/peerd/cmd/internal/daemon/copying"
	"github.com/peerd/peerd/cmd/internal/daemon/lan"
	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/offer"
	"github.com/peerd/peerd/share/registry"
	"github.com/peerd/peerd/share/remote"
	shareserve "github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/transfer/fetch"
	"github.com/peerd/peerd/transfer/fetch/recent"
)

// Config says what a World stands on. All must be set.
type Config struct {
	Self    func() peer.Info // this peer
	Offers  *offer.Offers    // and what it offers
	Host    *host.Host
	LAN     *lan.LAN
	Client  *remote.Client
	Uploads *shareserve.Uploads
	// Enter gets into a share of a peer; ref is how messages call it.
	Enter func(ctx context.Context, p discovery.Peer, ref control.Ref) (copying.Place, error)
	// Fetch starts to fetch from a share.
	Fetch func(ctx context.Context, at copying.Place, limit int64, o fetch.Options) *fetch.Fetcher
	Log   *slog.Logger
}

// World is a [vfs.World]. It is safe for concurrent use.
type World struct {
	cfg Config
	ctx context.Context // ends with Close
	end context.CancelFunc

	self   peer.ID
	unhook func()
	tasks  sync.WaitGroup
	memory *recent.Cache // what was read last, of all shares

	mu       sync.Mutex
	names    *names
	contacts map[peer.ID]*contact
	remotes  map[key]*Remote
	listed   map[peer.ID]listing
	changed  chan struct{} // closed and replaced at each change
}

var _ vfs.World = (*World)(nil)

// key names a share of a peer, whatever the case of its letters.
type key struct {
	peer peer.ID
	fold string
}

// listing is what a peer said that it offers.
type listing struct {
	shares   []share.Info
	asked    time.Time
	revision uint64 // of the peer by discovery, then
}

// New makes a World, which works until Close.
func New(cfg Config) *World {
	w := &World{
		cfg: cfg, names: newNames(), contacts: make(map[peer.ID]*contact), remotes: make(map[key]*Remote),
		listed: make(map[peer.ID]listing), changed: make(chan struct{}), memory: recent.New(0),
	}
	w.ctx, w.end = context.WithCancel(context.Background())
	w.self = cfg.Host.ID()
	w.names.pin(w.self, string(cfg.Self().Name)) // first, so that nobody else has it
	w.unhook = cfg.Offers.Registry.OnChange(func(_, _ *registry.Share) { w.Tell() })
	cfg.Host.OnDisconnect(func(id peer.ID) {
		w.mu.Lock()
		c := w.contacts[id]
		w.mu.Unlock()
		if c != nil {
			c.nudge()
		}
	})
	w.tasks.Go(w.follow)
	return w
}

// Close ends all that runs. Nobody uses what the World gave by then.
func (w *World) Close() {
	w.unhook()
	w.end()
	w.tasks.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.remotes {
		r.close()
	}
}

// follow tells of what discovery sees, until the World is closed.
func (w *World) follow() {
	changed, stop := w.cfg.LAN.View().Subscribe()
	defer stop()
	for {
		select {
		case <-changed:
		case <-w.ctx.Done():
			return
		}
		w.mu.Lock()
		for id, c := range w.contacts {
			if _, here := w.cfg.LAN.View().Get(id); here == c.gone() {
				c.nudge()
			}
		}
		w.tellLocked()
		w.mu.Unlock()
	}
}

// Tell says that rights or peers may have changed.
func (w *World) Tell() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tellLocked()
}

func (w *World) tellLocked() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// Changed yields whenever the peers, or what one of them offers, may have changed, until ctx ends.
func (w *World) Changed(ctx context.Context) iter.Seq[struct{}] {
	return func(yield func(struct{}) bool) {
		w.mu.Lock()
		changed := w.changed
		w.mu.Unlock()
		for {
			select {
			case <-changed:
			case <-ctx.Done():
				return
			case <-w.ctx.Done():
				return
			}
			w.mu.Lock()
			changed = w.changed // what changes while the caller looks is told after
			w.mu.Unlock()
			if !yield(struct{}{}) {
				return
			}
		}
	}
}

// Pin keeps a peer's name for it, be it here or not.
func (w *World) Pin(id peer.ID, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names.pin(id, name)
}

// NameOf is under which name the tree has a peer.
func (w *World) NameOf(id peer.ID) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names.see(w.cfg.LAN.View().Snapshot())
	return w.names.of(id)
}

// Peers are the names of those that are here, and of those that are away and in use.
func (w *World) Peers(context.Context) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names.see(w.cfg.LAN.View().Snapshot())
	return w.names.all(), nil
}

// find gives the peer of a name, with what is known of it.
func (w *World) find(name string) (discovery.Peer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id, ok := w.names.id(name)
	if !ok {
		w.names.see(w.cfg.LAN.View().Snapshot())
		if id, ok = w.names.id(name); !ok {
			return discovery.Peer{}, &peer.Error{Path: "//" + name, Kind: peer.NotFound, Err: errors.New("no such peer is here")}
		}
	}
	if p, here := w.cfg.LAN.View().Get(id); here {
		return p, nil
	}
	return discovery.Peer{ID: id, Name: peer.Name(name), Count: -1}, nil
}

// listedFor is how long what a peer said that it offers is believed where nobody says when that changes.
const listedFor = 10 * time.Second

// Shares are what a peer offers, as far as it is known.
func (w *World) Shares(ctx context.Context, name string) ([]share.Info, error) {
	p, err := w.find(name)
	if err != nil {
		return nil, err
	}
	if p.ID == w.self {
		var own []share.Info
		for _, s := range w.cfg.Offers.Registry.List() {
			own = append(own, s.Info())
		}
		return w.entitled(p, own), nil
	}
	w.mu.Lock()
	have, known := w.listed[p.ID]
	c := w.contacts[p.ID]
	w.mu.Unlock()
	if known && have.revision == p.Revision && (p.Near() || time.Since(have.asked) < listedFor) {
		return w.entitled(p, have.shares), nil
	}
	_, here := w.cfg.LAN.View().Get(p.ID)
	if c != nil && c.away() || c == nil && !here {
		if known {
			return w.entitled(p, have.shares), nil
		}
		return nil, awayError("//"+name, time.Time{})
	}
	shares, err := w.cfg.LAN.Shares(ctx, p, false)
	switch {
	case err == nil:
		w.mu.Lock()
		w.listed[p.ID] = listing{slices.Clone(shares), time.Now(), p.Revision}
		w.mu.Unlock()
	case known:
		shares = have.shares
	case len(shares) == 0:
		return nil, err
	}
	return w.entitled(p, shares), nil
}

// entitled adds to what a peer lists those shares that this peer can enter all the same.
func (w *World) entitled(p discovery.Peer, shares []share.Info) []share.Info {
	out := w.cfg.LAN.All(p, slices.Clone(shares))
	w.mu.Lock()
	defer w.mu.Unlock()
	for k, r := range w.remotes { // hidden ones
		if k.peer == p.ID && r.Right() > share.None && !slices.ContainsFunc(out, func(s share.Info) bool { return share.FoldKey(string(s.Name)) == k.fold }) {
			out = append(out, share.Info{ID: r.ID(), Name: share.Name(r.at.Access.Name)})
		}
	}
	slices.SortFunc(out, func(a, b share.Info) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Enter gives a share with the right that this peer has there now.
func (w *World) Enter(ctx context.Context, name, shareName string) (vfs.Remote, error) {
	p, err := w.find(name)
	if err != nil {
		return nil, err
	}
	k := key{p.ID, share.FoldKey(shareName)}
	w.mu.Lock()
	r := w.remotes[k]
	w.mu.Unlock()
	if r != nil && r.Right() > share.None {
		return r, nil
	}
	c := w.contact(p.ID)
	label := control.Ref{Peer: name, Share: shareName}
	if c.away() {
		return nil, awayError(label.String(), c.since())
	}
	ctx, end := c.with(ctx)
	defer end()
	at, err := w.cfg.Enter(ctx, p, label)
	if err != nil {
		return nil, c.met(ctx, label.String(), err)
	}
	if at.Access.Right == share.None {
		return nil, &peer.Error{Path: label.String(), Kind: peer.Denied, Err: errors.New("there is no right to this share")}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if old := w.remotes[k]; old != nil {
		if old.ID() == at.Access.Share {
			old.regain(at.Access.Right)
			return old, nil
		}
		old.close() // the owner made another share of that name
	}
	r = newRemote(w, c, at)
	w.remotes[k] = r
	w.names.pin(p.ID, name)
	return r, nil
}

// Prepare has what reading a share takes ready before somebody reads, if it can be entered.
func (w *World) Prepare(ctx context.Context, name, shareName string) {
	if r, err := w.Enter(ctx, name, shareName); err == nil {
		r.(*Remote).Prepare(ctx)
	}
}

// contact gives what is known of whether a peer can be reached, which is looked after from now on.
func (w *World) contact(id peer.ID) *contact {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.contacts[id]
	if c == nil {
		listed := func() bool {
			_, ok := w.cfg.LAN.View().Get(id)
			return ok
		}
		c = newContact(w.ctx, id, w.cfg.Host, listed, w.Tell, w.cfg.Log)
		w.contacts[id] = c
		if w.ctx.Err() == nil && id != w.self {
			w.tasks.Go(func() { c.run(w.ctx) })
		}
	}
	return c
}

// Look asks a peer that is thought to be away whether it is back.
func (w *World) Look(ctx context.Context, id peer.ID) {
	w.mu.Lock()
	c := w.contacts[id]
	w.mu.Unlock()
	if c != nil && c.away() {
		c.look(ctx)
	}
}

// Away reports whether a peer that is in use can't be reached.
func (w *World) Away(id peer.ID) bool {
	w.mu.Lock()
	c := w.contacts[id]
	w.mu.Unlock()
	if c == nil {
		_, here := w.cfg.LAN.View().Get(id)
		return !here && id != w.self
	}
	return c.away()
}

func awayError(label string, since time.Time) error {
	e := &peer.Error{Path: label, Kind: peer.Unreachable, Err: errors.New("the peer is away")}
	if !since.IsZero() {
		e.Err = fmt.Errorf("the peer is away since %s", since.Format(time.TimeOnly))
	}
	return e
}
