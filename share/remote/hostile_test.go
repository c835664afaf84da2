package remote_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/proto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/auth"
	"github.com/peerd/peerd/peer/wire/wirepb"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/remote/ticket"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/servetest"
	"github.com/peerd/peerd/share/sharepb"
)

// fake is an owner that lets us in and then says what a test wants, without a network.
type fake struct {
	self, owner peer.ID
	key         crypto.PrivKey
	docs        share.ID
	asked       int                                 // times that a listing was asked for
	meta        func(try int) io.Reader             // answers of listings
	other       func(protocol string) (r io.Reader) // of other protocols
}

func newFake(tb testing.TB) *fake {
	tb.Helper()
	f := &fake{docs: share.ID{7}}
	ids := make([]peer.ID, 2)
	for i := range ids {
		key, pub, err := crypto.GenerateEd25519Key(bytes.NewReader(bytes.Repeat([]byte{byte(i + 1)}, 32)))
		if err != nil {
			tb.Fatal(err)
		}
		if ids[i], err = core.IDFromPublicKey(pub); err != nil {
			tb.Fatal(err)
		}
		f.key = key
	}
	f.self, f.owner = ids[0], ids[1]
	return f
}

func now() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) }

// client gives a client of the fake, and its share.
func (f *fake) client(tb testing.TB) (*remote.Client, *remote.FS) {
	tb.Helper()
	tickets, err := ticket.Open(tb.TempDir(), now(), func(error) {})
	if err != nil {
		tb.Fatal(err)
	}
	g := grant.Grant{Share: f.docs, Holder: f.self, Right: share.Read, Epoch: 7, NotBefore: now(), Expires: now().Add(time.Minute)}
	sealed, err := g.Seal(f.key)
	if err != nil {
		tb.Fatal(err)
	}
	in := servetest.Frames(tb, &sharepb.AuthResult{Grant: sealed})
	c := remote.NewClient(servetest.Opener(func(protocol string) *servetest.Stream {
		switch {
		case f.other != nil:
			return &servetest.Stream{In: f.other(protocol)}
		case protocol == serve.AuthProtocol:
			return &servetest.Stream{In: bytes.NewReader(in)}
		}
		f.asked++
		return &servetest.Stream{In: f.meta(f.asked)}
	}), f.self, tickets, now)
	return c, c.FS(remote.Access{Peer: f.owner, Share: f.docs, Name: "docs", Right: share.Read}, "//owner/docs")
}

func entry(path ...string) *sharepb.Entry {
	return &sharepb.Entry{Path: path, Kind: uint32(share.File), Size: 1, Version: make([]byte, 16)}
}

func page(end bool, entries ...*sharepb.Entry) *sharepb.Page {
	return &sharepb.Page{Entries: entries, End: end}
}

func odd(change func(*sharepb.Entry)) *sharepb.Entry {
	e := entry("a")
	change(e)
	return e
}

// counting is a listing that never ends, in order: 000000000, 000000001, …
type counting struct {
	tb   testing.TB
	next int
	left []byte
}

func (c *counting) Read(b []byte) (int, error) {
	if len(c.left) == 0 {
		var p sharepb.Page
		for range serve.PageEntries {
			p.Entries = append(p.Entries, entry(fmt.Sprintf("%09d", c.next)))
			c.next++
		}
		c.left = servetest.Frames(c.tb, &p)
	}
	n := copy(b, c.left)
	c.left = c.left[n:]
	return n, nil
}

