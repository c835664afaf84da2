package remote

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/remote/line"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/sharepb"
)

// Listed is what a folder holds, or why that is not known.
type Listed struct {
	Path    share.Path
	Entries []share.Entry
	Err     error
}

// asked is how many folders may be asked for before the first is answered.
const asked = 64

// Lists asks for many folders, each before those before it are answered, and yields the answers in the same order: so all take about one
// round trip. It ends when folders is closed. A folder that can't be listed stops no other; an error ends it, and says nothing of those
// that were not answered. One of more than most entries is such an error.
func (f *FS) Lists(ctx context.Context, folders <-chan share.Path, most int) iter.Seq2[Listed, error] {
	return func(yield func(Listed, error) bool) {
		if err := f.lists(ctx, folders, most, func(l Listed) bool { return yield(l, nil) }); err != nil && !errors.Is(err, errStopped) {
			yield(Listed{}, f.located(err, share.Path{}))
		}
	}
}

func (f *FS) lists(ctx context.Context, folders <-chan share.Path, most int, yield func(Listed) bool) error {
	grant, err := f.client.Grant(ctx, f.peer, f.name)
	if err != nil {
		return err
	}
	l, _, err := f.client.walks.Open(ctx, f.peer, false)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(ctx, func() { l.Reset() })
	over := false
	written := make(chan struct{})
	paths := make(chan share.Path, asked)
	defer func() {
		kept := over && stop()
		cancel(errStopped)
		<-written
		f.client.walks.Close(l, kept)
	}()
	go func() {
		defer close(written)
		defer close(paths)
		for {
			select {
			case p, more := <-folders:
				if !more {
					return
				}
				if err := f.askFor(l, p, grant); err != nil {
					cancel(away("list", err))
					return
				}
				select {
				case paths <- p:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	for p := range paths {
		got := Listed{Path: p}
		if got.Entries, got.Err, err = f.answered(l, p, most); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return err
		}
		if got.Err != nil {
			got.Err = f.located(got.Err, p)
		}
		if !yield(got) {
			return errStopped
		}
	}
	over = ctx.Err() == nil
	return context.Cause(ctx)
}

func (f *FS) askFor(l *line.Line, p share.Path, grant []byte) error {
	if err := l.SetWriteDeadline(time.Now().Add(silence)); err != nil {
		return err
	}
	req := &sharepb.Request{Share: f.share[:], Verb: sharepb.Verb_VERB_LIST, Path: p.Components()}
	if l.Shows(f.share, grant) {
		req.Grant = grant
	}
	return wire.WriteMsg(l, req)
}

// answered reads the answer to one of many requests. refused is of that one alone, err of all.
func (f *FS) answered(l *line.Line, p share.Path, most int) (entries []share.Entry, refused, err error) {
	a := f.expect(sharepb.Verb_VERB_LIST, p)
	for {
		var page sharepb.Page
		if err := l.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return nil, nil, err
		}
		if err := l.In.ReadMsg(&page, serve.MaxPage); err != nil {
			return nil, nil, away("list", err)
		}
		es, err := a.Page(&page)
		if err != nil {
			return nil, nil, err
		}
		if len(entries)+len(es) > most {
			return nil, nil, &peer.Error{Op: "list", Kind: peer.Other, Err: errors.New("a folder holds too much")}
		}
		entries = append(entries, es...)
		switch err := wire.ToError(page.Error); {
		case peer.KindOf(err) == peer.Denied:
			f.client.Forget(f.peer, f.name)
			return nil, nil, err
		case err != nil:
			return nil, err, nil
		case page.End:
			return entries, nil, nil
		}
	}
}
