package serve_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/peer"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/auth"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/servetest"
	"github.com/peerd/peerd/share/sharepb"
	"github.com/peerd/peerd/transfer"
)

// files are the files of a share as a test wants them.
type files struct {
	entries []share.Entry
	err     error  // after them
	between func() // called between them
}

func (f *files) Stat(context.Context, share.Path) (share.Entry, error) {
	return share.Entry{Kind: share.Dir}, f.err
}

func (f *files) List(context.Context, share.Path) iter.Seq2[share.Entry, error] {
	return func(yield func(share.Entry, error) bool) {
		for _, e := range f.entries {
			if !yield(e, nil) {
				return
			}
			if f.between != nil {
				f.between()
			}
		}
		if f.err != nil {
			yield(share.Entry{}, f.err)
		}
	}
}

func (f *files) Walk(ctx context.Context, p share.Path) iter.Seq2[share.Entry, error] {
	return f.List(ctx, p)
}

func (f *files) Open(context.Context, share.Path) (share.OpenFile, error) { return nil, f.err }

func entries(t testing.TB, names ...string) (all []share.Entry) {
	t.Helper()
	for _, name := range names {
		p, err := share.ParsePath([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, share.Entry{Path: p, Kind: share.File, Size: 1})
	}
	return all
}

// bare is an owner without a network, the same at each call: the share docs, a peer, and its grant for it.
type bare struct {
	key    crypto.PrivKey // the owner's
	gate   *serve.Gate
	offers *servetest.Offers
	owner  peer.ID
	holder peer.ID
	docs   share.ID
	grant  []byte
	now    time.Time
}

func newBare(tb testing.TB, fs share.Files) *bare {
	tb.Helper()
	key := func(seed byte) (crypto.PrivKey, peer.ID) {
		k, pub, err := crypto.GenerateEd25519Key(bytes.NewReader(bytes.Repeat([]byte{seed}, 32)))
		if err != nil {
			tb.Fatal(err)
		}
		id, err := core.IDFromPublicKey(pub)
		if err != nil {
			tb.Fatal(err)
		}
		return k, id
	}
	owner, ownerID := key(1)
	b := &bare{key: owner, owner: ownerID, offers: new(servetest.Offers), docs: share.ID{1: 7}, now: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
	_, b.holder = key(2)
	b.offers.Add(serve.Offer{
		Info: share.Info{ID: b.docs, Name: "docs"}, Epochs: grant.Epochs{Read: 7, Full: 9}, FS: fs,
		Credentials: func() (auth.Credentials, error) { return auth.Credentials{}, errors.New("no passwords here") },
	})
	var err error
	if b.gate, err = serve.NewGate(owner, b.offers, func() time.Time { return b.now }); err != nil {
		tb.Fatal(err)
	}
	g := grant.Grant{Share: b.docs, Holder: b.holder, Right: share.Read, Epoch: 7, NotBefore: b.now, Expires: b.now.Add(time.Minute)}
	if b.grant, err = g.Seal(owner); err != nil {
		tb.Fatal(err)
	}
	return b
}

// pages runs requests and gives the pages that answer them.
func (b *bare) pages(tb testing.TB, requests []byte) []*sharepb.Page {
	tb.Helper()
	st := &servetest.Stream{In: bytes.NewReader(requests), ID: b.holder}
	_ = serve.NewLister(b.gate, serve.NewLocks()).Handle(context.Background(), st)
	in := wire.NewReader(&st.Out)
	for all := []*sharepb.Page(nil); ; {
		page := new(sharepb.Page)
		switch err := in.ReadMsg(page, serve.MaxPage); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			tb.Fatalf("an answer that nobody can read: %v", err)
		}
		all = append(all, page)
	}
}

func (b *bare) request(verb sharepb.Verb) *sharepb.Request {
	return &sharepb.Request{Share: b.docs[:], Grant: b.grant, Verb: verb}
}

// TestRightEndsWhileListing: entries that were gathered before the right ended are not sent after it, be they few or many.
func TestRightEndsWhileListing(t *testing.T) {
	few := entries(t, "a", "b", "c")
	many := make([]share.Entry, 3*serve.PageEntries)
	for i := range many {
		many[i] = few[i%3]
	}
	for name, list := range map[string][]share.Entry{"few": few, "many": many} {
		f := &files{entries: list}
		b := newBare(t, f)
		f.between = func() { b.offers.Change("docs", func(o *serve.Offer) { o.Epochs.Read++ }) }
		pages := b.pages(t, servetest.Frames(t, b.request(sharepb.Verb_VERB_LIST)))
		if len(pages) != 1 || len(pages[0].Entries) > 0 || peer.KindOf(wire.ToError(pages[0].Error)) != peer.Denied {
			t.Errorf("%s: %d pages, the first with %d entries, %v", name, len(pages), len(pages[0].GetEntries()), pages[0].GetError())
		}
	}
}

// TestDeniedIsAboutRights: that the owner's own system forbids something is no word about the peer's right.
func TestDeniedIsAboutRights(t *testing.T) {
	cause := &peer.Error{Op: "list", Path: "x", Kind: peer.Denied, Err: fs.ErrPermission}
	b := newBare(t, &files{err: cause})
	for _, verb := range []sharepb.Verb{sharepb.Verb_VERB_STAT, sharepb.Verb_VERB_LIST, sharepb.Verb_VERB_WALK} {
		pages := b.pages(t, servetest.Frames(t, b.request(verb)))
		if len(pages) != 1 || peer.KindOf(wire.ToError(pages[0].Error)) != peer.Other || pages[0].Error.GetText() == "" {
			t.Errorf("%s: %v", verb, pages)
		}
	}
	pass, err := serve.NewBytes(b.gate).Enter(b.grant, b.holder, b.docs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pass.Open(t.Context(), []string{"x"}, transfer.Version{}); peer.KindOf(err) != peer.Other {
		t.Errorf("open: %v", err)
	}
}

// TestPassIsForOneShare: what a stream was let in to opens no other share on it.
func TestPassIsForOneShare(t *testing.T) {
	b := newBare(t, &files{})
	other := b.request(sharepb.Verb_VERB_LIST)
	other.Share, other.Grant = bytes.Repeat([]byte{9}, len(b.docs)), nil
	again := b.request(sharepb.Verb_VERB_LIST)
	again.Grant = nil
	pages := b.pages(t, servetest.Frames(t, again, b.request(sharepb.Verb_VERB_LIST), again, other, again))
	var got []peer.Kind
	for _, p := range pages {
		got = append(got, peer.KindOf(wire.ToError(p.Error)))
	}
	want := []peer.Kind{peer.Denied, peer.Other, peer.Other, peer.Denied, peer.Denied}
	if string(kinds(got)) != string(kinds(want)) {
		t.Errorf("answers %v, want %v", got, want)
	}
}

func kinds(all []peer.Kind) (b []byte) {
	for _, k := range all {
		b = append(b, byte(k))
	}
	return b
}

// TestHelloFits: whatever there is to tell, others can read it.
func TestHelloFits(t *testing.T) {
	var offers servetest.Offers
	for i := range 2 * serve.MaxListed {
		offers.Add(serve.Offer{Info: share.Info{ID: share.ID{byte(i), byte(i >> 8)}, Name: "n", Comment: strings.Repeat("c", share.MaxComment)}})
	}
	self := peer.Info{Name: "berta", Workgroup: "a/b", Version: "1", Time: time.Unix(5, 0)}
	h := serve.NewPorter(&offers, func() peer.Info { return self }, nil).Hello("")
	if size := len(servetest.Frames(t, h)); size > serve.MaxHello || len(h.Shares) < 500 {
		t.Errorf("%d shares in %d bytes", len(h.Shares), size)
	}
	in := serve.IntroductionFrom(h, "id")
	if in.Workgroup != self.Workgroup || in.Name != self.Name || len(in.Shares) != len(h.Shares) || !in.Time.Equal(self.Time) {
		t.Errorf("it became %+v", in.Info)
	}
}

// FuzzLister: whatever a peer sends, the answers can be read, and there are entries in them only for who shows the grant.
func FuzzLister(f *testing.F) {
	b := newBare(f, &files{entries: entries(f, "a", "b")})
	list, walk := b.request(sharepb.Verb_VERB_LIST), b.request(sharepb.Verb_VERB_WALK)
	walk.Path = []string{"a", ".."}
	f.Add(false, servetest.Frames(f, list, walk, &sharepb.Request{Share: b.docs[:], Verb: sharepb.Verb_VERB_STAT}))
	f.Add(true, servetest.Frames(f, &sharepb.Request{Share: b.docs[:], Path: []string{"a"}, Verb: sharepb.Verb_VERB_STAT}))
	f.Add(false, servetest.Frames(f, b.request(sharepb.Verb_VERB_SPACE), &sharepb.Request{Share: b.docs[:], Verb: sharepb.Verb_VERB_SPACE}))
	f.Add(true, servetest.Frames(f, &sharepb.Request{Share: []byte("short"), Grant: b.grant, Verb: 99}))
	f.Fuzz(func(t *testing.T, granted bool, in []byte) {
		b := newBare(t, &files{entries: entries(t, "a", "b")})
		shown := granted || bytes.Contains(in, b.grant)
		if granted {
			in = append(servetest.Frames(t, b.request(sharepb.Verb_VERB_STAT)), in...)
		}
		for _, p := range b.pages(t, in) {
			if (len(p.Entries) > 0 || p.Space != nil) && !shown {
				t.Errorf("entries for nothing: %v", p)
			}
			if p.Error != nil && (p.End || len(p.Entries) > 0) {
				t.Errorf("an error and more: %v", p)
			}
		}
	})
}

// FuzzDoorman: nothing that a peer can make up lets it in to a share that is not open.
func FuzzDoorman(f *testing.F) {
	hello := func(name string) *sharepb.AuthHello {
		return &sharepb.AuthHello{Share: name, How: &sharepb.AuthHello_Password{Password: true}}
	}
	b := newBare(f, &files{})
	f.Add(servetest.Frames(f, hello("none"), &sharepb.AuthMessage{Data: make([]byte, auth.KE1Size)}, &sharepb.AuthMessage{Data: make([]byte, auth.KE3Size)}))
	f.Add(servetest.Frames(f, hello("docs"), &sharepb.AuthMessage{}))
	f.Add(servetest.Frames(f, &sharepb.AuthHello{Share: "docs", How: &sharepb.AuthHello_Open{Open: true}}))
	f.Add(servetest.Frames(f, &sharepb.AuthHello{Share: "docs", How: &sharepb.AuthHello_Ticket{Ticket: b.grant}}))
	f.Add(servetest.Frames(f, &sharepb.AuthHello{Share: "docs"}))
	dummy, err := auth.NewDummy(bytes.Repeat([]byte("s"), 32))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		b := newBare(t, &files{})
		st := &servetest.Stream{In: bytes.NewReader(in), ID: b.holder}
		_ = serve.NewDoorman(b.gate, dummy, new(auth.Throttle)).Handle(t.Context(), st)
		for out := wire.NewReader(&st.Out); ; {
			var m sharepb.AuthResult
			if err := out.ReadMsg(&m, serve.MaxAuthFrame); errors.Is(err, wire.ErrTooLong) {
				t.Fatal(err)
			} else if err != nil {
				return
			}
			if _, err := grant.Open(m.Grant, b.owner); err == nil {
				t.Error("it got a grant")
			}
			if _, err := grant.OpenTicket(m.Ticket, b.owner); err == nil {
				t.Error("it got a ticket")
			}
		}
	})
}

