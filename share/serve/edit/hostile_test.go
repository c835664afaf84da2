package edit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/edit"
	"github.com/peerd/peerd/share/serve/servetest"
	"github.com/peerd/peerd/share/sharepb"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
	transferserve "github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
)

// sealed is a grant of the full right to docs.
func sealed(tb testing.TB, w *servetest.World, holder *host.Host, right share.Right) (share.ID, []byte) {
	tb.Helper()
	o, _ := w.Offers.Named("docs")
	now := w.Now().Truncate(time.Second)
	g := grant.Grant{Share: o.ID, Holder: holder.ID(), Right: right, Epoch: o.Epochs.Of(right), NotBefore: now, Expires: now.Add(grant.MaxLife)}
	b, err := g.Seal(w.Key)
	if err != nil {
		tb.Fatal(err)
	}
	return o.ID, b
}

// stream is a stream of changes by hand.
type stream struct {
	t *testing.T
	peer.Stream
	in *wire.Reader
}

func open(t *testing.T, w *servetest.World, from *host.Host, m *sharepb.Change) *stream {
	t.Helper()
	st, err := from.Open(context.Background(), w.Owner.ID(), edit.Protocol, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Reset() })
	if err := st.SetDeadline(time.Now().Add(50 * time.Second)); err != nil {
		t.Fatal(err)
	}
	s := &stream{t, st, wire.NewReader(st)}
	id, g := sealed(t, w, from, share.Full)
	m.Share, m.Grant = id[:], g
	s.say(m)
	return s
}

func (s *stream) say(all ...proto.Message) {
	s.t.Helper()
	for _, m := range all {
		if err := wire.WriteMsg(s, m); err != nil {
			s.t.Fatal(err)
		}
	}
}

// hear is the next part of an answer that says something.
func (s *stream) hear() *sharepb.Changed {
	s.t.Helper()
	for {
		m := new(sharepb.Changed)
		if err := s.in.ReadMsg(m, edit.MaxMessage); err != nil {
			s.t.Fatal(err)
		}
		if m.Number != 0 || m.End || m.Entry != nil || m.Cursor != nil || m.Event != nil || m.Version != nil {
			return m
		}
	}
}

func putChange() *sharepb.Change {
	return &sharepb.Change{Verb: sharepb.Verb_VERB_PUT, Upload: &sharepb.Upload{Id: bytes.Repeat([]byte{3}, 16), Token: []byte("token")}}
}

// silent serves no bytes: it takes requests and says nothing.
func silent(h *host.Host) {
	for _, p := range []string{transferserve.ManifestProtocol, transferserve.GetProtocol} {
		h.Handle(p, 64, func(ctx context.Context, st peer.Stream) error {
			_, err := io.Copy(io.Discard, st)
			return err
		})
	}
}

// refusing has a peer give nothing that it puts.
func refusing(h *host.Host) {
	h.Handle(transferserve.GetProtocol, 64, func(_ context.Context, st peer.Stream) error {
		in := wire.NewReader(st)
		for {
			var q transferpb.GetRequest
			if err := in.ReadMsg(&q, transferserve.MaxRequest); err != nil {
				return nil
			}
			if err := wire.WriteMsg(st, &transferpb.GetReply{Error: wire.FromError(serve.Refused())}); err != nil {
				return err
			}
		}
	})
}

