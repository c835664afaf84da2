package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/local/tree"
	"github.com/peerd/peerd/share/sharetest"
)

// real is a new folder by its path without links.
func real(t testing.TB) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// memory is a folder for very many changes to names: in memory, where the system has such a place.
func memory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "peerd-test")
	if err != nil {
		return real(t)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eachTree runs a test on every way to confine that this system has.
func eachTree(t *testing.T, test func(t *testing.T, open func(dir string, opt Options) *FS)) {
	for name, tree := range trees() {
		t.Run(name, func(t *testing.T) {
			test(t, func(dir string, opt Options) *FS { return newFS(tree(dir, opt.Mount), opt) })
		})
	}
}

func TestConformance(t *testing.T) {
	eachTree(t, func(t *testing.T, open func(string, Options) *FS) {
		sharetest.Run(t, func(t *testing.T) (share.FS, string) {
			dir := real(t)
			return open(dir, Options{}), dir
		})
	})
}

func TestNew(t *testing.T) {
	if _, err := New("relative", Options{}); peer.KindOf(err) != peer.Usage {
		t.Errorf("New of a relative path: %v", err)
	}
	dir := real(t)
	f, err := New(dir+"/./x/..", Options{})
	must(t, err)
	if e, err := f.Stat(t.Context(), share.Path{}); err != nil || e.Kind != share.Dir {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestTreesAgree(t *testing.T) {
	dir := real(t)
	must(t, os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o755))
	var all []share.Entry
	for _, tree := range trees() {
		e, err := newFS(tree(dir, false), Options{}).Stat(t.Context(), sharetest.P(t, "file"))
		must(t, err)
		all = append(all, e)
	}
	for _, e := range all {
		if e != all[0] {
			t.Errorf("%+v and %+v", all[0], e)
		}
	}
}

func TestSkipped(t *testing.T) {
	eachTree(t, func(t *testing.T, open func(string, Options) *FS) {
		dir := real(t)
		skipped := map[string]error{}
		f := open(dir, Options{Skipped: func(path string, why error) { skipped[path] = why }})
		must(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
		for _, name := range []string{"ok", "o\u0308", ".peerd-tmp-1", "d/new\nline", "d/ok"} {
			must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
		}
		must(t, os.Symlink("ok", filepath.Join(dir, "d", "link")))
		if got := sharetest.Collect(t, f.Walk(t.Context(), share.Path{})); !slices.Equal(got, []string{"d", "d/ok", "ok"}) {
			t.Errorf("Walk gives %q", got)
		}
		for path, why := range map[string]string{
			"o\u0308": "normal form C", ".peerd-tmp-1": "peerd's own", "d/new\nline": "U+000A", "d/link": "symbolic link",
		} {
			if err := skipped[path]; err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%q was left out because of %v, want %q", path, err, why)
			}
		}
		if len(skipped) != 4 {
			t.Errorf("left out: %q", skipped)
		}
	})
}

// TestFolderGone takes the shared folder away and brings it back, or another, or a link.
func TestFolderGone(t *testing.T) {
	eachTree(t, func(t *testing.T, open func(string, Options) *FS) {
		top := real(t)
		dir := filepath.Join(top, "disk", "share")
		f := open(dir, Options{})
		expect := func(when string, kind peer.Kind) {
			t.Helper()
			_, serr := f.Stat(t.Context(), sharetest.P(t, "file"))
			file, oerr := f.Open(t.Context(), sharetest.P(t, "file"))
			if oerr == nil {
				file.Close()
			}
			var lerr, werr error
			for _, lerr = range f.List(t.Context(), share.Path{}) {
			}
			for _, werr = range f.Walk(t.Context(), share.Path{}) {
			}
			for op, err := range map[string]error{"stat": serr, "open": oerr, "list": lerr, "walk": werr} {
				if (err == nil) != (kind == 0) || peer.KindOf(err) != kind {
					t.Errorf("%s, %s: %v, want kind %v", op, when, err, kind)
				}
				if err != nil && strings.Contains(err.Error(), top) {
					t.Errorf("the error tells of the real folder: %v", err)
				}
			}
		}
		expect("before it is there", peer.Unreachable)
		must(t, os.MkdirAll(dir, 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "file"), []byte("one"), 0o644))
		expect("there", 0)
		file, err := f.Open(t.Context(), sharetest.P(t, "file"))
		must(t, err)
		defer file.Close()

		must(t, os.Rename(filepath.Join(top, "disk"), filepath.Join(top, "away")))
		expect("gone", peer.Unreachable)
		b := make([]byte, 3)
		if _, err := file.ReadAt(b, 0); err != nil || string(b) != "one" {
			t.Errorf("a file that was open: %q, %v", b, err)
		}
		must(t, os.Symlink("away", filepath.Join(top, "disk")))
		expect("a link above it", peer.Unreachable)
		must(t, os.Remove(filepath.Join(top, "disk")))
		must(t, os.Mkdir(filepath.Join(top, "disk"), 0o755))
		must(t, os.Symlink("../away/share", dir))
		expect("a link in its place", peer.Unreachable)
		must(t, os.Remove(dir))
		must(t, os.WriteFile(dir, nil, 0o644))
		expect("a file in its place", peer.Unreachable)
		must(t, os.RemoveAll(filepath.Join(top, "disk")))
		must(t, os.Rename(filepath.Join(top, "away"), filepath.Join(top, "disk")))
		expect("back", 0)
	})
}

// TestWalkMoved moves a folder out of the share, and a link to it in its place, after Walk has told of it.
func TestWalkMoved(t *testing.T) {
	eachTree(t, func(t *testing.T, open func(string, Options) *FS) {
		dir, outside := real(t), real(t)
		must(t, os.MkdirAll(filepath.Join(dir, "d", "e"), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "d", "e", "secret"), nil, 0o644))
		must(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o644))
		var got []string
		for e, err := range open(dir, Options{}).Walk(t.Context(), share.Path{}) {
			must(t, err)
			got = append(got, e.Path.String())
			if e.Path.String() == "d/e" {
				must(t, os.Rename(filepath.Join(dir, "d"), filepath.Join(outside, "d")))
				must(t, os.Symlink(filepath.Join(outside, "d"), filepath.Join(dir, "d")))
			}
		}
		if !slices.Equal(got, []string{"d", "d/e", "f"}) {
			t.Errorf("Walk gives %q", got)
		}
	})
}