// TestHostileOwners: an owner that lies in a listing is found out soon, whatever it is asked, in bounded memory, and what it
// said before stays what it is.
func TestHostileOwners(t *testing.T) {
	frames := func(all ...proto.Message) func(testing.TB) io.Reader {
		return func(tb testing.TB) io.Reader { return bytes.NewReader(servetest.Frames(tb, all...)) }
	}
	again := func(m proto.Message) func(testing.TB) io.Reader {
		return func(tb testing.TB) io.Reader { return &servetest.Endless{Bytes: servetest.Frames(tb, m)} }
	}
	raw := func(b []byte) func(testing.TB) io.Reader {
		return func(testing.TB) io.Reader { return &servetest.Endless{Bytes: b} }
	}
	crowd := new(sharepb.Page)
	for range serve.MaxPage / 2 {
		crowd.Entries = append(crowd.Entries, new(sharepb.Entry))
	}
	deep := slices.Repeat([]string{"d"}, share.MaxDepth+1)
	for name, lie := range map[string]func(testing.TB) io.Reader{
		"a listing without end":        func(tb testing.TB) io.Reader { return &counting{tb: tb} },
		"the same page without end":    again(page(false, entry("a"), entry("b"))),
		"empty pages without end":      again(page(false)),
		"an entry twice":               frames(page(true, entry("a"), entry("a"))),
		"an entry twice, on two pages": frames(page(false, entry("a")), page(true, entry("a"))),
		"out of order":                 frames(page(true, entry("b"), entry("a"))),
		"..":                           frames(page(true, entry(".."))),
		"below ..":                     frames(page(true, entry("a", "..", "b"))),
		"an empty name":                frames(page(true, entry(""))),
		"a slash":                      frames(page(true, entry("a/b"))),
		"an escape":                    frames(page(true, entry("\x1b[2J"))),
		"peerd's own name":             frames(page(true, entry(share.Reserved+"-x"))),
		"too deep":                     frames(page(true, entry(deep...))),
		"a long name":                  frames(page(true, entry(strings.Repeat("n", 256)))),
		"a name that is no UTF-8":      raw([]byte{6, 0x0a, 4, 0x0a, 2, 0xff, 0xfe}),
		"a negative size":              frames(page(true, odd(func(e *sharepb.Entry) { e.Size = -1 }))),
		"the least size":               frames(page(true, odd(func(e *sharepb.Entry) { e.Size = math.MinInt64 }))),
		"a link":                       frames(page(true, odd(func(e *sharepb.Entry) { e.Kind = 3 }))),
		"no kind":                      frames(page(true, odd(func(e *sharepb.Entry) { e.Kind = 0 }))),
		"a kind of 2^32-1":             frames(page(true, odd(func(e *sharepb.Entry) { e.Kind = math.MaxUint32 }))),
		"no version":                   frames(page(true, odd(func(e *sharepb.Entry) { e.Version = nil }))),
		"a long version":               frames(page(true, odd(func(e *sharepb.Entry) { e.Version = make([]byte, 17) }))),
		"a page of 131,072":            frames(crowd),
		"a page over the limit":        raw(append(binary.AppendUvarint(nil, serve.MaxPage+1), 0)),
		"a page of 2^28":               raw([]byte{0xff, 0xff, 0xff, 0x7f}),
		"a page of 2^63":               raw(binary.AppendUvarint(nil, 1<<63)),
		"garbage":                      raw([]byte{5, 0xff, 0xff, 0xff, 0xff, 0xff}),
	} {
		for what, look := range looks() {
			t.Run(what+" "+name, func(t *testing.T) {
				f := newFake(t)
				f.meta = func(int) io.Reader { return lie(t) }
				_, fsys := f.client(t)
				fsys.Limit(50_000)
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // for what would never end; that is another kind of error
				defer cancel()
				err := look(ctx, fsys)
				runtime.ReadMemStats(&after)
				if peer.KindOf(err) != peer.Integrity || !strings.HasPrefix(err.Error(), "//owner/docs") {
					t.Errorf("%v: %v", peer.KindOf(err), err)
				}
				if strings.Contains(fmt.Sprint(err), "\x1b") || !utf8.ValidString(fmt.Sprint(err)) {
					t.Errorf("the error is raw: %q", err)
				}
				if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 200<<20 {
					t.Errorf("%d MiB of memory", grown>>20)
				}
				if f.asked > 1 {
					t.Errorf("a liar was asked %d times", f.asked)
				}
			})
		}
	}
}

// looks are the ways to look at a share; each gives the error that ended it.
func looks() map[string]func(context.Context, *remote.FS) error {
	var root share.Path
	drain := func(seq func(func(share.Entry, error) bool)) (last error) {
		for _, err := range seq {
			last = err
		}
		return last
	}
	return map[string]func(context.Context, *remote.FS) error{
		"stat":    func(ctx context.Context, f *remote.FS) error { _, err := f.Stat(ctx, root); return err },
		"list":    func(ctx context.Context, f *remote.FS) error { return drain(f.List(ctx, root)) },
		"walk":    func(ctx context.Context, f *remote.FS) error { return drain(f.Walk(ctx, root)) },
		"walk on": func(ctx context.Context, f *remote.FS) error { return drain(f.WalkOn(ctx, root, time.Hour)) },
		"space":   func(ctx context.Context, f *remote.FS) error { _, _, err := f.Space(ctx); return err },
		"lists":   func(ctx context.Context, f *remote.FS) error { return last(f.Lists(ctx, asked(root), 1<<30)) },
	}
}

