package watch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/local"
	"github.com/peerd/peerd/share/watch/notify"
)

// TestMovedFromBusyFolder moves a tree out of a folder that is not looked at for a while, so that the tree is found under its new name
// while its watches still have the old one; with a system that says what is gone, and with one that says only where.
func TestMovedFromBusyFolder(t *testing.T) {
	t.Run("told", func(t *testing.T) { moveFromBusyFolder(t, only(), true) })
	t.Run("told where", func(t *testing.T) {
		moveFromBusyFolder(t, Options{Rescan: time.Hour, notify: newVague}, false)
	})
}

// vague does not say what is gone.
type vague struct {
	notifier
	out chan notify.Notice
}

func newVague() (notifier, error) {
	n, err := notify.New()
	if err != nil {
		return nil, err
	}
	v := vague{n, make(chan notify.Notice)}
	go func() {
		defer close(v.out)
		for hint := range n.Notices() {
			hint.Gone = false
			v.out <- hint
		}
	}()
	return v, nil
}

func (v vague) Notices() <-chan notify.Notice { return v.out }

func moveFromBusyFolder(t *testing.T, opt Options, replace bool) {
	w := start(t, real(t), opt)
	w.mkdir("a")
	w.mkdir("z")
	for i := range 1000 {
		w.write(fmt.Sprintf("z/%d", i), "")
	}
	w.settled()
	for i := range 2 {
		x, y := fmt.Sprintf("z/x%d", i), fmt.Sprintf("a/y%d", i)
		w.mkdir(x + "/c/d")
		w.settled()
		w.write("z/0", fmt.Sprint(i))
		w.settled() // z was looked at just now
		w.mv(x, y)
		if replace && i%2 == 1 {
			w.mkdir(x + "/c/d") // another tree takes its name
		}
		w.settled()
		for began, n := time.Now(), 0; time.Since(began) < 2*tidyGap; n++ { // also when nothing is looked at for another reason
			w.write(y+"/c/d/file", fmt.Sprint(i, n))
			w.write(fmt.Sprintf("%s/c/file%d", y, n), "x")
			w.settled()
		}
	}
}

// leaving goes away while it is listed: it shows nothing, without an error, and then it is not there.
type leaving struct {
	*local.FS
	away atomic.Bool
}

func (l *leaving) List(ctx context.Context, p share.Path) iter.Seq2[share.Entry, error] {
	if l.away.Load() {
		return func(func(share.Entry, error) bool) {}
	}
	return l.FS.List(ctx, p)
}

func (l *leaving) Stat(ctx context.Context, p share.Path) (share.Entry, error) {
	if l.away.Load() {
		return share.Entry{}, &peer.Error{Op: "stat", Kind: peer.Unreachable}
	}
	return l.FS.Stat(ctx, p)
}

func TestLeavingWhileListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := real(t)
		must(t, os.MkdirAll(filepath.Join(dir, "d", "e"), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "d", "file"), nil, 0o644))
		files, err := local.New(dir, local.Options{})
		must(t, err)
		l := &leaving{FS: files}
		feed := NewFeed(Keep)
		early := feed.Now()
		w := New(l, dir, feed, Options{MaxWatches: -1})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { w.Run(ctx); close(done) }()
		<-w.Ready()
		soon, stop := context.WithTimeout(ctx, time.Second)
		if _, err := collect(soon, feed, early); !errors.Is(err, ErrGap) {
			t.Errorf("who follows since before it was ready is told %v", err)
		}
		stop()
		now := feed.Now()
		l.away.Store(true)
		time.Sleep(time.Hour)
		if err := w.State().Away; peer.KindOf(err) != peer.Unreachable {
			t.Errorf("away: %v", err)
		}
		if files, _, ok := w.Totals(); files != 1 || !ok || feed.Now() != now {
			t.Errorf("%d files, %v, %d events", files, ok, feed.Now().Seq-now.Seq)
		}
		l.away.Store(false)
		must(t, os.Remove(filepath.Join(dir, "d", "file")))
		time.Sleep(time.Minute)
		if files, _, _ := w.Totals(); files != 0 || w.State().Away != nil || feed.Now().Seq != now.Seq+1 {
			t.Errorf("%d files, %+v, %d events", files, w.State(), feed.Now().Seq-now.Seq)
		}
		cancel()
		<-done
	})
}

// late has something happen after a folder was listed and before the listing is used.
type late struct {
	*local.FS
	then func()
}

func (l *late) List(ctx context.Context, p share.Path) iter.Seq2[share.Entry, error] {
	return func(yield func(share.Entry, error) bool) {
		for e, err := range l.FS.List(ctx, p) {
			if !yield(e, err) {
				return
			}
		}
		if then := l.then; then != nil {
			l.then = nil
			then()
		}
	}
}

// TestNoteDuringListing notes changes that the listing which runs does not show: it is not believed.
func TestNoteDuringListing(t *testing.T) {
	dir := real(t)
	must(t, os.WriteFile(filepath.Join(dir, "old"), nil, 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "edited"), nil, 0o644))
	files, err := local.New(dir, local.Options{})
	must(t, err)
	fs := &late{FS: files}
	w := New(fs, dir, NewFeed(Keep), Options{MaxWatches: -1})
	l := &loop{Watcher: w}
	for !w.State().Ready {
		l.turn(t.Context())
	}
	after := w.feed.Now()
	fs.then = func() {
		old, _ := w.Lookup(path(t, "old"))
		must(t, os.Remove(filepath.Join(dir, "old")))
		w.Note(Event{Kind: Removed, Entry: old, By: "p"})
		for _, name := range []string{"new", "edited"} {
			must(t, os.WriteFile(filepath.Join(dir, name), []byte("text"), 0o644))
			e, err := files.Stat(t.Context(), path(t, name))
			must(t, err)
			w.Note(Event{Kind: Created, Entry: e, By: "p"})
		}
	}
	for range 2 { // the second shows what was noted
		l.look(t.Context(), share.Path{})
	}
	var got []string
	for ev := range w.feed.Follow(t.Context(), after) {
		got = append(got, fmt.Sprint(ev.Kind, " ", ev.Entry.Path, " by ", string(ev.By)))
		if ev.Seq == w.feed.Now().Seq {
			break
		}
	}
	if want := []string{"removed old by p", "created new by p", "changed edited by p"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
