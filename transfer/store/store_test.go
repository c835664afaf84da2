package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/store"
)

const (
	mib = 1 << 20
	cut = transfer.MinPiece
)

var day = time.Date(2001, 2, 3, 4, 5, 6, 789000000, time.UTC)

func content(n int, seed byte) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func open(t testing.TB, name string) *store.Dir {
	t.Helper()
	d, err := store.OpenDir(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func names(t testing.TB, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// is fails the test unless a file is as wanted, and alone in its folder.
func is(t testing.TB, name string, want []byte, exec bool) {
	t.Helper()
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) || !info.ModTime().Equal(day) || runtime.GOOS != "windows" && info.Mode()&0o100 != 0 != exec {
		t.Errorf("%s: %d bytes, %v, %v", name, len(got), info.ModTime(), info.Mode())
	}
	if n := names(t, filepath.Dir(name)); len(n) != 1 {
		t.Errorf("beside it: %v", n)
	}
}

func TestPut(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	p := []string{"a", "b", "f"}
	if err := d.Put(p, nil, store.Meta{}, false); peer.KindOf(err) != peer.Other || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("without its folder: %v", err)
	}
	for range 2 {
		if err := d.Mkdir(p[:2]); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Put(p, []byte("one"), store.Meta{ModTime: day, Exec: true}, false); err != nil {
		t.Fatal(err)
	}
	is(t, filepath.Join(dir, "a/b/f"), []byte("one"), true)
	if err := d.Put(p, []byte("two"), store.Meta{ModTime: day}, false); peer.KindOf(err) != peer.Conflict {
		t.Errorf("over another: %v", err)
	}
	is(t, filepath.Join(dir, "a/b/f"), []byte("one"), true)
	if err := d.Put(p, []byte("two"), store.Meta{ModTime: day}, true); err != nil {
		t.Fatal(err)
	}
	is(t, filepath.Join(dir, "a/b/f"), []byte("two"), false)
	found, size, mod, err := d.Look(p)
	if found != store.Regular || size != 3 || !mod.Equal(day) || err != nil {
		t.Error(found, size, mod, err)
	}
	if found, _, _, err := d.Look([]string{"a"}); found != store.Other || err != nil {
		t.Error(found, err)
	}
	if found, _, _, err := d.Look([]string{"none"}); found != store.Absent || err != nil {
		t.Error(found, err)
	}
	if err := d.Mkdir(p); peer.KindOf(err) != peer.Conflict {
		t.Errorf("a folder over a file: %v", err)
	}
	if err := d.Mkdir(append(p, "deeper")); peer.KindOf(err) != peer.Conflict {
		t.Errorf("a folder below a file: %v", err)
	}
	if _, err := store.OpenDir(filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "none") {
		t.Error(err)
	}
}

// Nothing is put, made, looked at or opened outside, by links or by "..".
func TestConfined(t *testing.T) {
	top := t.TempDir()
	outside, inside := filepath.Join(top, "outside"), filepath.Join(top, "inside")
	for _, dir := range []string{outside, inside} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(inside, "link")); err != nil {
		t.Skip(err)
	}
	if err := os.Symlink("../outside", filepath.Join(inside, "relative")); err != nil {
		t.Fatal(err)
	}
	d := open(t, inside)
	for _, way := range [][]string{{"link"}, {"relative"}, {"..", "outside"}, {"x", "..", "..", "outside"}, {outside}, {"../outside"}} {
		p := append(way, "f")
		if err := d.Put(p, []byte("out"), store.Meta{}, true); err == nil {
			t.Errorf("put at %q", p)
		}
		if err := d.Mkdir(p); err == nil && way[0] != outside {
			t.Errorf("made %q", p)
		}
		if pt, err := d.Partial(p, "key", layout(t, 2*mib), store.Meta{}); err == nil {
			pt.Close()
			t.Errorf("began %q", p)
		}
	}
	if n := names(t, outside); len(n) > 0 {
		t.Errorf("outside: %v", n)
	}
}

// Any number of puts of one file at the same time, also by several Dirs, give one of them, whole.
func TestConcurrentPuts(t *testing.T) {
	dir := t.TempDir()
	var versions [][]byte
	var wg sync.WaitGroup
	for i := range 8 {
		v := content(10_000+i, byte(i))
		versions = append(versions, v)
		d := open(t, dir)
		for range 20 {
			wg.Go(func() {
				if err := d.Put([]string{"f"}, v, store.Meta{ModTime: day}, true); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	got, _ := os.ReadFile(filepath.Join(dir, "f"))
	for _, v := range versions {
		if bytes.Equal(got, v) {
			is(t, filepath.Join(dir, "f"), v, false)
			return
		}
	}
	t.Errorf("%d bytes that nobody put", len(got))
}

// Folders are opened and closed as files come, and none is left open.
func TestManyFolders(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	var wg sync.WaitGroup
	for i := range 40 {
		p := []string{fmt.Sprint(i % 7), fmt.Sprint(i)}
		if err := d.Mkdir(p[:1]); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := d.Put(p, []byte(p[1]), store.Meta{ModTime: day}, false); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if runtime.GOOS == "linux" {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		for _, fd := range names(t, "/proc/self/fd") {
			if to, err := os.Readlink("/proc/self/fd/" + fd); err == nil && strings.HasPrefix(to, dir) {
				t.Errorf("%s is still open", to)
			}
		}
	}
}

func layout(t testing.TB, n int) transfer.Layout {
	t.Helper()
	l, err := transfer.LayoutOf(int64(n))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func build(t testing.TB, b []byte) transfer.Manifest {
	t.Helper()
	m, err := manifest.Build(bytes.NewReader(b), layout(t, len(b)), func(int, transfer.Hash) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func begin(t testing.TB, d *store.Dir, m transfer.Manifest, meta store.Meta) *store.Partial {
	t.Helper()
	p, err := d.Partial([]string{"f"}, "origin", m.Layout, meta)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func has(p *store.Partial, m transfer.Manifest) (out []bool) {
	var h manifest.Hasher
	buf := make([]byte, manifest.Step)
	for i, want := range m.Pieces {
		out = append(out, p.Has(&h, i, want, buf))
	}
	return out
}

func writePiece(t testing.TB, p *store.Partial, m transfer.Manifest, b []byte, i int) {
	t.Helper()
	off := m.Offset(i)
	if _, err := p.WriteAt(b[off:off+m.Length(i)], off); err != nil {
		t.Fatal(err)
	}
}

func TestPartial(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	b := content(17*cut+11, 1)
	m := build(t, b)
	meta := store.Meta{ModTime: day}
	p := begin(t, d, m, meta)
	if got := fmt.Sprint(has(p, m)); strings.Contains(got, "true") {
		t.Errorf("a new one has %v", got)
	}
	writePiece(t, p, m, b, 1)
	writePiece(t, p, m, b, 17)
	if _, err := p.WriteAt([]byte("half a piece"), 3*cut); err != nil {
		t.Fatal(err)
	}
	p.Close()
	p.Close()
	if _, err := p.WriteAt([]byte("late"), cut); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a late write: %v", err)
	}
	if n := names(t, dir); len(n) != 1 || !strings.HasPrefix(n[0], ".peerd-tmp-") {
		t.Fatalf("left: %v", n)
	}

	// The next one finds what was there, and takes the right to execute that it is told now.
	meta.Exec = true
	p = begin(t, d, m, meta)
	for i, got := range has(p, m) {
		if got != (i == 1 || i == 17) {
			t.Errorf("it has piece %d: %v", i, got)
		}
	}
	for i := range m.Pieces {
		if i != 1 && i != 17 {
			writePiece(t, p, m, b, i)
		}
	}
	if err := p.Promote(false); err != nil {
		t.Fatal(err)
	}
	p.Close()
	is(t, filepath.Join(dir, "f"), b, true)

	// Without replace what is there stays, and what was fetched is kept.
	p = begin(t, d, m, meta)
	if err := p.Promote(false); peer.KindOf(err) != peer.Conflict {
		t.Errorf("over another: %v", err)
	}
	p.Close()
	if n := names(t, dir); len(n) != 2 {
		t.Errorf("left: %v", n)
	}
	p = begin(t, d, m, meta)
	if err := p.Discard(); err != nil {
		t.Fatal(err)
	}
	is(t, filepath.Join(dir, "f"), b, true)
}

// Pieces of an old version are taken over where they are equal, and nothing else of it.
func TestCopyFrom(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	b := content(17*cut+5, 1)
	m := build(t, b)
	old := bytes.Clone(b)
	old[cut+7] ^= 1
	p := begin(t, d, m, store.Meta{ModTime: day})
	var h manifest.Hasher
	buf := make([]byte, manifest.Step)
	for i, want := range m.Pieces {
		if got := p.CopyFrom(&h, bytes.NewReader(old), i, want, buf); got != (i != 1) {
			t.Errorf("piece %d: %v", i, got)
		}
		if p.CopyFrom(&h, bytes.NewReader(old[:100]), i, want, buf) {
			t.Errorf("piece %d of a file that is too short", i)
		}
	}
	writePiece(t, p, m, b, 1)
	if err := p.Promote(true); err != nil {
		t.Fatal(err)
	}
	p.Close()
	is(t, filepath.Join(dir, "f"), b, false)
}

// Two at the same time never write into the same file, and a file that has its name already is left alone, even if it kept
// its temporary name in a crash.
func TestPartialsApart(t *testing.T) {
	dir := t.TempDir()
	d, d2 := open(t, dir), open(t, dir)
	b, other := content(2*mib+1, 1), content(2*mib+1, 2)
	m, m2 := build(t, b), build(t, other)
	meta := store.Meta{ModTime: day}
	p, p2 := begin(t, d, m, meta), begin(t, d2, m2, meta)
	for i := range m.Pieces {
		writePiece(t, p, m, b, i)
		writePiece(t, p2, m2, other, i)
	}
	if err := p.Promote(true); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "f")); !bytes.Equal(got, b) {
		t.Error("the first is mixed")
	}
	p.Close()
	if err := p2.Promote(true); err != nil {
		t.Fatal(err)
	}
	p2.Close()
	is(t, filepath.Join(dir, "f"), other, false)

	p = begin(t, d, m, meta)
	temp := ""
	for _, n := range names(t, dir) {
		if n != "f" {
			temp = n
		}
	}
	p.Close()
	if err := os.Remove(filepath.Join(dir, temp)); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, "f"), filepath.Join(dir, temp)); err != nil {
		t.Skip(err)
	}
	p = begin(t, d, m, meta)
	writePiece(t, p, m, b, 0)
	if got, _ := os.ReadFile(filepath.Join(dir, "f")); !bytes.Equal(got, other) {
		t.Error("a finished file was written to")
	}
	if err := p.Discard(); err != nil {
		t.Fatal(err)
	}
	is(t, filepath.Join(dir, "f"), other, false)
}

// Something that is no file has the temporary name: it is left alone.
func TestTemporaryNameTaken(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	m := build(t, content(2*mib, 1))
	p := begin(t, d, m, store.Meta{})
	temp := names(t, dir)[0]
	if err := p.Discard(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mine"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("mine", filepath.Join(dir, temp)); err != nil {
		t.Skip(err)
	}
	p, err := d.Partial([]string{"f"}, "origin", m.Layout, store.Meta{})
	if err == nil {
		writePiece(t, p, m, content(2*mib, 1), 0)
		p.Close()
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "mine")); string(got) != "mine" {
		t.Error("a link was written through")
	}
}

func TestManifests(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by it")
	const limit = 20
	s, err := store.OpenManifests(dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	m := build(t, content(3*mib, 1))
	file := func(i int) transfer.FileID { return transfer.FileID{byte(i), 1} }
	for i := range 50 {
		s.Put(file(i), m)
		if got, ok := s.Get(file(i)); !ok || got.Root != m.Root || len(got.Pieces) != len(m.Pieces) {
			t.Fatalf("%d: %v", i, ok)
		}
		// Files are put in order of time, which may stand still between two of them.
		when := day.Add(time.Duration(i) * time.Second)
		if err := os.Chtimes(filepath.Join(dir, file(i).String()[:32]), when, when); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if n := len(names(t, dir)); n > limit || n < limit/2 {
		t.Errorf("%d are kept", n)
	}
	if _, ok := s.Get(file(0)); ok {
		t.Error("the oldest is kept")
	}
	// Over a restart, and not when it is spoiled.
	if s, err = store.OpenManifests(dir, limit); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Get(file(49)); !ok {
		t.Error("the newest is gone")
	}
	name := filepath.Join(dir, file(49).String()[:32])
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	for _, bad := range [][]byte{b, b[:len(b)/2], nil, make([]byte, 5<<20)} {
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, ok := s.Get(file(49)); ok {
			t.Error("a spoiled manifest was believed")
		}
	}
	if _, err := store.OpenManifests(name, limit); err == nil {
		t.Error("a file is no folder")
	}
}