// TestSums: room is told of only where it was asked for, and in numbers that can be.
func TestSums(t *testing.T) {
	for what, look := range looks() {
		for text, space := range map[string]*sharepb.Space{
			"more free than there is": {Total: 1, Free: 2}, "less than nothing free": {Total: 1, Free: -1}, "less than nothing": {Total: -1, Free: -1},
			"what nobody asked for": {Total: 2, Free: 1},
		} {
			f := newFake(t)
			f.meta = func(int) io.Reader {
				return bytes.NewReader(servetest.Frames(t, &sharepb.Page{Space: space, End: true}))
			}
			_, fsys := f.client(t)
			err := look(t.Context(), fsys)
			if asked := what == "space" && space.Total == 2; asked != (err == nil) || !asked && peer.KindOf(err) != peer.Integrity {
				t.Errorf("%s, %s: %v", what, text, err)
			}
		}
	}
	f := newFake(t)
	f.meta = func(int) io.Reader { return bytes.NewReader(servetest.Frames(t, &sharepb.Page{End: true})) }
	_, fsys := f.client(t)
	if _, _, err := fsys.Space(t.Context()); peer.KindOf(err) != peer.Integrity {
		t.Errorf("space, nothing: %v", err)
	}
}

// TestDepth: each verb takes entries of its own depth alone.
func TestDepth(t *testing.T) {
	for what, bad := range map[string][]string{"stat": {"a"}, "list": {"a", "b"}, "lists": {"a", "b"}, "walk": {}, "walk on": {}} {
		f := newFake(t)
		f.meta = func(int) io.Reader { return bytes.NewReader(servetest.Frames(t, page(true, entry(bad...)))) }
		_, fsys := f.client(t)
		if err := looks()[what](t.Context(), fsys); peer.KindOf(err) != peer.Integrity {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestWalkOn: a listing that breaks off goes on where it was, each entry once, and ends when nothing more comes of it.
func TestWalkOn(t *testing.T) {
	all := []*sharepb.Entry{entry("a"), entry("a", "x"), entry("a", "x", "1"), entry("a", "y"), entry("a b"), entry("b")}
	var want []string
	for _, e := range all {
		want = append(want, strings.Join(e.Path, "/"))
	}
	denied := &sharepb.Page{Error: &wirepb.Error{Kind: uint32(peer.Denied), Text: "no right"}}
	gone := &sharepb.Page{Error: &wirepb.Error{Kind: uint32(peer.NotFound)}}
	for name, tc := range map[string]struct {
		tries [][]proto.Message
		yield int // entries
		kind  peer.Kind
	}{
		"in one":                     {[][]proto.Message{{page(false, all[:3]...), page(true, all[3:]...)}}, 6, peer.Other},
		"broken off":                 {[][]proto.Message{{page(false, all[:2]...)}, {page(false, all[:1]...), page(false, all[1:5]...)}, {page(true, all...)}}, 6, peer.Other},
		"a grant ends":               {[][]proto.Message{{page(false, all[:4]...), denied}, {page(true, all...)}}, 6, peer.Other},
		"the last is gone meanwhile": {[][]proto.Message{{page(false, all[:3]...)}, {page(true, all[0], all[1], all[3], all[4], all[5])}}, 6, peer.Other},
		"the right ends":             {[][]proto.Message{{page(false, all[:4]...), denied}, {denied}}, 4, peer.Denied},
		"the right ended":            {[][]proto.Message{{denied}, {denied}}, 0, peer.Denied},
		"the folder ends":            {[][]proto.Message{{page(false, all[:4]...), gone}}, 4, peer.NotFound},
		"it lies later":              {[][]proto.Message{{page(false, all[:4]...)}, {page(true, all[4], all[0])}}, 4, peer.Integrity},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.meta = func(try int) io.Reader {
				return bytes.NewReader(servetest.Frames(t, tc.tries[min(try, len(tc.tries))-1]...))
			}
			_, fsys := f.client(t)
			var got []string
			var last error
			for e, err := range fsys.WalkOn(t.Context(), share.Path{}, time.Minute) {
				if last = err; err == nil {
					got = append(got, e.Path.String())
				}
			}
			if peer.KindOf(last) != tc.kind || (last != nil) != (tc.kind != peer.Other) {
				t.Errorf("it ended with %v, want %v", last, tc.kind)
			}
			if !slices.Equal(got, want[:tc.yield]) || f.asked != len(tc.tries) {
				t.Errorf("%q in %d tries, want %q in %d", got, f.asked, want[:tc.yield], len(tc.tries))
			}
		})
	}
	t.Run("patience", func(t *testing.T) {
		f := newFake(t)
		f.meta = func(int) io.Reader { return bytes.NewReader(nil) }
		_, fsys := f.client(t)
		for _, err := range fsys.WalkOn(t.Context(), share.Path{}, 0) {
			if peer.KindOf(err) != peer.Unreachable || f.asked != 1 {
				t.Errorf("%v after %d tries", err, f.asked)
			}
		}
	})
	t.Run("given up", func(t *testing.T) {
		f := newFake(t)
		f.meta = func(int) io.Reader { return &counting{tb: t} }
		_, fsys := f.client(t)
		n := 0
		for range fsys.WalkOn(t.Context(), share.Path{}, time.Minute) {
			if n++; n == 5 {
				break
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for _, err := range fsys.WalkOn(ctx, share.Path{}, time.Minute) {
			if cancel(); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	})
}

// TestGrantIsAskedForOnceMore: a grant that ended before its time is no reason to send the user away who still has the right.
func TestGrantIsAskedForOnceMore(t *testing.T) {
	denied := &sharepb.Page{Error: &wirepb.Error{Kind: uint32(peer.Denied), Text: "no right"}}
	f := newFake(t)
	f.meta = func(try int) io.Reader {
		if try == 1 {
			return bytes.NewReader(servetest.Frames(t, denied))
		}
		return bytes.NewReader(servetest.Frames(t, page(true, entry())))
	}
	_, fsys := f.client(t)
	if _, err := fsys.Stat(t.Context(), share.Path{}); err != nil || f.asked != 2 {
		t.Errorf("%v after %d tries", err, f.asked)
	}
}

// TestHostileAnswers: what is no answer is a lie, in introductions and logins too.
func TestHostileAnswers(t *testing.T) {
	pw := password(t, readPassword)
	other := newFake(t)
	wrong := grant.Grant{Share: other.docs, Holder: other.owner, Right: share.Full, Epoch: 1, NotBefore: now(), Expires: now().Add(time.Minute)}
	sealed, err := wrong.Seal(other.key)
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string][]byte{
		"garbage":              {5, 0xff, 0xff, 0xff, 0xff, 0xff},
		"a message over 256 K": binary.AppendUvarint(nil, serve.MaxHello+1),
		"an ID of 3 bytes":     servetest.Frames(t, &sharepb.AuthShare{Id: []byte("abc")}),
		"a short KE2":          servetest.Frames(t, &sharepb.AuthShare{Id: make([]byte, 16)}, &sharepb.AuthMessage{Data: []byte("ke2")}),
		"no grant":             servetest.Frames(t, &sharepb.AuthResult{}),
		"another's grant":      servetest.Frames(t, &sharepb.AuthResult{Grant: sealed}),
	} {
		f := newFake(t)
		f.other = func(string) io.Reader { return bytes.NewReader(in) }
		c, _ := f.client(t)
		if _, err := c.Login(t.Context(), f.owner, "docs", pw); err == nil || peer.KindOf(err) == peer.Unreachable {
			t.Errorf("login, %s: %v", name, err)
		}
		if _, err := c.Access(t.Context(), f.owner, "docs"); peer.KindOf(err) != peer.Integrity {
			t.Errorf("access, %s: %v", name, err)
		}
		if name[0] == 'g' || name[2] == 'm' {
			if _, err := c.Introduce(t.Context(), f.owner, &sharepb.Hello{}); peer.KindOf(err) != peer.Integrity {
				t.Errorf("introduce, %s: %v", name, err)
			}
		}
	}
}

// FuzzPages: of whatever an owner lists, nothing comes through that could not lie in the folder that was asked for.
func FuzzPages(f *testing.F) {
	f.Add(uint8(0), servetest.Frames(f, page(true, entry())))
	f.Add(uint8(1), servetest.Frames(f, page(false, entry("a"), entry("b")), page(true, entry("c"))))
	f.Add(uint8(2), servetest.Frames(f, page(true, entry("a"), entry("a", "x"), entry("a b"))))
	f.Add(uint8(3), servetest.Frames(f, &sharepb.Page{Space: &sharepb.Space{Total: 2, Free: 1}, End: true}))
	f.Add(uint8(3), servetest.Frames(f, &sharepb.Page{Space: &sharepb.Space{Free: 48}, End: true}))
	f.Add(uint8(2), servetest.Frames(f, &sharepb.Page{Error: &wirepb.Error{Kind: 4, Text: "\x1b"}}))
	f.Fuzz(func(t *testing.T, verb uint8, in []byte) {
		owner := newFake(t)
		owner.meta = func(int) io.Reader { return bytes.NewReader(in) }
		_, fsys := owner.client(t)
		base, err := share.ParsePath([]string{"base", "folder"})
		if err != nil {
			t.Fatal(err)
		}
		if verb%4 == 3 {
			if total, free, err := fsys.Space(t.Context()); free < 0 || free > total || err != nil && total != 0 {
				t.Errorf("%d of %d are free, %v", free, total, err)
			}
			return
		}
		if verb%4 == 0 {
			if e, err := fsys.Stat(t.Context(), base); err == nil && e.Path != base {
				t.Errorf("stat gives %q", e.Path)
			}
			return
		}
		look := fsys.List
		if verb%4 == 2 {
			look = fsys.Walk
		}
		var last []string
		for e, err := range look(t.Context(), base) {
			if err != nil {
				if text := err.Error(); peer.Quote(text) != text {
					t.Errorf("the error is raw: %q", text)
				}
				continue
			}
			below, ok := e.Path.Below(base)
			if _, err := share.ParsePath(e.Path.Components()); err != nil || !ok || len(below) == 0 || verb%4 == 1 && len(below) > 1 {
				t.Errorf("%q is listed", e.Path)
			}
			if e.Size < 0 || e.Kind != share.File && e.Kind != share.Dir || last != nil && slices.Compare(last, below) >= 0 {
				t.Errorf("%+v after %q", e, last)
			}
			last = below
		}
	})
}

// FuzzAnswers: nothing that an owner makes up logs us in, and its words are fit to be shown.
func FuzzAnswers(f *testing.F) {
	f.Add(servetest.Frames(f, &sharepb.AuthShare{Id: make([]byte, 16)}, &sharepb.AuthMessage{Data: make([]byte, auth.KE2Size)}, &sharepb.AuthResult{}))
	f.Add(servetest.Frames(f, &sharepb.AuthShare{Id: make([]byte, 16)}, &sharepb.AuthMessage{Refused: &sharepb.AuthResult{RetryAfterMs: 1 << 31}}))
	f.Add(servetest.Frames(f, &sharepb.AuthResult{Error: &wirepb.Error{Kind: 9, Op: "\u202e", Text: "x", Hint: "\r\n"}}))
	f.Add(servetest.Frames(f, &sharepb.Hello{Name: "b", Shares: []*sharepb.Share{{Name: "docs", Id: make([]byte, 16)}}}))
	pw, err := auth.NewPassword(readPassword)
	if err != nil {
		f.Fatal(err)
	}
	pw = pw.WeakenedForTests()
	f.Fuzz(func(t *testing.T, in []byte) {
		owner := newFake(t)
		owner.other = func(string) io.Reader { return bytes.NewReader(in) }
		c, _ := owner.client(t)
		_, login := c.Login(t.Context(), owner.owner, "docs", pw)
		_, access := c.Access(t.Context(), owner.owner, "docs")
		for _, err := range []error{login, access} {
			if err == nil {
				t.Fatal("it let us in")
			}
			if text := err.Error(); peer.Quote(text) != text {
				t.Errorf("the error is raw: %q", text)
			}
		}
		if intro, err := c.Introduce(t.Context(), owner.owner, &sharepb.Hello{}); err == nil {
			if _, err := peer.ParseName(string(intro.Name)); err != nil || intro.ID != owner.owner {
				t.Errorf("it is %q", intro.Name)
			}
		}
	})
}
