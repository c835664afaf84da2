package edit_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"iter"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/peer"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/change/disktest"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/edit"
	"github.com/peerd/peerd/share/serve/servetest"
	"github.com/peerd/peerd/share/watch"
)

// bare is an owner without a network and without a disk, the same at each call: the share docs, a peer, and its grants for it.
type bare struct {
	service    *edit.Service
	holder     peer.ID
	docs       share.ID
	read, full []byte
	made       *atomic.Int64
}

// changes is how many were made.
func (b *bare) changes() int64 { return b.made.Load() }

func newBare(tb testing.TB) *bare {
	tb.Helper()
	var keys [2]crypto.PrivKey
	var ids [2]peer.ID
	for i := range keys {
		key, pub, err := crypto.GenerateEd25519Key(bytes.NewReader(bytes.Repeat([]byte{byte(i + 1)}, 32)))
		if err == nil {
			ids[i], err = core.IDFromPublicKey(pub)
		}
		if err != nil {
			tb.Fatal(err)
		}
		keys[i] = key
	}
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	b := &bare{holder: ids[1], docs: share.ID{1: 7}, made: new(atomic.Int64)}
	offers := new(servetest.Offers)
	offers.Add(serve.Offer{Info: share.Info{ID: b.docs, Name: "docs"}, Epochs: grant.Epochs{Read: 7, Full: 9}, FS: oneFile{}})
	gate, err := serve.NewGate(keys[0], offers, func() time.Time { return now })
	if err != nil {
		tb.Fatal(err)
	}
	for right, to := range map[share.Right]*[]byte{share.Read: &b.read, share.Full: &b.full} {
		epoch := map[share.Right]uint64{share.Read: 7, share.Full: 9}[right]
		g := grant.Grant{Share: b.docs, Holder: b.holder, Right: right, Epoch: epoch, NotBefore: now, Expires: now.Add(time.Minute)}
		if *to, err = g.Seal(keys[0]); err != nil {
			tb.Fatal(err)
		}
	}
	feed := watch.NewFeed(10)
	sh := edit.Share{Feed: feed, Watcher: watch.New(oneFile{}, "/none", feed, watch.Options{})}
	sh.Editor, err = change.Open(tb.Context(), disktest.NewMem(true), change.Options{
		Now: func() time.Time { return now }, Changed: func(change.Change) { b.made.Add(1) },
	})
	if err != nil {
		tb.Fatal(err)
	}
	b.service = edit.New(edit.Options{
		Gate: gate, Open: func(serve.Offer) (edit.Share, error) { return sh, nil }, Locks: serve.NewLocks(),
		Opener: nobody{}, Name: func(peer.ID) peer.Name { return "holder" }, Patience: time.Nanosecond, Log: slog.New(slog.DiscardHandler),
	})
	return b
}

// nobody can be reached.
type nobody struct{}

func (nobody) Open(context.Context, peer.ID, string, int) (peer.Stream, error) {
	return nil, &peer.Error{Op: "open", Kind: peer.Unreachable, Err: errors.New("nobody is there")}
}

// oneFile is a share with one file, f.
type oneFile struct{}

func (oneFile) Stat(_ context.Context, p share.Path) (share.Entry, error) {
	if p.String() == "f" {
		return share.Entry{Path: p, Kind: share.File}, nil
	}
	return share.Entry{}, &peer.Error{Path: p.String(), Kind: peer.NotFound, Err: fs.ErrNotExist}
}

func (oneFile) List(context.Context, share.Path) iter.Seq2[share.Entry, error] {
	return func(func(share.Entry, error) bool) {}
}

func (o oneFile) Walk(ctx context.Context, p share.Path) iter.Seq2[share.Entry, error] {
	return o.List(ctx, p)
}

func (oneFile) Open(context.Context, share.Path) (share.OpenFile, error) {
	return nil, &peer.Error{Kind: peer.NotFound, Err: fs.ErrNotExist}
}
