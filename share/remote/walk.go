package remote

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/sharepb"
)

const (
	// readAhead is how many pages of a listing are kept for a user who is slower than the peer: 100,000 entries.
	readAhead = 100
	walkPause = time.Second // before a peer that went away is asked again
)

// WalkOn is Walk for who takes long over it, as a copy does. It reads ahead, so that a peer need not wait, and where the
// listing breaks off since the peer went away, a grant ended, or the reader was too slow even so, it goes on where it was:
// until nothing was heard for patience.
func (f *FS) WalkOn(ctx context.Context, p share.Path, patience time.Duration) iter.Seq2[share.Entry, error] {
	return func(yield func(share.Entry, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		w := &walker{fs: f, top: p, patience: patience, pages: make(chan []share.Entry, readAhead)}
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() { w.run(ctx) })
		for page := range w.pages {
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
			}
		}
		if w.err != nil {
			yield(share.Entry{}, f.located(w.err, p))
		}
	}
}

// walker reads a listing ahead of its user.
type walker struct {
	fs       *FS
	top      share.Path
	patience time.Duration
	pages    chan []share.Entry
	err      error // once pages is closed
}

func (w *walker) run(ctx context.Context) {
	defer close(w.pages)
	var last []string // the path that was told of last
	since, denied := time.Now(), false
	for {
		news, behind := false, last != nil
		w.err = w.fs.pages(ctx, w.fs.expect(sharepb.Verb_VERB_WALK, w.top), func(page []share.Entry) error {
			if behind { // of what was told already
				i := slices.IndexFunc(page, func(e share.Entry) bool { return slices.Compare(last, e.Path.Components()) < 0 })
				if i < 0 {
					return nil
				}
				page, behind = page[i:], false
			}
			if len(page) == 0 {
				return nil
			}
			select {
			case w.pages <- page:
			case <-ctx.Done():
				return ctx.Err()
			}
			last, news = page[len(page)-1].Path.Components(), true
			return nil
		})
		if err := ctx.Err(); w.err == nil || err != nil {
			w.err = err
			return
		}
		if news {
			since, denied = time.Now(), false
		}
		switch peer.KindOf(w.err) {
		case peer.Unreachable, peer.Busy:
		case peer.Denied:
			if denied { // by a fresh grant
				return
			}
			denied = true
			continue
		case peer.Other: // as when the peer tires of a slow reader
			if !news {
				return
			}
		default:
			return
		}
		if time.Since(since) >= w.patience {
			return
		}
		select {
		case <-time.After(walkPause):
		case <-ctx.Done():
			return
		}
	}
}
