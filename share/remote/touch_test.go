package remote_test

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/remote/ticket"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/edit"
	"github.com/peerd/peerd/share/serve/servetest"
	"github.com/peerd/peerd/share/watch"
)

// TestTouch: times and what may be run arrive at the owner's disk, by a touch and by a put, and those that watch hear of it.
func TestTouch(t *testing.T) {
	w := servetest.New(t)
	wr := newWriter(t, w, w.Anna)
	wr.local("tool", []byte("#!/bin/sh\n"))
	it := wr.item(1, "tool", change.Base{})
	it.Exec = new(true)
	r, err := wr.put(t.Context(), "a", it)
	if err != nil || !r.done[1].Entry.Exec {
		t.Fatal(r.done[1], err)
	}
	docs, _ := w.Offers.Named("docs")
	file := filepath.Join(w.Dir(docs.ID), "tool")
	onDisk := func(what string, mode os.FileMode, when time.Time) {
		t.Helper()
		if fi, err := os.Stat(file); err != nil || fi.Mode() != mode || !fi.ModTime().Equal(when) {
			t.Errorf("%s: %v, %v, %v", what, fi.Mode(), fi.ModTime(), err)
		}
	}
	onDisk("put", 0o755, it.ModTime)

	events := make(chan remote.Event, 10)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		defer close(events)
		for e, err := range wr.fs.Watch(ctx, servetest.Path(t, ""), watch.Cursor{}) {
			if err == nil {
				events <- e
			}
		}
	}()
	<-events
	p, when := servetest.Path(t, "tool"), time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	c, err := wr.fs.Touch(t.Context(), p, change.Base{Version: r.done[1].Entry.Version}, &when, nil)
	if err != nil || !c.Entry.ModTime.Equal(when) || !c.Entry.Exec || c.Entry.Version == r.done[1].Entry.Version {
		t.Errorf("%+v, %v", c, err)
	}
	onDisk("its time", 0o755, when)
	if e := <-events; e.Kind != watch.Changed || e.Entry.Path != p || !e.Entry.ModTime.Equal(when) || e.By != w.Anna.ID() {
		t.Errorf("watched: %+v", e)
	}
	if err := os.Chmod(file, 0o750|os.ModeSetuid|os.ModeSetgid|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if _, err := wr.fs.Touch(t.Context(), p, change.Base{Any: true}, nil, new(false)); err != nil {
		t.Error(err)
	}
	onDisk("not to be run", 0o640, when)
	if c, err := wr.fs.Touch(t.Context(), p, change.Base{Any: true}, nil, new(true)); err != nil || !c.Entry.Exec {
		t.Errorf("%+v, %v", c, err)
	}
	onDisk("to be run again", 0o750, when)
	if _, err := wr.fs.Touch(t.Context(), p, change.Base{Version: c.Entry.Version}, &when, nil); peer.KindOf(err) != peer.Conflict {
		t.Errorf("another version: %v", err)
	}
	if e, err := wr.fs.Stat(t.Context(), p); err != nil || !e.Exec || !e.ModTime.Equal(when) {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestSpace(t *testing.T) {
	w := servetest.New(t)
	wr := newWriter(t, w, w.Anna)
	if total, free, err := wr.fs.Space(t.Context()); err != nil || total <= 0 || free < 0 || free > total {
		t.Errorf("%d, %d, %v", total, free, err)
	}
	w.Offers.Change("docs", func(o *serve.Offer) {
		o.Space = func(_ context.Context, who peer.ID) (int64, int64, error) {
			if who != w.Anna.ID() {
				t.Errorf("for %v", who)
			}
			return 10, 7, nil
		}
	})
	if total, free, err := wr.fs.Space(t.Context()); err != nil || total != 10 || free != 7 {
		t.Errorf("%d, %d, %v", total, free, err)
	}
	w.Offers.Change("docs", func(o *serve.Offer) {
		o.Space = func(context.Context, peer.ID) (int64, int64, error) {
			return 1, 1, &peer.Error{Kind: peer.Unreachable, Path: "x"}
		}
	})
	if total, free, err := wr.fs.Space(t.Context()); peer.KindOf(err) != peer.Unreachable || total != 0 || free != 0 {
		t.Errorf("a folder that is away: %d, %d, %v", total, free, err)
	}
	w.Offers.Change("docs", func(o *serve.Offer) { o.Space = nil })
	if total, free, err := wr.fs.Space(t.Context()); err != nil || total != 0 || free != 0 {
		t.Errorf("an owner who can't tell: %d, %d, %v", total, free, err)
	}
}

// counter counts the streams that are opened.
type counter struct {
	*host.Host
	looks, edits atomic.Int32
}

func (c *counter) Open(ctx context.Context, id peer.ID, protocol string, lane int) (peer.Stream, error) {
	switch protocol {
	case serve.MetaProtocol:
		c.looks.Add(1)
	case edit.Protocol:
		c.edits.Add(1)
	}
	return c.Host.Open(ctx, id, protocol, lane)
}

// TestKeptLines: what is asked one by one goes over one stream, until the right, the grant or the stream ends; and nobody notices.
func TestKeptLines(t *testing.T) {
	w := servetest.New(t)
	w.Offers.Change("docs", func(o *serve.Offer) { o.Open = 2 })
	w.Offers.Change("other", func(o *serve.Offer) { o.Open = 2 })
	tickets, err := ticket.Open(t.TempDir(), time.Now(), func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	o := &counter{Host: w.Anna}
	c := remote.NewClient(o, w.Anna.ID(), tickets, w.Now)
	shares := map[string]*remote.FS{}
	for _, name := range []string{"docs", "other"} {
		a, err := c.Access(t.Context(), w.Owner.ID(), name)
		if err != nil {
			t.Fatal(err)
		}
		shares[name] = c.FS(a, "//owner/"+name)
	}
	root := servetest.Path(t, "")
	all := func(when string) {
		t.Helper()
		for i := range 20 {
			for name, fs := range shares {
				if _, err := fs.Stat(t.Context(), root); err != nil {
					t.Fatalf("%s, stat of %s: %v", when, name, err)
				}
				n := 0
				for _, err := range fs.List(t.Context(), root) {
					if n++; err != nil {
						t.Fatalf("%s, list of %s: %v", when, name, err)
					}
				}
				if n == 0 {
					t.Fatalf("%s, nothing is in %s", when, name)
				}
				if _, err := fs.Stat(t.Context(), servetest.Path(t, "none")); peer.KindOf(err) != peer.NotFound {
					t.Fatalf("%s: %v", when, err)
				}
				if err := fs.Mkdir(t.Context(), servetest.Path(t, "d"), true); err != nil {
					t.Fatalf("%s, mkdir in %s: %v", when, name, err)
				}
				if i == 0 {
					_ = fs.Mkdir(t.Context(), root, false) // an error ends no line
				}
			}
		}
	}
	opened := func(when string, looks, edits int32) {
		t.Helper()
		if l, e := o.looks.Swap(0), o.edits.Swap(0); l != looks || e != edits {
			t.Errorf("%s, %d streams were opened to look and %d to change, want %d and %d", when, l, e, looks, edits)
		}
	}
	all("first")
	opened("first", 1, 1)
	for range 3 { // leaving in the midst gives the line up
		for range shares["docs"].List(t.Context(), root) {
			break
		}
	}
	all("after leaving")
	if l := o.looks.Swap(0); l < 1 || l > 3 {
		t.Errorf("%d streams", l)
	}
	w.Pass(8 * time.Minute) // a fresh grant is shown on the same line
	all("later")
	opened("later", 0, 0)
	w.Offers.Change("docs", func(o *serve.Offer) { o.Epochs.Read++; o.Epochs.Full++ })
	all("after a new password")
	o.looks.Store(0)
	o.edits.Store(0)
	all("then")
	opened("then", 0, 0)
}
