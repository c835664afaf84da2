package serve_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"google.golang.org/protobuf/proto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/peertest"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/peer/wire/wirepb"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/servetest"
	"github.com/peerd/peerd/share/sharepb"
	"github.com/peerd/peerd/transfer"
	transferserve "github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
)

// sealed makes what the owner would give to a holder, changed by edit.
func sealed(t *testing.T, w *servetest.World, name string, holder *host.Host, right share.Right, edit func(*grant.Grant)) []byte {
	t.Helper()
	o, _ := w.Offers.Named(name)
	now := w.Now().Truncate(time.Second)
	g := grant.Grant{Share: o.ID, Holder: holder.ID(), Right: right, Epoch: o.Epochs.Of(right), NotBefore: now, Expires: now.Add(grant.MaxLife)}
	if edit != nil {
		edit(&g)
	}
	b, err := g.Seal(w.Key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// verbs are all things that can be asked of an owner. Each asks for it with a grant and gives the refusal, or nil.
func verbs(t *testing.T, w *servetest.World) map[string]func(from *host.Host, id share.ID, grant []byte) error {
	all := map[string]func(*host.Host, share.ID, []byte) error{
		"manifest": func(from *host.Host, id share.ID, grant []byte) error {
			var r transferpb.ManifestReply
			ask(t, w, from, transferserve.ManifestProtocol, &transferpb.ManifestRequest{File: file(id, grant, "large")}, &r)
			return refusal(r.GetError(), r.GetState() != nil)
		},
		"piece": func(from *host.Host, id share.ID, grant []byte) error {
			var r transferpb.GetReply
			o, _ := w.Offers.ByID(id)
			p, _ := share.ParsePath([]string{"large"})
			e, err := o.FS.Stat(context.Background(), p)
			if err != nil {
				t.Fatal(err)
			}
			ask(t, w, from, transferserve.GetProtocol, &transferpb.GetRequest{File: file(id, grant, "large"), Version: e.Version[:], Piece: 1}, &r)
			return refusal(r.GetError(), r.Length == transfer.MinPiece)
		},
		"swarm": func(from *host.Host, id share.ID, grant []byte) error {
			var n transferpb.SwarmNews
			o, _ := w.Offers.ByID(id)
			p, _ := share.ParsePath([]string{"large"})
			e, err := o.FS.Stat(context.Background(), p)
			if err != nil {
				t.Fatal(err)
			}
			ask(t, w, from, transferserve.SwarmProtocol, &transferpb.SwarmHello{Join: &transferpb.SwarmJoin{File: file(id, grant, "large"), Version: e.Version[:]}}, &n)
			return refusal(n.GetError(), n.All && len(n.Secret) > 0)
		},
		"whole": func(from *host.Host, id share.ID, grant []byte) error {
			var r transferpb.GetReply
			ask(t, w, from, transferserve.GetProtocol, &transferpb.GetRequest{File: file(id, grant, "small"), Whole: true}, &r)
			return refusal(r.GetError(), r.Length == 12)
		},
	}
	for n, name := range sharepb.Verb_name {
		verb := sharepb.Verb(n)
		if verb == sharepb.Verb_VERB_NONE {
			continue
		}
		all[name] = func(from *host.Host, id share.ID, grant []byte) error {
			var page sharepb.Page
			ask(t, w, from, serve.MetaProtocol, &sharepb.Request{Share: id[:], Grant: grant, Verb: verb}, &page)
			return refusal(page.Error, len(page.Entries) > 0)
		}
	}
	return all
}

func file(id share.ID, grant []byte, name string) *transferpb.File {
	return &transferpb.File{Share: id[:], Path: []string{name}, Grant: grant}
}

func refusal(e *wirepb.Error, given bool) error {
	err := wire.ToError(e)
	if (err == nil) != given {
		return fmt.Errorf("an answer with %v that gives %v", err, given)
	}
	return err
}

func ask(t *testing.T, w *servetest.World, from *host.Host, protocol string, request, reply proto.Message) {
	t.Helper()
	st, err := from.Open(context.Background(), w.Owner.ID(), protocol, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Reset()
	if err := st.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := wire.WriteMsg(st, request); err != nil {
		t.Fatal(err)
	}
	if err := wire.NewReader(st).ReadMsg(reply, wire.MaxMsg); err != nil {
		t.Fatalf("%s: %v", protocol, err)
	}
}

// TestRights is the exact table: every verb, with everything that may be shown in place of a right. A verb of sharepb that
// has no row fails here; one that [serve.Need] does not know is refused to everybody.
func TestRights(t *testing.T) {
	w := servetest.New(t)
	docs, _ := w.Offers.Named("docs")
	hidden, _ := w.Offers.Named("secret$")
	stranger := peertest.Key(t)
	type shown struct {
		grant []byte
		from  *host.Host
		share share.ID
		allow bool
	}
	rows := map[string]shown{
		"nothing":           {nil, w.Anna, docs.ID, false},
		"read":              {sealed(t, w, "docs", w.Anna, share.Read, nil), w.Anna, docs.ID, true},
		"full":              {sealed(t, w, "docs", w.Anna, share.Full, nil), w.Anna, docs.ID, true},
		"read, hidden":      {sealed(t, w, "secret$", w.Anna, share.Read, nil), w.Anna, hidden.ID, true},
		"expired":           {sealed(t, w, "docs", w.Anna, share.Read, func(g *grant.Grant) { g.NotBefore, g.Expires = g.NotBefore.Add(-grant.MaxLife), g.NotBefore }), w.Anna, docs.ID, false},
		"not valid yet":     {sealed(t, w, "docs", w.Anna, share.Read, func(g *grant.Grant) { g.NotBefore = g.NotBefore.Add(time.Minute) }), w.Anna, docs.ID, false},
		"for other share":   {sealed(t, w, "other", w.Anna, share.Read, nil), w.Anna, docs.ID, false},
		"of other holder":   {sealed(t, w, "docs", w.Berta, share.Read, nil), w.Anna, docs.ID, false},
		"old epoch, read":   {sealed(t, w, "docs", w.Anna, share.Read, func(g *grant.Grant) { g.Epoch-- }), w.Anna, docs.ID, false},
		"old epoch, full":   {sealed(t, w, "docs", w.Anna, share.Full, func(g *grant.Grant) { g.Epoch-- }), w.Anna, docs.ID, false},
		"future epoch":      {sealed(t, w, "docs", w.Anna, share.Read, func(g *grant.Grant) { g.Epoch++ }), w.Anna, docs.ID, false},
		"self-signed":       {selfSigned(t, stranger, docs, w), w.Anna, docs.ID, false},
		"ticket":            {ticket(t, docs, w), w.Anna, docs.ID, false},
		"garbage":           {[]byte("let me in"), w.Anna, docs.ID, false},
		"share not there":   {sealed(t, w, "docs", w.Anna, share.Read, func(g *grant.Grant) { g.Share[0] ^= 1 }), w.Anna, docs.ID, false},
		"too large a grant": {make([]byte, 2<<10), w.Anna, docs.ID, false},
	}
	all := verbs(t, w)
	if want := len(sharepb.Verb_name) - 1 + 4; len(all) != want {
		t.Errorf("%d verbs have a row, want %d", len(all), want)
	}
	for verb, ask := range all {
		for name, r := range rows {
			err := ask(r.from, r.share, r.grant)
			switch {
			case r.allow && err != nil:
				t.Errorf("%s with %s: refused: %v", verb, name, err)
			case !r.allow && err == nil:
				t.Errorf("%s with %s: allowed", verb, name)
			case !r.allow && peer.KindOf(err) != peer.Denied:
				t.Errorf("%s with %s: refused by %v, want kind %v", verb, name, err, peer.Denied)
			}
		}
	}
	if n := serve.Need(sharepb.Verb(99)); n <= share.Full {
		t.Errorf("a verb that nobody knows takes the right %v", n)
	}
}

func selfSigned(t *testing.T, key crypto.PrivKey, o serve.Offer, w *servetest.World) []byte {
	now := w.Now().Truncate(time.Second)
	g := grant.Grant{Share: o.ID, Holder: w.Anna.ID(), Right: share.Full, Epoch: o.Epochs.Full, NotBefore: now, Expires: now.Add(time.Minute)}
	b, err := g.Seal(key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func ticket(t *testing.T, o serve.Offer, w *servetest.World) []byte {
	now := w.Now().Truncate(time.Second)
	g := grant.Ticket{Share: o.ID, Holder: w.Anna.ID(), Right: share.Full, Epoch: o.Epochs.Full, NotBefore: now, Expires: now.Add(time.Minute)}
	b, err := g.Seal(w.Key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRightEndsWhileStreamRuns: what was granted ends in the midst of a stream, by time, by a new epoch, and with the share.
func TestRightEndsWhileStreamRuns(t *testing.T) {
	for name, end := range map[string]func(*servetest.World){
		"expired":     func(w *servetest.World) { w.Pass(grant.MaxLife) },
		"new epoch":   func(w *servetest.World) { w.Offers.Change("docs", func(o *serve.Offer) { o.Epochs.Read++ }) },
		"share ended": func(w *servetest.World) { w.Offers.Change("docs", func(o *serve.Offer) { o.ID[0] ^= 1 }) },
	} {
		t.Run(name, func(t *testing.T) {
			w := servetest.New(t)
			docs, _ := w.Offers.Named("docs")
			st, err := w.Anna.Open(context.Background(), w.Owner.ID(), transferserve.GetProtocol, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer st.Reset()
			if err := st.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			in := wire.NewReader(st)
			get := func(grant []byte) error {
				t.Helper()
				if err := wire.WriteMsg(st, &transferpb.GetRequest{File: file(docs.ID, grant, "small"), Whole: true}); err != nil {
					t.Fatal(err)
				}
				var r transferpb.GetReply
				if err := in.ReadMsg(&r, wire.MaxMsg); err != nil {
					t.Fatal(err)
				}
				if _, err := in.Read(make([]byte, r.Length)); r.Length > 0 && err != nil {
					t.Fatal(err)
				}
				return wire.ToError(r.Error)
			}
			if err := get(sealed(t, w, "docs", w.Anna, share.Read, nil)); err != nil {
				t.Fatal(err)
			}
			if err := get(nil); err != nil {
				t.Fatalf("the second request of a stream needs its grant again: %v", err)
			}
			end(w)
			if err := get(nil); peer.KindOf(err) != peer.Denied {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// TestEpochOfOneRightLeavesTheOther: a new full password does not disturb readers, and the reverse.
func TestEpochOfOneRightLeavesTheOther(t *testing.T) {
	w := servetest.New(t)
	docs, _ := w.Offers.Named("docs")
	read, full := sealed(t, w, "docs", w.Anna, share.Read, nil), sealed(t, w, "docs", w.Anna, share.Full, nil)
	whole := verbs(t, w)["whole"]
	w.Offers.Change("docs", func(o *serve.Offer) { o.Epochs.Full++ })
	if err := whole(w.Anna, docs.ID, read); err != nil {
		t.Errorf("a reader after a change of the full password: %v", err)
	}
	if err := whole(w.Anna, docs.ID, full); peer.KindOf(err) != peer.Denied {
		t.Errorf("the old full right: %v", err)
	}
}
