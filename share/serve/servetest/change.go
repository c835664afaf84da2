package servetest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/local"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/edit"
	"github.com/peerd/peerd/share/watch"
	"github.com/peerd/peerd/transfer"
	transferserve "github.com/peerd/peerd/transfer/serve"
)

// changeable are the folders of shares, and what changes them.
type changeable struct {
	mu     sync.Mutex
	dirs   map[share.ID]string
	shares map[share.ID]edit.Share
	open   atomic.Int32
	told   atomic.Pointer[func(change.Change)]
}

// Told has f called with each change before anybody else is told of it. Nothing else is changed in the share meanwhile.
func (w *World) Told(f func(change.Change)) { w.change.told.Store(&f) }

// Changing reports whether a stream of changes is open.
func (w *World) Changing() bool { return w.change.open.Load() > 0 }

// Dir is the folder of a share.
func (w *World) Dir(id share.ID) string {
	w.change.mu.Lock()
	defer w.change.mu.Unlock()
	return w.change.dirs[id]
}

// Edit gives what changes a share's files, and tells of their changes. Every change that is made is told to its watcher.
func (w *World) Edit(o serve.Offer) (edit.Share, error) {
	w.change.mu.Lock()
	defer w.change.mu.Unlock()
	if sh, ok := w.change.shares[o.ID]; ok {
		return sh, nil
	}
	dir, ok := w.change.dirs[o.ID]
	if !ok {
		return edit.Share{}, &peer.Error{Op: "change share", Kind: peer.NotFound, Err: errors.New("there is no such share")}
	}
	disk, err := local.NewDisk(dir, local.Options{})
	if err != nil {
		return edit.Share{}, err
	}
	files, err := local.New(dir, local.Options{})
	if err != nil {
		return edit.Share{}, err
	}
	sh := edit.Share{Feed: watch.NewFeed(watch.Keep)}
	sh.Watcher = watch.New(files, dir, sh.Feed, watch.Options{})
	sh.Editor, err = change.Open(context.Background(), disk, change.Options{Changed: func(c change.Change) {
		if f := w.change.told.Load(); f != nil {
			(*f)(c)
		}
		sh.Watcher.Note(edit.Noted(c, time.Now()))
	}})
	if err != nil {
		return edit.Share{}, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = sh.Watcher.Run(ctx) // ends with ctx
	}()
	w.t.Cleanup(func() {
		cancel()
		<-done
	})
	w.change.shares[o.ID] = sh
	return sh, nil
}

// space is how much a share may hold.
func (w *World) space(id share.ID) func(context.Context, peer.ID) (int64, int64, error) {
	return func(ctx context.Context, _ peer.ID) (int64, int64, error) {
		sh, err := w.Edit(serve.Offer{Info: share.Info{ID: id}})
		if err != nil {
			return 0, 0, err
		}
		return sh.Editor.Space(ctx)
	}
}

// old opens old versions of files.
func (w *World) old(id share.ID) func(context.Context, share.Path, string) (share.OpenFile, error) {
	return func(ctx context.Context, p share.Path, version string) (share.OpenFile, error) {
		v, err := change.ParseVersionID(version)
		if err != nil {
			return nil, err
		}
		sh, err := w.Edit(serve.Offer{Info: share.Info{ID: id}})
		if err != nil {
			return nil, err
		}
		return sh.Editor.OpenVersion(ctx, p, v)
	}
}

// ChangeStreams is how many streams of changes one peer may have open to the owner of a World.
const ChangeStreams = 128

// changes answers those who change shares.
func (w *World) changes() {
	service := edit.New(edit.Options{
		Gate: w.Gate, Open: w.Edit, Locks: w.Locks, Opener: w.Owner, Log: slog.New(slog.DiscardHandler), Patience: 5 * time.Second,
		Name: func(id peer.ID) peer.Name {
			switch id {
			case w.Anna.ID():
				return "anna"
			case w.Berta.ID():
				return "berta"
			}
			return "nobody"
		},
	})
	w.Owner.Handle(edit.Protocol, ChangeStreams, func(ctx context.Context, st peer.Stream) error {
		w.change.open.Add(1)
		defer w.change.open.Add(-1)
		return service.Handle(ctx, st)
	})
}

// Uploads lets a peer put files: what it puts is fetched from there.
func (w *World) Uploads(h *host.Host) *serve.Uploads {
	u := serve.NewUploads(h.ID())
	bytes := transferserve.New(transferserve.Options{Auth: u, Manifests: noManifests{}, Log: slog.New(slog.DiscardHandler)})
	h.Handle(transferserve.ManifestProtocol, 8, bytes.Manifest)
	h.Handle(transferserve.GetProtocol, 8, bytes.Get)
	return u
}

// Lying lets a peer put files as Uploads does, but whatever is asked for there is answered by auth.
func (w *World) Lying(h *host.Host, auth transferserve.Authorizer, manifests interface {
	Get(transfer.FileID) (transfer.Manifest, bool)
	Put(transfer.FileID, transfer.Manifest)
}) {
	bytes := transferserve.New(transferserve.Options{Auth: auth, Manifests: manifests, Log: slog.New(slog.DiscardHandler)})
	h.Handle(transferserve.ManifestProtocol, 8, bytes.Manifest)
	h.Handle(transferserve.GetProtocol, 8, bytes.Get)
}

// Path is a path of a share.
func Path(tb testing.TB, s string) share.Path {
	tb.Helper()
	p, err := share.SplitPath(s)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}
