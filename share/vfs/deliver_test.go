package vfs_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/vfs/vfstest"
)

// fixture is a tree of one share, in a bubble of its own time.
type fixture struct {
	*testing.T
	vfstest.Tree
	world *vfstest.World
	peer  *vfstest.Peer
	share *vfstest.Share
	dir   string
	stop  func()
}

// in runs a test in a bubble, where waiting takes no time.
func in(t *testing.T, test func(x *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := vfstest.NewWorld()
		x := &fixture{T: t, world: w, peer: w.Add("anna"), dir: t.TempDir()}
		x.share = x.peer.Share("docs", share.Full)
		x.start()
		t.Cleanup(func() { x.stop() })
		test(x)
	})
}

// start makes the tree run.
func (x *fixture) start() {
	x.Helper()
	x.startIn(x.world)
}

func (x *fixture) startIn(w vfs.World) {
	x.Helper()
	f, err := vfs.New(w, vfs.Options{Dir: x.dir})
	x.ok(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f.Run(ctx)
	}()
	x.stop = func() {
		cancel()
		<-done
		if err := f.Close(); err != nil {
			x.Error(err)
		}
	}
	x.Tree = vfstest.Tree{FS: f, Root: []string{"anna", "docs"}, Ctx: x.Context()}
}

func (x *fixture) ok(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

func (x *fixture) is(err error, want peer.Kind) {
	x.Helper()
	if err == nil || peer.KindOf(err) != want {
		x.Fatalf("error %v of kind %v, want %v", err, peer.KindOf(err), want)
	}
}

func (x *fixture) drain() {
	x.Helper()
	ctx, cancel := context.WithTimeout(x.Context(), time.Minute)
	defer cancel()
	if err := x.FS.Drain(ctx); err != nil {
		x.Fatalf("%v: %+v waits", err, x.FS.Pending())
	}
}

// there checks what the owner has of a file.
func (x *fixture) there(name, want string) {
	x.Helper()
	if got, ok := x.share.Read(name); !ok || string(got) != want {
		x.Fatalf("the owner has %.40q, %v under %s; want %.40q", got, ok, name, want)
	}
}

func (x *fixture) here(name, want string) {
	x.Helper()
	if got, err := x.ReadFile(name); err != nil || string(got) != want {
		x.Fatalf("the tree has %.40q, %v under %s; want %.40q", got, err, name, want)
	}
}

// within checks how long something took.
func (x *fixture) within(most time.Duration, do func()) {
	x.Helper()
	begun := time.Now()
	do()
	if took := time.Since(begun); took > most {
		x.Fatalf("it took %v, want at most %v", took, most)
	}
}

func (x *fixture) open(name string, flag int) vfstest.Handle {
	x.Helper()
	h, err := x.Open(name, flag)
	x.ok(err)
	return h
}

func TestManyFilesGoInFewPuts(t *testing.T) {
	in(t, func(x *fixture) {
		x.ok(x.WriteFile("first", []byte("1")))
		x.drain()
		x.peer.Slow(20 * time.Millisecond)
		puts := x.share.Calls("put")
		x.ok(x.Mkdir("d"))
		calls := x.share.Calls("")
		for i := range 200 {
			x.ok(x.WriteFile(fmt.Sprint("d/", i), []byte{byte(i)}))
		}
		if n := x.share.Calls("") - calls - x.share.Calls("item") + 1; n > 6 {
			x.Errorf("%d calls, but for the files themselves", n)
		}
		x.drain()
		if n := x.share.Calls("put") - puts; n > 3 {
			x.Errorf("200 files were brought in %d puts", n)
		}
		if n := x.share.Calls("item"); n != 201 {
			x.Errorf("%d files were put", n)
		}
		x.there("d/199", "\xc7")
	})
}

func TestSaveByRenameIsOnePut(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("doc.txt", []byte("old"))
		for i := range 3 {
			text := fmt.Sprint("new ", i)
			items, moves := x.share.Calls("item"), x.share.Calls("move")
			x.ok(x.WriteFile("doc.txt.tmp", []byte(text)))
			x.ok(x.Rename("doc.txt.tmp", "doc.txt"))
			x.here("doc.txt", text)
			x.drain()
			x.there("doc.txt", text)
			if x.share.Calls("item") != items+1 || x.share.Calls("move") != moves {
				x.Errorf("%d puts and %d moves, want one put", x.share.Calls("item")-items, x.share.Calls("move")-moves)
			}
		}
		if n := x.FS.Conflicts(); n > 0 || len(x.share.Paths()) != 1 {
			x.Errorf("%d conflicts; the owner has %q", n, x.share.Paths())
		}
	})
}

func TestWhatIsRemovedSoonIsNeverSent(t *testing.T) {
	in(t, func(x *fixture) {
		x.ok(x.WriteFile("a", []byte("1")))
		x.drain()
		calls := x.share.Calls("item")
		for _, name := range []string{"x.tmp", ".a.swp", "~$a.doc", ".~lock.a#"} {
			x.ok(x.WriteFile(name, []byte("passing")))
			x.ok(x.Remove(name))
		}
		time.Sleep(time.Minute)
		if x.share.Calls("item") != calls || x.share.Calls("remove") != 0 {
			x.Errorf("%d were sent, %d removed", x.share.Calls("item")-calls, x.share.Calls("remove"))
		}
		x.ok(x.WriteFile(".~lock.a#", []byte("me")))
		time.Sleep(5 * time.Second)
		x.there(".~lock.a#", "me")
	})
}

