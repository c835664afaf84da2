package serve_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/proto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/tracker"
	"github.com/peerd/peerd/transfer/transferpb"
	"github.com/peerd/peerd/transfer/transfertest"
)

// court lets in whoever shows "HOLDER may read SHARE", within a bubble of synctest.
type court struct {
	*serve.Service
	secret []byte // of an owner; a seed has none

	mu    sync.Mutex
	ended bool
	files map[string]serve.File // by share and name
}

var (
	docs  = transfer.ShareID{'d', 'o', 'c', 's'}
	films = transfer.ShareID{'f', 'i', 'l', 'm', 's'}
	first = transfer.Version{1}
)

func newCourt(secret []byte) *court {
	c := &court{secret: secret, files: make(map[string]serve.File)}
	c.Service = serve.New(serve.Options{Auth: c, Topics: c, Manifests: &transfertest.Cache{}, Log: slog.New(slog.DiscardHandler)})
	return c
}

func permit(who peer.ID, id transfer.ShareID) []byte {
	return fmt.Appendf(nil, "%s may read %s", who, id)
}

func (c *court) Grant(_ context.Context, topic []byte) ([]byte, error) {
	if string(topic) != string(serve.Topic([]byte("secret"))) {
		return nil, &peer.Error{Kind: peer.Denied, Err: errors.New("no such topic")}
	}
	return []byte("the seed's own grant"), nil
}

func (c *court) Enter(grant []byte, holder peer.ID, id transfer.ShareID) (serve.Pass, error) {
	if !bytes.Equal(grant, permit(holder, id)) {
		return nil, denied()
	}
	p := &courtPass{c, id}
	if c.secret != nil {
		return ownPass{p}, nil
	}
	return p, nil
}

func denied() error { return &peer.Error{Op: "enter", Kind: peer.Denied, Err: errors.New("no")} }

// end takes the right of everybody.
func (c *court) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
}

type courtPass struct {
	*court
	share transfer.ShareID
}

type ownPass struct{ *courtPass }

func (p ownPass) Secret() []byte { return p.secret }

func (p *courtPass) Owner() peer.ID { return "owner" }

func (p *courtPass) Check() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return denied()
	}
	return nil
}

func (p *courtPass) Open(_ context.Context, path []string, _ transfer.Version) (serve.File, error) {
	if f := p.files[p.share.String()+strings.Join(path, "/")]; f != nil {
		return f, nil
	}
	return nil, &peer.Error{Op: "open", Kind: peer.NotFound, Err: errors.New("it is not here")}
}

func (c *court) put(id transfer.ShareID, name string, f serve.File) { c.files[id.String()+name] = f }

// text is a file in memory.
type text []byte

func (f text) ReadAt(b []byte, off int64) (int, error) { return bytes.NewReader(f).ReadAt(b, off) }
func (f text) Close() error                            { return nil }
func (f text) State() (transfer.State, error) {
	return transfer.State{Size: int64(len(f)), Version: first}, nil
}

// part is a file that grows.
type part struct {
	text
	mu      sync.Mutex
	set     transfer.Set
	changed chan struct{}
}

