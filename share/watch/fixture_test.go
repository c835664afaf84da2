package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/local"
)

func TestMain(m *testing.M) {
	if os.Getenv("PEERD_FEW_WATCHES") != "" {
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// watched is a real folder, its watcher, and a follower that applies all events.
type watched struct {
	testing.TB
	*Watcher
	dir   string
	files *local.FS

	mu    sync.Mutex
	held  map[share.Path]share.Entry // by the events
	seen  []Event
	gaps  int
	edits []Event // told to Options.Changed
}

// start watches a folder that already holds something.
func start(t testing.TB, dir string, opt Options) *watched {
	t.Helper()
	files, err := local.New(dir, local.Options{})
	must(t, err)
	w := &watched{TB: t, dir: dir, files: files}
	opt.Changed = func(ev Event, _ share.Entry) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.edits = append(w.edits, ev)
	}
	w.Watcher = New(files, dir, NewFeed(Keep), opt)
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		if err := w.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); group.Wait() })
	select {
	case <-w.Ready():
	case <-time.After(time.Minute):
		t.Fatal("it does not get ready")
	}
	cursor := w.relist()
	group.Go(func() { w.follow(ctx, cursor) })
	return w
}

func real(t testing.TB) string {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	return dir
}

func (w *watched) relist() Cursor {
	all, cursor, err := w.Snapshot(share.Path{})
	if err != nil {
		w.Error(err)
		return cursor
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = map[share.Path]share.Entry{}
	for e := range all {
		w.held[e.Path] = e
	}
	return cursor
}

func (w *watched) follow(ctx context.Context, cursor Cursor) {
	for ctx.Err() == nil {
		for ev, err := range w.feed.Follow(ctx, cursor) {
			if errors.Is(err, ErrGap) {
				w.mu.Lock()
				w.gaps++
				w.mu.Unlock()
				cursor = w.relist()
				break
			}
			if err != nil {
				return
			}
			cursor.Seq = ev.Seq
			w.mu.Lock()
			w.seen = append(w.seen, ev)
			if err := apply(w.held, ev); err != nil {
				w.Error(err)
			}
			w.mu.Unlock()
		}
	}
}

// apply is what a follower does with an event. It checks that the event makes sense on what the follower holds.
func apply(held map[share.Path]share.Entry, ev Event) error {
	e, known := held[ev.Entry.Path]
	switch ev.Kind {
	case Created:
		if _, ok := held[ev.Entry.Path.Dir()]; !ok && !ev.Entry.Path.Dir().IsRoot() {
			return fmt.Errorf("%v created before its folder", ev.Entry.Path)
		}
		if known {
			return fmt.Errorf("%v created twice", ev.Entry.Path)
		}
	case Changed:
		if !known || e.Kind != ev.Entry.Kind {
			return fmt.Errorf("%v changed, but it is %+v", ev.Entry.Path, e)
		}
	case Removed:
		if !known && ev.By == "" {
			return fmt.Errorf("%v removed, but it was not there", ev.Entry.Path)
		}
		delete(held, ev.Entry.Path)
		return nil
	case Moved:
		moved := map[share.Path]share.Entry{}
		for p, e := range held {
			if rest, ok := p.Below(ev.From); ok {
				delete(held, p)
				to, err := share.ParsePath(append(ev.Entry.Path.Components(), rest...))
				if err != nil {
					return err
				}
				e.Path = to
				moved[to] = e
			}
		}
		for p, e := range moved {
			held[p] = e
		}
	}
	held[ev.Entry.Path] = ev.Entry
	return nil
}

// bare is an entry without what no event tells of a folder.
func bare(e share.Entry) share.Entry {
	if e.Kind == share.Dir {
		return share.Entry{Path: e.Path, Kind: e.Kind}
	}
	return e
}

// truth is what the disk holds.
func (w *watched) truth() map[share.Path]share.Entry {
	all := map[share.Path]share.Entry{}
	for e, err := range w.files.Walk(context.Background(), share.Path{}) {
		must(w, err)
		all[e.Path] = bare(e)
	}
	return all
}

// difference tells where the follower, the index or the totals differ from the disk.
func (w *watched) difference() string {
	truth := w.truth()
	files, bytes := 0, int64(0)
	for _, e := range truth {
		if e.Kind == share.File {
			files, bytes = files+1, bytes+e.Size
		}
	}
	if f, b, ok := w.Totals(); !ok || f != files || b != bytes {
		return fmt.Sprintf("totals are %d files with %d bytes, want %d with %d", f, b, files, bytes)
	}
	index := map[share.Path]share.Entry{}
	all, _, err := w.Snapshot(share.Path{})
	must(w, err)
	for e := range all {
		index[e.Path] = e
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, side := range []struct {
		name string
		has  map[share.Path]share.Entry
	}{{"index", index}, {"follower", w.held}} {
		for p, e := range truth {
			if got, ok := side.has[p]; !ok || bare(got) != e {
				return fmt.Sprintf("%s has %+v, want %+v", side.name, got, e)
			}
		}
		for p := range side.has {
			if _, ok := truth[p]; !ok {
				return fmt.Sprintf("%s has %v, which is not there", side.name, p)
			}
		}
	}
	return ""
}

// settled waits until all sides hold the truth.
func (w *watched) settled() {
	w.Helper()
	w.until("the truth is known", func() string { return w.difference() })
}

func (w *watched) until(what string, why func() string) {
	w.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for {
		bad := why()
		if bad == "" {
			return
		}
		if time.Now().After(deadline) {
			w.Fatalf("not in time: %s: %s; %+v", what, bad, w.State())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// events forgets the events so far, and gives them as text.
func (w *watched) events() (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ev := range w.seen {
		all = append(all, ev.Kind.String()+" "+ev.Entry.Path.String())
	}
	w.seen = nil
	return all
}

func (w *watched) write(name, text string) {
	w.Helper()
	must(w, os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o644))
}

func (w *watched) mkdir(name string) {
	w.Helper()
	must(w, os.MkdirAll(filepath.Join(w.dir, name), 0o755))
}

func (w *watched) mv(from, to string) {
	w.Helper()
	must(w, os.Rename(filepath.Join(w.dir, from), filepath.Join(w.dir, to)))
}

// only turns rescans off, so that what is noticed was told of.
func only() Options { return Options{Rescan: time.Hour} }

func path(t testing.TB, s string) share.Path {
	t.Helper()
	p, err := share.SplitPath(s)
	must(t, err)
	return p
}
