package remote_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire/wirepb"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/servetest"
	"github.com/peerd/peerd/share/sharepb"
	"github.com/peerd/peerd/share/watch"
)

// mute is a report of nothing.
type mute struct{}

func (mute) Put(uint64, remote.Changed) {}
func (mute) Sums(int64, int64)          {}

// changers are the ways to ask for changes below "base"; each gives the error that ended it.
func changers(tb testing.TB) map[string]func(context.Context, *remote.FS) error {
	base, to := servetest.Path(tb, "base"), servetest.Path(tb, "to")
	any := change.Base{Any: true}
	one := func(_ remote.Changed, err error) error { return err }
	return map[string]func(context.Context, *remote.FS) error{
		"mkdir":    func(ctx context.Context, f *remote.FS) error { return f.Mkdir(ctx, base, true) },
		"move":     func(ctx context.Context, f *remote.FS) error { return one(f.Move(ctx, base, to, any, any)) },
		"touch":    func(ctx context.Context, f *remote.FS) error { return one(f.Touch(ctx, to, any, &time.Time{}, nil)) },
		"copy":     func(ctx context.Context, f *remote.FS) error { return one(f.Copy(ctx, base, to, any)) },
		"restore":  func(ctx context.Context, f *remote.FS) error { return one(f.Restore(ctx, base, "v", to, any)) },
		"remove":   func(ctx context.Context, f *remote.FS) error { return last(f.Remove(ctx, base, any, true)) },
		"versions": func(ctx context.Context, f *remote.FS) error { return last(f.Versions(ctx, base, true)) },
		"watch":    func(ctx context.Context, f *remote.FS) error { return last(f.Watch(ctx, base, watch.Cursor{})) },
		"lock":     func(ctx context.Context, f *remote.FS) error { return last(f.Lock(ctx, base)) },
		"put": func(ctx context.Context, f *remote.FS) error {
			up := serve.NewUploads("self").Begin("owner", "x")
			defer up.Close()
			return f.Put(ctx, up, each(remote.PutItem{Number: 5, Path: base, Size: 10}), mute{})
		},
	}
}

func last[T any](seq iter.Seq2[T, error]) (last error) {
	for _, err := range seq {
		if err != nil {
			last = err
		}
	}
	return last
}

