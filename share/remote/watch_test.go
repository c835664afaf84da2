package remote_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/servetest"
	"github.com/peerd/peerd/share/watch"
)

// follow watches what is at and below a path, until stop, which gives the error that ended it.
func follow(t *testing.T, fs *remote.FS, top share.Path, after watch.Cursor, got func(remote.Event)) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := following(ctx, fs, top, after, got)
	return func() error {
		cancel()
		return <-ended
	}
}

// following watches, and gives the error that ends it.
func following(ctx context.Context, fs *remote.FS, top share.Path, after watch.Cursor, got func(remote.Event)) <-chan error {
	begun, ended := make(chan struct{}), make(chan error, 1)
	begin := sync.OnceFunc(func() { close(begun) })
	go func() {
		var last error
		for e, err := range fs.Watch(ctx, top, after) {
			if last = err; err == nil {
				got(e)
			}
			begin()
		}
		begin()
		ended <- last
	}()
	<-begun
	return ended
}

// TestWatch: those that may read hear of what is changed, in order, with who did it, and of nothing elsewhere.
func TestWatch(t *testing.T) {
	w := servetest.New(t)
	wr := newWriter(t, w, w.Anna)
	ctx, path := t.Context(), func(s string) share.Path { return servetest.Path(t, s) }
	if err := errors.Join(wr.fs.Mkdir(ctx, path("in"), false), wr.fs.Mkdir(ctx, path("out"), false)); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var events []string
	stop := follow(t, wr.fs, path("in"), watch.Cursor{}, func(e remote.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == 0 {
			return
		}
		if e.By != w.Anna.ID() || e.Name != "anna" {
			t.Errorf("%v by %v %q", e.Kind, e.By, e.Name)
		}
		events = append(events, fmt.Sprint(e.Kind, " ", e.From, " ", e.Entry.Path))
	})
	any, none := change.Base{Any: true}, change.Base{}
	for _, from := range []string{"in/a", "out/a"} {
		if _, err := wr.fs.Copy(ctx, path("small"), path(from), none); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := wr.fs.Copy(ctx, path("large"), path("in/a"), any); err != nil {
		t.Fatal(err)
	}
	for _, mv := range [][2]string{{"in/a", "in/b"}, {"in/b", "out/b"}, {"out/a", "in/c"}, {"out/b", "out/d"}} {
		if _, err := wr.fs.Move(ctx, path(mv[0]), path(mv[1]), any, none); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range wr.fs.Remove(ctx, path("in"), any, true) {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"created  in/a", "changed  in/a", "moved in/a in/b", "moved in/b out/b", "moved out/a in/c", "removed  in/c", "removed  in"}
	wait(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(events) >= len(want) })
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("it ends with %v", err)
	}
	if !slices.Equal(events, want) {
		t.Errorf("events %q", events)
	}
}

// TestWatchGap: who asks for events that are not known any more is told so.
func TestWatchGap(t *testing.T) {
	w := servetest.New(t)
	wr := newWriter(t, w, w.Anna)
	err := last(wr.fs.Watch(t.Context(), share.Path{}, watch.Cursor{Epoch: [8]byte{1}, Seq: 7}))
	if !errors.Is(err, remote.ErrGap) {
		t.Errorf("another epoch: %v", err)
	}
	docs, _ := w.Offers.Named("docs")
	sh, err := w.Edit(docs)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	begun := make(chan struct{})
	go func() {
		var end error
		for _, err := range wr.fs.Watch(t.Context(), share.Path{}, watch.Cursor{}) {
			if end = err; err == nil {
				close(begun)
			}
		}
		ended <- end
	}()
	<-begun
	sh.Feed.Break()
	if err := <-ended; !errors.Is(err, remote.ErrGap) {
		t.Errorf("a gap: %v", err)
	}
}