func (p *part) add(pieces ...int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range pieces {
		p.set.Add(i)
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *part) Pieces() (transfer.Set, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.set.Clone(), p.changed
}

func (p *part) Lacks(i int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.set.Has(i)
}

// line is a stream to the service by hand.
type line struct {
	t     *testing.T
	id    peer.ID
	conn  net.Conn
	in    *wire.Reader
	ended chan error
}

// named is a pipe from a peer.
type named struct {
	pipe
	id peer.ID
}

func (n named) Peer() peer.ID { return n.id }

func (c *court) dial(t *testing.T, id peer.ID, handler peer.Handler) *line {
	here, there := net.Pipe()
	l := &line{t: t, id: id, conn: here, in: wire.NewReader(here), ended: make(chan error, 1)}
	go func() {
		err := handler(t.Context(), named{pipe{there}, id})
		there.Close()
		l.ended <- err
	}()
	return l
}

func (l *line) say(m proto.Message) *line {
	l.t.Helper()
	if err := wire.WriteMsg(l.conn, m); err != nil {
		l.t.Fatal(err)
	}
	return l
}

func (l *line) hear(m proto.Message) {
	l.t.Helper()
	_ = l.conn.SetReadDeadline(time.Now().Add(time.Hour))
	if err := l.in.ReadMsg(m, 256<<10); err != nil {
		l.t.Fatalf("%s hears nothing: %v", l.id, err)
	}
}

func (l *line) news() *transferpb.SwarmNews {
	l.t.Helper()
	n := new(transferpb.SwarmNews)
	l.hear(n)
	return n
}

// hangUp ends the stream and waits for the handler.
func (l *line) hangUp() {
	l.conn.Close()
	<-l.ended
}

// silent fails the test if anything is said within a time.
func (l *line) silent(d time.Duration) {
	l.t.Helper()
	_ = l.conn.SetReadDeadline(time.Now().Add(d))
	var n transferpb.SwarmNews
	if err := l.in.ReadMsg(&n, 256<<10); err == nil {
		l.t.Errorf("%s hears %v", l.id, &n)
	}
	_ = l.conn.SetReadDeadline(time.Time{})
}

// joining asks to be told of "f" in docs.
func joining(id peer.ID, edit func(*transferpb.SwarmJoin)) *transferpb.SwarmJoin {
	j := &transferpb.SwarmJoin{Gives: true, Version: first[:], File: &transferpb.File{Share: docs[:], Path: []string{"f"}, Grant: permit(id, docs)}}
	if edit != nil {
		edit(j)
	}
	return j
}

func (c *court) join(t *testing.T, id peer.ID, edit func(*transferpb.SwarmJoin)) *line {
	t.Helper()
	return c.dial(t, id, c.Swarm).say(&transferpb.SwarmHello{Join: joining(id, edit)})
}

// brief is news in few words.
func brief(n *transferpb.SwarmNews) string {
	var who []string
	for _, s := range n.Sources {
		who = append(who, string(s.Peer))
	}
	return fmt.Sprintf("all %v set %v pieces %v of %v number %d/%d secret %q", n.All, n.Set, n.Pieces, who, n.Index, n.Of, n.Secret)
}

func (l *line) wants(what, want string) {
	l.t.Helper()
	if got := brief(l.news()); got != want {
		l.t.Errorf("%s hears\n%s, want\n%s: %s", l.id, got, want, what)
	}
}

// TestSwarmOfOwner: the owner tells that it has all, its secret, who else fetches, and who is number what of them.
func TestSwarmOfOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCourt([]byte("secret"))
		c.put(docs, "f", text(content(2*mib)))
		addr := ma.StringCast("/ip4/10.0.0.1/tcp/4455")
		anna := c.join(t, "anna", func(j *transferpb.SwarmJoin) {
			j.Addrs = [][]byte{{0xff, 1}, addr.Bytes(), make([]byte, 3000), ma.StringCast("/dns4/" + strings.Repeat("x", 4000) + "/tcp/1").Bytes()}
		})
		defer anna.hangUp()
		anna.wants("at first", `all true set [] pieces [] of [] number 0/1 secret "secret"`)
		berta := c.join(t, "berta", nil)
		n := berta.news()
		if got, want := brief(n), `all true set [] pieces [] of [anna] number 1/2 secret "secret"`; got != want {
			t.Errorf("berta hears\n%s, want\n%s", got, want)
		}
		if len(n.Sources) == 1 && (len(n.Sources[0].Addrs) != 1 || !bytes.Equal(n.Sources[0].Addrs[0], addr.Bytes())) {
			t.Errorf("anna is at %q", n.Sources[0].Addrs)
		}
		anna.wants("another came", `all false set [] pieces [] of [] number 0/2 secret ""`)
		anna.silent(400 * time.Millisecond) // berta is to reach anna, and not each the other
		anna.wants("another is there", `all false set [] pieces [] of [berta] number 0/0 secret ""`)
		quiet := c.join(t, "quiet", func(j *transferpb.SwarmJoin) { j.Gives = false })
		quiet.wants("it gives nothing", `all true set [] pieces [] of [berta anna] number 0/0 secret "secret"`)
		anna.silent(time.Hour)
		quiet.hangUp()

		// Who has all is a source for a time, though it hangs up; a stream that breaks is one for a minute.
		berta.say(&transferpb.SwarmNote{Done: true})
		anna.wants("the other has all", `all false set [] pieces [] of [] number 0/1 secret ""`)
		berta.hangUp()
		time.Sleep(tracker.Linger / 2)
		carl := c.join(t, "carl", nil)
		carl.wants("one has all", `all true set [] pieces [] of [berta anna] number 1/2 secret "secret"`)
		anna.wants("another came", `all false set [] pieces [] of [] number 0/2 secret ""`)
		carl.hangUp()
		anna.wants("and broke off", `all false set [] pieces [] of [carl] number 0/1 secret ""`)
		time.Sleep(tracker.Linger)
		dora := c.join(t, "dora", nil)
		dora.wants("long after", `all true set [] pieces [] of [anna] number 1/2 secret "secret"`)
		dora.hangUp()
	})
}