// FuzzHello: of whatever a peer says of itself, nothing is kept that could not be shown or is without bounds.
func FuzzHello(f *testing.F) {
	h := &sharepb.Hello{Name: "a/\x1bb", Workgroup: "W\u202e", Version: "1", Addrs: [][]byte{{4, 127, 0, 0, 1, 6, 1, 2}, {255}},
		Shares: []*sharepb.Share{{Id: make([]byte, 16), Name: "docs", Comment: "c\n", Open: 1}, {Id: make([]byte, 16), Name: "..", Open: 3}}}
	f.Add(servetest.Frames(f, h))
	f.Add([]byte{2, 0x2a, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		b := newBare(t, &files{})
		met := 0
		porter := serve.NewPorter(b.offers, func() peer.Info { return peer.Info{Name: "berta", Workgroup: "W"} }, func(in serve.Introduction) {
			met++
			if _, err := peer.ParseName(string(in.Name)); err != nil || in.ID != b.holder {
				t.Errorf("a peer %q %v", in.Name, in.ID)
			}
			if in.Workgroup != "" && peer.CheckText(in.Workgroup, peer.MaxWorkgroup) != nil {
				t.Errorf("the workgroup %q", in.Workgroup)
			}
			if len(in.Addrs) > 16 || len(in.Shares) > serve.MaxListed {
				t.Errorf("%d addresses, %d shares", len(in.Addrs), len(in.Shares))
			}
			for _, s := range in.Shares {
				if _, err := share.ParseName(string(s.Name)); err != nil || s.Open > share.Full || s.Comment != "" && peer.CheckText(s.Comment, share.MaxComment) != nil {
					t.Errorf("the share %+v", s)
				}
			}
		})
		err := porter.Handle(t.Context(), &servetest.Stream{In: bytes.NewReader(raw), ID: b.holder})
		if (err == nil) != (met == 1) {
			t.Errorf("met %d times, and %v", met, err)
		}
	})
}
