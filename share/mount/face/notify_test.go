//go:build linux || darwin

package face

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/mount/known"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/vfs/vfstest"
)

// kernel takes note of what it is told, and lets wait who tells it of a folder that is locked.
type kernel struct {
	mu     sync.Mutex
	told   []string
	locked map[uint64]chan struct{}
	absent map[uint64]int // how often it does not know a node yet
}

func (k *kernel) note(node uint64, what string) fuse.Status {
	k.mu.Lock()
	lock := k.locked[node]
	if k.absent[node] > 0 {
		k.absent[node]--
		k.mu.Unlock()
		return fuse.ENOENT
	}
	k.mu.Unlock()
	if lock != nil {
		<-lock
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.told = append(k.told, what)
	return fuse.OK
}

func (k *kernel) InodeNotify(node uint64, off, _ int64) fuse.Status {
	return k.note(node, fmt.Sprintf("inode %d %d", node, off))
}

func (k *kernel) EntryNotify(parent uint64, name string) fuse.Status {
	return k.note(parent, fmt.Sprintf("entry %d %s", parent, name))
}

func (k *kernel) InodeNotifyStoreCache(node uint64, off int64, b []byte) fuse.Status {
	return k.note(node, fmt.Sprintf("push %d %d %d %.1s", node, off, len(b), b))
}

func (k *kernel) heard(what string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Contains(k.told, what)
}

// in runs a test with a face of a share that a kernel of ours follows.
func in(t *testing.T, test func(t *testing.T, f *Face, k *kernel, s *vfstest.Share)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := vfstest.NewWorld()
		s := w.Add("anna").Share("docs", share.Full)
		s.Write("a/f", []byte("1"))
		s.Write("b/f", []byte("1"))
		fs, err := vfs.New(w, vfs.Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { _ = fs.Run(ctx) })
		f := New(fs, Options{Root: []string{"anna", "docs"}, Log: nil})
		k := &kernel{locked: map[uint64]chan struct{}{}, absent: map[uint64]int{}}
		wg.Go(func() { f.Follow(ctx, k) })
		time.Sleep(2 * time.Second)
		test(t, f, k, s)
		cancel()
		wg.Wait()
		if err := fs.Close(); err != nil {
			t.Error(err)
		}
	})
}

// find looks a path up as the kernel does.
func find(t *testing.T, f *Face, names ...string) (ino vfs.Ino, out fuse.EntryOut) {
	t.Helper()
	id := uint64(fuse.FUSE_ROOT_ID)
	for _, name := range names {
		h := fuse.InHeader{NodeId: id}
		h.Pid = nobodyElse
		out = fuse.EntryOut{}
		if st := f.Lookup(make(chan struct{}), &h, name, &out); !st.Ok() || out.NodeId == 0 {
			t.Fatalf("%v, node %d", st, out.NodeId)
		}
		id = out.NodeId
	}
	return vfs.Ino(id), out
}

const nobodyElse = 1 << 30