func TestWhatDesktopsStrewStaysHere(t *testing.T) {
	in(t, func(x *fixture) {
		for _, name := range []string{".DS_Store", "._a", "Thumbs.db", "desktop.ini"} {
			x.ok(x.WriteFile(name, []byte("x")))
			x.here(name, "x")
		}
		x.drain()
		time.Sleep(time.Minute)
		if n := x.share.Calls("item"); n > 0 || len(x.share.Paths()) > 0 {
			x.Errorf("%d were sent; the owner has %q", n, x.share.Paths())
		}
		is, err := x.List("")
		if err != nil || len(is) != 4 {
			x.Errorf("%v, %v", is, err)
		}
		x.ok(x.Remove("._a"))
	})
}

// TestKeptHereUntilRenamed: what had a name that is kept here waits for its owner once it has another, or one that the owner has.
func TestKeptHereUntilRenamed(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("doc", []byte("old"))
		x.share.Write("desktop.ini", []byte("old"))
		x.ok(x.WriteFile("._new", []byte("new")))
		x.ok(x.Rename("._new", "new"))
		for _, name := range []string{"doc", "desktop.ini"} {
			x.ok(x.WriteFile("._tmp", []byte("saved")))
			x.ok(x.Rename("._tmp", name))
		}
		h := x.open("._open", os.O_RDWR|os.O_CREATE)
		_, err := h.WriteAt([]byte("op"), 0)
		x.ok(err)
		x.ok(h.Sync())
		x.ok(x.Rename("._open", "open"))
		x.stop()
		x.start()
		x.drain()
		x.there("new", "new")
		x.there("doc", "saved")
		x.there("desktop.ini", "saved")
		x.there("open", "op")
		if n := x.FS.Conflicts(); n > 0 || len(x.share.Paths()) != 4 {
			x.Errorf("%d conflicts, the owner has %q", n, x.share.Paths())
		}
	})
}

// TestKeptHereLasts: what is kept here is kept until it is removed, also when peerd ends, and wherever its folder goes.
func TestKeptHereLasts(t *testing.T) {
	in(t, func(x *fixture) {
		for _, d := range []string{"a", "b", "c"} {
			x.share.Write(d+"/f", nil)
			x.ok(x.WriteFile(d+"/._f", []byte("of "+d)))
			x.ok(x.WriteFile(d+"/.DS_Store", []byte("gone")))
		}
		x.ok(x.Rename("a", "a2"))
		x.share.Rename("b", "b2")
		time.Sleep(time.Minute)
		x.ok(x.Rename("c/._f", "c/._g"))
		again := func() {
			x.Helper()
			x.stop()
			x.start()
			if n := len(x.FS.Pending()); n > 0 {
				x.Errorf("%d files wait for their owner", n)
			}
		}
		again()
		for name, want := range map[string]string{"a2/._f": "of a", "b2/._f": "of b", "c/._g": "of c"} {
			x.here(name, want)
			x.ok(x.Remove(path.Dir(name) + "/.DS_Store"))
		}
		x.ok(x.WriteFile("a2/._f", []byte("more of a")))
		x.ok(x.SetTime("b2/._f", time.Unix(1e9, 0)))
		x.ok(x.WriteFile("c/._h", []byte("of h")))
		x.ok(x.Rename("c/._h", "c/._g"))
		again()
		for name, want := range map[string]string{"a2": "more of a", "b2": "of b"} {
			is, err := x.List(name)
			if x.ok(err); len(is) != 2 {
				x.Errorf("%s: %+v", name, is)
			}
			x.here(name+"/._f", want)
		}
		x.here("c/._g", "of h")
		if i, err := x.Stat("b2/._f"); err != nil || !i.ModTime.Equal(time.Unix(1e9, 0)) {
			x.Errorf("%+v, %v", i, err)
		}
		if n := x.share.Calls("item"); n > 0 {
			x.Errorf("%d were sent", n)
		}
	})
}

// TestKeptHereBesideTheOwners: what the owner has under such a name is changed there, unless another was kept here before: that hides it.
func TestKeptHereBesideTheOwners(t *testing.T) {
	in(t, func(x *fixture) {
		put := func(name, data string) {
			x.Helper()
			u, err := x.FS.Upload(x.Ctx, mustWalk(x).Ino, name)
			x.ok(err)
			defer u.Abort()
			_, err = u.Write([]byte(data))
			x.ok(err)
			_, err = u.Commit(x.Ctx, time.Time{})
			x.ok(err)
		}
		x.share.Write("desktop.ini", []byte("old"))
		put("desktop.ini", "new")
		put(".DS_Store", "mine")
		x.share.Write(".DS_Store", []byte("theirs"))
		time.Sleep(time.Second)
		put(".DS_Store", "mine too")
		x.ok(x.WriteFile("._tmp", []byte("mine again")))
		x.ok(x.Rename("._tmp", ".DS_Store"))
		x.drain()
		x.there("desktop.ini", "new")
		x.there(".DS_Store", "theirs")
		x.here(".DS_Store", "mine again")
		if len(x.share.Paths()) != 2 {
			x.Errorf("the owner has %q", x.share.Paths())
		}
	})
}

