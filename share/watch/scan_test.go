package watch

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/local"
	"github.com/peerd/peerd/share/watch/notify"
)

func TestPlan(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	for _, c := range []struct {
		name             string
		full             bool
		took             time.Duration
		watched, folders int
		nextFull, next   time.Duration
		every            time.Duration
	}{
		{"small", true, time.Millisecond, 10, 10, 30 * time.Second, 30 * time.Second, 30 * time.Second},
		{"100,000 files", true, time.Second / 2, 10, 10, 100 * time.Second, 100 * time.Second, 30 * time.Second},
		{"millions of files", true, 10 * time.Second, 10, 10, 10 * time.Minute, 10 * time.Minute, 30 * time.Second},
		{"on a very slow disk", true, 2 * time.Minute, 10, 10, 40 * time.Minute, 40 * time.Minute, 30 * time.Second},
		{"few watches", true, 10 * time.Second, 100, 400, 10 * time.Minute, 150 * time.Second, 150 * time.Second},
		{"no watches", true, 10 * time.Second, 0, 400, 10 * time.Minute, 200 * time.Second, 200 * time.Second},
		{"those without", false, 3 * time.Second, 100, 400, 0, time.Minute, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p plan
			every := p.after(c.full, now, c.took, 30*time.Second, c.watched, c.folders)
			if every != c.every || p.next() != now.Add(c.next) || c.full && p.full != now.Add(c.nextFull) {
				t.Errorf("every %v, next in %v, full in %v", every, p.next().Sub(now), p.full.Sub(now))
			}
			p.hurry(now)
			if got := p.full.Sub(now); c.full && got != max(settle, 4*c.took) {
				t.Errorf("in a hurry in %v", got)
			}
		})
	}
}

func TestQueue(t *testing.T) {
	now := time.Now()
	q := queue{}
	for _, s := range []string{"b/c", "b", "", "a/b/c", "a", "later"} {
		q.add(path(t, s), now)
	}
	q.add(path(t, "a"), now.Add(time.Hour)) // does not put it off
	q.add(path(t, "b"), now.Add(-time.Hour))
	q[path(t, "later")] = now.Add(time.Minute)
	var got []string
	for _, p := range q.take(now) {
		got = append(got, p.String())
	}
	if want := []string{"", "a", "b", "b/c", "a/b/c"}; !slices.Equal(got, want) || len(q) != 1 || q.next() != now.Add(time.Minute) {
		t.Errorf("%q, %v", got, q)
	}
}

// TestRank sorts folders by how much they deserve a watch.
func TestRank(t *testing.T) {
	now := time.Now().Unix()
	const hour, year = 3600, 365 * 24 * 3600
	last := -1e9
	for _, c := range []struct {
		path string
		age  int64
	}{{"", 10 * year}, {"a", 0}, {"a", 2 * hour}, {"a/b/c", 0}, {"a", 24 * hour}, {"a/b/c/d/e/f", hour}, {"a", year}, {"a/b", year}} {
		r := rank(path(t, c.path), now-c.age, now)
		if r > -1e9 && r <= last {
			t.Errorf("%q after %d seconds is ranked %v, not after %v", c.path, c.age, r, last)
		}
		last = max(r, last)
	}
}

// TestWatchesFollowChanges has a system that gives 10 watches, and changes in a folder that gets none at first.
func TestWatchesFollowChanges(t *testing.T) {
	dir := real(t)
	old := time.Now().Add(-1000 * time.Hour)
	for i := range 50 {
		sub := filepath.Join(dir, fmt.Sprintf("d%02d", i))
		must(t, os.MkdirAll(filepath.Join(sub, "deep", "deeper"), 0o755))
		for _, d := range []string{"/deep/deeper", "/deep", ""} {
			must(t, os.Chtimes(sub+d, old, old))
		}
	}
	w := start(t, dir, Options{Rescan: 50 * time.Millisecond, notify: func() (notifier, error) {
		n, err := notify.New()
		return &scarce{System: n, left: 10, watched: map[string]bool{}}, err
	}})
	busy := path(t, "d49/deep/deeper")
	w.write("d49/deep/deeper/file", "x")
	w.settled()
	w.until("it is watched", func() string {
		w.Watcher.mu.Lock()
		defer w.Watcher.mu.Unlock()
		if !w.ix.folders[busy].watched {
			return "not yet"
		}
		return ""
	})
	if st := w.State(); st.Watched != 10 || st.Why == "" {
		t.Errorf("%+v", st)
	}
	w.Watcher.mu.Lock()
	defer w.Watcher.mu.Unlock()
	if !w.ix.folders[share.Path{}].watched {
		t.Error("the root lost its watch")
	}
}

// scarce gives few watches.
type scarce struct {
	*notify.System
	left    int
	watched map[string]bool
}

func (s *scarce) Add(dir string) error {
	if !s.watched[dir] && len(s.watched) == s.left {
		return syscall.ENOSPC
	}
	s.watched[dir] = true
	return s.System.Add(dir)
}

func (s *scarce) Remove(dir string) {
	delete(s.watched, dir)
	s.System.Remove(dir)
}

func TestLimitOf(t *testing.T) {
	for err, want := range map[error]bool{nil: false, fs.ErrNotExist: false, syscall.ENOSPC: true, &fs.PathError{Err: syscall.EMFILE}: true} {
		if limit, ok := notify.LimitOf(err); ok != want || ok == (limit == nil) {
			t.Errorf("%v: %v, %v", err, limit, ok)
		}
	}
}

func TestSnapshotErrors(t *testing.T) {
	w := New(nil, "/", NewFeed(1), Options{})
	if _, _, err := w.Snapshot(share.Path{}); peer.KindOf(err) != peer.Busy {
		t.Error(err)
	}
	w.state.Ready = true
	if _, _, err := w.Snapshot(path(t, "a")); peer.KindOf(err) != peer.NotFound {
		t.Error(err)
	}
}

// hundredThousand makes 1,000 folders of 100 files.
func hundredThousand(b *testing.B) *local.FS {
	dir := real(b)
	for i := range 1000 {
		sub := filepath.Join(dir, fmt.Sprintf("folder%02d", i/40), fmt.Sprintf("sub%03d", i))
		must(b, os.MkdirAll(sub, 0o755))
		for j := range 100 {
			must(b, os.WriteFile(filepath.Join(sub, fmt.Sprintf("document-%04d.txt", j)), nil, 0o644))
		}
	}
	files, err := local.New(dir, local.Options{})
	must(b, err)
	return files
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkScan looks through 100,000 files for the first time, and then again.
func BenchmarkScan(b *testing.B) {
	files := hundredThousand(b)
	for b.Loop() {
		before := heap()
		w := New(files, b.TempDir(), NewFeed(Keep), Options{MaxWatches: -1})
		l := &loop{Watcher: w}
		began := time.Now()
		for {
			l.turn(context.Background())
			if w.State().Ready {
				break
			}
		}
		first := time.Since(began)
		began = time.Now()
		for p := range w.ix.folders {
			l.look(context.Background(), p)
		}
		b.ReportMetric(first.Seconds(), "s/first-scan")
		b.ReportMetric(time.Since(began).Seconds(), "s/rescan")
		n, _, _ := w.Totals()
		b.ReportMetric(float64(heap()-before)/float64(n), "B/file")
		runtime.KeepAlive(w)
	}
}
