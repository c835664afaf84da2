package remote

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
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
}

// FS makes the share that an access is for a [share.FS]. label is how it is called in messages: //anna/docs.
func (c *Client) FS(a Access, label string) *FS {
	return &FS{client: c, peer: a.Peer, share: a.Share, name: a.Name, label: label}
}

var _ share.FS = (*FS)(nil)

// silence is how long a peer may take for one page.
const silence = 20 * time.Second

// maxEntries is how many entries a peer can tell of in one answer before it is taken for a liar.
const maxEntries = 4_000_000

// Stat tells of one file or folder.
func (f *FS) Stat(ctx context.Context, p share.Path) (share.Entry, error) {
	for e, err := range f.ask(ctx, sharepb.Verb_VERB_STAT, p) {
		return e, err
	}
	return share.Entry{}, f.lie(p, "it says nothing")
}

// List yields the entries of a folder.
func (f *FS) List(ctx context.Context, p share.Path) iter.Seq2[share.Entry, error] {
	return f.ask(ctx, sharepb.Verb_VERB_LIST, p)
}

// Walk yields all below a folder.
func (f *FS) Walk(ctx context.Context, p share.Path) iter.Seq2[share.Entry, error] {
	return f.ask(ctx, sharepb.Verb_VERB_WALK, p)
}

// ask yields the answer to one request.
func (f *FS) ask(ctx context.Context, verb sharepb.Verb, p share.Path) iter.Seq2[share.Entry, error] {
	return func(yield func(share.Entry, error) bool) {
		if err := f.pages(ctx, verb, p, func(e share.Entry) bool { return yield(e, nil) }); err != nil {
			yield(share.Entry{}, f.located(err, p))
		}
	}
}

// pages calls yield with what the pages of an answer hold until it returns false.
func (f *FS) pages(ctx context.Context, verb sharepb.Verb, p share.Path, yield func(share.Entry) bool) error {
	grant, err := f.client.Grant(ctx, f.peer, f.name)
	if err != nil {
		return err
	}
	st, err := f.client.opener.Open(ctx, f.peer, serve.MetaProtocol, 0)
	if err != nil {
		return err
	}
	defer st.Reset()
	stop := context.AfterFunc(ctx, func() { st.Reset() })
	defer stop()
	if err := st.SetDeadline(time.Now().Add(silence)); err != nil {
		return err
	}
	req := &sharepb.Request{Share: f.share[:], Grant: grant, Verb: verb, Path: p.Components()}
	if err := wire.WriteMsg(st, req); err != nil {
		return away("list", err)
	}
	in := wire.NewReader(st)
	for seen := 0; ; {
		if err := st.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return err
		}
		var page sharepb.Page
		if err := in.ReadMsg(&page, serve.MaxPage); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return away("list", err)
		}
		if seen += len(page.Entries); seen > maxEntries {
			return f.lie(p, "it lists more than any folder has")
		}
		for _, m := range page.Entries {
			e, err := f.entry(p, m, verb)
			if err != nil {
				return err
			}
			if !yield(e) {
				return nil
			}
		}
		if page.Error != nil {
			return wire.ToError(page.Error)
		}
		if page.End {
			return nil
		}
		if len(page.Entries) == 0 {
			return f.lie(p, "a page of its list is empty")
		}
	}
}

// entry checks what a peer tells of. A name that no peer should send is an error: the rest is not worth more.
func (f *FS) entry(base share.Path, m *sharepb.Entry, verb sharepb.Verb) (share.Entry, error) {
	path, err := share.ParsePath(append(base.Components(), m.Path...))
	if err != nil {
		return share.Entry{}, &peer.Error{Kind: peer.Integrity, Err: err, Hint: "the peer sends names that can't be"}
	}
	e := share.Entry{Path: path, Kind: share.EntryKind(m.Kind), Size: m.Size, ModTime: time.Unix(0, m.ModTime), Exec: m.Exec}
	depth := len(m.Path)
	fits := (verb == sharepb.Verb_VERB_STAT && depth == 0) || (verb == sharepb.Verb_VERB_LIST && depth == 1) || (verb == sharepb.Verb_VERB_WALK && depth > 0)
	if !fits || (e.Kind != share.File && e.Kind != share.Dir) || m.Size < 0 || copy(e.Version[:], m.Version) != len(m.Version) {
		return share.Entry{}, f.lie(path, "an entry of its list makes no sense")
	}
	return e, nil
}

func (f *FS) lie(p share.Path, what string) error {
	return &peer.Error{Path: f.full(p), Kind: peer.Integrity, Err: errors.New("the peer's answer can't be true: " + what)}
}

func (f *FS) full(p share.Path) string {
	if p.IsRoot() {
		return f.label
	}
	return f.label + "/" + p.String()
}

// located gives an error the name that this side has for the path.
func (f *FS) located(err error, p share.Path) error {
	var e *peer.Error
	if !errors.As(err, &e) {
		return err
	}
	if e.Kind == peer.Denied {
		f.client.Forget(f.peer, f.name)
		return Revoked(f.label)
	}
	return &peer.Error{Op: e.Op, Path: f.full(p), Kind: e.Kind, Err: e.Err, Hint: e.Hint}
}

// Revoked is the error of a right that was there and is no more.
func Revoked(label string) error {
	return &peer.Error{Path: label, Kind: peer.Denied, Err: errors.New("the right to this share ended, as by a new password"),
		Hint: `run "peerd login ` + label + `"`}
}