func TestRefusedContentIsKept(t *testing.T) {
	in(t, func(x *fixture) {
		x.ok(x.WriteFile("a", []byte("1")))
		x.drain()
		x.share.Refuse(func(verb, path string) error {
			if verb == "item" {
				return &peer.Error{Kind: peer.Full, Err: errors.New("no more"), Hint: "the owner can raise the share's quota"}
			}
			return nil
		})
		_ = x.WriteFile("b", []byte("kept")) // the first is not waited for
		time.Sleep(100 * time.Millisecond)
		err := x.WriteFile("c", []byte("kept too"))
		if x.is(err, peer.Full); !errors.Is(err, vfs.ErrQuota) {
			x.Errorf("%v is no vfs.ErrQuota", err)
		}
		ps := x.FS.Pending()
		if len(ps) != 2 || ps[0].Path != "//anna/docs/b" || ps[0].Bytes != 4 || !errors.Is(ps[0].Err, vfs.ErrQuota) {
			x.Errorf("%+v", ps)
		}
		x.here("b", "kept")
		x.stop()
		x.start()
		x.here("b", "kept")
		if len(x.FS.Pending()) != 2 {
			x.Errorf("%+v after a restart", x.FS.Pending())
		}
		x.share.Refuse(nil)
		time.Sleep(10 * time.Minute)
		x.there("b", "kept")
		x.there("c", "kept too")
		if ps := x.FS.Pending(); len(ps) > 0 {
			x.Errorf("%+v", ps)
		}
	})
}

func TestLostRaceKeepsBoth(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("doc.txt", []byte("base"))
		h := x.open("doc.txt", os.O_RDWR)
		_, err := h.WriteAt([]byte("mine"), 0)
		x.ok(err)
		x.share.Write("doc.txt", []byte("theirs"))
		x.ok(h.Close())
		x.drain()
		x.there("doc.txt", "theirs")
		is, err := x.List("")
		if err != nil || len(is) != 2 {
			x.Fatalf("%v, %v", is, err)
		}
		for _, i := range is {
			want := "theirs"
			if i.Name != "doc.txt" {
				want = "mine"
			}
			x.here(i.Name, want)
			x.there(i.Name, want)
		}
		if x.FS.Conflicts() != 1 {
			x.Errorf("%d conflicts", x.FS.Conflicts())
		}
	})
}