// TestManyFollow: many hear of the same changes, and end when the right does, which they are told.
func TestManyFollow(t *testing.T) {
	w := servetest.New(t)
	wr := newWriter(t, w, w.Anna)
	other := newWriter(t, w, w.Berta)
	const many, changes = 100, 20
	var heard atomic.Int64
	var ends []<-chan error
	for i := range many {
		ends = append(ends, following(t.Context(), []*writer{wr, other}[i%2].fs, share.Path{}, watch.Cursor{}, func(e remote.Event) {
			if e.Kind == watch.Created {
				heard.Add(1)
			}
		}))
	}
	for i := range changes {
		if err := wr.fs.Mkdir(t.Context(), servetest.Path(t, fmt.Sprint(i)), false); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, func() bool { return heard.Load() == many*changes })
	w.Offers.Change("docs", func(o *serve.Offer) { o.Epochs.Full++; o.Epochs.Read++; o.Open = share.None })
	wait(t, func() bool { return !w.Changing() })
	for _, end := range ends {
		if err := <-end; peer.KindOf(err) != peer.Denied {
			t.Fatalf("it ends with %v", err)
		}
	}
}

// TestLock: who works on a file is shown to all, with its name, for as long as it does; a lock forbids nothing.
func TestLock(t *testing.T) {
	w := servetest.New(t)
	anna, berta := newWriter(t, w, w.Anna), newWriter(t, w, w.Berta)
	small := servetest.Path(t, "small")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	hold := func(ctx context.Context, wr *writer) (others chan *share.Lock, ended chan error) {
		others, ended = make(chan *share.Lock, 1), make(chan error, 1)
		go func() {
			var end error
			for l, err := range wr.fs.Lock(ctx, small) {
				if end = err; err == nil {
					others <- l
				}
			}
			ended <- end
		}()
		return others, ended
	}
	others, ended := hold(ctx, anna)
	if l := <-others; l != nil {
		t.Errorf("somebody else works on it: %+v", l)
	}
	is := func(what string, l *share.Lock, h *host.Host, name peer.Name) {
		t.Helper()
		switch {
		case h == nil && l != nil:
			t.Errorf("%s: %+v", what, l)
		case h != nil && (l == nil || l.Peer != h.ID() || l.Name != name || time.Since(l.Since).Abs() > time.Minute):
			t.Errorf("%s: %+v", what, l)
		}
	}
	stat := func() *share.Lock {
		e, err := berta.fs.Stat(t.Context(), small)
		if err != nil {
			t.Error(err)
		}
		return e.Lock
	}
	is("stat", stat(), w.Anna, "anna")
	for e, err := range berta.fs.List(t.Context(), share.Path{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Path == small {
			is("list", e.Lock, w.Anna, "anna")
		} else {
			is("another file", e.Lock, nil, "")
		}
	}
	more, done := hold(t.Context(), berta)
	is("the second", <-more, w.Anna, "anna")
	if _, err := berta.fs.Copy(t.Context(), servetest.Path(t, "large"), small, change.Base{Any: true}); err != nil {
		t.Errorf("a lock forbids a change: %v", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	wait(t, func() bool { l := stat(); return l != nil && l.Peer == w.Berta.ID() })
	w.Offers.Change("docs", func(o *serve.Offer) { o.Epochs.Full++ })
	if err := <-done; peer.KindOf(err) != peer.Denied {
		t.Errorf("its right ends: %v", err)
	}
	wait(t, func() bool { return w.Locks.Of(docsOf(w), small) == nil })
	if err := last(anna.fs.Lock(t.Context(), servetest.Path(t, "none"))); peer.KindOf(err) != peer.NotFound {
		t.Errorf("a lock on nothing: %v", err)
	}
}

func docsOf(w *servetest.World) share.ID {
	o, _ := w.Offers.Named("docs")
	return o.ID
}

// TestNoticed: what the owner's own programs do is told as nobody's.
func TestNoticed(t *testing.T) {
	w := servetest.New(t)
	wr := newWriter(t, w, w.Anna)
	var seen atomic.Bool
	stop := follow(t, wr.fs, share.Path{}, watch.Cursor{}, func(e remote.Event) {
		if e.Entry.Path.String() == "own" && e.By == "" && e.Name == "" {
			seen.Store(true)
		}
	})
	if err := os.WriteFile(filepath.Join(w.Dir(docsOf(w)), "own"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	wait(t, seen.Load)
	_ = stop()
}