// TestLyingOwners: whatever an owner says of a change that can't be true is found out, by every change, and soon.
func TestLyingOwners(t *testing.T) {
	again := func(m proto.Message) func(testing.TB) io.Reader {
		return func(tb testing.TB) io.Reader { return &servetest.Endless{Bytes: servetest.Frames(tb, m)} }
	}
	removed := &sharepb.Changed{Removed: true, Entry: &sharepb.Entry{Path: []string{"base", "x"}}}
	event := func(seq uint64, path ...string) *sharepb.Changed {
		return &sharepb.Changed{Event: &sharepb.Event{Seq: seq, Kind: 1, Entry: entry(path...)}}
	}
	cursor := &sharepb.Changed{Cursor: &sharepb.Cursor{Epoch: make([]byte, 8), Seq: 5}}
	id := "20261125-204356-9f3c"
	for name, tc := range map[string]struct {
		who string // of changers, with blanks between; "" is all
		lie func(testing.TB) io.Reader
	}{
		"garbage":                {"", again(&sharepb.Hello{Name: strings.Repeat("x", 20<<10)})},
		"nothing, without end":   {"", again(&sharepb.Changed{})},
		"something else":         {"mkdir move touch copy restore remove lock", again(&sharepb.Changed{Entry: entry("other")})},
		"a path that can't be":   {"mkdir move touch copy restore remove lock", again(&sharepb.Changed{Entry: entry("..", "x")})},
		"a version that can't":   {"mkdir move touch copy restore", again(&sharepb.Changed{Entry: entry("to"), Kept: "x"})},
		"it is removed":          {"mkdir move touch copy restore lock", again(removed)},
		"removals without end":   {"remove", again(removed)},
		"it is not removed":      {"remove", again(&sharepb.Changed{Entry: entry("base")})},
		"another is removed":     {"remove", again(&sharepb.Changed{Removed: true, Entry: entry("bas")})},
		"versions without end":   {"versions", again(&sharepb.Changed{Version: &sharepb.Kept{Id: id, Entry: entry("base")}})},
		"versions of another":    {"versions", again(&sharepb.Changed{Version: &sharepb.Kept{Id: id, Entry: entry("other")}})},
		"a version without ID":   {"versions", again(&sharepb.Changed{Version: &sharepb.Kept{Entry: entry("base")}})},
		"two locks":              {"lock", again(&sharepb.Changed{Entry: entry("base")})},
		"an event first":         {"watch", again(event(6, "base"))},
		"two beginnings":         {"watch", again(cursor)},
		"an event again":         {"watch", frames(cursor, event(6, "base"), event(6, "base"))},
		"an event of before":     {"watch", frames(cursor, event(5, "base"))},
		"an event elsewhere":     {"watch", frames(cursor, event(6, "other"))},
		"an event of no kind":    {"watch", frames(cursor, &sharepb.Changed{Event: &sharepb.Event{Seq: 6, Kind: 257, Entry: entry("base")}})},
		"moved from nowhere":     {"watch", frames(cursor, &sharepb.Changed{Event: &sharepb.Event{Seq: 6, Kind: 4, Entry: entry("base")}})},
		"done at once":           {"put", frames(&sharepb.Changed{End: true})},
		"a number that is none":  {"put", again(&sharepb.Changed{Number: 6, Entry: entry("base")})},
		"put elsewhere":          {"put", again(&sharepb.Changed{Number: 5, Entry: entry("other")})},
		"beside itself":          {"put", again(&sharepb.Changed{Number: 5, Entry: entry("base"), Conflict: true})},
		"a copy elsewhere":       {"put", again(&sharepb.Changed{Number: 5, Entry: entry("x", "base (conflict)"), Conflict: true})},
		"a file is removed":      {"put", again(&sharepb.Changed{Number: 5, Removed: true, Entry: entry("base")})},
		"no sums":                {"put", again(&sharepb.Changed{Entry: entry("base")})},
		"more than was put":      {"put", again(&sharepb.Changed{Bytes: 1 << 60})},
		"more had than there is": {"put", again(&sharepb.Changed{Bytes: 1, Had: 2})},
		"sums that fall":         {"put", frames(&sharepb.Changed{Bytes: 5}, &sharepb.Changed{Bytes: 4})},
	} {
		for who, ask := range changers(t) {
			if tc.who != "" && !strings.Contains(" "+tc.who+" ", " "+who+" ") {
				continue
			}
			t.Run(who+" "+name, func(t *testing.T) {
				f := newFake(t)
				f.meta = func(int) io.Reader { return tc.lie(t) }
				_, fsys := f.client(t)
				fsys.Limit(20_000)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := ask(ctx, fsys); peer.KindOf(err) != peer.Integrity || !strings.HasPrefix(fmt.Sprint(err), "//owner/docs") {
					t.Errorf("%v: %v", peer.KindOf(err), err)
				}
				if f.asked > 1 {
					t.Errorf("a liar was asked %d times", f.asked)
				}
			})
		}
	}
	for who, ask := range changers(t) {
		f := newFake(t)
		f.meta = func(int) io.Reader { return bytes.NewReader(nil) }
		_, fsys := f.client(t)
		if err := ask(t.Context(), fsys); peer.KindOf(err) != peer.Unreachable {
			t.Errorf("%s, of an owner who goes away: %v", who, err)
		}
		f.meta = func(int) io.Reader {
			return bytes.NewReader(servetest.Frames(t, &sharepb.Changed{End: true, Error: &wirepb.Error{Kind: uint32(peer.Denied), Text: "no right"}}))
		}
		if err := ask(t.Context(), fsys); peer.KindOf(err) != peer.Denied {
			t.Errorf("%s, of an owner who refuses: %v", who, err)
		}
	}
}