func TestSyncedContentIsDeliveredWhileOpen(t *testing.T) {
	in(t, func(x *fixture) {
		h := x.open("db", os.O_RDWR|os.O_CREATE)
		items := x.share.Calls("item")
		for i := range 100 {
			_, err := h.WriteAt([]byte(fmt.Sprintf("%03d", i)), 0)
			x.ok(err)
			x.ok(h.Sync())
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		x.there("db", "099")
		if n := x.share.Calls("item") - items; n > 2 {
			x.Errorf("it was sent %d times within 3 s", n)
		}
		_, err := h.WriteAt([]byte("end"), 0)
		x.ok(err)
		time.Sleep(time.Minute) // neither synced nor closed
		x.there("db", "099")
		x.ok(h.Close())
		x.drain()
		x.there("db", "end")
	})
}

// TestWritesDuringDelivery has one file written while it is sent: what its owner has is always of one moment.
// replacing is a world whose shares are others once they were replaced.
type replacing struct {
	vfs.World
	replaced *atomic.Bool
}

type replaced struct{ vfs.Remote }

func (replaced) ID() share.ID { return share.ID{1} }

func (w replacing) Enter(ctx context.Context, peer, name string) (vfs.Remote, error) {
	r, err := w.World.Enter(ctx, peer, name)
	if err == nil && w.replaced.Load() {
		r = replaced{r}
	}
	return r, err
}

// TestSyncedForAnotherShare: of what is synced, still open, and not delivered since another share has the name now, no copies gather.
func TestSyncedForAnotherShare(t *testing.T) {
	in(t, func(x *fixture) {
		x.stop()
		w := replacing{x.world, new(atomic.Bool)}
		x.startIn(w)
		h := x.open("a", os.O_RDWR|os.O_CREATE)
		x.peer.Leave()
		time.Sleep(time.Second)
		_, err := h.WriteAt([]byte("x"), 0)
		x.ok(err)
		x.ok(h.Sync())
		w.replaced.Store(true)
		x.peer.Unshare("docs")
		x.share = x.peer.Share("docs", share.Full)
		x.peer.Return()
		time.Sleep(time.Hour)
		if ps := x.FS.Pending(); len(ps) != 1 || peer.KindOf(ps[0].Err) != peer.Conflict {
			x.Errorf("%+v", ps)
		}
		if all, _ := filepath.Glob(filepath.Join(x.dir, "staged-*")); len(all) != 1 {
			x.Errorf("there are %d files of it", len(all))
		}
		x.ok(h.Close())
	})
}

func TestWritesDuringDelivery(t *testing.T) {
	in(t, func(x *fixture) {
		x.ok(x.WriteFile("f", bytes.Repeat([]byte{'a'}, 100_000)))
		x.drain()
		x.peer.Slow(300 * time.Millisecond)
		h := x.open("f", os.O_RDWR)
		for c := byte('b'); c < 'z'; c++ {
			_, err := h.WriteAt(bytes.Repeat([]byte{c}, 100_000), 0)
			x.ok(err)
			x.ok(h.Sync())
			time.Sleep(time.Duration(c) * 7 * time.Millisecond)
			if b, _ := x.share.Read("f"); len(b) != 100_000 || bytes.Count(b, b[:1]) != len(b) {
				x.Fatal("the owner has a mixture")
			}
		}
		x.ok(h.Close())
		x.drain()
		x.there("f", strings.Repeat("y", 100_000))
	})
}

func TestPartsOfALargeFile(t *testing.T) {
	in(t, func(x *fixture) {
		big := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
		x.share.Write("big", big)
		h := x.open("big", os.O_RDWR)
		reads := x.share.Calls("read")
		for _, off := range []int64{5, 1 << 20, 4<<20 - 2} {
			_, err := h.WriteAt([]byte("XY"), off)
			x.ok(err)
			copy(big[off:], "XY")
		}
		if n := x.share.Calls("read") - reads; n > 0 {
			x.Errorf("writing read %d times", n)
		}
		got := make([]byte, 10)
		_, err := h.ReadAt(got, 1<<20-4)
		if x.ok(err); !bytes.Equal(got, big[1<<20-4:][:10]) {
			x.Errorf("%q", got)
		}
		x.ok(h.Close())
		x.drain()
		x.there("big", string(big))

		reads = x.share.Calls("read")
		x.ok(x.WriteFile("big", []byte("all new"))) // truncates: nothing is fetched
		x.drain()
		if n := x.share.Calls("read") - reads; n > 0 {
			x.Errorf("it was read %d times", n)
		}
		x.there("big", "all new")
	})
}

// TestClosedOftenWhileAway: what a file that is written in parts shows of its base is fetched once, however often it was closed
// while its owner was away.
func TestClosedOftenWhileAway(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("log", make([]byte, 3<<20))
		_, err := x.List("")
		x.ok(err)
		x.peer.Leave()
		time.Sleep(time.Second)
		before := runtime.NumGoroutine()
		log := func() {
			h := x.open("log", os.O_WRONLY|os.O_APPEND)
			_, err := h.Write([]byte("line\n"))
			x.ok(err)
			x.ok(h.Close())
		}
		for range 99 {
			log()
		}
		time.Sleep(70 * time.Second)
		if n := runtime.NumGoroutine() - before; n > 10 {
			x.Errorf("%d goroutines wait for the owner", n)
		}
		reads := x.share.Calls("read")
		x.peer.Return()
		log()
		time.Sleep(5 * time.Second) // it is not waited for the next try
		if n := x.share.Calls("read") - reads; n > 3 {
			x.Errorf("3 MiB were read in %d parts", n)
		}
		x.there("log", string(make([]byte, 3<<20))+strings.Repeat("line\n", 100))
		x.ok(x.WriteFile("log", []byte("new")))
		h := x.open("log", os.O_WRONLY|os.O_APPEND) // it is filled anew where that is needed
		_, err = h.Write([]byte("er"))
		x.ok(err)
		x.ok(h.Close())
		x.drain()
		x.there("log", "newer")
	})
}

func TestTimesAreKept(t *testing.T) {
	in(t, func(x *fixture) {
		when := time.Date(2019, 5, 6, 7, 8, 9, 10, time.UTC)
		x.ok(x.WriteFile("f", []byte("x")))
		x.ok(x.SetTime("f", when)) // as rsync does, by the name
		x.ok(x.SetExec("f", true))
		x.drain()
		if at, exec, _ := x.share.Stat("f"); !at.Equal(when) || !exec {
			x.Errorf("%v, %v", at, exec)
		}
		a, err := x.FS.Walk(x.Ctx, "anna", "docs", "f")
		if err != nil || !a.ModTime.Equal(when) || !a.Exec {
			x.Errorf("%+v, %v", a, err)
		}
		x.ok(x.SetExec("f", false))
		b, err := x.FS.Walk(x.Ctx, "anna", "docs", "f")
		if err != nil || b.Tag != a.Tag || b.Exec {
			x.Errorf("%+v, %v after its mode changed: the tag was %q", b, err, a.Tag)
		}
		if n := x.share.Calls("item"); n > 2 {
			x.Errorf("the bytes were put %d times", n)
		}
	})
}

func TestTagsSurviveDelivery(t *testing.T) {
	in(t, func(x *fixture) {
		x.ok(x.WriteFile("f", []byte("x")))
		a, err := x.FS.Walk(x.Ctx, "anna", "docs", "f")
		x.ok(err)
		x.drain()
		time.Sleep(time.Minute)
		x.ok(x.Rename("f", "g"))
		b, err := x.FS.Walk(x.Ctx, "anna", "docs", "g")
		if x.ok(err); a.Tag != b.Tag || a.Tag == "" || a.Ino != b.Ino {
			x.Errorf("%+v became %+v", a, b)
		}
		x.share.Write("g", []byte("y"))
		time.Sleep(time.Second)
		c, err := x.FS.Walk(x.Ctx, "anna", "docs", "g")
		if x.ok(err); c.Tag == b.Tag {
			x.Errorf("the bytes changed, and the tag is still %q", c.Tag)
		}
	})
}

