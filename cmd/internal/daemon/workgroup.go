package daemon

import (
	"context"
	"iter"
	"slices"
	"sync"

	"github.com/peerd/peerd/cmd/internal/daemon/faces"
	"github.com/peerd/peerd/cmd/internal/daemon/lan"
	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share"
)

var _ control.Backend = (*daemon)(nil)

// Status tells of this peer.
func (d *daemon) Status(ctx context.Context) (control.Status, error) {
	st := control.Status{
		Name: string(d.cfg.Name), ID: d.host.ID().String(), Workgroup: d.cfg.Workgroup, Version: d.cfg.Version,
		Home: d.cfg.State, Started: control.At(d.started), Peers: len(d.lan.View().Snapshot()),
		Addrs: []string{}, Shares: []control.Share{}, Transfers: d.copies.List(), Parts: control.Parts(),
		Limits: control.Limits{Upload: int64(d.upload.Limit()), Download: int64(d.download.Limit())},
	}
	st.Cache, st.Mounts, st.Pending = d.cacheOf(), len(d.Faces.List()), faces.Sum(d.Faces.Pending())
	if d.cfg.Give {
		st.Seeding.Files, st.Seeding.Bytes = d.shelf.Usage()
	}
	for _, a := range d.host.Addrs() {
		st.Addrs = append(st.Addrs, a.String())
	}
	for _, s := range d.offers.Registry.List() {
		st.Shares = append(st.Shares, d.shareOf(ctx, s))
	}
	return st, nil
}

// cacheOf tells of the piece cache.
func (d *daemon) cacheOf() (c control.Cache) {
	c.Bytes, c.Limit, c.Pieces = d.cache.Usage()
	c.Hits, c.Misses = d.cache.Counts()
	return c
}

// MountList tells of what is mounted.
func (d *daemon) MountList(context.Context) (control.MountList, error) {
	return control.MountList{
		Mounts: d.Faces.List(), Pending: faces.Changes(d.Faces.Pending()), Conflicts: d.Faces.Conflicts(), Cache: d.cacheOf(),
	}, nil
}

// askAtOnce is how many peers are asked at a time for what they offer.
const askAtOnce = 16

// Peers are the others of the workgroup.
func (d *daemon) Peers(ctx context.Context, ask bool) ([]control.Peer, error) {
	if ask {
		d.lan.Gather(ctx)
	}
	seen := d.lan.View().Snapshot()
	shares := make([][]share.Info, len(seen))
	if ask {
		shares = d.offered(ctx, seen)
	}
	out := make([]control.Peer, len(seen))
	for i, p := range seen {
		if !ask {
			shares[i] = d.lan.Known(p)
		}
		out[i] = d.peerOf(p, shares[i])
	}
	return out, ctx.Err()
}

// WatchPeers yields who is here, then each change.
func (d *daemon) WatchPeers(ctx context.Context) iter.Seq2[control.PeerEvent, error] {
	return func(yield func(control.PeerEvent, error) bool) {
		changed, stop := d.lan.View().Subscribe()
		defer stop()
		before := make(map[string]control.Peer)
		for {
			now := make(map[string]control.Peer)
			for _, p := range d.lan.View().Snapshot() {
				c := d.peerOf(p, d.lan.Known(p))
				now[c.ID] = c
				old, was := before[c.ID]
				event := control.PeerHere
				if was && same(old, c) {
					continue
				} else if was {
					event = control.PeerChanged
				}
				if !yield(control.PeerEvent{Event: event, Peer: c}, nil) {
					return
				}
			}
			for id, c := range before {
				if _, here := now[id]; !here && !yield(control.PeerEvent{Event: control.PeerGone, Peer: c}, nil) {
					return
				}
			}
			before = now
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

func same(a, b control.Peer) bool {
	return a.Name == b.Name && a.Verified == b.Verified && a.Count == b.Count &&
		slices.Equal(a.Addrs, b.Addrs) && slices.Equal(a.Ways, b.Ways) && slices.Equal(a.Shares, b.Shares)
}

func (d *daemon) peerOf(p discovery.Peer, shares []share.Info) control.Peer {
	c := control.Peer{
		ID: p.ID.String(), Name: string(p.Name), Workgroup: p.Workgroup, Version: p.Version, Verified: "no",
		Since: control.At(p.Since), Count: p.Count, Addrs: []string{}, Shares: []control.PeerShare{},
	}
	if p.Verified() || d.lan.Introduced(p.ID) {
		c.Verified = "handshake"
	}
	for _, a := range p.Addrs {
		c.Addrs = append(c.Addrs, a.String())
	}
	for _, w := range p.Ways {
		c.Ways = append(c.Ways, string(w))
	}
	for _, s := range shares {
		c.Shares = append(c.Shares, control.PeerShare{Name: string(s.Name), Comment: s.Comment, Right: control.Right(d.lan.Right(p.ID, s).String())})
	}
	return c
}

// offered asks every peer what it offers, many at a time, and gives the answers in the order of the peers.
func (d *daemon) offered(ctx context.Context, peers []discovery.Peer) [][]share.Info {
	ctx, cancel := context.WithTimeout(ctx, 3*lan.AskTime) // however many there say they are
	defer cancel()
	out := make([][]share.Info, len(peers))
	slots := make(chan struct{}, askAtOnce)
	var wg sync.WaitGroup
	for i, p := range peers {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			listed, _ := d.lan.Shares(ctx, p, false)
			out[i] = d.lan.All(p, listed)
		})
	}
	wg.Wait()
	return out
}
