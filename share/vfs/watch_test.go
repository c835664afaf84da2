package vfs_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/vfs/vfstest"
)

// heard collects the changes that the tree tells.
type heard struct {
	mu sync.Mutex
	cs []vfs.Change
}

func (x *fixture) listen() *heard {
	h := &heard{}
	ctx, cancel := context.WithCancel(context.Background())
	x.Cleanup(cancel)
	go func() {
		for c := range x.FS.Changes(ctx) {
			h.mu.Lock()
			h.cs = append(h.cs, c)
			h.mu.Unlock()
		}
	}()
	synctest.Wait()
	return h
}

// told reports whether something was told since it was asked last, and forgets all.
func (h *heard) told(what vfs.What, name string) bool {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	defer func() { h.cs = nil }()
	return slices.ContainsFunc(h.cs, func(c vfs.Change) bool { return c.What == what && c.Name == name })
}

func TestWatchedAnswersNeedNoOwner(t *testing.T) {
	in(t, func(x *fixture) {
		x.prepare()
		x.here("d/b", "in a folder")
		calls := x.share.Calls("") - x.share.Calls("open") - x.share.Calls("read")
		for range 100 {
			time.Sleep(20 * time.Second)
			for _, dir := range []string{"", "d"} {
				if _, err := x.List(dir); err != nil {
					x.Fatal(err)
				}
			}
			_, err := x.Stat("d/b")
			x.ok(err)
			_, err = x.Stat("d/nothing")
			x.is(err, peer.NotFound)
		}
		if n := x.share.Calls("") - x.share.Calls("open") - x.share.Calls("read") - calls; n > 0 {
			x.Errorf("%d calls to the owner", n)
		}
		a, err := x.FS.Walk(x.Ctx, "anna", "docs", "d", "b")
		if err != nil || a.Fresh != time.Hour {
			x.Errorf("%+v, %v", a, err)
		}
	})
}

func TestChangesOfOthersShow(t *testing.T) {
	in(t, func(x *fixture) {
		x.prepare()
		h := x.listen()
		x.share.Write("d/new", []byte("1"))
		if !h.told(vfs.Name, "new") {
			x.Error("nobody is told of a new file")
		}
		x.here("d/new", "1")
		x.share.Write("d/b", []byte("other bytes"))
		if !h.told(vfs.Content, "") {
			x.Error("nobody is told of other bytes")
		}
		x.here("d/b", "other bytes")
		before, err := x.FS.Walk(x.Ctx, "anna", "docs", "d", "b")
		x.ok(err)
		x.share.Rename("d/b", "moved")
		if !h.told(vfs.Name, "moved") {
			x.Error("nobody is told of a rename")
		}
		x.here("moved", "other bytes")
		after, err := x.FS.Walk(x.Ctx, "anna", "docs", "moved")
		if x.ok(err); after.Ino != before.Ino || after.Tag != before.Tag {
			x.Errorf("%+v became %+v", before, after)
		}
		x.share.Rename("d", "dd")
		synctest.Wait()
		x.here("dd/new", "1")
		x.share.Remove("dd")
		if !h.told(vfs.Name, "dd") {
			x.Error("nobody is told that a folder is gone")
		}
		_, err = x.Stat("dd/new")
		x.is(err, peer.NotFound)
		x.share.Rename("e", "d") // never looked at
		synctest.Wait()
		x.here("d/c", "never looked at")
	})
}

func TestWhatWasMissedIsFound(t *testing.T) {
	for _, c := range []struct {
		name string
		miss func(x *fixture, change func())
	}{
		{"while away", func(x *fixture, change func()) {
			x.peer.Leave()
			time.Sleep(time.Minute)
			change()
			x.peer.Return()
		}},
		{"a gap", func(x *fixture, change func()) {
			x.peer.Leave()
			change()
			x.share.Miss()
			x.peer.Return()
		}},
		{"no watch to be had", func(x *fixture, change func()) {
			x.share.Unwatched(true)
			time.Sleep(10 * time.Second)
			change()
		}},
		{"no watch for a while", func(x *fixture, change func()) {
			x.share.Unwatched(true)
			time.Sleep(10 * time.Second)
			change()
			x.share.Unwatched(false)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in(t, func(x *fixture) {
				x.prepare()
				h := x.listen()
				c.miss(x, func() {
					x.share.Write("d/new", []byte("1"))
					x.share.Write("d/b", []byte("changed"))
					x.share.Remove("a")
				})
				time.Sleep(10 * time.Second)
				if all := h.told(vfs.All, ""); !all && strings.HasPrefix(c.name, "no watch") {
					x.Error("nobody is told that what was told may hold no more")
				}
				x.here("d/new", "1")
				x.here("d/b", "changed")
				_, err := x.Stat("a")
				x.is(err, peer.NotFound)
				is, err := x.List("")
				if err != nil || len(is) != 2 {
					x.Errorf("%v, %v", is, err)
				}
			})
		})
	}
}