// TestSwarmOfSeed: a seed tells which pieces it has, and those that come, in one message what comes at about the same time;
// nothing that only an owner may tell.
func TestSwarmOfSeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCourt(nil)
		p := &part{text: content(10 * mib), set: transfer.NewSet(40), changed: make(chan struct{})}
		p.add(1, 2)
		c.put(docs, "f", p)
		anna := c.join(t, "anna", nil)
		defer anna.hangUp()
		n := anna.news()
		set, err := transfer.ParseSet(n.Set, 40)
		if err != nil || n.All || len(n.Secret) > 0 || n.Of > 0 || !slices.Equal(slices.Collect(set.All()), []int{1, 2}) {
			t.Errorf("at first: %s, %v", brief(n), err)
		}
		p.add(5)
		time.Sleep(time.Millisecond)
		p.add(3, 39)
		anna.wants("more pieces", `all false set [] pieces [3 5 39] of [] number 0/0 secret ""`)
		p.add(3)
		anna.silent(time.Minute)
		berta := c.join(t, "berta", nil)
		defer berta.hangUp()
		if n := berta.news(); len(n.Set) == 0 || len(n.Sources) != 1 || n.Of != 0 {
			t.Errorf("the next: %s", brief(n))
		}
		anna.wants("another came", `all false set [] pieces [] of [berta] number 0/0 secret ""`)
	})
}

// TestSwarmRefuses is the table of who hears nothing of a file.
func TestSwarmRefuses(t *testing.T) {
	topic := serve.Topic([]byte("secret"))
	for name, tc := range map[string]struct {
		topic []byte
		join  *transferpb.SwarmJoin
		want  peer.Kind
	}{
		"nothing":                     {nil, nil, peer.Usage},
		"no file":                     {nil, &transferpb.SwarmJoin{Version: first[:]}, peer.Usage},
		"no grant":                    {nil, joining("anna", func(j *transferpb.SwarmJoin) { j.File.Grant = nil }), peer.Denied},
		"a grant of another":          {nil, joining("berta", nil), peer.Denied},
		"a grant for another share":   {nil, joining("anna", func(j *transferpb.SwarmJoin) { j.File.Grant = permit("anna", films) }), peer.Denied},
		"a file of another share":     {nil, joining("anna", func(j *transferpb.SwarmJoin) { j.File.Path[0] = "film" }), peer.NotFound},
		"another version":             {nil, joining("anna", func(j *transferpb.SwarmJoin) { j.Version = make([]byte, 16) }), peer.Conflict},
		"no version":                  {nil, joining("anna", func(j *transferpb.SwarmJoin) { j.Version = nil }), peer.Usage},
		"a topic, then no grant":      {topic, joining("anna", func(j *transferpb.SwarmJoin) { j.File.Grant = nil }), peer.Denied},
		"a topic, a grant of another": {topic, joining("berta", nil), peer.Denied},
		"a topic, then nothing":       {topic, &transferpb.SwarmJoin{}, peer.Usage},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCourt([]byte("secret"))
				c.put(docs, "f", text(content(2*mib)))
				c.put(films, "film", text(content(2*mib)))
				l := c.dial(t, "anna", c.Swarm)
				if tc.topic == nil {
					l.say(&transferpb.SwarmHello{Join: tc.join})
				} else {
					var w transferpb.SwarmWelcome
					if l.say(&transferpb.SwarmHello{Topic: tc.topic}).hear(&w); string(w.Grant) != "the seed's own grant" || w.Error != nil {
						t.Errorf("welcome %v", &w)
					}
					l.say(tc.join)
				}
				n := l.news()
				if err := wire.ToError(n.Error); peer.KindOf(err) != tc.want || brief(n) != brief(new(transferpb.SwarmNews)) {
					t.Errorf("%s, and %v, want nothing and kind %v", brief(n), err, tc.want)
				}
				if err := <-l.ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestTopic: who names the topic of a share is shown a grant, and goes on; any other hears nothing but a refusal.
func TestTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCourt(nil)
		c.put(docs, "f", text(content(2*mib)))
		var w transferpb.SwarmWelcome
		l := c.dial(t, "anna", c.Swarm).say(&transferpb.SwarmHello{Topic: serve.Topic([]byte("secret"))})
		l.hear(&w)
		l.say(joining("anna", nil)).wants("after a topic", `all true set [] pieces [] of [] number 0/0 secret ""`)
		l.hangUp()

		l = c.dial(t, "anna", c.Swarm).say(&transferpb.SwarmHello{Topic: serve.Topic([]byte("another")), Join: joining("anna", nil)})
		l.hear(&w)
		if peer.KindOf(wire.ToError(w.Error)) != peer.Denied || len(w.Grant) > 0 {
			t.Errorf("another topic: %v", &w)
		}
		if _, err := l.in.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("and then: %v", err)
		}
		<-l.ended
	})
	if string(serve.Topic([]byte("a"))) == string(serve.Topic([]byte("b"))) || len(serve.Topic(nil)) != serve.TopicSize {
		t.Error("topics")
	}
}

