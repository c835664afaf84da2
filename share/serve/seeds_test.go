package serve_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/proto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/peertest"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/servetest"
	"github.com/peerd/peerd/share/sharepb"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/seed"
	transferserve "github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
)

// crate is a cache that keeps everything.
type crate map[transfer.Hash][]byte

func (c crate) Put(h transfer.Hash, b []byte)                        { c[h] = bytes.Clone(b) }
func (c crate) Get(h transfer.Hash, _ []byte) ([]byte, bool)         { b, ok := c[h]; return b, ok }
func (c crate) Has(h transfer.Hash, _ int) bool                      { return c[h] != nil }
func (c crate) own(context.Context, peer.ID, string) ([]byte, error) { return nil, errors.New("none") }

// seeder is Berta, who has the file "large" of the shares docs and other, and of other the file "theirs".
type seeder struct {
	t     *testing.T
	w     *servetest.World
	shelf *seed.Shelf
	seeds *serve.Seeds
}

var fetchedVersion = transfer.Version{42}

func newSeeder(t *testing.T, w *servetest.World) *seeder {
	t.Helper()
	s := &seeder{t: t, w: w}
	var err error
	if s.shelf, err = seed.Open(t.TempDir(), crate{}, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	for _, f := range [][2]string{{"docs", "large"}, {"other", "large"}, {"other", "theirs"}} {
		o, _ := w.Offers.Named(f[0])
		s.put(w.Owner.ID(), o.ID, f[0], f[1])
	}
	s.serve()
	return s
}

// put puts a file on the shelf; every byte of it is the first letter of the share's name.
func (s *seeder) put(owner peer.ID, id share.ID, name, file string) {
	s.t.Helper()
	data := bytes.Repeat([]byte(name[:1]), servetest.LargeSize)
	l, err := transfer.LayoutOf(servetest.LargeSize)
	if err != nil {
		s.t.Fatal(err)
	}
	m, err := manifest.Build(bytes.NewReader(data), l, func(i int, h transfer.Hash) error {
		s.shelf.Keep(h, data[l.Offset(i):][:l.Length(i)])
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.shelf.Know(seed.Share{Owner: owner, ID: id}, name)
	f := transfer.File{Owner: owner, Share: id, Path: []string{file}, Version: fetchedVersion}
	s.shelf.Begin(f, l, bytes.NewReader(nil)).Finish(m, "")
}

// serve starts to serve, with nothing known of epochs.
func (s *seeder) serve() {
	s.t.Helper()
	none, err := serve.NewGate(peertest.Key(s.t), &servetest.Offers{}, s.w.Now)
	if err != nil {
		s.t.Fatal(err)
	}
	s.seeds = serve.NewSeeds(s.shelf, crate{}.own, s.w.Now)
	bytes := transferserve.New(transferserve.Options{
		Auth: serve.Either(serve.NewBytes(none), s.seeds), Topics: s.seeds, Log: slog.New(slog.DiscardHandler),
	})
	s.w.Berta.Handle(transferserve.GetProtocol, 8, bytes.Get)
	s.w.Berta.Handle(transferserve.SwarmProtocol, 8, bytes.Swarm)
}

// ask asks, gives the answer in reply, and the first byte after it if there is one.
func (s *seeder) ask(from *host.Host, protocol string, request, reply proto.Message, body []byte) {
	s.t.Helper()
	st, err := from.Open(context.Background(), s.w.Berta.ID(), protocol, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer st.Reset()
	if err := st.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	if err := wire.WriteMsg(st, request); err != nil {
		s.t.Fatal(err)
	}
	in := wire.NewReader(st)
	if err := in.ReadMsg(reply, wire.MaxMsg); err != nil {
		s.t.Fatalf("%s: %v", protocol, err)
	}
	if r, ok := reply.(*transferpb.GetReply); ok && r.Length > 0 {
		_, _ = in.Read(body)
	}
}

// verbs are all things that can be asked of a seed: each gives the refusal, or nil.
func (s *seeder) verbs() map[string]func(from *host.Host, id share.ID, grant []byte, name string) error {
	return map[string]func(*host.Host, share.ID, []byte, string) error{
		"piece": func(from *host.Host, id share.ID, grant []byte, name string) error {
			var r transferpb.GetReply
			var b [1]byte
			s.ask(from, transferserve.GetProtocol, &transferpb.GetRequest{File: file(id, grant, name), Version: fetchedVersion[:], Piece: 1}, &r, b[:])
			if o, _ := s.w.Offers.ByID(id); r.Error == nil && b[0] != o.Name[0] {
				s.t.Errorf("a piece of %q begins with %q", o.Name, b)
			}
			return refusal(r.Error, r.Length == transfer.MinPiece)
		},
		"swarm": func(from *host.Host, id share.ID, grant []byte, name string) error {
			var n transferpb.SwarmNews
			s.ask(from, transferserve.SwarmProtocol, &transferpb.SwarmHello{Join: &transferpb.SwarmJoin{File: file(id, grant, name), Version: fetchedVersion[:]}}, &n, nil)
			if len(n.Secret) > 0 || n.Of > 0 {
				s.t.Errorf("it speaks for the owner: %v", &n)
			}
			return refusal(n.GetError(), len(n.Set) > 0)
		},
		"whole": func(from *host.Host, id share.ID, grant []byte, name string) error {
			var r transferpb.GetReply
			s.ask(from, transferserve.GetProtocol, &transferpb.GetRequest{File: file(id, grant, name), Whole: true}, &r, nil)
			if err := wire.ToError(r.Error); r.Error == nil || peer.KindOf(err) == peer.Denied {
				return refusal(r.Error, false)
			}
			return nil // let in, and told that there is no such file: pieces are all that a seed gives
		},
	}
}

// TestSeedRights is the exact table of a seed: every verb, with everything that may be shown in place of a right.
func TestSeedRights(t *testing.T) {
	w := servetest.New(t)
	s := newSeeder(t, w)
	docs, _ := w.Offers.Named("docs")
	other, _ := w.Offers.Named("other")
	read := func(name string, edit func(*grant.Grant)) []byte { return sealed(t, w, name, w.Anna, share.Read, edit) }
	early := func(d time.Duration) []byte {
		return read("docs", func(g *grant.Grant) { g.NotBefore = g.NotBefore.Add(d).Add(time.Second).Truncate(time.Second) })
	}
	shift := func(d time.Duration) []byte {
		return read("docs", func(g *grant.Grant) { g.NotBefore, g.Expires = g.NotBefore.Add(d), g.Expires.Add(d) })
	}
	newer := read("docs", func(g *grant.Grant) { g.Epoch++ })
	newerFull := sealed(t, w, "docs", w.Anna, share.Full, func(g *grant.Grant) { g.Epoch++ })
	docsShare := seed.Share{Owner: w.Owner.ID(), ID: docs.ID}
	deny := func(serial uint64, who ...*host.Host) {
		st := serve.State{Denied: make(map[peer.ID]bool), Serial: serial}
		for _, h := range who {
			st.Denied[h.ID()] = true
		}
		s.seeds.Tell(docsShare, st)
	}
	show := func(g []byte, from peer.ID) func() {
		return func() { _, _ = s.seeds.Enter(g, from, docs.ID) }
	}
	for name, r := range map[string]struct {
		grant  []byte
		share  share.ID
		name   string
		before func()
		want   peer.Kind // 0: allowed
	}{
		"nothing":                  {nil, docs.ID, "large", nil, peer.Denied},
		"read":                     {read("docs", nil), docs.ID, "large", nil, 0},
		"full":                     {sealed(t, w, "docs", w.Anna, share.Full, nil), docs.ID, "large", nil, 0},
		"of the other share":       {read("other", nil), docs.ID, "large", nil, peer.Denied},
		"for the other share":      {read("docs", nil), other.ID, "large", nil, peer.Denied},
		"a file of the other":      {read("docs", nil), docs.ID, "theirs", nil, peer.NotFound},
		"the other's, rightly":     {read("other", nil), other.ID, "theirs", nil, 0},
		"a share not fetched":      {read("secret$", nil), idOf(w, "secret$"), "large", nil, peer.Denied},
		"a path upwards":           {read("docs", nil), docs.ID, "..", nil, peer.Usage},
		"of another holder":        {sealed(t, w, "docs", w.Berta, share.Read, nil), docs.ID, "large", nil, peer.Denied},
		"expired":                  {shift(-grant.MaxLife), docs.ID, "large", nil, peer.Denied},
		"nearly expired":           {shift(-grant.MaxLife + 2*time.Second), docs.ID, "large", nil, 0},
		"early, within the skew":   {shift(2 * time.Minute), docs.ID, "large", nil, 0},
		"early, beyond the skew":   {early(2*time.Minute + time.Second), docs.ID, "large", nil, peer.Denied},
		"early by the whole life":  {shift(grant.MaxLife), docs.ID, "large", nil, peer.Denied},
		"self-signed":              {selfSigned(t, peertest.Key(t), docs, w), docs.ID, "large", nil, peer.Denied},
		"a ticket":                 {ticket(t, docs, w), docs.ID, "large", nil, peer.Denied},
		"garbage":                  {[]byte("let me in"), docs.ID, "large", nil, peer.Denied},
		"newer epoch":              {newer, docs.ID, "large", nil, 0},
		"old, a newer was shown":   {read("docs", nil), docs.ID, "large", show(newer, w.Anna.ID()), peer.Denied},
		"old, the owner said so":   {read("docs", nil), docs.ID, "large", func() { s.seeds.Tell(docsShare, serve.State{Epochs: grant.Epochs{Read: docs.Epochs.Read + 1}}) }, peer.Denied},
		"old, another right's new": {read("docs", nil), docs.ID, "large", show(newerFull, w.Anna.ID()), 0},
		"old full":                 {sealed(t, w, "docs", w.Anna, share.Full, nil), docs.ID, "large", show(newerFull, w.Anna.ID()), peer.Denied},
		"old, another share's new": {read("docs", nil), docs.ID, "large", func() {
			s.seeds.Tell(seed.Share{Owner: w.Owner.ID(), ID: other.ID}, serve.State{Epochs: grant.Epochs{Read: 99, Full: 99}})
		}, 0},
		"old, somebody made it up":     {read("docs", nil), docs.ID, "large", show(selfSigned(t, peertest.Key(t), docs, w), w.Anna.ID()), 0},
		"read, denied":                 {read("docs", nil), docs.ID, "large", func() { deny(1, w.Anna) }, peer.Denied},
		"full, denied":                 {sealed(t, w, "docs", w.Anna, share.Full, nil), docs.ID, "large", func() { deny(1, w.Anna, w.Berta) }, peer.Denied},
		"newer epoch, denied":          {newer, docs.ID, "large", func() { deny(1, w.Anna) }, peer.Denied},
		"another is denied":            {read("docs", nil), docs.ID, "large", func() { deny(1, w.Berta) }, 0},
		"denied no more":               {read("docs", nil), docs.ID, "large", func() { deny(1, w.Anna); deny(2, w.Berta) }, 0},
		"denied no more, out of order": {read("docs", nil), docs.ID, "large", func() { deny(2, w.Berta); deny(1, w.Anna) }, peer.Denied},
		"denied, out of order":         {read("docs", nil), docs.ID, "large", func() { deny(2, w.Anna); deny(1, w.Berta) }, peer.Denied},
		"denied in another share": {read("docs", nil), docs.ID, "large", func() {
			s.seeds.Tell(seed.Share{Owner: w.Owner.ID(), ID: other.ID}, serve.State{Denied: map[peer.ID]bool{w.Anna.ID(): true}, Serial: 1})
		}, 0},
		"an epoch taken back": {newer, docs.ID, "large", func() {
			s.seeds.Tell(docsShare, serve.State{Epochs: grant.Epochs{Read: docs.Epochs.Read + 2}})
			s.seeds.Tell(docsShare, serve.State{Epochs: grant.Epochs{Read: 1}})
		}, peer.Denied},
	} {
		for verb, ask := range s.verbs() {
			want := r.want
			if verb == "whole" && want != peer.Denied {
				want = 0 // it says which right there is, no more
			}
			s.serve()
			if r.before != nil {
				r.before()
			}
			if err := ask(w.Anna, r.share, r.grant, r.name); (err == nil) != (want == 0) || (err != nil && peer.KindOf(err) != want) {
				t.Errorf("%s with %s: %v, want kind %v", verb, name, err, want)
			}
		}
	}
}

func idOf(w *servetest.World, name string) share.ID {
	o, _ := w.Offers.Named(name)
	return o.ID
}

// TestSeedRightEnds: what was let in is let out by time, by a new epoch that somebody shows, and by the owner's word.
func TestSeedRightEnds(t *testing.T) {
	w := servetest.New(t)
	docs, _ := w.Offers.Named("docs")
	for name, end := range map[string]func(*serve.Seeds){
		"time": func(*serve.Seeds) { w.Pass(grant.MaxLife) },
		"a new grant": func(s *serve.Seeds) {
			g := sealed(t, w, "docs", w.Berta, share.Read, func(g *grant.Grant) { g.Epoch++ })
			if _, err := s.Enter(g, w.Berta.ID(), docs.ID); err != nil {
				t.Error(err)
			}
		},
		"the owner denies": func(s *serve.Seeds) {
			s.Tell(seed.Share{Owner: w.Owner.ID(), ID: docs.ID}, serve.State{Denied: map[peer.ID]bool{w.Anna.ID(): true}, Serial: 1})
		},
		"the owner": func(s *serve.Seeds) {
			s.Tell(seed.Share{Owner: w.Owner.ID(), ID: docs.ID}, serve.State{Epochs: grant.Epochs{Read: docs.Epochs.Read + 1}})
		},
	} {
		s := newSeeder(t, w)
		pass, err := s.seeds.Enter(sealed(t, w, "docs", w.Anna, share.Read, nil), w.Anna.ID(), docs.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := pass.Check(); err != nil || pass.Owner() != w.Owner.ID() {
			t.Errorf("%s: before: %v of %v", name, err, pass.Owner())
		}
		told := 0
		defer pass.(transferserve.Ender).OnEnd(func() { told++ })()
		end(s.seeds)
		if want := map[bool]int{true: 0, false: 1}[name == "time"]; told != want {
			t.Errorf("%s: told %d times", name, told)
		}
		if err := pass.Check(); peer.KindOf(err) != peer.Denied {
			t.Errorf("%s: afterwards: %v", name, err)
		}
		if _, err := pass.Open(t.Context(), []string{"large"}, fetchedVersion); peer.KindOf(err) != peer.Denied {
			t.Errorf("%s: opening afterwards: %v", name, err)
		}
	}
}

// TestSeedOfTwoOwners: of two owners whose shares have one ID, the right of one opens nothing of the other.
func TestSeedOfTwoOwners(t *testing.T) {
	w := servetest.New(t)
	s := newSeeder(t, w)
	docs, _ := w.Offers.Named("docs")
	key := peertest.Key(t)
	forger, err := core.IDFromPublicKey(key.GetPublic())
	if err != nil {
		t.Fatal(err)
	}
	s.put(forger, docs.ID, "forged", "trap")
	for name, tc := range map[string]struct {
		key        crypto.PrivKey
		opens, not string
		owner      peer.ID
	}{
		"the owner's":     {w.Key, "large", "trap", w.Owner.ID()},
		"the other one's": {key, "trap", "large", forger},
	} {
		now := w.Now().Truncate(time.Second)
		g := grant.Grant{Share: docs.ID, Holder: w.Anna.ID(), Right: share.Full, Epoch: 99, NotBefore: now, Expires: now.Add(time.Minute)}
		b, err := g.Seal(tc.key)
		if err != nil {
			t.Fatal(err)
		}
		pass, err := s.seeds.Enter(b, w.Anna.ID(), docs.ID)
		if err != nil {
			t.Fatal(err)
		}
		if pass.Owner() != tc.owner {
			t.Errorf("%s: a pass of %v", name, pass.Owner())
		}
		if f, err := pass.Open(t.Context(), []string{tc.opens}, fetchedVersion); err != nil {
			t.Errorf("%s: %v", name, err)
		} else {
			f.Close()
		}
		if _, err := pass.Open(t.Context(), []string{tc.not}, fetchedVersion); peer.KindOf(err) != peer.NotFound {
			t.Errorf("%s opens %s: %v", name, tc.not, err)
		}
	}
}

// TestCheckSource is the table of what makes another peer a source.
func TestCheckSource(t *testing.T) {
	w := servetest.New(t)
	docs, _ := w.Offers.Named("docs")
	berta := func(edit func(*grant.Grant)) []byte { return sealed(t, w, "docs", w.Berta, share.Read, edit) }
	shift := func(d time.Duration) []byte {
		return berta(func(g *grant.Grant) { g.NotBefore, g.Expires = g.NotBefore.Add(d), g.Expires.Add(d) })
	}
	now := w.Now().Truncate(time.Second)
	for name, tc := range map[string]struct {
		grant []byte
		until time.Time // zero: it is none
	}{
		"read":             {berta(nil), now.Add(grant.MaxLife)},
		"full":             {sealed(t, w, "docs", w.Berta, share.Full, nil), now.Add(grant.MaxLife)},
		"any epoch":        {berta(func(g *grant.Grant) { g.Epoch = 1 }), now.Add(grant.MaxLife)},
		"within the skew":  {shift(2 * time.Minute), now.Add(2*time.Minute + grant.MaxLife)},
		"beyond the skew":  {shift(2*time.Minute + time.Second), time.Time{}},
		"expired":          {shift(-grant.MaxLife), time.Time{}},
		"nothing":          {nil, time.Time{}},
		"our own":          {sealed(t, w, "docs", w.Anna, share.Read, nil), time.Time{}},
		"of another share": {sealed(t, w, "other", w.Berta, share.Read, nil), time.Time{}},
		"by somebody else": {selfSigned(t, peertest.Key(t), docs, w), time.Time{}},
		"a ticket":         {ticket(t, docs, w), time.Time{}},
		"garbage":          {[]byte(strings.Repeat("x", 300)), time.Time{}},
	} {
		until, err := serve.CheckSource(tc.grant, w.Berta.ID(), w.Owner.ID(), docs.ID, now)
		if (err == nil) != !tc.until.IsZero() || (err == nil && !until.Equal(tc.until)) {
			t.Errorf("%s: until %v, %v, want %v", name, until, err, tc.until)
		}
	}
}

// TestSeedShows: who names the topic of a share is shown this peer's grant for it, and of no other.
func TestSeedShows(t *testing.T) {
	w := servetest.New(t)
	s := newSeeder(t, w)
	docs, _ := w.Offers.Named("docs")
	s.shelf.Secret(transfer.File{Owner: w.Owner.ID(), Share: docs.ID}, []byte("the secret of docs"))
	asked := ""
	seeds := serve.NewSeeds(s.shelf, func(_ context.Context, owner peer.ID, name string) ([]byte, error) {
		if owner != w.Owner.ID() {
			t.Errorf("the grant of %v is shown", owner)
		}
		asked += name
		return []byte("a grant"), nil
	}, w.Now)
	if g, err := seeds.Grant(t.Context(), transferserve.Topic([]byte("the secret of docs"))); err != nil || string(g) != "a grant" || asked != "docs" {
		t.Errorf("the topic: %q of %q, %v", g, asked, err)
	}
	for name, topic := range map[string][]byte{
		"nothing": nil, "zeros": make([]byte, transferserve.TopicSize), "the secret": []byte("the secret of docs"),
		"of no secret": transferserve.Topic(nil), "a part": transferserve.Topic([]byte("the secret of docs"))[:15],
	} {
		if g, err := seeds.Grant(t.Context(), topic); peer.KindOf(err) != peer.Denied || g != nil {
			t.Errorf("%s: %q, %v", name, g, err)
		}
	}
	if asked != "docs" {
		t.Errorf("asked for %q", asked)
	}
}

// TestSecret: the owner's secret of a share ends with a right, and is another for each share.
func TestSecret(t *testing.T) {
	w := servetest.New(t)
	gate, err := serve.NewGate(w.Key, w.Offers, w.Now)
	if err != nil {
		t.Fatal(err)
	}
	secret := func(name string, right share.Right) string {
		t.Helper()
		p, err := serve.NewBytes(gate).Enter(sealed(t, w, name, w.Anna, right, nil), w.Anna.ID(), idOf(w, name))
		if err != nil {
			t.Fatal(err)
		}
		b := p.(transferserve.Secret).Secret()
		if len(b) != 32 {
			t.Fatalf("a secret of %d bytes", len(b))
		}
		return string(b)
	}
	seen := map[string]string{secret("docs", share.Read): "docs"}
	if seen[secret("docs", share.Full)] == "" {
		t.Error("two rights have two secrets")
	}
	seen[secret("other", share.Read)] = "other"
	w.Offers.Change("docs", func(o *serve.Offer) { o.Epochs.Read++ })
	seen[secret("docs", share.Read)] = "new read"
	w.Offers.Change("docs", func(o *serve.Offer) { o.Epochs.Full++ })
	seen[secret("docs", share.Read)] = "new full"
	if len(seen) != 4 {
		t.Errorf("%d secrets: %v", len(seen), seen)
	}
}

// TestStateOnTheWire: what an owner tells arrives, about its own share alone, and no more than there may be.
func TestStateOnTheWire(t *testing.T) {
	w := servetest.New(t)
	s := newSeeder(t, w)
	docs, _ := w.Offers.Named("docs")
	full := serve.State{Epochs: docs.Epochs, Serial: 1 << 62, Denied: map[peer.ID]bool{w.Anna.ID(): true}}
	for len(full.Denied) < serve.MaxDenied {
		full.Denied[peer.ID(fmt.Sprintf("%038d", len(full.Denied)))] = true
	}
	more := full.Message(docs.ID)
	more.Denied = append(more.Denied, []byte("one more"))
	short := full.Message(docs.ID)
	short.Share = short.Share[1:]
	for name, tc := range map[string]struct {
		from   *host.Host
		says   *sharepb.ShareState
		fails  bool
		denies bool
	}{
		"the owner":        {w.Owner, full.Message(docs.ID), false, true},
		"somebody else":    {w.Anna, full.Message(docs.ID), false, false},
		"another share":    {w.Owner, full.Message(idOf(w, "other")), false, false},
		"one not fetched":  {w.Owner, full.Message(idOf(w, "secret$")), false, false},
		"too many peers":   {w.Owner, more, true, false},
		"no share":         {w.Owner, short, true, false},
		"nobody is denied": {w.Owner, serve.State{Epochs: docs.Epochs}.Message(docs.ID), false, false},
	} {
		s.serve()
		err := s.seeds.State(t.Context(), &servetest.Stream{In: bytes.NewReader(servetest.Frames(t, tc.says)), ID: tc.from.ID()})
		if (err != nil) != tc.fails {
			t.Errorf("%s: %v", name, err)
		}
		_, err = s.seeds.Enter(sealed(t, w, "docs", w.Anna, share.Read, nil), w.Anna.ID(), docs.ID)
		if (err != nil) != tc.denies {
			t.Errorf("%s: entering afterwards: %v", name, err)
		}
	}
}