func TestWatchOnFromWhereItBroke(t *testing.T) {
	in(t, func(x *fixture) {
		x.prepare()
		lists := x.share.Calls("list")
		x.peer.Leave()
		time.Sleep(time.Minute)
		x.share.Write("d/new", []byte("1"))
		x.peer.Return()
		time.Sleep(time.Minute)
		x.here("d/new", "1")
		if n := x.share.Calls("list") - lists; n > 0 {
			x.Errorf("%d folders were listed again, though nothing was missed", n)
		}
	})
}

func TestUnusedShareIsNotWatched(t *testing.T) {
	in(t, func(x *fixture) {
		x.prepare()
		h := x.listen()
		time.Sleep(10 * time.Minute)
		if !h.told(vfs.All, "") {
			x.Error("the watch ended, and who keeps what was told does not know")
		}
		x.share.Write("new", []byte("1"))
		x.here("new", "1")
	})
}

// entering is a world that counts how often a share is entered.
type entering struct {
	vfs.World
	n *atomic.Int32
}

func (w entering) Enter(ctx context.Context, peer, name string) (vfs.Remote, error) {
	w.n.Add(1)
	return w.World.Enter(ctx, peer, name)
}

// TestUnusedShareIsNotEntered: nobody tries for ever to watch a share whose right has ended, once it is not used any more.
func TestUnusedShareIsNotEntered(t *testing.T) {
	in(t, func(x *fixture) {
		x.prepare()
		x.stop()
		w := entering{x.world, new(atomic.Int32)}
		x.startIn(w)
		_, err := x.List("")
		x.ok(err)
		x.share.SetRight(share.None)
		time.Sleep(10 * time.Minute)
		n := w.n.Load()
		time.Sleep(2 * time.Hour)
		if n := w.n.Load() - n; n > 0 {
			x.Errorf("entered %d times though nobody uses it", n)
		}
		_, err = x.List("")
		x.is(err, peer.Denied)
		x.share.SetRight(share.Full)
		time.Sleep(time.Minute)
		x.share.Write("new", []byte("1"))
		x.here("new", "1")
	})
}

func TestPeersAndShares(t *testing.T) {
	in(t, func(x *fixture) {
		h := x.listen()
		names := func(ino vfs.Ino) (names []string) {
			es, err := x.FS.List(x.Ctx, ino)
			x.ok(err)
			for _, e := range es {
				names = append(names, e.Name)
			}
			return names
		}
		if got := names(vfs.Root); !slices.Equal(got, []string{"anna"}) {
			x.Errorf("%q", got)
		}
		b := x.world.Add("bert")
		b.Share("music", share.Read)
		b.Share("secret$", share.Read).Hide(true)
		b.Share("closed", share.None)
		if !h.told(vfs.Name, "bert") {
			x.Error("nobody is told of a new peer")
		}
		if got := names(vfs.Root); !slices.Equal(got, []string{"anna", "bert"}) {
			x.Errorf("%q", got)
		}
		a, err := x.FS.Walk(x.Ctx, "bert")
		x.ok(err)
		if got := names(a.Ino); !slices.Equal(got, []string{"closed", "music"}) {
			x.Errorf("%q", got)
		}
		_, err = x.FS.Walk(x.Ctx, "bert", "secret$")
		x.ok(err)
		_, err = x.FS.Walk(x.Ctx, "bert", "nothing")
		x.is(err, peer.NotFound)
		c, err := x.FS.Walk(x.Ctx, "bert", "closed")
		x.ok(err)
		_, err = x.FS.List(x.Ctx, c.Ino)
		x.is(err, peer.Denied)
		b.Share("films", share.Read)
		if !h.told(vfs.Name, "films") {
			x.Error("nobody is told of a new share")
		}
		x.world.Forget("bert")
		if !h.told(vfs.Name, "bert") {
			x.Error("nobody is told that a peer is gone")
		}
		_, err = x.FS.Walk(x.Ctx, "bert", "music")
		x.is(err, peer.NotFound)
		for _, err := range []error{
			second(x.FS.Mkdir(x.Ctx, vfs.Root, "x")), second(x.FS.Mkdir(x.Ctx, a.Ino, "x")), second(x.FS.Create(x.Ctx, vfs.Root, "x", vfs.Mode{Write: true})),
			x.FS.Remove(x.Ctx, vfs.Root, "anna", true), x.FS.Rename(x.Ctx, vfs.Root, "anna", vfs.Root, "berta", false),
		} {
			if err == nil {
				x.Error("something was changed outside of shares")
			}
		}
	})
}