// TestSwarmEnds: a right that ends, ends the stream, be there news or not; so does who says nothing, or hears nothing.
func TestSwarmEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCourt([]byte("secret"))
		p := &part{text: content(10 * mib), set: transfer.NewSet(40), changed: make(chan struct{})}
		c.put(docs, "f", p)
		anna := c.join(t, "anna", nil)
		anna.news()
		berta := c.join(t, "berta", nil)
		berta.news()
		anna.news()
		c.end()
		begin := time.Now()
		for _, l := range []*line{anna, berta} {
			n := l.news()
			if err := wire.ToError(n.Error); peer.KindOf(err) != peer.Denied || len(n.Sources)+len(n.Pieces) > 0 {
				t.Errorf("%s hears %v", l.id, n)
			}
			if err := <-l.ended; err != nil || time.Since(begin) > 16*time.Second {
				t.Errorf("%s: %v after %v", l.id, err, time.Since(begin))
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := newCourt([]byte("secret"))
		p := &part{text: content(10 * mib), set: transfer.NewSet(40), changed: make(chan struct{})}
		c.put(docs, "f", p)
		l := c.join(t, "anna", nil)
		l.news()
		time.Sleep(time.Second)
		c.end()
		p.add(7) // what comes now is not told
		if n := l.news(); n.Error == nil || len(n.Pieces) > 0 {
			t.Errorf("news after the end: %v", n)
		}
		<-l.ended
	})
	for name, act := range map[string]func(*court, *line){
		"says nothing": func(*court, *line) {},
		"says a topic and no more": func(_ *court, l *line) {
			l.say(&transferpb.SwarmHello{Topic: serve.Topic([]byte("secret"))}).hear(new(transferpb.SwarmWelcome))
		},
		"takes no welcome":         func(_ *court, l *line) { l.say(&transferpb.SwarmHello{Topic: serve.Topic([]byte("secret"))}) },
		"takes no news":            func(_ *court, l *line) { l.say(&transferpb.SwarmHello{Join: joining("anna", nil)}) },
		"says what makes no sense": func(_ *court, l *line) { _, _ = l.conn.Write([]byte{3, 0xff, 0xff, 0xff}) },
		"sends a note of any length": func(_ *court, l *line) {
			l.say(&transferpb.SwarmHello{Join: joining("anna", nil)}).news()
			_, _ = l.conn.Write([]byte{0xff, 0xff, 0xff, 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCourt([]byte("secret"))
				c.put(docs, "f", text(content(2*mib)))
				l := c.dial(t, "anna", c.Swarm)
				begin := time.Now()
				act(c, l)
				<-l.ended
				if took := time.Since(begin); took > 3*time.Minute {
					t.Errorf("let go of after %v", took)
				}
				l.conn.Close()
			})
		})
	}
}

// TestNewsFit: what the most members with the longest addresses make of news can be read.
func TestNewsFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCourt([]byte("secret"))
		c.put(docs, "f", text(content(2*mib)))
		var all []*line
		for i := range tracker.MaxNamed + 2 {
			l := c.join(t, peer.ID(fmt.Sprint(i)), func(j *transferpb.SwarmJoin) {
				for k := range 8 {
					j.Addrs = append(j.Addrs, ma.StringCast(fmt.Sprintf("/dns4/%d%s/tcp/1", k, strings.Repeat("x", 700))).Bytes())
				}
			})
			all = append(all, l)
			go func() {
				for l.in.ReadMsg(new(transferpb.SwarmNews), 256<<10) == nil {
				}
			}()
			synctest.Wait()
		}
		last := c.join(t, "last", nil)
		if n := last.news(); len(n.Sources) != tracker.MaxNamed || proto.Size(n) > 128<<10 {
			t.Errorf("%d sources in %d bytes", len(n.Sources), proto.Size(n))
		}
		for _, l := range append(all, last) {
			l.hangUp()
		}
	})
}

