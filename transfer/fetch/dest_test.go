package fetch_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer/fetch"
	"github.com/peerd/peerd/transfer/store"
)

func openDir(t testing.TB, name string) *store.Dir {
	t.Helper()
	d, err := store.OpenDir(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// What is in the way, and is no file, is never replaced, not even by force; what lies beside it arrives.
func TestInTheWay(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"small", "large", "link", "folder/x", "linked/x", "fine"} {
		n := 100
		if name == "large" {
			n = 3 * mib
		}
		r.write(t, name, content(n, uint64(len(name))))
	}
	outside := t.TempDir()
	write(t, filepath.Join(outside, "target"), []byte("precious"))
	for _, replace := range []bool{false, true} {
		dst := t.TempDir()
		for _, name := range []string{"small", "large"} {
			if err := os.Mkdir(filepath.Join(dst, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		write(t, filepath.Join(dst, "folder"), []byte("a file where a folder should be"))
		for name, to := range map[string]string{"link": filepath.Join(outside, "target"), "linked": outside} {
			if err := os.Symlink(to, filepath.Join(dst, name)); err != nil {
				t.Fatal(err)
			}
		}
		rep, err := fetchTree(t, r.Net, r.items(t), dst, replace, fetch.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"small", "large", "link", "folder"} {
			kindIs(t, rep.failed[name], peer.Conflict)
		}
		for _, name := range []string{"linked", "linked/x", "folder/x"} {
			if rep.failed[name] == nil {
				t.Errorf("%s was fetched", name)
			}
		}
		holds(t, filepath.Join(dst, "fine"), content(100, 4))
		holds(t, filepath.Join(outside, "target"), []byte("precious"))
		if found, _ := os.ReadDir(outside); len(found) != 1 {
			t.Errorf("something was put outside: %v", found)
		}
	}
}

func TestNameTooLong(t *testing.T) {
	r := newRig(t)
	r.write(t, "small", content(10, 1))
	r.write(t, "large", content(2*mib, 2))
	items := r.items(t)
	for i := range items {
		items[i].Dest = []string{items[i].Dest[0] + strings.Repeat("x", 300)}
	}
	dst := t.TempDir()
	rep, err := fetchTree(t, r.Net, items, dst, false, fetch.Options{})
	if err != nil || len(rep.failed) != 2 {
		t.Fatal(err, rep.failed)
	}
	for _, err := range rep.failed {
		kindIs(t, err, peer.Other)
		if !strings.Contains(err.Error(), "too long") {
			t.Error(err)
		}
	}
	if found, _ := os.ReadDir(dst); len(found) > 0 {
		t.Errorf("left: %v", found)
	}
}

func TestReadOnlyFolder(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a mount")
	}
	r := newRig(t)
	r.write(t, "small", content(10, 1))
	r.write(t, "large", content(2*mib, 2))
	r.write(t, "d/x", content(10, 1))
	dst := tmpfs(t, "size=1m,ro")
	rep, err := fetchTree(t, r.Net, r.items(t), dst, false, fetch.Options{})
	if err != nil || len(rep.failed) != 4 {
		t.Fatal(err, rep.failed)
	}
	for _, err := range rep.failed {
		kindIs(t, err, peer.Other)
	}
}

// A disk that is full fails the files that don't fit, says why, and keeps what is verified for another try.
func TestDiskFull(t *testing.T) {
	r := newRig(t)
	r.write(t, "1 fits", content(mib/2, 1))
	r.write(t, "2 does not", content(20*mib, 2))
	r.write(t, "3 fits", content(mib/2, 3))
	dst := tmpfs(t, "size=8m")
	rep, err := fetchTree(t, r.Net, r.items(t), dst, false, fetch.Options{})
	if err != nil || len(rep.failed) != 1 {
		t.Fatal(err, rep.failed)
	}
	kindIs(t, rep.failed["2 does not"], peer.Other)
	if !strings.Contains(rep.failed["2 does not"].Error(), "free") {
		t.Error(rep.failed["2 does not"])
	}
	holds(t, filepath.Join(dst, "3 fits"), content(mib/2, 3))
	if left := temporaries(t, dst); len(left) > 0 {
		t.Errorf("a file that can't fit left %v", left)
	}
}

// The space goes while files arrive: each would have fit alone.
func TestDiskFills(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"a", "b", "c"} {
		r.write(t, name, content(5*mib, uint64(name[0])))
	}
	for i := range 20 {
		r.write(t, "small/"+string(rune('a'+i)), content(mib/2, uint64(i)))
	}
	dst := tmpfs(t, "size=9m")
	rep, err := fetchTree(t, r.Net, r.items(t), dst, false, fetch.Options{})
	if err != nil || len(rep.failed) == 0 {
		t.Fatal(err, rep.failed)
	}
	for name, err := range rep.failed {
		kindIs(t, err, peer.Other)
		if _, err := os.Lstat(filepath.Join(dst, name)); err == nil {
			t.Errorf("%s has its name", name)
		}
	}
	for name := range rep.done {
		want, _ := os.ReadFile(filepath.Join(r.folder.Dir, name))
		holds(t, filepath.Join(dst, name), want)
	}
}

// Several copies of the same files into the same place at the same time: each succeeds, and what lies there is whole.
func TestConcurrentCopies(t *testing.T) {
	for _, replace := range []bool{false, true} {
		r := newRig(t)
		r.write(t, "large", content(9*mib+5, 1))
		for i := range 50 {
			r.write(t, "d/"+string(rune('A'+i)), content(i*1000, uint64(i)))
		}
		dst := t.TempDir()
		items := r.items(t)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				rep, err := fetchTree(t, r.Net, items, dst, replace, fetch.Options{})
				if err != nil || len(rep.failed) > 0 {
					t.Error(err, rep.failed)
				}
			})
		}
		wg.Wait()
		same(t, r.folder.Dir, dst)
	}
}

// Copies of two versions of a file into the same place: one of them lies there in the end, whole.
func TestConcurrentVersions(t *testing.T) {
	versions := [][]byte{content(6*mib+5, 1), content(7*mib, 2), content(900, 3), content(901, 4)}
	var rigs []*rig
	for _, v := range versions {
		r := newRig(t)
		r.write(t, "f", v)
		rigs = append(rigs, r)
	}
	for range 5 {
		dst := t.TempDir()
		var wg sync.WaitGroup
		for _, r := range rigs {
			items := r.items(t)
			wg.Go(func() {
				rep, err := fetchTree(t, r.Net, items, dst, true, fetch.Options{})
				if err != nil || len(rep.failed) > 0 {
					t.Error(err, rep.failed)
				}
			})
		}
		wg.Wait()
		oneOf(t, filepath.Join(dst, "f"), versions)
		if left := temporaries(t, dst); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}