// list lists a folder, so that it is known in full and watched.
func list(t *testing.T, f *Face, dir vfs.Ino) {
	t.Helper()
	if _, err := f.fs.List(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
}

// A folder that is locked in the kernel, by somebody who looks into it and waits, holds up nothing but what is told of it.
func TestLanes(t *testing.T) {
	in(t, func(t *testing.T, f *Face, k *kernel, s *vfstest.Share) {
		a, _ := find(t, f, "a")
		b, _ := find(t, f, "b")
		list(t, f, a)
		list(t, f, b)
		lock := make(chan struct{})
		k.mu.Lock()
		k.locked[uint64(a)] = lock
		k.mu.Unlock()
		s.Write("a/new", nil)
		s.Write("b/new", nil)
		synctest.Wait()
		if !k.heard(fmt.Sprintf("entry %d new", b)) {
			t.Errorf("it was not told of a folder that nobody holds: %q", k.told)
		}
		if k.heard("entry 1 anna") || k.heard("entry 2 docs") {
			t.Errorf("it was told of what lies above all that it is shown: %q", k.told)
		}
		if k.heard(fmt.Sprintf("entry %d new", a)) {
			t.Errorf("the lock was passed by: %q", k.told)
		}
		close(lock)
		synctest.Wait()
		if !k.heard(fmt.Sprintf("entry %d new", a)) {
			t.Errorf("it was never told: %q", k.told)
		}
	})
}

// The kernel may be told of a node before it has the answer that it will know it by.
func TestToldTooEarly(t *testing.T) {
	in(t, func(t *testing.T, f *Face, k *kernel, s *vfstest.Share) {
		dir, _ := find(t, f, "a")
		list(t, f, dir)
		ino, out := find(t, f, "a", "f")
		if out.EntryTimeout() < time.Minute {
			t.Fatalf("it may be believed for %v", out.EntryTimeout())
		}
		k.mu.Lock()
		k.absent[uint64(ino)] = 2
		k.mu.Unlock()
		s.Write("a/f", []byte("longer"))
		time.Sleep(time.Second)
		if !k.heard(fmt.Sprintf("inode %d 0", ino)) {
			t.Errorf("it was told %q", k.told)
		}
	})
}

// What this mount changes itself the kernel knows: names of its own it keeps.
func TestOwnChanges(t *testing.T) {
	in(t, func(t *testing.T, f *Face, k *kernel, _ *vfstest.Share) {
		dir, _ := find(t, f, "a")
		list(t, f, dir)
		in := fuse.MkdirIn{Mode: 0o755}
		in.NodeId, in.Pid = uint64(dir), nobodyElse
		var out fuse.EntryOut
		if st := f.Mkdir(make(chan struct{}), &in, "mine", &out); !st.Ok() {
			t.Fatal(st)
		}
		time.Sleep(time.Minute)
		if k.heard(fmt.Sprintf("entry %d mine", dir)) {
			t.Errorf("it lost a folder that it made: %q", k.told)
		}
		if !f.known.Is(known.Place{Parent: dir, Name: "mine"}, vfs.Ino(out.NodeId)) {
			t.Error("it is not known by its name")
		}
	})
}

// An answer of before a change is believed no longer than until the next question.
func TestAnswerOfBefore(t *testing.T) {
	in(t, func(t *testing.T, f *Face, k *kernel, s *vfstest.Share) {
		dir, _ := find(t, f, "a")
		list(t, f, dir)
		a, err := f.fs.Lookup(t.Context(), dir, "f")
		if err != nil {
			t.Fatal(err)
		}
		turn := f.known.Now()
		s.Write("a/f", []byte("changed meanwhile"))
		synctest.Wait()
		var out fuse.EntryOut
		f.entry(a, known.Place{Parent: dir, Name: "f"}, turn, &out)
		if got := out.EntryTimeout(); got != 0 {
			t.Errorf("an old answer is to be believed for %v", got)
		}
		_, out = find(t, f, "a", "f")
		if got := out.AttrTimeout(); got < time.Minute || out.Size != 17 {
			t.Errorf("the next is to be believed for %v, and says %d bytes", got, out.Size)
		}
	})
}

func TestPanicked(t *testing.T) {
	in(t, func(t *testing.T, f *Face, _ *kernel, _ *vfstest.Share) {
		if st := f.Panicked("a fault"); st != fuse.EIO {
			t.Error(st)
		}
	})
}

// What was renamed may have gone beside what somebody else put there: then the kernel must not take that for the file it renamed.
func TestRenameBeside(t *testing.T) {
	in(t, func(t *testing.T, f *Face, k *kernel, s *vfstest.Share) {
		s.Write("a/target", []byte("old"))
		dir, _ := find(t, f, "a")
		list(t, f, dir)
		ino, _ := find(t, f, "a", "f")
		find(t, f, "a", "target")
		s.Unwatched(true)
		s.Write("a/target", []byte("somebody else's"))
		in := fuse.RenameIn{Newdir: uint64(dir)}
		in.NodeId, in.Pid = uint64(dir), nobodyElse
		if st := f.Rename(make(chan struct{}), &in, "f", "target"); !st.Ok() {
			t.Fatal(st)
		}
		time.Sleep(time.Second)
		if b, _ := s.Read("a/target"); string(b) != "somebody else's" {
			t.Fatalf("it was overwritten: %q", b)
		}
		if !k.heard(fmt.Sprintf("entry %d target", dir)) || f.known.Is(known.Place{Parent: dir, Name: "target"}, ino) {
			t.Errorf("the kernel takes it for what it renamed: %q", k.told)
		}
	})
}