func TestLimit(t *testing.T) {
	w := vfstest.NewWorld()
	p := w.Add("anna")
	p.Share("docs", share.Full)
	f, err := vfs.New(w, vfs.Options{Dir: t.TempDir(), Limit: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	x := vfstest.Tree{FS: f, Root: []string{"anna", "docs"}, Ctx: t.Context()}
	if err := x.WriteFile("a", make([]byte, 9_000)); err != nil {
		t.Fatal(err)
	}
	if err := x.WriteFile("b", make([]byte, 2_000)); !errors.Is(err, vfs.ErrFull) {
		t.Fatalf("%v, want vfs.ErrFull", err)
	}
	if err := x.Remove("a"); err != nil {
		t.Fatal(err)
	}
	if err := x.WriteFile("c", make([]byte, 9_000)); err != nil {
		t.Fatal(err)
	}
}

func TestLock(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("f", []byte("x"))
		h := x.open("f", os.O_RDWR)
		time.Sleep(time.Second)
		if x.share.Locked("f") {
			x.Error("it is shown at once")
		}
		time.Sleep(2 * time.Second)
		if !x.share.Locked("f") {
			x.Error("nobody is told that it is worked on")
		}
		x.ok(h.Close())
		synctest.Wait()
		if x.share.Locked("f") {
			x.Error("it is closed, and still shown as worked on")
		}
		r := x.open("f", os.O_RDONLY)
		time.Sleep(10 * time.Second)
		if x.share.Locked("f") {
			x.Error("it is only read")
		}
		x.ok(r.Close())
	})
}

// TestLockOfNew: a new file that comes to its owner late is shown as worked on soon after that.
func TestLockOfNew(t *testing.T) {
	in(t, func(x *fixture) {
		const answer = 2700 * time.Millisecond
		h := x.open("f", os.O_RDWR|os.O_CREATE)
		begun := time.Now()
		x.peer.Slow(answer)
		x.ok(h.Sync())
		x.drain()
		took := time.Since(begun)
		if took < 3*time.Second || took > 7*time.Second { // it is looked at after 2 s, and has to be again well before 12 s
			t.Fatalf("it came to its owner after %v, which tells nothing", took)
		}
		time.Sleep(answer + 1100*time.Millisecond)
		if !x.share.Locked("f") {
			x.Error("nobody is told that it is worked on")
		}
		x.ok(h.Close())
		synctest.Wait()
		if x.share.Locked("f") {
			x.Error("it is closed, and still shown as worked on")
		}
	})
}

// TestCrash copies the folder of what waits at many moments, as a crash of the daemon leaves it, and delivers from the copy.
func TestCrash(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("base", []byte("0123456789"))
		x.ok(x.Mkdir("d"))
		h := x.open("base", os.O_RDWR)
		x.peer.Leave()
		closed := map[string]string{}
		for i := range 20 {
			name, text := fmt.Sprintf("d/%02d", i), strings.Repeat(fmt.Sprint(i), 1000)
			x.ok(x.WriteFile(name, []byte(text)))
			closed[name] = text
			switch i % 5 {
			case 1:
				x.ok(x.Remove(name))
				delete(closed, name)
			case 2:
				x.ok(x.Rename(name, name+".renamed"))
				delete(closed, name)
				closed[name+".renamed"] = text
			case 3:
				_, err := h.WriteAt([]byte{byte('a' + i)}, int64(i%10))
				x.ok(err)
				x.ok(h.Sync())
			}
			x.crash(closed)
		}
		x.ok(h.Close())
	})
}

// crash delivers from a copy what was closed.
func (x *fixture) crash(closed map[string]string) {
	x.Helper()
	dir := x.TempDir()
	x.ok(os.CopyFS(dir, os.DirFS(x.dir)))
	w := vfstest.NewWorld()
	s := w.Add("anna").Share("docs", share.Full)
	s.Mkdir("d")
	copied := &fixture{T: x.T, world: w, share: s, dir: dir}
	copied.start()
	defer copied.stop()
	ctx, cancel := context.WithTimeout(x.Context(), time.Minute)
	defer cancel()
	_ = copied.FS.Drain(ctx) // base is another file in that world
	var want []string
	for name, text := range closed {
		copied.there(name, text)
		want = append(want, name)
	}
	slices.Sort(want)
	got := slices.DeleteFunc(s.Paths(), func(p string) bool { return !strings.HasPrefix(p, "d/") || p == "d/" })
	if !slices.Equal(got, want) {
		x.Fatalf("%q were delivered, want %q", got, want)
	}
}

// TestCrashWithParts replays a file of which only parts were written.
func TestCrashWithParts(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("base", []byte("0123456789"))
		h := x.open("base", os.O_RDWR)
		x.peer.Leave()
		_, err := h.WriteAt([]byte("XY"), 3)
		x.ok(err)
		x.ok(h.Sync())
		_, err = h.WriteAt([]byte("not synced"), 0) // but written: as on any disk it may last
		x.ok(err)
		dir := filepath.Join(x.TempDir(), "copy")
		x.ok(os.CopyFS(dir, os.DirFS(x.dir)))
		x.ok(h.Close())
		x.stop()
		x.dir = dir
		x.start()
		x.peer.Return()
		x.drain()
		x.there("base", "not synced")
	})
}