// TestGetOfTwoShares: a file that is open on a stream by the right to one share is not given by the right to another.
func TestGetOfTwoShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCourt([]byte("secret"))
		c.put(docs, "f", text(bytes.Repeat([]byte("d"), 2*mib)))
		c.put(films, "f", text(bytes.Repeat([]byte("f"), 2*mib)))
		c.put(docs, "only", text(bytes.Repeat([]byte("o"), 2*mib)))
		l := c.dial(t, "anna", c.Get)
		get := func(id transfer.ShareID, grant []byte, name string) string {
			t.Helper()
			l.say(&transferpb.GetRequest{Version: first[:], File: &transferpb.File{Share: id[:], Path: []string{name}, Grant: grant}})
			var r transferpb.GetReply
			l.hear(&r)
			if r.Error != nil {
				return peer.KindOf(wire.ToError(r.Error)).String()
			}
			body := make([]byte, r.Length)
			if _, err := io.ReadFull(l.in, body); err != nil {
				t.Fatal(err)
			}
			return string(body[:1])
		}
		notFound, refused := peer.NotFound.String(), peer.Denied.String()
		for i, step := range []struct {
			share transfer.ShareID
			grant []byte
			name  string
			want  string
		}{
			{docs, permit("anna", docs), "f", "d"},
			{docs, nil, "f", "d"},
			{films, nil, "f", refused},
			{films, permit("anna", films), "f", "f"},
			{docs, nil, "f", refused},
			{docs, permit("anna", docs), "only", "o"},
			{films, permit("anna", films), "only", notFound},
			{films, nil, "f", "f"},
		} {
			if got := get(step.share, step.grant, step.name); got != step.want {
				t.Errorf("request %d gives %q, want %q", i, got, step.want)
			}
		}
		l.hangUp()
	})
}

// TestGetOfPart: of a file that grows, pieces that are here are given and others refused, by the same stream.
func TestGetOfPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCourt(nil)
		data := content(2 * mib)
		p := &part{text: data, set: transfer.NewSet(32), changed: make(chan struct{})}
		c.put(docs, "f", p)
		l := c.dial(t, "anna", c.Get)
		get := func(i uint32) (body []byte, err error) {
			l.say(&transferpb.GetRequest{Version: first[:], Piece: i, File: &transferpb.File{Share: docs[:], Path: []string{"f"}, Grant: permit("anna", docs)}})
			var r transferpb.GetReply
			l.hear(&r)
			body = make([]byte, r.Length)
			_, _ = io.ReadFull(l.in, body)
			return body, wire.ToError(r.Error)
		}
		if body, err := get(3); peer.KindOf(err) != peer.NotFound || len(body) > 0 {
			t.Errorf("a piece that is not here: %d bytes, %v", len(body), err)
		}
		p.add(3)
		if body, err := get(3); err != nil || !bytes.Equal(body, data[3*transfer.MinPiece:4*transfer.MinPiece]) {
			t.Errorf("a piece that came: %d bytes, %v", len(body), err)
		}
		if _, err := get(32); peer.KindOf(err) != peer.Usage {
			t.Errorf("a piece beyond the file: %v", err)
		}
		l.hangUp()
	})
}

// slow is a file that is opened for as long as this peer runs.
type slow struct{ *court }

func (s slow) Enter([]byte, peer.ID, transfer.ShareID) (serve.Pass, error) {
	return slowPass{&courtPass{court: s.court}}, nil
}

type slowPass struct{ *courtPass }

func (slowPass) Open(ctx context.Context, _ []string, _ transfer.Version) (serve.File, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestGoesAway: a peer that stops refuses nothing: who asked tries again, or asks another.
func TestGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve.New(serve.Options{Auth: slow{newCourt(nil)}, Manifests: &transfertest.Cache{}, Log: slog.New(slog.DiscardHandler)})
		f := &transferpb.File{Share: docs[:], Path: []string{"f"}, Grant: []byte("x")}
		for name, tc := range map[string]struct {
			handler peer.Handler
			ask     proto.Message
		}{
			"piece":    {s.Get, &transferpb.GetRequest{File: f, Version: first[:]}},
			"whole":    {s.Get, &transferpb.GetRequest{File: f, Whole: true}},
			"manifest": {s.Manifest, &transferpb.ManifestRequest{File: f}},
		} {
			ctx, stop := context.WithCancel(t.Context())
			l := newCourt(nil).dial(t, "anna", func(_ context.Context, st peer.Stream) error { return tc.handler(ctx, st) })
			l.say(tc.ask)
			synctest.Wait()
			stop()
			if n, err := l.in.Read(make([]byte, 100)); n > 0 || err == nil {
				t.Errorf("%s: it says something", name)
			}
			l.conn.Close()
			if err := <-l.ended; err == nil {
				t.Errorf("%s: as if all was said", name)
			}
		}
	})
}