// TestSpelledOtherwise: a share is one, however its name is spelled, be it listed or not, and whoever spells it first.
func TestSpelledOtherwise(t *testing.T) {
	for _, c := range []struct {
		name, first, then string
		hidden            bool
	}{
		{"docs", "docs", "DOCS", false},
		{"docs", "DOCS", "docs", false},
		{"secret$", "SECRET$", "Secret$", true},
	} {
		in(t, func(x *fixture) {
			s := x.peer.Share(c.name, share.Full)
			s.Hide(c.hidden)
			s.Write("doc", []byte("old"))
			one, other := x.Tree, x.Tree
			one.Root, other.Root = []string{"anna", c.first}, []string{"anna", c.then}
			for _, tr := range []vfstest.Tree{one, other} {
				if got, err := tr.ReadFile("doc"); string(got) != "old" {
					x.Errorf("%q, %v", got, err)
				}
				_, err := tr.List("")
				x.ok(err)
			}
			a, err := x.FS.Walk(x.Ctx, one.Root...)
			x.ok(err)
			if b, err := x.FS.Walk(x.Ctx, other.Root...); b.Ino != a.Ino || b.Right != a.Right {
				x.Errorf("%s is %+v, %v; %s is %+v", c.then, b, err, c.first, a)
			}
			x.peer.Leave()
			time.Sleep(time.Second)
			x.ok(one.WriteFile("doc", []byte("first")))
			x.ok(other.WriteFile("doc", []byte("second")))
			if got, err := one.ReadFile("doc"); string(got) != "second" {
				x.Errorf("%q, %v", got, err)
			}
			x.peer.Return()
			s.Hide(!c.hidden) // it stays the one that it is
			time.Sleep(time.Minute)
			x.drain()
			if got, _ := s.Read("doc"); string(got) != "second" || len(s.Paths()) != 1 || x.FS.Conflicts() > 0 {
				x.Errorf("the owner has %q, and %q; %d conflicts", s.Paths(), got, x.FS.Conflicts())
			}
			p, err := x.FS.Walk(x.Ctx, "anna")
			x.ok(err)
			es, err := x.FS.List(x.Ctx, p.Ino)
			x.ok(err)
			alike := 0
			for _, e := range es {
				if strings.EqualFold(e.Name, c.name) {
					alike++
				}
			}
			if alike != 1 {
				x.Errorf("%q is listed %d times: %+v", c.name, alike, es)
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

func TestMovesBetweenShares(t *testing.T) {
	in(t, func(x *fixture) {
		x.peer.Share("other", share.Full)
		x.share.Write("a", []byte("x"))
		from := mustWalk(x)
		to, err := x.FS.Walk(x.Ctx, "anna", "other")
		x.ok(err)
		if err := x.FS.Rename(x.Ctx, from.Ino, "a", to.Ino, "a", false); err == nil || !strings.Contains(err.Error(), vfs.ErrCrossShare.Error()) {
			x.Errorf("%v", err)
		}
		a, err := x.FS.Lookup(x.Ctx, from.Ino, "a")
		x.ok(err)
		x.ok(x.FS.Copy(x.Ctx, a.Ino, to.Ino, "a"))
		x.ok(x.FS.Copy(x.Ctx, a.Ino, from.Ino, "b"))
		x.drain()
		x.there("b", "x")
		if x.share.Calls("copy") != 1 {
			x.Errorf("%d copies were made at the owner", x.share.Calls("copy"))
		}
	})
}

// TestLargeFolder bounds the memory of a folder of 100,000 files, and of listing it.
func TestLargeFolder(t *testing.T) {
	in(t, func(x *fixture) {
		const many = 100_000
		for i := range many {
			x.share.Write(fmt.Sprintf("big/file %06d.txt", i), nil)
		}
		before := heap()
		a, err := x.FS.Walk(x.Ctx, "anna", "docs", "big")
		x.ok(err)
		es, err := x.FS.List(x.Ctx, a.Ino)
		if err != nil || len(es) != many {
			t.Fatalf("%d entries, %v", len(es), err)
		}
		again, err := x.FS.List(x.Ctx, a.Ino)
		if err != nil || &again[0] != &es[0] {
			t.Errorf("a listing is copied: %v", err)
		}
		got := (heap() - before) / many
		if t.Logf("%d bytes for a node and its entry", got); got > 450 {
			t.Error("that is too much")
		}
		runtime.KeepAlive(es)
		es, again = nil, nil
		x.share.Write("big/one more", nil) // drops the listing
		synctest.Wait()
		got = (heap() - before) / many
		if t.Logf("%d bytes for a node", got); got > 300 {
			t.Error("that is too much")
		}
		if _, err := x.FS.Lookup(x.Ctx, a.Ino, "one more"); err != nil {
			t.Error(err)
		}
	})
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