func frames(all ...proto.Message) func(testing.TB) io.Reader {
	return func(tb testing.TB) io.Reader { return bytes.NewReader(servetest.Frames(tb, all...)) }
}

// FuzzChanged: of whatever an owner answers to a change, nothing comes through that is not about what was asked for.
func FuzzChanged(f *testing.F) {
	f.Add(uint8(0), servetest.Frames(f, &sharepb.Changed{Entry: entry("base")}, &sharepb.Changed{End: true}))
	f.Add(uint8(1), servetest.Frames(f, &sharepb.Changed{Removed: true, Entry: entry("base", "x")}, &sharepb.Changed{End: true}))
	f.Add(uint8(2), servetest.Frames(f, &sharepb.Changed{Version: &sharepb.Kept{Id: "20261125-204356-9f3c", Entry: entry("base")}}))
	f.Add(uint8(3), servetest.Frames(f, &sharepb.Changed{Cursor: &sharepb.Cursor{Epoch: make([]byte, 8)}},
		&sharepb.Changed{Event: &sharepb.Event{Seq: 1, Kind: 4, Entry: entry("base", "y"), From: []string{"x"}, Name: "a\x1b"}}))
	f.Add(uint8(4), servetest.Frames(f, &sharepb.Changed{Number: 5, Entry: entry("base")}, &sharepb.Changed{Bytes: 3, Had: 1}, &sharepb.Changed{End: true}))
	f.Add(uint8(5), servetest.Frames(f, &sharepb.Changed{Entry: entry("base")}))
	f.Fuzz(func(t *testing.T, verb uint8, in []byte) {
		owner := newFake(t)
		owner.meta = func(int) io.Reader { return bytes.NewReader(in) }
		_, fs := owner.client(t)
		ctx, base := t.Context(), servetest.Path(t, "base")
		below := func(p share.Path) {
			if _, ok := p.Below(base); !ok {
				t.Errorf("it tells of %q", p)
			}
		}
		switch verb % 6 {
		case 0:
			if c, err := fs.Copy(ctx, servetest.Path(t, "x"), base, change.Base{}); err == nil && c.Entry.Path != base && !c.Conflict {
				t.Errorf("copied to %q", c.Entry.Path)
			}
		case 1:
			for c, err := range fs.Remove(ctx, base, change.Base{}, true) {
				if err == nil && c.Err == nil {
					below(c.Entry.Path)
				}
			}
		case 2:
			for k, err := range fs.Versions(ctx, base, true) {
				if err == nil {
					below(k.Entry.Path)
				}
			}
		case 3:
			seq := uint64(0)
			for e, err := range fs.Watch(ctx, base, watch.Cursor{}) {
				if err != nil || e.Kind == 0 {
					continue
				}
				if _, from := e.From.Below(base); e.Kind != watch.Moved || !from {
					below(e.Entry.Path)
				}
				if e.Seq <= seq || strings.ContainsRune(string(e.Name), 0x1b) {
					t.Errorf("%+v", e)
				}
				seq = e.Seq
			}
		case 4:
			r := &report{done: make(map[uint64]remote.Changed)}
			up := serve.NewUploads("self").Begin("owner", "x")
			defer up.Close()
			err := fs.Put(ctx, up, each(remote.PutItem{Number: 5, Path: base, Size: 10}), r)
			if err == nil && len(r.done) != 1 {
				t.Errorf("it is done, and %d files are", len(r.done))
			}
		case 5:
			for l, err := range fs.Lock(ctx, base) {
				if err == nil && l != nil && l.Peer == "" {
					t.Errorf("%+v", l)
				}
			}
		}
	})
}