// TestPutItemsThatCannotBe: each is told of and left out, and the put goes on.
func TestPutItemsThatCannotBe(t *testing.T) {
	w := servetest.New(t)
	silent(w.Anna)
	s := open(t, w, w.Anna, putChange())
	good := []string{"f"}
	for n, tc := range []struct {
		what string
		item *sharepb.PutItem
		kind peer.Kind
	}{
		{"..", &sharepb.PutItem{Path: []string{"..", "f"}}, peer.Usage},
		{"a slash", &sharepb.PutItem{Path: []string{"a/b"}}, peer.Usage},
		{"a zero byte", &sharepb.PutItem{Path: []string{"a\x00"}}, peer.Usage},
		{"the share", &sharepb.PutItem{}, peer.Usage},
		{"the share as a folder", &sharepb.PutItem{Dir: true}, peer.Usage},
		{"peerd's own", &sharepb.PutItem{Path: []string{share.Reserved, "tmp", "x"}}, peer.Usage},
		{"peerd's own folder", &sharepb.PutItem{Path: []string{share.Reserved}, Dir: true}, peer.Usage},
		{"an old version", &sharepb.PutItem{Path: share.VersionPath(servetest.Path(t, "small"), "20261125-204356-9f3c")}, peer.Usage},
		{"too deep", &sharepb.PutItem{Path: slices.Repeat([]string{"d"}, share.MaxDepth+1)}, peer.Usage},
		{"a long name", &sharepb.PutItem{Path: []string{strings.Repeat("n", 300)}}, peer.Usage},
		{"a negative size", &sharepb.PutItem{Path: good, Size: -1}, peer.Usage},
		{"the least size", &sharepb.PutItem{Path: good, Size: math.MinInt64}, peer.Usage},
		{"2^62 bytes", &sharepb.PutItem{Path: good, Size: 1 << 62}, peer.Full},
		{"2^63-1 bytes", &sharepb.PutItem{Path: good, Size: math.MaxInt64}, peer.Full},
		{"no version", &sharepb.PutItem{Path: good, Base: &sharepb.Base{Version: []byte("short")}}, peer.Usage},
	} {
		tc.item.Number = uint64(n + 1)
		s.say(tc.item)
		m := s.hear()
		if err := wire.ToError(m.Error); m.Number != tc.item.Number || m.End || peer.KindOf(err) != tc.kind {
			t.Errorf("%s: %v, %v", tc.what, m, err)
		}
	}
	// One that is on its way keeps its number, and sums do not overflow.
	s.say(&sharepb.PutItem{Number: 100, Path: good, Size: 5}, &sharepb.PutItem{Number: 100, Path: []string{"g"}, Size: 5})
	if m := s.hear(); m.Number != 100 || peer.KindOf(wire.ToError(m.Error)) != peer.Usage {
		t.Errorf("a number twice: %v", m)
	}
}

// TestAheadThatCannotBe: what is no file that will be put, and windows that are none, end it, and nothing stays.
func TestAheadThatCannotBe(t *testing.T) {
	w := servetest.New(t)
	silent(w.Anna)
	id, token := bytes.Repeat([]byte{3}, 16), []byte("token")
	for what, up := range map[string]*sharepb.Upload{
		"nothing": nil, "no number": {Id: id, Token: token}, "no token": {Id: id, Number: 1}, "a short ID": {Id: id[1:], Token: token, Number: 1},
	} {
		s := open(t, w, w.Anna, &sharepb.Change{Verb: sharepb.Verb_VERB_AHEAD, Upload: up})
		if m := s.hear(); !m.End || peer.KindOf(wire.ToError(m.Error)) != peer.Usage {
			t.Errorf("%s: %v", what, m)
		}
	}
	for size, kind := range map[int64]peer.Kind{
		-1: peer.Usage, 0: peer.Usage, transfer.SmallFile: peer.Usage, 64<<20 + 1: peer.Usage, 1 << 62: peer.Usage, math.MaxInt64: peer.Usage,
	} {
		s := open(t, w, w.Anna, &sharepb.Change{Verb: sharepb.Verb_VERB_AHEAD, Upload: &sharepb.Upload{Id: id, Token: token, Number: 1}})
		s.say(&sharepb.PutItem{Number: 1, Size: size})
		if m := s.hear(); !m.End || peer.KindOf(wire.ToError(m.Error)) != kind {
			t.Errorf("a window of %d bytes: %v", size, m)
		}
	}
	docs, _ := w.Offers.Named("docs")
	if left, _ := os.ReadDir(filepath.Join(w.Dir(docs.ID), share.Reserved, "tmp")); len(left) > 0 {
		t.Errorf("%d files stay in staging", len(left))
	}
}

// TestPutThatIsNotServed: who names files and serves none holds nothing once it has gone, and not much before.
func TestPutThatIsNotServed(t *testing.T) {
	w := servetest.New(t)
	silent(w.Anna)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := open(t, w, w.Anna, putChange())
	if err := s.SetWriteDeadline(time.Now().Add(4 * time.Second)); err != nil {
		t.Fatal(err)
	}
	named := 0
	for ; named < 1_000_000; named++ {
		m := &sharepb.PutItem{Number: uint64(named + 1), Path: []string{fmt.Sprint(named)}, Size: 10}
		if err := wire.WriteMsg(s, m); err != nil {
			break // the owner takes no more
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); named > 100_000 || grown > 64<<20 {
		t.Errorf("%d files were named, which takes %d MiB", named, grown>>20)
	}
	s.Reset()
	wait(t, func() bool { return !w.Changing() })
}

// wait waits until something is so.
func wait(t *testing.T, so func() bool) {
	t.Helper()
	for begin := time.Now(); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > 20*time.Second {
			t.Fatal("it does not happen")
		}
	}
}

