//go:build linux || darwin

package face

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/peerd/peerd/share/mount/known"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/vfs/vfstest"
)

// part reads one part of a folder, from a place on, as the kernel does; small parts hold one or two names.
func part(t *testing.T, f *Face, dir vfs.Ino, place *uint64, size int) (names []string) {
	t.Helper()
	in := fuse.ReadIn{Offset: *place}
	in.NodeId, in.Pid = uint64(dir), nobodyElse
	c, room := 0, size
	st := f.list(make(chan struct{}), &in, func(d fuse.DirEntry, _ *vfs.Entry, _ known.Place, _ uint64) bool {
		if c++; c > room {
			return false
		}
		if *place = d.Off; d.Name != "." && d.Name != ".." {
			names = append(names, d.Name)
		}
		return true
	})
	if !st.Ok() {
		t.Fatal(st)
	}
	return names
}

// all reads the rest of a folder, to its end.
func all(t *testing.T, f *Face, dir vfs.Ino, place uint64) (names []string) {
	t.Helper()
	for {
		before := place
		names = append(names, part(t, f, dir, &place, 3)...)
		if place == before {
			return names
		}
	}
}

func drop(f *Face, dir vfs.Ino) string { return fmt.Sprintf("inode %d 0", f.id(dir)) }

// What stays in a folder is told of once, whatever else comes and goes while it is read.
func TestFolderChangesWhileRead(t *testing.T) {
	in(t, func(t *testing.T, f *Face, _ *kernel, s *vfstest.Share) {
		for i := range 20 {
			s.Write(fmt.Sprintf("a/g%02d", i), nil)
		}
		dir, _ := find(t, f, "a")
		for _, forget := range []bool{false, true} {
			var place uint64
			got := part(t, f, dir, &place, 9)
			s.Remove("a/g00")
			s.Write("a/aaa", nil)
			s.Write("a/g00", nil)
			synctest.Wait()
			if forget {
				f.listings.drop(dir) // as when too many are read at once
			}
			got = append(got, all(t, f, dir, place)...)
			for i := range 20 {
				name := fmt.Sprintf("g%02d", i)
				if n := len(slices.DeleteFunc(slices.Clone(got), func(x string) bool { return x != name })); n != 1 && i > 0 {
					t.Errorf("%s is told of %d times in %s", name, n, strings.Join(got, " "))
				}
			}
			s.Remove("a/aaa")
			synctest.Wait()
		}
	})
}

// The kernel keeps what it read of a folder as long as it is told of changes.
func TestFolderIsKept(t *testing.T) {
	in(t, func(t *testing.T, f *Face, k *kernel, s *vfstest.Share) {
		dir, _ := find(t, f, "a")
		if got := all(t, f, dir, 0); !slices.Equal(got, []string{"f"}) {
			t.Fatal(got)
		}
		time.Sleep(time.Minute)
		if k.heard(drop(f, dir)) {
			t.Error("it has to drop what nothing changed")
		}
		s.Write("a/new", nil)
		synctest.Wait()
		if !k.heard(drop(f, dir)) {
			t.Error("it keeps what changed")
		}
	})
}

// droppedAtItsEnd reads a folder, with something done in its midst, and reports whether the kernel is told to drop it only once
// it was read to its end.
func droppedAtItsEnd(t *testing.T, f *Face, k *kernel, dir vfs.Ino, midst func()) bool {
	t.Helper()
	place := uint64(0)
	part(t, f, dir, &place, 3)
	midst()
	synctest.Wait()
	k.mu.Lock()
	k.told = nil
	k.mu.Unlock()
	all(t, f, dir, place)
	synctest.Wait()
	return k.heard(drop(f, dir))
}

func TestFolderThatNobodyWatches(t *testing.T) {
	in(t, func(t *testing.T, f *Face, k *kernel, s *vfstest.Share) {
		s.Unwatched(true)
		time.Sleep(10 * time.Second)
		dir, _ := find(t, f, "a")
		if !droppedAtItsEnd(t, f, k, dir, func() {}) {
			t.Error("it keeps what nobody watches")
		}
	})
}

// A change that comes while the kernel reads can't be told of before it has what was read.
func TestFolderChangesBeforeItsEnd(t *testing.T) {
	in(t, func(t *testing.T, f *Face, k *kernel, s *vfstest.Share) {
		dir, _ := find(t, f, "a")
		if !droppedAtItsEnd(t, f, k, dir, func() { s.Write("a/new", nil) }) {
			t.Error("it keeps what changed while it read")
		}
	})
}

func TestFolderIsReadAnewInTime(t *testing.T) {
	in(t, func(t *testing.T, f *Face, k *kernel, _ *vfstest.Share) {
		dir, _ := find(t, f, "a")
		all(t, f, dir, 0)
		time.Sleep(known.Trust)
		k.mu.Lock()
		k.told = nil
		k.mu.Unlock()
		find(t, f, "a")
		synctest.Wait()
		if !k.heard(drop(f, dir)) {
			t.Error("it keeps a listing for ever")
		}
	})
}

// A name that the tree knows no more, and the kernel may have in a listing, is told of when it goes.
func TestForgottenNameGoes(t *testing.T) {
	in(t, func(t *testing.T, f *Face, k *kernel, s *vfstest.Share) {
		for i := range 20_500 {
			s.Write(fmt.Sprintf("a/g%05d", i), nil)
		}
		s.Write("a/sub/f", nil)
		dir, _ := find(t, f, "a")
		all(t, f, dir, 0)
		time.Sleep(3 * time.Minute) // what nobody holds is pruned
		k.mu.Lock()
		k.told = nil
		k.mu.Unlock()
		s.Remove("a/g00007")
		synctest.Wait()
		if !k.heard(drop(f, dir)) {
			t.Error("it keeps a listing with what is gone")
		}
	})
}