func TestSettled(t *testing.T) {
	dir := real(t)
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	f, err := New(dir, Options{})
	must(t, err)
	file, err := f.Open(t.Context(), sharetest.P(t, "file"))
	must(t, err)
	defer file.Close()
	var now time.Time
	for range 1000 { // now is near to the change, however late this goroutine is
		now = time.Now()
		long := now.Add(-time.Hour)
		must(t, os.Chtimes(filepath.Join(dir, "file"), long, long)) // which does not fool the second clock
		if time.Since(now) < 5*time.Millisecond {
			break
		}
	}
	e, settled, err := file.(*File).Settled(now)
	if err != nil || settled && runtime.GOOS == "linux" {
		t.Errorf("just changed: settled %v, %v", settled, err)
	}
	if want, _ := file.Entry(); e != want {
		t.Errorf("Settled gives %+v, Entry %+v", e, want)
	}
	if _, settled, err = file.(*File).Settled(now.Add(time.Minute)); err != nil || !settled {
		t.Errorf("changed a minute ago: settled %v, %v", settled, err)
	}
}

func TestRacy(t *testing.T) {
	fine := time.Unix(1_000_000, 123_456_789)
	coarse := time.Unix(1_000_000, 0)
	for _, c := range []struct {
		changed time.Time
		age     time.Duration
		want    bool
	}{
		{fine, 0, true}, {fine, 19 * time.Millisecond, true}, {fine, 21 * time.Millisecond, false}, {fine, time.Hour, false},
		{fine, -19 * time.Millisecond, true}, {fine, -time.Hour, false},
		{coarse, time.Second, true}, {coarse, 2 * time.Second, true}, {coarse, 4 * time.Second, false},
	} {
		if got := racy(c.changed, c.changed.Add(c.age)); got != c.want {
			t.Errorf("changed %v ago: racy %v", c.age, got)
		}
	}
}

