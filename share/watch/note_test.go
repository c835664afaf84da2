package watch

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/local"
	"github.com/peerd/peerd/share/watch/notify"
)

// note notes what is at a path now.
func (w *watched) note(kind Kind, name string) {
	w.Helper()
	e, err := w.files.Stat(w.Context(), path(w, name))
	must(w, err)
	w.Note(Event{Kind: kind, Entry: e, By: "p"})
}

// TestNote makes changes as the editor does, and expects each to be told once, with who made it.
func TestNote(t *testing.T) {
	w := start(t, real(t), only())
	for i := range 300 {
		name := fmt.Sprintf("d%d/f%d", i%3, i%50)
		release := w.Hold(path(t, name))
		w.mkdir(filepath.Dir(name))
		if i%7 == 0 {
			time.Sleep(time.Duration(i%40) * time.Millisecond) // as fsync takes, so that it is looked at meanwhile
		}
		w.write(name, fmt.Sprint(i))
		if i%11 == 0 {
			time.Sleep(time.Duration(i%40) * time.Millisecond)
		}
		w.note(Changed, name)
		release()
	}
	release := w.Hold(path(t, "d0"), path(t, "e"))
	w.mv("d0", "e")
	e, err := w.files.Stat(t.Context(), path(t, "e"))
	must(t, err)
	w.Note(Event{Kind: Moved, Entry: e, From: path(t, "d0"), By: "p"})
	release()
	release = w.Hold(path(t, "d1"))
	e, err = w.files.Stat(t.Context(), path(t, "d1"))
	must(t, err)
	must(t, os.RemoveAll(filepath.Join(w.dir, "d1")))
	w.Note(Event{Kind: Removed, Entry: e, By: "p"})
	release()
	w.settled()
	w.write("e/own", "x")
	w.settled()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.edits) != 1 || w.edits[0].Entry.Path != path(t, "e/own") {
		t.Errorf("taken for the owner's own: %+v", w.edits)
	}
	count := map[string]int{}
	for _, ev := range w.seen {
		if ev.By == "p" {
			count[ev.Kind.String()]++
		}
	}
	// 3 folders and 50 names in each of them; one folder that moves; and one that is removed with what is in it.
	if got := fmt.Sprint(count); got != "map[changed:150 created:153 moved:1 removed:51]" {
		t.Error(got)
	}
}

// TestHold changes what is held by other means than those that are noted.
func TestHold(t *testing.T) {
	w := start(t, real(t), only())
	w.mkdir("a/b")
	w.write("a/b/kept", "1")
	w.settled()
	w.events()
	release := w.Hold(path(t, "a/b"), path(t, "new/x/y"))
	w.mkdir("a/b/c")
	w.write("a/b/kept", "22")
	w.mkdir("new/x")
	w.write("new/x/y", "1")
	w.write("other", "1")
	w.until("other is told of", func() string {
		if _, ok := w.Lookup(path(t, "other")); !ok {
			return "not yet"
		}
		return ""
	})
	w.mu.Lock()
	for _, ev := range w.seen {
		if ev.Entry.Path != path(t, "other") {
			t.Errorf("told of: %+v", ev)
		}
	}
	w.mu.Unlock()
	release()
	w.settled()
	if len(w.held) != 8 {
		t.Errorf("%v", w.held)
	}
}

// TestLinks puts links in place of folders, which lead to more names; none is ever told.
func TestLinks(t *testing.T) {
	w := start(t, real(t), only())
	outside := real(t)
	must(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o644))
	d := filepath.Join(w.dir, "d")
	for i := range 200 {
		must(t, os.MkdirAll(d, 0o755))
		w.write("d/file", fmt.Sprint(i))
		must(t, os.RemoveAll(d))
		must(t, os.Symlink(outside, d))
		must(t, os.WriteFile(filepath.Join(outside, "secret"), []byte(fmt.Sprint(i)), 0o644))
		if i%10 == 0 {
			time.Sleep(settle) // so that a link is what is looked at, every now and then
		}
		must(t, os.Remove(d))
	}
	w.settled()
	for _, ev := range w.events() {
		if strings.Contains(ev, "secret") {
			t.Fatal(ev)
		}
	}
}

