package fetch_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer/fetch"
	"github.com/peerd/peerd/transfer/manifest"
)

// window is how much a lane may have asked for beyond what it settled.
const window = 16 * mib

func TestTreeArrivesWhole(t *testing.T) {
	r := newRig(t)
	for name, size := range map[string]int{
		"empty": 0, "small": 7, "a/one piece": mib, "a/one piece and a byte": mib + 1, "a/almost": mib - 1,
		"a/b/c/d/many": 7*mib + 12345, "two": 2 * mib, "ünïcode/名": 100, "a/b/.hidden": 1,
	} {
		r.write(t, name, content(size, uint64(size)))
	}
	for i := range 300 {
		r.write(t, fmt.Sprintf("lots/%d/%d", i%7, i), content(i*37, uint64(i)))
	}
	if err := os.MkdirAll(filepath.Join(r.folder.Dir, "nothing in it", "at all"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"small", "a/b/c/d/many"} {
		name = filepath.Join(r.folder.Dir, name)
		if err := os.Chmod(name, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, time.Time{}, time.Date(1999, 12, 31, 23, 59, 59, 123456789, time.UTC)); err != nil {
			t.Fatal(err)
		}
	}
	dst := t.TempDir()
	var m meter
	items := r.items(t)
	rep, err := fetchTree(t, r.Net, items, dst, false, fetch.Options{Progress: &m})
	if err != nil || len(rep.failed) > 0 {
		t.Fatal(err, rep.failed)
	}
	same(t, r.folder.Dir, dst)
	var total int64
	for _, it := range items {
		total += it.Size
		if b, err := os.ReadFile(filepath.Join(append([]string{dst}, it.Dest...)...)); err == nil && rep.done[filepath.Join(it.Dest...)] != manifest.Whole(b) {
			t.Errorf("%v was reported with another root", it.Dest)
		}
	}
	if m.got.Load() != total || m.had.Load() != 0 {
		t.Errorf("progress: %d got, %d had, want %d and 0", m.got.Load(), m.had.Load(), total)
	}

	before := r.Received()
	var second meter
	r.mustFetch(t, dst, fetch.Options{Progress: &second})
	if n := r.Received() - before; n != 0 {
		t.Errorf("the second run fetched %d bytes", n)
	}
	if second.had.Load() != total || second.got.Load() != 0 {
		t.Errorf("second run: %d got, %d had, want 0 and %d", second.got.Load(), second.had.Load(), total)
	}
	if n := r.folder.Open(); n != 0 {
		t.Errorf("%d files are still open at the source", n)
	}
}

// What is there with another time, but the same bytes, is recognised; large files without fetching any of it.
func TestSameBytesOtherTime(t *testing.T) {
	r := newRig(t)
	small, large := content(1000, 1), content(5*mib+7, 2)
	r.write(t, "small", small)
	r.write(t, "large", large)
	dst := t.TempDir()
	write(t, filepath.Join(dst, "small"), small)
	write(t, filepath.Join(dst, "large"), large)
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{"small", "large"} {
		if err := os.Chtimes(filepath.Join(dst, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	r.mustFetch(t, dst, fetch.Options{})
	if n := r.Received(); n > 64<<10 {
		t.Errorf("%d bytes were fetched of files that are here", n)
	}
}

func TestDifferentFileStands(t *testing.T) {
	r := newRig(t)
	mine := map[string][]byte{
		"small, same size": content(1000, 11), "small, other size": content(999, 12),
		"large, same size": content(3*mib+1, 13), "large, other size": content(4*mib, 14),
	}
	theirs := make(map[string][]byte)
	dst := t.TempDir()
	for name, b := range mine {
		size := len(b)
		if name == "small, other size" || name == "large, other size" {
			size += 5
		}
		theirs[name] = content(size, uint64(size))
		r.write(t, name, theirs[name])
		write(t, filepath.Join(dst, name), b)
		if err := os.Chtimes(filepath.Join(dst, name), time.Time{}, time.Unix(1e9, 0)); err != nil {
			t.Fatal(err)
		}
	}
	rep, err := fetchTree(t, r.Net, r.items(t), dst, false, fetch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range mine {
		kindIs(t, rep.failed[name], peer.Conflict)
		holds(t, filepath.Join(dst, name), b)
	}
	rep, err = fetchTree(t, r.Net, r.items(t), dst, true, fetch.Options{})
	if err != nil || len(rep.failed) > 0 {
		t.Fatal(err, rep.failed)
	}
	same(t, r.folder.Dir, dst)
}

// A file that was changed a little takes over the equal pieces of what it replaces, also where it has grown.
func TestReplaceReusesPieces(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"a byte changed":     func(b []byte) []byte { b[5*mib]++; return b },
		"something appended": func(b []byte) []byte { return append(b, content(100, 9)...) },
		"cut off":            func(b []byte) []byte { return b[:len(b)-mib/2] },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			b := content(20*mib, 3)
			dst := t.TempDir()
			write(t, filepath.Join(dst, "f"), b)
			if err := os.Chtimes(filepath.Join(dst, "f"), time.Time{}, time.Unix(1e9, 0)); err != nil { // or it may have the other's time
				t.Fatal(err)
			}
			r.write(t, "f", change(b))
			rep, err := fetchTree(t, r.Net, r.items(t), dst, true, fetch.Options{})
			if err != nil || len(rep.failed) > 0 {
				t.Fatal(err, rep.failed)
			}
			same(t, r.folder.Dir, dst)
			if n := r.Received(); n > 2*mib {
				t.Errorf("%d bytes were fetched", n)
			}
		})
	}
}

// A file of several pieces became one of one piece since it was listed: what stands here stays.
func TestShrunkSinceListed(t *testing.T) {
	r := newRig(t)
	r.write(t, "f", content(5*mib, 1))
	items := r.items(t)
	r.write(t, "f", content(1000, 2))
	dst := t.TempDir()
	write(t, filepath.Join(dst, "f"), content(1000, 3))
	for _, replace := range []bool{false, true} {
		rep, err := fetchTree(t, r.Net, items, dst, replace, fetch.Options{})
		if err != nil {
			t.Fatal(err)
		}
		kindIs(t, rep.failed["f"], peer.Conflict)
		holds(t, filepath.Join(dst, "f"), content(1000, 3))
	}
}

func TestItemsEndWithError(t *testing.T) {
	r := newRig(t)
	r.write(t, "f", content(10, 1))
	boom := errors.New("the listing broke off")
	f := start(t, r.Net, fetch.Options{})
	d := openDir(t, t.TempDir())
	items := r.items(t)
	err := f.Tree(t.Context(), func(yield func(fetch.Item, error) bool) {
		for _, it := range items {
			if !yield(it, nil) {
				return
			}
		}
		yield(fetch.Item{}, boom)
	}, d, false, newReport())
	if !errors.Is(err, boom) {
		t.Errorf("the error is %v", err)
	}
}

// A file that is gone since it was listed is an error of its own and stops nothing else.
func TestGoneSinceListed(t *testing.T) {
	r := newRig(t)
	r.write(t, "gone", content(10, 1))
	r.write(t, "gone too", content(3*mib, 1))
	r.write(t, "stays", content(3*mib, 2))
	items := r.items(t)
	for _, name := range []string{"gone", "gone too"} {
		if err := os.Remove(filepath.Join(r.folder.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	dst := t.TempDir()
	rep, err := fetchTree(t, r.Net, items, dst, false, fetch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	kindIs(t, rep.failed["gone"], peer.NotFound)
	kindIs(t, rep.failed["gone too"], peer.NotFound)
	same(t, r.folder.Dir, dst)
}