// lyingManifests give the manifest of other bytes.
type lyingManifests struct{ other []byte }

func (l lyingManifests) Get(transfer.FileID) (transfer.Manifest, bool) {
	layout, err := transfer.LayoutOf(int64(len(l.other)))
	if err != nil {
		return transfer.Manifest{}, false
	}
	m, err := manifest.Build(bytes.NewReader(l.other), layout, func(int, transfer.Hash) error { return nil })
	return m, err == nil
}

func (lyingManifests) Put(transfer.FileID, transfer.Manifest) {}

// memory is a file in memory.
type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

func (m memory) State() (transfer.State, error) {
	return transfer.State{Size: m.Size(), ModTime: time.Unix(1, 0), Version: transfer.Version{1}}, nil
}

// giver gives the same bytes as whatever is asked for.
type giver struct {
	self  peer.ID
	bytes []byte
}

func (g giver) Enter([]byte, peer.ID, transfer.ShareID) (transferserve.Pass, error) { return g, nil }
func (g giver) Check() error                                                        { return nil }
func (g giver) Owner() peer.ID                                                      { return g.self }

func (g giver) Open(context.Context, []string, transfer.Version) (transferserve.File, error) {
	return memory{bytes.NewReader(g.bytes)}, nil
}

// TestPutThatLies: bytes that are not those of their manifest are not put, and what was there stays.
func TestPutThatLies(t *testing.T) {
	w := servetest.New(t)
	is, says := bytes.Repeat([]byte("a"), servetest.LargeSize), bytes.Repeat([]byte("b"), servetest.LargeSize)
	w.Lying(w.Anna, giver{w.Anna.ID(), is}, lyingManifests{says})
	s := open(t, w, w.Anna, putChange())
	s.say(&sharepb.PutItem{Number: 1, Path: []string{"large"}, Size: servetest.LargeSize, ModTime: 1e9, Base: &sharepb.Base{Any: true}}, &sharepb.PutItem{})
	m := s.hear()
	if err := wire.ToError(m.Error); peer.KindOf(err) != peer.Integrity {
		t.Errorf("a lie was put, or not found out: %v", m)
	}
	docs, _ := w.Offers.Named("docs")
	f, err := docs.FS.Open(t.Context(), servetest.Path(t, "large"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, servetest.LargeSize)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) || strings.Trim(string(b), "x") != "" {
		t.Errorf("what was there is changed: %v", err)
	}
}

// TestWhatComesBehindABrokenPut: items that still come are not taken for changes.
func TestWhatComesBehindABrokenPut(t *testing.T) {
	w := servetest.New(t)
	c := putChange()
	c.Upload.Token = nil
	s := open(t, w, w.Anna, c)
	s.say(&sharepb.PutItem{Number: 1, Path: []string{"f"}, Dir: true})
	if m := s.hear(); !m.End || peer.KindOf(wire.ToError(m.Error)) != peer.Usage {
		t.Errorf("%v", m)
	}
	m := new(sharepb.Changed)
	if err := s.in.ReadMsg(m, edit.MaxMessage); err == nil {
		t.Errorf("it goes on: %v", m)
	}
}

