package daemon

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/peerd/peerd/cmd/internal/config"
	"github.com/peerd/peerd/cmd/internal/daemon/copying"
	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share/remote"
	shareserve "github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch"
	"github.com/peerd/peerd/transfer/rate"
	"github.com/peerd/peerd/transfer/seed"
	transferserve "github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/store"
)

// openShelf opens what was fetched from others and may be given on.
func (d *daemon) openShelf() error {
	dir := filepath.Join(d.cfg.State, "cache")
	limit := int64(d.cfg.CacheGB) * 1e9
	if d.cfg.CacheGB == config.CacheAuto {
		limit = store.DefaultCacheLimit(dir)
	}
	var err error
	if d.cache, err = store.OpenCache(dir, limit, d.log); err != nil {
		return err
	}
	d.shelf, err = seed.Open(filepath.Join(d.cfg.State, "seeds"), d.cache, d.log)
	return err
}

// fetch starts to fetch from a share: from its owner, and from everybody else who has something of it.
func (d *daemon) fetch(ctx context.Context, at place, limit int64, o fetch.Options) *fetch.Fetcher {
	owner, id := at.Peer.ID, at.Access.Share
	o.Log, o.Shelf = d.log, d.shelf
	if owner == d.host.ID() {
		o.Shelf = nil // what is here is not kept twice
	} else {
		d.shelf.Know(seed.Share{Owner: owner, ID: transfer.ShareID(id)}, at.Access.Name)
	}
	o.Sources = fetch.Sources{
		Check: func(sealed []byte, holder peer.ID) (time.Time, error) {
			return shareserve.CheckSource(sealed, holder, owner, id, time.Now())
		},
		Meet:   d.meet,
		Find:   d.seek,
		Askers: d.table.Askers,
	}
	if d.cfg.Give {
		o.Sources.Addrs = d.host.Addrs
	}
	o.Pace = d.pace(limit)
	o.Progress = d.Book.Judging(o.Progress, at.Label(), id)
	return fetch.New(ctx, fetch.Source{
		Opener: d.loop, Peer: owner, Share: transfer.ShareID(id), Label: at.Label(),
		Grant: func(ctx context.Context) ([]byte, error) { return d.client.Grant(ctx, owner, at.Access.Name) },
	}, o)
}

// pace holds back what is fetched: by the limit of all fetching together, and by one of its own.
func (d *daemon) pace(limit int64) func(context.Context, peer.ID, int) error {
	own := rate.NewLimiter(transfer.Rate(limit))
	if limit == 0 && d.download.Limit() == 0 {
		return nil
	}
	return func(ctx context.Context, from peer.ID, n int) error {
		for _, l := range []*rate.Limiter{own, d.download} {
			for left := n; left > 0; {
				part := min(left, l.Chunk())
				if err := l.Wait(ctx, from, part, rate.Bulk); err != nil {
					return err
				}
				left -= part
			}
		}
		return nil
	}
}

// seek finds those who said beyond the local network that they give on files of a share.
func (d *daemon) seek(ctx context.Context, secret []byte, found func(peer.ID)) {
	for id := range d.lan.Sources().Providers(ctx, transferserve.Rendezvous(secret)) {
		found(id)
	}
}

// meet learns where a source is that another one named, unless that is known better.
func (d *daemon) meet(id peer.ID, addrs []peer.Addr) {
	if _, known := d.lan.View().Get(id); !known && id != d.host.ID() {
		d.host.Learn(id, addrs)
	}
}

// world is the daemon as copies see it.
type world struct{ *daemon }

var _ copying.World = world{}

func (w world) Find(ctx context.Context, ref control.Ref) (place, error) { return w.find(ctx, ref) }
func (w world) FindFull(ctx context.Context, ref control.Ref) (place, error) {
	return w.findFull(ctx, ref)
}
func (w world) FS(at place) *remote.FS          { return w.client.FS(at.Access, at.Label()) }
func (w world) Ended(at place, err error) error { return w.ended(at, err) }

func (w world) Fetch(ctx context.Context, at place, limit int64, o fetch.Options) *fetch.Fetcher {
	return w.fetch(ctx, at, limit, o)
}

func (w world) NameOf(id peer.ID) string { return w.nameOf(id) }

func (w world) Lookup(ctx context.Context, who string) (discovery.Peer, error) {
	return w.lookup(ctx, who)
}
func (w world) Uploads() *shareserve.Uploads { return w.uploads }

func (w world) Temp() (string, error) {
	dir := filepath.Join(w.cfg.State, "passing")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(dir, "")
}

// Copy copies files.
func (d *daemon) Copy(ctx context.Context, req control.CopyRequest, event func(control.CopyEvent)) error {
	return d.copies.Copy(ctx, req, event)
}

// called is what a peer calls itself, or the end of its ID.
func (d *daemon) called(id peer.ID) peer.Name {
	if id == d.host.ID() {
		return d.cfg.Name
	}
	if p, ok := d.lan.View().Get(id); ok && p.Name != "" {
		return p.Name
	}
	return peer.Name(peer.Short(id))
}