func TestFailure(t *testing.T) {
	hidden := &fs.PathError{Op: "open", Path: "/home/anna/share", Err: syscall.EIO}
	for _, c := range []struct {
		err  error
		kind peer.Kind
	}{
		{fs.ErrNotExist, peer.NotFound}, {syscall.ENOENT, peer.NotFound}, {tree.ErrLink, peer.NotFound}, {tree.ErrMount, peer.NotFound},
		{tree.ErrSpecial, peer.NotFound}, {tree.ErrIsDir, peer.Usage}, {tree.ErrNoDir, peer.Usage}, {tree.ErrMoved, peer.Conflict}, {syscall.EACCES, peer.Denied},
		{tree.ErrAway, peer.Unreachable}, {tree.Away(syscall.ENOENT), peer.Unreachable}, {tree.Away(syscall.EACCES), peer.Unreachable},
		{tree.Away(tree.ErrLink), peer.Unreachable}, {tree.Away(hidden), peer.Unreachable}, {hidden, peer.Other}, {tree.ErrCrowded, peer.Other},
		{context.Canceled, peer.Other}, {context.DeadlineExceeded, peer.Unreachable},
	} {
		err := failure("open", sharetest.P(t, "a/b"), c.err)
		if peer.KindOf(err) != c.kind || !strings.Contains(err.Error(), "a/b") || strings.Contains(err.Error(), "anna") {
			t.Errorf("%v becomes %v of kind %v, want %v", c.err, err, peer.KindOf(err), c.kind)
		}
	}
	for _, err := range []error{tree.ErrLink, tree.ErrMount, tree.ErrNoDir, tree.ErrMoved, syscall.EACCES, &fs.PathError{Err: syscall.EPERM}} {
		if !passable(err) {
			t.Errorf("a walk ends at %v", err)
		}
	}
	for _, err := range []error{syscall.EIO, context.Canceled, tree.Away(tree.ErrLink), tree.Away(syscall.EACCES), tree.ErrCrowded} {
		if passable(err) {
			t.Errorf("a walk passes by %v", err)
		}
	}
}

// TestManyNames lists 100,000 files in order with little memory.
func TestManyNames(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes 100,000 files")
	}
	const many = 100_000
	dir := memory(t)
	one := filepath.Join(dir, "000000")
	must(t, os.WriteFile(one, nil, 0o644))
	for i, source := 1, one; i < many; i++ {
		name := filepath.Join(dir, fmt.Sprintf("%06d", i))
		if err := os.Link(source, name); err != nil { // at its limit of links, or can't have any
			must(t, os.WriteFile(name, nil, 0o644))
			source = name
		}
	}
	eachTree(t, func(t *testing.T, open func(string, Options) *FS) {
		var before, during runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		n := 0
		for e, err := range open(dir, Options{}).List(t.Context(), share.Path{}) {
			must(t, err)
			if want := fmt.Sprintf("%06d", n); e.Name() != want {
				t.Fatalf("%q where %q belongs", e.Name(), want)
			}
			if n++; n == many/2 {
				runtime.GC()
				runtime.ReadMemStats(&during)
			}
		}
		if n != many {
			t.Errorf("%d of %d", n, many)
		}
		if used := int64(during.HeapAlloc) - int64(before.HeapAlloc); used > 16<<20 {
			t.Errorf("it keeps %d bytes", used)
		}
	})
}

func TestNamesLimit(t *testing.T) {
	if err := failure("list", share.Path{}, tree.ErrCrowded); !errors.Is(err, tree.ErrCrowded) || !strings.Contains(err.Error(), "2000000") {
		t.Error(err)
	}
}

func benchTree(b *testing.B, dirs, files int) string {
	b.Helper()
	dir := real(b)
	for i := range dirs {
		sub := filepath.Join(dir, fmt.Sprintf("folder %03d", i))
		must(b, os.Mkdir(sub, 0o755))
		for j := range files {
			must(b, os.WriteFile(filepath.Join(sub, fmt.Sprintf("some file %05d.txt", j)), nil, 0o644))
		}
	}
	return dir
}

func BenchmarkWalk(b *testing.B) {
	for _, c := range []struct{ dirs, files int }{{1, 10_000}, {100, 100}} {
		dir := benchTree(b, c.dirs, c.files)
		for name, tree := range trees() {
			b.Run(fmt.Sprintf("%s/%dx%d", name, c.dirs, c.files), func(b *testing.B) {
				f := newFS(tree(dir, false), Options{})
				for b.Loop() {
					n := 0
					for _, err := range f.Walk(context.Background(), share.Path{}) {
						must(b, err)
						n++
					}
					if n != c.dirs*(c.files+1) {
						b.Fatal(n)
					}
				}
			})
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	dir := real(b)
	must(b, os.MkdirAll(filepath.Join(dir, "a/b/c/d"), 0o755))
	must(b, os.WriteFile(filepath.Join(dir, "a/b/c/d/file"), []byte("x"), 0o644))
	p := sharetest.P(b, "a/b/c/d/file")
	for name, tree := range trees() {
		f := newFS(tree(dir, false), Options{})
		b.Run(name+"/stat", func(b *testing.B) {
			for b.Loop() {
				_, err := f.Stat(context.Background(), p)
				must(b, err)
			}
		})
		b.Run(name+"/open+entry+close", func(b *testing.B) {
			for b.Loop() {
				file, err := f.Open(context.Background(), p)
				must(b, err)
				_, err = file.Entry()
				must(b, err)
				must(b, file.Close())
			}
		})
	}
}

func readAll(f share.OpenFile) string {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	if err != nil {
		return "error: " + err.Error()
	}
	return string(b)
}