// FuzzChange: whatever a peer sends, the answers can be read, each request has at most one end, and only who shows the full right is
// told of anything, or changes it.
func FuzzChange(f *testing.F) {
	b := newBare(f)
	mk := &sharepb.Change{Share: b.docs[:], Grant: b.full, Verb: sharepb.Verb_VERB_MKDIR, Path: []string{"d", "e"}, Parents: true}
	again := &sharepb.Change{Verb: sharepb.Verb_VERB_REMOVE, Path: []string{"d"}, Deep: true, Base: &sharepb.Base{Any: true}}
	put := putChange()
	put.Share, put.Grant = b.docs[:], b.full
	f.Add(servetest.Frames(f, mk, again, &sharepb.Change{Verb: sharepb.Verb_VERB_VERSIONS, Deep: true}))
	f.Add(servetest.Frames(f, put, &sharepb.PutItem{Number: 1, Path: []string{"x"}, Dir: true}, &sharepb.PutItem{Number: 2, Path: []string{"f"}, Size: 3}, &sharepb.PutItem{}))
	f.Add(servetest.Frames(f, &sharepb.Change{Share: b.docs[:], Grant: b.full, Verb: sharepb.Verb_VERB_AHEAD,
		Upload: &sharepb.Upload{Id: put.Upload.Id, Token: put.Upload.Token, Number: 1}}, &sharepb.PutItem{Number: 1, Size: 4 << 20}, &sharepb.PutItem{}))
	f.Add(servetest.Frames(f, &sharepb.Change{Share: b.docs[:], Grant: b.full, Verb: sharepb.Verb_VERB_TOUCH, Path: []string{"f"}, Base: &sharepb.Base{Any: true},
		Touch: &sharepb.Touch{ModTime: new(int64(-1) << 63), Exec: new(true)}}))
	f.Add(servetest.Frames(f, &sharepb.Change{Share: b.docs[:], Grant: b.full, Verb: sharepb.Verb_VERB_WATCH}, &sharepb.Change{Grant: []byte("x")}))
	f.Add(servetest.Frames(f, &sharepb.Change{Share: b.docs[:], Grant: b.full, Verb: sharepb.Verb_VERB_LOCK, Path: []string{"f"}}))
	f.Add(servetest.Frames(f, &sharepb.Change{Share: b.docs[:], Grant: b.read, Verb: sharepb.Verb_VERB_MKDIR, Path: []string{"f"}}))
	f.Add(servetest.Frames(f, &sharepb.Change{Share: []byte("short"), Verb: 99}))
	f.Fuzz(func(t *testing.T, in []byte) {
		b := newBare(t)
		st := &servetest.Stream{In: bytes.NewReader(in), ID: b.holder}
		_ = b.service.Handle(t.Context(), st)
		full := bytes.Contains(in, b.full)
		for out := wire.NewReader(&st.Out); ; {
			m := new(sharepb.Changed)
			if err := out.ReadMsg(m, edit.MaxMessage); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("an answer that nobody can read: %v", err)
			}
			if !full && (m.Entry != nil || m.Version != nil || m.Event != nil) {
				t.Errorf("told without a right: %v", m)
			}
			if m.End && (m.Entry != nil || m.Version != nil || m.Event != nil || m.Cursor != nil) {
				t.Errorf("an end that says more: %v", m)
			}
		}
		if n := b.changes(); n > 0 && !full {
			t.Errorf("%d changes without a right", n)
		}
	})
}

// TestPutOfAnotherSize: a file that is larger or smaller than was said is not taken, whatever was said: what may be put goes by that.
func TestPutOfAnotherSize(t *testing.T) {
	const mib = 1 << 20
	for _, tc := range []struct{ says, is int64 }{
		{0, 100}, {100, mib}, {100, 99}, {2 * mib, 8 * mib}, {8 * mib, 2 * mib}, {mib, 2 * mib}, {2 * mib, 1000}, {2 * mib, 0},
	} {
		t.Run(fmt.Sprintf("%d of %d", tc.is, tc.says), func(t *testing.T) {
			w := servetest.New(t)
			b := bytes.Repeat([]byte("a"), int(tc.is))
			w.Lying(w.Anna, giver{w.Anna.ID(), b}, lyingManifests{b})
			docs, _ := w.Offers.Named("docs")
			dir := w.Dir(docs.ID)
			for _, size := range []int64{tc.says, tc.is} {
				s := open(t, w, w.Anna, putChange())
				s.say(&sharepb.PutItem{Number: 1, Path: []string{"f"}, Size: size, ModTime: 1e9}, &sharepb.PutItem{})
				err := wire.ToError(s.hear().Error)
				info, there := os.Stat(filepath.Join(dir, "f"))
				switch {
				case size == tc.is && (err != nil || there != nil || info.Size() != size):
					t.Errorf("what is as large as was said: %v, %v", err, there)
				case size != tc.is && (peer.KindOf(err) != peer.Conflict || there == nil):
					t.Errorf("%v, and the file: %v", err, there)
				}
				left, _ := filepath.Glob(filepath.Join(dir, ".peerd", "tmp", "*"))
				if len(left) > 0 {
					t.Errorf("in staging are %q", left)
				}
			}
		})
	}
}