// TestPowerLoss cuts what was saved and never synced: it is not delivered over what its owner has, and its user is told. What is whole
// is delivered, as is what still shows parts of its base.
func TestPowerLoss(t *testing.T) {
	for _, left := range []int64{0, 4} {
		in(t, func(x *fixture) {
			for _, name := range []string{"doc", "parts", "short", "whole"} {
				x.share.Write(name, []byte("good old text"))
			}
			_, err := x.List("")
			x.ok(err)
			h := x.open("parts", os.O_WRONLY)
			x.peer.Leave()
			time.Sleep(time.Second)
			x.ok(x.WriteFile("doc.new", []byte("good new text")))
			x.ok(x.Rename("doc.new", "doc"))
			staged, err := filepath.Glob(filepath.Join(x.dir, "staged-*"))
			if x.ok(err); len(staged) != 1 {
				x.Fatalf("%q are staged", staged)
			}
			x.ok(x.WriteFile("new", nil))
			x.ok(x.WriteFile("short", []byte("s")))
			x.ok(x.WriteFile("whole", []byte("good new text")))
			_, err = h.WriteAt([]byte("GOOD"), 0)
			x.ok(err)
			x.ok(h.Close())
			x.stop()
			x.ok(os.Truncate(staged[0], left))
			for range 2 {
				x.start()
				x.peer.Return()
				time.Sleep(10 * time.Second)
				x.drain()
				for name, want := range map[string]string{"doc": "good old text", "parts": "GOOD old text", "new": "", "short": "s", "whole": "good new text"} {
					x.there(name, want)
					x.here(name, want)
				}
				ps := x.FS.Pending()
				if len(ps) != 1 || ps[0].Path != "//anna/docs/doc" || ps[0].Err == nil || !strings.Contains(ps[0].Err.Error(), staged[0]) {
					x.Errorf("%+v", ps)
				}
				x.stop()
			}
			x.start()
		})
	}
}

// TestDamagedJournal: what is whole is delivered, and who saved what can't be any more is told where it is.
func TestDamagedJournal(t *testing.T) {
	in(t, func(x *fixture) {
		x.ok(x.WriteFile("before", nil))
		x.drain()
		x.peer.Leave()
		time.Sleep(time.Second)
		x.ok(x.WriteFile("one", []byte("the first")))
		x.ok(x.WriteFile("two", []byte("the second")))
		x.stop()
		name := filepath.Join(x.dir, "log")
		log, err := os.ReadFile(name)
		x.ok(err)
		at := bytes.Index(log, []byte("one"))
		log[at] = 'O'
		x.ok(os.WriteFile(name, log, 0o600))
		x.start()
		x.peer.Return()
		time.Sleep(10 * time.Second)
		x.drain()
		x.there("two", "the second")
		ps := x.FS.Pending()
		if len(ps) != 1 || ps[0].Bytes != 9 || ps[0].Err == nil {
			x.Fatalf("%+v", ps)
		}
		left, err := filepath.Glob(filepath.Join(x.dir, "left-*"))
		if x.ok(err); len(left) != 1 || !strings.Contains(ps[0].Err.Error(), left[0]) {
			x.Fatalf("%q is left, and the user is told %v", left, ps[0].Err)
		}
		if b, err := os.ReadFile(left[0]); string(b) != "the first" {
			x.Errorf("%q, %v is left", b, err)
		}
	})
}

// TestCrashAfterCut: what its user made shorter is delivered, though a crash met it before it was closed.
func TestCrashAfterCut(t *testing.T) {
	for _, size := range []int64{0, 4} {
		in(t, func(x *fixture) {
			x.share.Write("doc", []byte("good old text"))
			x.here("doc", "good old text")
			x.peer.Leave()
			time.Sleep(time.Second)
			x.ok(x.WriteFile("doc", []byte("good new text")))
			h := x.open("doc", os.O_RDWR)
			x.ok(h.Truncate(size))
			dir := filepath.Join(x.TempDir(), "copy")
			x.ok(os.CopyFS(dir, os.DirFS(x.dir)))
			x.ok(h.Close())
			x.stop()
			x.dir = dir
			x.start()
			x.peer.Return()
			x.drain()
			x.there("doc", "good"[:size])
		})
	}
}