// counted counts listings.
type counted struct {
	*local.FS
	lists atomic.Int64
}

func (c *counted) List(ctx context.Context, p share.Path) iter.Seq2[share.Entry, error] {
	c.lists.Add(1)
	return c.FS.List(ctx, p)
}

// hinted is a notifier that a test speaks through.
type hinted struct{ out chan notify.Notice }

func (h hinted) Add(string) error              { return nil }
func (h hinted) Remove(string)                 {}
func (h hinted) Notices() <-chan notify.Notice { return h.out }
func (h hinted) Close()                        { close(h.out) }

// bubble watches a folder by hints of the test, in the time of a synctest bubble.
func bubble(t *testing.T, rescan time.Duration) (w *Watcher, dir string, lists *atomic.Int64, hint func(notify.Notice)) {
	dir = real(t)
	files, err := local.New(dir, local.Options{})
	must(t, err)
	c := &counted{FS: files}
	h := hinted{make(chan notify.Notice)}
	w = New(c, dir, NewFeed(Keep), Options{Rescan: rescan, notify: func() (notifier, error) { return h, nil }})
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { w.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	<-w.Ready()
	return w, dir, &c.lists, func(n notify.Notice) {
		n.Name = filepath.Join(dir, n.Name)
		h.out <- n
	}
}

// TestLog writes to a file all the time, and then no more.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, dir, lists, hint := bubble(t, time.Hour)
		after := w.feed.Now()
		lists.Store(0)
		began := time.Now()
		for i := range 2000 { // 20 s
			must(t, os.WriteFile(filepath.Join(dir, "log"), []byte(fmt.Sprint(i)), 0o644))
			hint(notify.Notice{Name: "log", Write: true})
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		var at []time.Duration
		ended, cancel := context.WithCancel(t.Context())
		for ev, err := range w.feed.Follow(ended, after) {
			must(t, err)
			at = append(at, ev.Time.Sub(began).Round(time.Second))
			if ev.Seq == w.feed.Now().Seq {
				break
			}
		}
		cancel()
		if want := []time.Duration{5e9, 10e9, 15e9, 20e9}; !slices.Equal(at, want) {
			t.Errorf("told at %v, want %v", at, want)
		}
		if n := lists.Load(); n > 120 {
			t.Errorf("%d listings for 21 seconds", n)
		}
	})
}

// TestBurstIsOneListing has a thousand hints at once.
func TestBurstIsOneListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, dir, lists, hint := bubble(t, time.Hour)
		for i := range 1000 {
			must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o644))
		}
		lists.Store(0)
		for i := range 1000 {
			hint(notify.Notice{Name: fmt.Sprint(i)})
		}
		time.Sleep(time.Second)
		if n := lists.Load(); n != 2 { // and once more when the files had time to become quiet
			t.Errorf("%d listings", n)
		}
	})
}

// TestOverflow loses hints, which a scan makes good at once, and without any the next one does.
func TestOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, dir, _, hint := bubble(t, 30*time.Second)
		for i, wait := range []time.Duration{time.Second, time.Minute} {
			name := fmt.Sprint(i)
			must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
			if i == 0 {
				hint(notify.Notice{Overflow: true})
			}
			time.Sleep(wait)
			synctest.Wait()
			if _, ok := w.Lookup(path(t, name)); !ok {
				t.Errorf("%s is not noticed after %v", name, wait)
			}
		}
	})
}

// TestIdle counts the listings of an hour in which nothing happens.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, lists, _ := bubble(t, 30*time.Second)
		lists.Store(0)
		time.Sleep(time.Hour)
		if n := lists.Load(); n < 100 || n > 121 {
			t.Errorf("%d listings in an hour", n)
		}
	})
}
