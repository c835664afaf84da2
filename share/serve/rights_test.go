package serve_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/auth"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/peertest"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/peer/wire/wirepb"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/local"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/sharepb"
	"github.com/peerd/peerd/transfer"
	transferserve "github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
)

// offers is a set of shares that tests change at will.
type offers struct {
	mu  sync.Mutex
	all []serve.Offer
}

func (o *offers) find(match func(serve.Offer) bool) (serve.Offer, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.all {
		if match(s) {
			return s, true
		}
	}
	return serve.Offer{}, false
}

func (o *offers) Named(name string) (serve.Offer, bool) {
	return o.find(func(s serve.Offer) bool { return share.FoldKey(string(s.Name)) == share.FoldKey(name) })
}

func (o *offers) ByID(id share.ID) (serve.Offer, bool) {
	return o.find(func(s serve.Offer) bool { return s.ID == id })
}

func (o *offers) Listed() ([]share.Info, uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []share.Info
	for _, s := range o.all {
		if !s.Hidden {
			out = append(out, s.Info)
		}
	}
	return out, 1
}

// change edits the share of a name.
func (o *offers) change(name share.Name, edit func(*serve.Offer)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.all {
		if o.all[i].Name == name {
			edit(&o.all[i])
		}
	}
}

// noManifests keeps nothing.
type noManifests struct{}

func (noManifests) Get(transfer.Version) (transfer.Manifest, bool) { return transfer.Manifest{}, false }
func (noManifests) Put(transfer.Version, transfer.Manifest)        {}

// world is an owner with the shares docs, other and secret$, and two peers that would like to see them.
type world struct {
	t                  *testing.T
	key                crypto.PrivKey
	owner, anna, berta *host.Host
	offers             *offers
	throttle           auth.Throttle

	mu  sync.Mutex
	now time.Time
}

