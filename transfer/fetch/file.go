package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch/lane"
	"github.com/peerd/peerd/transfer/fetch/pull"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/store"
)

// changedTries is how often a file is begun anew that changes while it is fetched.
const changedTries = 3

// large fetches a file of several pieces.
func (f *Fetcher) large(ctx context.Context, it Item, dst *store.Dir, replace bool) (transfer.Hash, error) {
	for try := 1; ; try++ {
		root, err := f.tryLarge(ctx, it, dst, replace)
		if try == changedTries || !errors.Is(err, lane.ErrChanged) {
			return root, err
		}
	}
}

func (f *Fetcher) tryLarge(ctx context.Context, it Item, dst *store.Dir, replace bool) (transfer.Hash, error) {
	var none transfer.Hash
	ms, err := f.openManifest(ctx, it.Path)
	if err != nil {
		return none, err
	}
	defer ms.close()
	if err := f.sized(it, ms.layout.Size); err != nil {
		return none, err
	}
	if ms.layout.Pieces() == 1 {
		return none, f.src.Changed(it.Path)
	}
	old, err := f.standing(dst, it, ms.layout, replace)
	if err != nil {
		return none, err
	}
	if old != nil {
		defer old.Close()
	}
	if old != nil && !replace {
		err := f.compare(ctx, ms, it, old)
		return ms.root, err
	}
	key := fmt.Sprintf("%s/%s/%s/%s", f.src.Peer, f.src.Share, strings.Join(it.Path, "/"), it.Dest[len(it.Dest)-1])
	if it.Begun != "" {
		if err := dst.Adopt(it.Dest, key, it.Begun); err != nil {
			f.opts.Log.Debug("what came ahead is of no use", "err", err)
		}
	}
	part, err := dst.Partial(it.Dest, key, ms.layout, store.Meta{ModTime: ms.state.ModTime, Exec: it.Exec})
	if err != nil {
		return none, err
	}
	defer part.Close()
	var like io.ReaderAt
	if old != nil {
		like = old
	} else if it.Old != nil {
		like = it.Old()
		if c, ok := like.(io.Closer); ok {
			defer c.Close()
		}
	}
	if err := f.fill(ctx, ms, part, like, func(g pull.Growing) error { return f.promote(ms, part, g, dst, it, replace) }); err != nil {
		return none, err
	}
	return ms.root, nil
}

// errResized is not [lane.ErrChanged]: what an Item says of a file's size does not become true by asking again.
var errResized = errors.New("the file changed meanwhile, and has another size")

// sized says that a file is of another size than its Item, where that counts.
func (f *Fetcher) sized(it Item, size int64) error {
	if !f.opts.Exact || size == it.Size {
		return nil
	}
	return &peer.Error{Path: f.src.Path(it.Path), Kind: peer.Conflict, Err: errResized, Hint: "run it again"}
}

// fill brings every piece that is neither in part nor in an old version of the file, and then calls whole.
func (f *Fetcher) fill(ctx context.Context, ms *manifestStream, part *store.Partial, old io.ReaderAt, whole func(pull.Growing) error) error {
	grow := f.opts.Shelf.Begin(f.file(ms), ms.layout, part)
	defer grow.Close()
	l, end := f.pull(ms, partial{part}, grow)
	defer end()
	var h manifest.Hasher
	buf := make([]byte, manifest.Step)
	err := ms.each(ctx, func(i int, want transfer.Hash) error {
		select {
		case <-l.Done(): // an earlier piece failed
			return l.Err()
		default:
		}
		if part.Has(&h, i, want, buf) || (old != nil && part.CopyFrom(&h, old, i, want, buf)) || l.FromShelf(&h, i, want) {
			l.Here(i)
		} else {
			l.Known(i, want)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := l.Wait(ctx); err != nil {
		return err
	}
	return whole(grow)
}

// partial is a file on disk as a sink.
type partial struct{ *store.Partial }

// Here needs no doing: the bytes are where they belong.
func (partial) Here(int) {}

// promote gives a file that is whole its name.
func (f *Fetcher) promote(ms *manifestStream, part *store.Partial, g pull.Growing, dst *store.Dir, it Item, replace bool) error {
	err := part.Promote(replace)
	if peer.KindOf(err) == peer.Conflict && f.same(dst, it, ms) {
		return part.Discard() // somebody else brought the same file meanwhile
	}
	if err == nil {
		g.Finish(transfer.Manifest{Layout: ms.layout, Root: ms.root, Pieces: ms.got}, dst.Name(it.Dest))
	}
	return err
}

// file is what a manifest is of.
func (f *Fetcher) file(ms *manifestStream) transfer.File {
	return transfer.File{Owner: f.src.Peer, Share: f.src.Share, Path: ms.path, Version: ms.state.Version}
}

// standing opens what stands at the target already: what may be the same file, or be replaced by one that has pieces of it.
func (f *Fetcher) standing(dst *store.Dir, it Item, l transfer.Layout, replace bool) (*os.File, error) {
	found, size, _, err := dst.Look(it.Dest)
	switch {
	case err != nil:
		return nil, err
	case found == store.Regular && (size == l.Size || replace):
		return dst.Open(it.Dest)
	case found != store.Absent:
		return nil, exists(dst, it)
	}
	return nil, nil
}

// compare finds out whether a file of the same size is the same file.
func (f *Fetcher) compare(ctx context.Context, ms *manifestStream, it Item, old io.ReaderAt) error {
	var h manifest.Hasher
	buf := make([]byte, manifest.Step)
	return ms.each(ctx, func(i int, want transfer.Hash) error {
		if got, err := manifest.Piece(&h, old, ms.layout, i, buf); err != nil || got != want {
			return &peer.Error{Path: f.src.Path(it.Path), Kind: peer.Conflict, Err: errors.New("a different file has its name already"), Hint: "use -f to replace it"}
		}
		f.opts.Progress.Had(f.src.Path(it.Path), ms.layout.Length(i))
		return nil
	})
}

// same reports whether the file that stands at the target is the one whose manifest this is, all of it.
func (f *Fetcher) same(dst *store.Dir, it Item, ms *manifestStream) bool {
	old, err := f.standing(dst, it, ms.layout, false)
	if err != nil || old == nil {
		return false
	}
	defer old.Close()
	var h manifest.Hasher
	buf := make([]byte, manifest.Step)
	for i, want := range ms.got {
		if got, err := manifest.Piece(&h, old, ms.layout, i, buf); err != nil || got != want {
			return false
		}
	}
	return true
}