// TestCrashWhileReplaced ends the journal in each of the records that are written when something takes the place of what waits: one of
// both waits.
func TestCrashWhileReplaced(t *testing.T) {
	for _, c := range []struct {
		name    string
		replace func(x *fixture)
	}{
		{"upload", func(x *fixture) {
			u, err := x.FS.Upload(x.Ctx, mustWalk(x).Ino, "doc")
			x.ok(err)
			_, err = u.Write([]byte("second"))
			x.ok(err)
			_, err = u.Commit(x.Ctx, time.Time{})
			x.ok(err)
		}},
		{"rename", func(x *fixture) {
			x.ok(x.WriteFile("new", []byte("second")))
			x.ok(x.Rename("new", "doc"))
		}},
		{"rename of an open file", func(x *fixture) {
			h := x.open("new", os.O_WRONLY|os.O_CREATE)
			_, err := h.WriteAt([]byte("second"), 0)
			x.ok(err)
			x.ok(x.Rename("new", "doc"))
			time.Sleep(time.Minute)
			if ps := x.FS.Pending(); len(ps) != 1 {
				x.Errorf("%+v", ps)
			}
			x.ok(h.Close())
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in(t, func(x *fixture) {
				x.share.Write("doc", []byte("old"))
				x.here("doc", "old")
				_, err := x.List("")
				x.ok(err)
				x.peer.Leave()
				time.Sleep(time.Second)
				x.ok(x.WriteFile("doc", []byte("first")))
				dir := x.TempDir()
				x.ok(os.CopyFS(dir, os.DirFS(x.dir)))
				before, err := os.ReadFile(filepath.Join(dir, "log"))
				x.ok(err)
				c.replace(x)
				after, err := os.ReadFile(filepath.Join(x.dir, "log"))
				x.ok(err)
				for end := len(before); ; end += 8 + int(binary.BigEndian.Uint32(after[end:])) {
					crashed := &fixture{T: x.T, world: x.world, dir: x.TempDir()}
					x.ok(os.CopyFS(crashed.dir, os.DirFS(dir)))
					staged, err := filepath.Glob(filepath.Join(x.dir, "staged-*"))
					x.ok(err)
					for _, name := range staged {
						b, err := os.ReadFile(name)
						x.ok(err)
						x.ok(os.WriteFile(filepath.Join(crashed.dir, filepath.Base(name)), b, 0o600))
					}
					x.ok(os.WriteFile(filepath.Join(crashed.dir, "log"), after[:end], 0o600))
					crashed.start()
					if ps := crashed.FS.Pending(); !slices.ContainsFunc(ps, func(p vfs.Pending) bool { return p.Path == "//anna/docs/doc" }) {
						x.Errorf("with %d of %d bytes of the journal there wait %+v", end, len(after), ps)
					}
					crashed.stop()
					if end == len(after) {
						break
					}
				}
				x.peer.Return()
				x.drain()
				x.there("doc", "second")
			})
		})
	}
}

func TestEqualContentIsNotPut(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("f", []byte("the same"))
		x.share.Write("g", []byte("the same"))
		a, err := x.FS.Walk(x.Ctx, "anna", "docs", "f")
		x.ok(err)
		time.Sleep(time.Second)
		x.ok(x.WriteFile("f", []byte("the same")))
		x.ok(x.WriteFile("g", []byte("not same")))
		x.drain()
		x.there("f", "the same")
		x.there("g", "not same")
		if n := x.share.Calls("item"); n != 1 {
			x.Errorf("%d files were put, want the one that changed", n)
		}
		b, err := x.FS.Walk(x.Ctx, "anna", "docs", "f")
		if x.ok(err); !b.ModTime.After(a.ModTime) {
			x.Error("it was written, and its time is the old one")
		}
		x.here("f", "the same")
	})
}

// TestRenameBreaksOffSending renames and removes files while their owner takes long to fetch them.
func TestRenameBreaksOffSending(t *testing.T) {
	in(t, func(x *fixture) {
		x.ok(x.WriteFile("a", []byte("1")))
		x.drain()
		x.peer.Slow(2 * time.Second)
		x.ok(x.WriteFile("big.part", bytes.Repeat([]byte("x"), 1<<20)))
		x.ok(x.WriteFile("other", bytes.Repeat([]byte("y"), 1<<20)))
		time.Sleep(3 * time.Second)
		x.ok(x.Rename("big.part", "big"))
		x.ok(x.Remove("other"))
		x.peer.Slow(0)
		x.drain()
		x.there("big", strings.Repeat("x", 1<<20))
		if got := x.share.Paths(); !slices.Equal(got, []string{"a", "big"}) {
			x.Errorf("the owner has %q", got)
		}
	})
}

// TestAnotherShareOfTheName: what was saved for a share that ended does not go to another of its name, unless somebody saves it anew.
func TestAnotherShareOfTheName(t *testing.T) {
	for _, touched := range []bool{false, true} { // before somebody saves
		in(t, func(x *fixture) { anotherShareOfTheName(x, touched) })
	}
}

func anotherShareOfTheName(x *fixture, touched bool) {
	x.share.Write("doc", []byte("old text"))
	x.here("doc", "old text")
	h := x.open("doc", os.O_RDWR)
	_, err := h.WriteAt([]byte("new text"), 0)
	x.ok(err)
	x.ok(h.Sync())
	x.peer.Leave()
	synctest.Wait()
	_, err = h.WriteAt([]byte("more text"), 0)
	x.ok(err)
	x.ok(h.Close())
	x.peer.Unshare("docs")
	x.share = x.peer.Share("docs", share.Full)
	for range 5 { // its version has the number of none in the one that ended
		x.share.Write("doc", []byte("of others"))
	}
	x.peer.Return()
	time.Sleep(time.Minute)
	x.there("doc", "of others")
	pending := x.FS.Pending()
	if len(pending) != 1 || peer.KindOf(pending[0].Err) != peer.Conflict {
		x.Fatalf("%+v", pending)
	}
	if !strings.Contains(pending[0].Err.Error(), "save it once more") {
		x.Errorf("it does not say what to do: %v", pending[0].Err)
	}
	if touched {
		x.ok(x.open("doc", os.O_RDWR).Close())
		time.Sleep(time.Minute)
		x.ok(x.SetTime("doc", time.Now()))
		time.Sleep(time.Minute)
		if x.there("doc", "of others"); len(x.share.Paths()) != 1 { // nothing was written
			x.Errorf("the owner has %q", x.share.Paths())
		}
	}
	r := x.open("doc", os.O_RDONLY)
	h = x.open("doc", os.O_RDWR)
	_, err = h.WriteAt([]byte("saved anew"), 0)
	x.ok(err)
	x.ok(h.Close())
	x.ok(r.Close())
	x.drain()
	x.there("doc", "of others")
	if paths := x.share.Paths(); x.FS.Conflicts() != 1 || len(paths) != 2 {
		x.Errorf("the owner has %q, %d conflicts", paths, x.FS.Conflicts())
	}
}