const largeSize = 2<<20 + 77

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, key: peertest.Key(t), now: time.Now(), offers: &offers{}}
	hosts := peertest.Hosts(t, 3, func(c *host.Config) {
		if w.owner == nil && len(w.offers.all) == 0 {
			c.Key = w.key
			w.offers.all = []serve.Offer{{}} // the first host alone gets the key
		}
	})
	w.offers.all = nil
	w.owner, w.anna, w.berta = hosts[0], hosts[1], hosts[2]
	for _, name := range []share.Name{"docs", "other", "secret$"} {
		w.offers.all = append(w.offers.all, w.share(name))
	}
	gate, err := serve.NewGate(w.key, w.offers, w.clock)
	if err != nil {
		t.Fatal(err)
	}
	dummy, err := auth.NewDummy([]byte(strings.Repeat("a node's secret ", 2)))
	if err != nil {
		t.Fatal(err)
	}
	bytes := transferserve.New(serve.NewBytes(gate), noManifests{}, slog.New(slog.DiscardHandler))
	w.owner.Handle(serve.MetaProtocol, 8, serve.NewLister(gate).Handle)
	w.owner.Handle(serve.AuthProtocol, 2, serve.NewDoorman(gate, dummy, &w.throttle).Handle)
	w.owner.Handle(transferserve.ManifestProtocol, 8, bytes.Manifest)
	w.owner.Handle(transferserve.GetProtocol, 8, bytes.Get)
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) share(name share.Name) serve.Offer {
	w.t.Helper()
	dir, err := filepath.EvalSymlinks(w.t.TempDir())
	if err != nil {
		w.t.Fatal(err)
	}
	for file, size := range map[string]int{"small": 12, "large": largeSize} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(strings.Repeat("x", size)), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	fs, err := local.New(dir, local.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	var id share.ID
	if _, err := rand.Read(id[:]); err != nil {
		w.t.Fatal(err)
	}
	unset := sync.OnceValues(func() (auth.Credentials, error) {
		var c auth.Credentials
		for slot, at := range map[auth.Slot]*auth.Credential{auth.Read: &c.Read, auth.Full: &c.Full} {
			at.Keys = auth.NewServerKeys()
			var err error
			if at.Record, err = auth.RegisterUnset(at.Keys, id, slot); err != nil {
				return c, err
			}
		}
		return c, nil
	})
	return serve.Offer{
		Info: share.Info{ID: id, Name: name}, Hidden: name.Hidden(), Epochs: grant.Epochs{Read: 7, Full: 9}, FS: fs, Credentials: unset,
	}
}

// grant makes what the owner would give to a holder, changed by edit.
func (w *world) grant(name string, holder *host.Host, right share.Right, edit func(*grant.Grant)) []byte {
	w.t.Helper()
	o, _ := w.offers.Named(name)
	now := w.clock().Truncate(time.Second)
	g := grant.Grant{Share: o.ID, Holder: holder.ID(), Right: right, Epoch: o.Epochs.Of(right), NotBefore: now, Expires: now.Add(grant.MaxLife)}
	if edit != nil {
		edit(&g)
	}
	sealed, err := g.Seal(w.key)
	if err != nil {
		w.t.Fatal(err)
	}
	return sealed
}

// verbs are all things that can be asked of an owner. Each asks for it with a grant and gives the refusal, or nil.
func (w *world) verbs() map[string]func(from *host.Host, id share.ID, grant []byte) error {
	verbs := map[string]func(*host.Host, share.ID, []byte) error{
		"manifest": func(from *host.Host, id share.ID, grant []byte) error {
			var r transferpb.ManifestReply
			w.ask(from, transferserve.ManifestProtocol, &transferpb.ManifestRequest{File: file(id, grant, "large")}, &r)
			return refusal(r.GetError(), r.GetState() != nil)
		},
		"piece": func(from *host.Host, id share.ID, grant []byte) error {
			var r transferpb.GetReply
			o, _ := w.offers.ByID(id)
			p, _ := share.ParsePath([]string{"large"})
			e, err := o.FS.Stat(context.Background(), p)
			if err != nil {
				w.t.Fatal(err)
			}
			w.ask(from, transferserve.GetProtocol, &transferpb.GetRequest{File: file(id, grant, "large"), Version: e.Version[:], Piece: 1}, &r)
			return refusal(r.GetError(), r.Length == 1<<20)
		},
		"whole": func(from *host.Host, id share.ID, grant []byte) error {
			var r transferpb.GetReply
			w.ask(from, transferserve.GetProtocol, &transferpb.GetRequest{File: file(id, grant, "small"), Whole: true}, &r)
			return refusal(r.GetError(), r.Length == 12)
		},
	}
	for n, name := range sharepb.Verb_name {
		verb := sharepb.Verb(n)
		if verb == sharepb.Verb_VERB_NONE {
			continue
		}
		verbs[name] = func(from *host.Host, id share.ID, grant []byte) error {
			var page sharepb.Page
			w.ask(from, serve.MetaProtocol, &sharepb.Request{Share: id[:], Grant: grant, Verb: verb}, &page)
			return refusal(page.Error, len(page.Entries) > 0)
		}
	}
	return verbs
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

func (w *world) ask(from *host.Host, protocol string, request, reply message) {
	w.t.Helper()
	st, err := from.Open(context.Background(), w.owner.ID(), protocol, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer st.Reset()
	if err := st.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		w.t.Fatal(err)
	}
	if err := wire.WriteMsg(st, request); err != nil {
		w.t.Fatal(err)
	}
	if err := wire.NewReader(st).ReadMsg(reply, wire.MaxMsg); err != nil {
		w.t.Fatalf("%s: %v", protocol, err)
	}
}

// TestRights is the exact table: every verb, with everything that may be shown in place of a right. A verb of sharepb that
// has no row fails here; one that [serve.Need] does not know is refused to everybody.
func TestRights(t *testing.T) {
	w := newWorld(t)
	docs, _ := w.offers.Named("docs")
	hidden, _ := w.offers.Named("secret$")
	stranger := peertest.Key(t)
	type shown struct {
		grant []byte
		from  *host.Host
		share share.ID
		allow bool
	}
	rows := map[string]shown{
		"nothing":           {nil, w.anna, docs.ID, false},
		"read":              {w.grant("docs", w.anna, share.Read, nil), w.anna, docs.ID, true},
		"full":              {w.grant("docs", w.anna, share.Full, nil), w.anna, docs.ID, true},
		"read, hidden":      {w.grant("secret$", w.anna, share.Read, nil), w.anna, hidden.ID, true},
		"expired":           {w.grant("docs", w.anna, share.Read, func(g *grant.Grant) { g.NotBefore, g.Expires = g.NotBefore.Add(-grant.MaxLife), g.NotBefore }), w.anna, docs.ID, false},
		"not valid yet":     {w.grant("docs", w.anna, share.Read, func(g *grant.Grant) { g.NotBefore = g.NotBefore.Add(time.Minute) }), w.anna, docs.ID, false},
		"for other share":   {w.grant("other", w.anna, share.Read, nil), w.anna, docs.ID, false},
		"of other holder":   {w.grant("docs", w.berta, share.Read, nil), w.anna, docs.ID, false},
		"old epoch, read":   {w.grant("docs", w.anna, share.Read, func(g *grant.Grant) { g.Epoch-- }), w.anna, docs.ID, false},
		"old epoch, full":   {w.grant("docs", w.anna, share.Full, func(g *grant.Grant) { g.Epoch-- }), w.anna, docs.ID, false},
		"future epoch":      {w.grant("docs", w.anna, share.Read, func(g *grant.Grant) { g.Epoch++ }), w.anna, docs.ID, false},
		"self-signed":       {selfSigned(t, stranger, docs, w), w.anna, docs.ID, false},
		"ticket":            {ticket(t, docs, w), w.anna, docs.ID, false},
		"garbage":           {[]byte("let me in"), w.anna, docs.ID, false},
		"share not there":   {w.grant("docs", w.anna, share.Read, func(g *grant.Grant) { g.Share[0] ^= 1 }), w.anna, docs.ID, false},
		"too large a grant": {make([]byte, 2<<10), w.anna, docs.ID, false},
	}
	verbs := w.verbs()
	if want := len(sharepb.Verb_name) - 1 + 3; len(verbs) != want {
		t.Errorf("%d verbs have a row, want %d", len(verbs), want)
	}
	for verb, ask := range verbs {
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

func selfSigned(t *testing.T, key crypto.PrivKey, o serve.Offer, w *world) []byte {
	now := w.clock().Truncate(time.Second)
	g := grant.Grant{Share: o.ID, Holder: w.anna.ID(), Right: share.Full, Epoch: o.Epochs.Full, NotBefore: now, Expires: now.Add(time.Minute)}
	b, err := g.Seal(key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func ticket(t *testing.T, o serve.Offer, w *world) []byte {
	now := w.clock().Truncate(time.Second)
	g := grant.Ticket{Share: o.ID, Holder: w.anna.ID(), Right: share.Full, Epoch: o.Epochs.Full, NotBefore: now, Expires: now.Add(time.Minute)}
	b, err := g.Seal(w.key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRightEndsWhileStreamRuns: what was granted ends in the midst of a stream, by time, by a new epoch, and with the share.
func TestRightEndsWhileStreamRuns(t *testing.T) {
	for name, end := range map[string]func(*world){
		"expired":     func(w *world) { w.pass(grant.MaxLife) },
		"new epoch":   func(w *world) { w.offers.change("docs", func(o *serve.Offer) { o.Epochs.Read++ }) },
		"share ended": func(w *world) { w.offers.change("docs", func(o *serve.Offer) { o.ID[0] ^= 1 }) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			docs, _ := w.offers.Named("docs")
			st, err := w.anna.Open(context.Background(), w.owner.ID(), transferserve.GetProtocol, 0)
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
			if err := get(w.grant("docs", w.anna, share.Read, nil)); err != nil {
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
	w := newWorld(t)
	docs, _ := w.offers.Named("docs")
	read, full := w.grant("docs", w.anna, share.Read, nil), w.grant("docs", w.anna, share.Full, nil)
	whole := w.verbs()["whole"]
	w.offers.change("docs", func(o *serve.Offer) { o.Epochs.Full++ })
	if err := whole(w.anna, docs.ID, read); err != nil {
		t.Errorf("a reader after a change of the full password: %v", err)
	}
	if err := whole(w.anna, docs.ID, full); peer.KindOf(err) != peer.Denied {
		t.Errorf("the old full right: %v", err)
	}
}

type message interface{ ProtoReflect() protoreflect.Message }
