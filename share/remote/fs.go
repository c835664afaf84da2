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
	"github.com/peerd/peerd/share/remote/pages"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/sharepb"
)

// FS is another peer's share.
type FS struct {
	client *Client
	peer   peer.ID
	share  share.ID
	name   string
	label  string
	most   int // entries of one answer
}

// FS makes the share that an access is for a [share.FS]. label is how it is called in messages: //anna/docs.
func (c *Client) FS(a Access, label string) *FS {
	return &FS{client: c, peer: a.Peer, share: a.Share, name: a.Name, label: label, most: maxEntries}
}

var _ share.FS = (*FS)(nil)

// silence is how long a peer may take for one page.
const silence = 20 * time.Second

// atOnce is how soon a line that was dead before it was used tells so. What takes longer is a peer that went away meanwhile.
const atOnce = time.Second

// maxEntries is how many entries a peer can tell of in one answer before it is taken for a liar.
const maxEntries = 4_000_000

// Stat tells of one file or folder.
func (f *FS) Stat(ctx context.Context, p share.Path) (share.Entry, error) {
	err := f.lie(p, "it says nothing")
	var e share.Entry
	for e, err = range f.ask(ctx, sharepb.Verb_VERB_STAT, p) { // to its end, so that the line is of use for another
	}
	return e, err
}

// List yields the entries of a folder.
func (f *FS) List(ctx context.Context, p share.Path) iter.Seq2[share.Entry, error] {
	return f.ask(ctx, sharepb.Verb_VERB_LIST, p)
}

// Walk yields all below a folder. Who takes long over it uses [FS.WalkOn].
func (f *FS) Walk(ctx context.Context, p share.Path) iter.Seq2[share.Entry, error] {
	return f.ask(ctx, sharepb.Verb_VERB_WALK, p)
}

// Space is how many bytes the share may hold, and how many more this peer may put there; both are 0 where the owner can't tell.
func (f *FS) Space(ctx context.Context) (total, free int64, _ error) {
	for try := 1; ; try++ {
		a := f.expect(sharepb.Verb_VERB_SPACE, share.Path{})
		err := f.pages(ctx, a, func([]share.Entry) error { return nil })
		switch {
		case err == nil && a.Space == nil:
			return 0, 0, f.lie(share.Path{}, "it says nothing")
		case try == 1 && peer.KindOf(err) == peer.Denied:
			continue
		case err != nil:
			return 0, 0, f.located(err, share.Path{})
		}
		return a.Space.GetTotal(), a.Space.GetFree(), nil
	}
}

// ask yields the answer to one request. A right that ended before the first entry is asked for once more: the password may
// have been changed to none.
func (f *FS) ask(ctx context.Context, verb sharepb.Verb, p share.Path) iter.Seq2[share.Entry, error] {
	return func(yield func(share.Entry, error) bool) {
		told := false
		page := func(entries []share.Entry) error {
			told = told || len(entries) > 0
			for _, e := range entries {
				if !yield(e, nil) {
					return errStopped
				}
			}
			return nil
		}
		err := f.pages(ctx, f.expect(verb, p), page)
		if !told && peer.KindOf(err) == peer.Denied {
			err = f.pages(ctx, f.expect(verb, p), page)
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(share.Entry{}, f.located(err, p))
		}
	}
}

func (f *FS) expect(verb sharepb.Verb, p share.Path) *pages.Answer {
	return &pages.Answer{Verb: verb, Base: p, Most: f.most, Full: f.Full}
}

// errStopped is of who wants no more entries.
var errStopped = errors.New("stopped")

// pages gives what the pages of an answer hold to got, until that fails. A grant that is refused is not used again, and a line that was
// kept too long is no reason to fail.
func (f *FS) pages(ctx context.Context, a *pages.Answer, got func([]share.Entry) error) error {
	lines := f.client.looks
	if a.Verb == sharepb.Verb_VERB_WALK {
		lines = f.client.walks
	}
	for fresh := false; ; fresh = true {
		stale, err := f.exchange(ctx, lines, fresh, a, got)
		if !stale {
			return err
		}
	}
}

// exchange asks once; stale says that the line was dead before anything was answered.
func (f *FS) exchange(ctx context.Context, lines *line.Lines, fresh bool, a *pages.Answer, got func([]share.Entry) error) (stale bool, err error) {
	grant, err := f.client.Grant(ctx, f.peer, f.name)
	if err != nil {
		return false, err
	}
	l, used, err := lines.Open(ctx, f.peer, fresh)
	if err != nil {
		return false, err
	}
	stop := context.AfterFunc(ctx, func() { l.Reset() })
	over := false
	defer func() { lines.Close(l, stop() && over) }()
	began := time.Now()
	if err := l.SetWriteDeadline(began.Add(silence)); err != nil {
		return used, err
	}
	req := &sharepb.Request{Share: f.share[:], Verb: a.Verb, Path: a.Base.Components()}
	if l.Shows(f.share, grant) {
		req.Grant = grant
	}
	if err := wire.WriteMsg(l, req); err != nil {
		return used, away("list", err)
	}
	for {
		var page sharepb.Page
		err := l.SetReadDeadline(time.Now().Add(silence))
		if err == nil {
			err = l.In.ReadMsg(&page, serve.MaxPage)
		}
		if err != nil {
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			return used && a.Pages == 0 && time.Since(began) < atOnce, away("list", err)
		}
		entries, err := a.Page(&page)
		if err != nil {
			return false, err
		}
		if err := got(entries); err != nil {
			return false, err
		}
		if err := wire.ToError(page.Error); err != nil {
			if over = peer.KindOf(err) != peer.Denied; !over {
				f.client.Forget(f.peer, f.name)
			}
			return false, err
		}
		if page.End {
			over = true
			return false, nil
		}
	}
}

// checked is an entry that makes sense.
func (f *FS) checked(path share.Path, m *sharepb.Entry) (share.Entry, error) {
	return pages.Entry(f.Full, path, m)
}

func (f *FS) lie(p share.Path, what string) error { return pages.Lie(f.Full, p, what) }

// Full is a path in the share as it is called in messages.
func (f *FS) Full(p share.Path) string {
	if p.IsRoot() {
		return f.label
	}
	return f.label + "/" + p.String()
}

// located gives an error the name that this side has for the path.
func (f *FS) located(err error, p share.Path) error {
	var e *peer.Error
	switch {
	case !errors.As(err, &e):
		return err
	case e.Kind == peer.Denied:
		return Revoked(f.label)
	}
	out := &peer.Error{Op: e.Op, Path: f.Full(p), Kind: e.Kind, Err: e.Err, Hint: e.Hint}
	if e.Kind == peer.NotFound && e.Hint == "" && !p.IsRoot() {
		out.Hint = `see "peerd ls ` + f.Full(p.Dir()) + `"`
	}
	return out
}

// Revoked is the error of a right that was there and is no more.
func Revoked(label string) error {
	return &peer.Error{Path: label, Kind: peer.Denied, Err: errors.New("the right to this share ended, as by a new password, or since too much was changed at once"),
		Hint: `run "peerd login ` + label + `"`}
}