// TestBaseIsGone: who changed a part of a file that its owner removed meanwhile is told at once that the rest can't be had, and can save it in
// full.
func TestBaseIsGone(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("doc", bytes.Repeat([]byte("0123456789abcdef"), 1<<18)) // 4 MiB
		_, err := x.List("")
		x.ok(err)
		h := x.open("doc", os.O_RDWR)
		_, err = h.WriteAt([]byte("my"), 0)
		x.ok(err)
		x.share.Remove("doc")
		time.Sleep(10 * time.Second)
		x.within(5*time.Second, func() {
			x.is(h.Sync(), peer.Conflict)
			x.is(h.Close(), peer.Conflict)
		})
		if p := x.FS.Pending(); len(p) != 1 || p[0].Err == nil || !strings.Contains(p[0].Err.Error(), "in full") {
			t.Errorf("%+v", p)
		}
		time.Sleep(time.Minute)
		x.within(0, func() { x.ok(x.open("doc", os.O_RDONLY).Close()) }) // who reads what is here has no part in it
		x.ok(x.WriteFile("doc", []byte("all of it")))
		x.drain()
		x.there("doc", "all of it")
	})
}

// TestRemovedOverARestart: what waited over a restart comes anew where its owner has removed what it was made of.
func TestRemovedOverARestart(t *testing.T) {
	for _, look := range []bool{false, true} {
		in(t, func(x *fixture) {
			x.share.Write("doc", []byte("old"))
			x.here("doc", "old")
			x.peer.Leave()
			time.Sleep(time.Second)
			x.ok(x.WriteFile("doc", []byte("new text")))
			x.stop()
			x.share.Remove("doc")
			x.peer.Return()
			x.start()
			if look {
				_, err := x.List("")
				x.ok(err)
			}
			x.drain()
			if x.there("doc", "new text"); x.FS.Conflicts() > 0 || len(x.share.Paths()) != 1 {
				x.Errorf("looked %v: %d conflicts; the owner has %q", look, x.FS.Conflicts(), x.share.Paths())
			}
		})
	}
}

// TestSavedBeforeRestart: what waited over a restart is no conflict with what it was made of, though nobody asked for that since.
func TestSavedBeforeRestart(t *testing.T) {
	for range 20 {
		in(t, func(x *fixture) {
			x.share.Write("doc", []byte("old"))
			x.here("doc", "old")
			x.peer.Leave()
			time.Sleep(time.Second)
			x.ok(x.WriteFile("doc", []byte("new text")))
			x.stop()
			x.peer.Return()
			x.start()
			x.ok(x.open("doc", os.O_RDONLY).Close())
			x.drain()
			if x.there("doc", "new text"); x.FS.Conflicts() > 0 {
				t.Fatalf("the owner has %q", x.share.Paths())
			}
		})
	}
}

// TestKeptHereAndCut: what is kept here and was made shorter is as it was made, also if the daemon dies before it is closed.
func TestKeptHereAndCut(t *testing.T) {
	in(t, func(x *fixture) {
		x.ok(x.WriteFile("._x", []byte("long enough")))
		h := x.open("._x", os.O_RDWR)
		x.ok(h.Truncate(4))
		died := filepath.Join(x.TempDir(), "died")
		x.ok(os.CopyFS(died, os.DirFS(x.dir)))
		x.ok(h.Close())
		x.stop()
		x.dir = died
		x.start()
		if x.here("._x", "long"); len(x.FS.Pending()) > 0 {
			t.Errorf("%+v", x.FS.Pending())
		}
	})
}

// TestKeptHereGoesWithItsFolder: a folder that its owner removed, or a share that ended, is not there any more, though something in it was
// kept here.
func TestKeptHereGoesWithItsFolder(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("dir/doc", nil)
		_, err := x.List("dir")
		x.ok(err)
		x.ok(x.WriteFile("dir/.DS_Store", []byte("k")))
		x.ok(x.WriteFile(".DS_Store", []byte("k")))
		x.stop()
		x.share.Remove("dir/doc")
		x.share.Remove("dir")
		x.start()
		_, err = x.List("")
		x.ok(err)
		_, err = x.Stat("dir")
		x.is(err, peer.NotFound)
		x.here(".DS_Store", "k")
		x.ok(x.Mkdir("dir"))
		x.peer.Unshare("docs")
		for range 2 {
			time.Sleep(time.Minute)
			x.stop()
			x.start()
		}
		a, err := x.FS.Walk(x.Ctx, "anna")
		x.ok(err)
		if es, err := x.FS.List(x.Ctx, a.Ino); err != nil || len(es) > 0 {
			t.Errorf("%+v, %v", es, err)
		}
	})
}
