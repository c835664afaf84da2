package vfs_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/vfs"
)

// wide makes 300 folders of two files each in a folder of the share.
func (x *fixture) wide() {
	for i := range 300 {
		x.share.Write(fmt.Sprintf("w/d%03d/a", i), []byte("1"))
		x.share.Write(fmt.Sprintf("w/d%03d/b", i), []byte("1"))
	}
	x.prepare()
	time.Sleep(10 * time.Second)
	_, err := x.List("w")
	x.ok(err)
}

func (x *fixture) lists(from, to int) {
	x.Helper()
	for i := from; i < to; i++ {
		is, err := x.List(fmt.Sprintf("w/d%03d", i))
		if err != nil || len(is) != 2 {
			x.Fatalf("%d entries, %v", len(is), err)
		}
	}
	synctest.Wait()
}

// Who lists one folder after another finds the next ones listed, and nobody lists for whom there is none.
func TestWalksAreGoneAhead(t *testing.T) {
	in(t, func(x *fixture) {
		x.wide()
		before := x.share.Calls("list")
		x.lists(0, 1)
		time.Sleep(10 * time.Second)
		if n := x.share.Calls("list") - before; n != 1 {
			t.Errorf("%d folders were listed for one", n)
		}
		x.lists(1, 4)
		few := x.share.Calls("list") - before
		if few <= 4 || few > 4+64 {
			t.Errorf("%d folders were listed when 4 were asked for", few)
		}
		time.Sleep(10 * time.Second)
		if n := x.share.Calls("list") - before; n != few {
			t.Errorf("%d more were listed while nobody asked", n-few)
		}
		x.lists(4, 300)
		if n := x.share.Calls("list") - before; n != 300 {
			t.Errorf("300 folders were listed by %d questions", n)
		}
	})
}

// What is listed ahead is kept true like the rest.
func TestChangesAheadShow(t *testing.T) {
	in(t, func(x *fixture) {
		x.wide()
		x.lists(0, 4)
		h := x.listen()
		x.share.Write("w/d004/c", []byte("1"))
		if !h.told(vfs.Name, "c") {
			t.Error("a new file in a folder that was listed ahead is not told of")
		}
		x.share.Remove("w/d005/a")
		synctest.Wait()
		for name, want := range map[string]int{"w/d004": 3, "w/d005": 1} {
			if is, err := x.List(name); err != nil || len(is) != want {
				t.Errorf("%s: %d entries, %v", name, len(is), err)
			}
		}
	})
}

// An owner that falls silent, or goes, while folders are listed ahead lets nobody wait for longer than else.
func TestSilenceAhead(t *testing.T) {
	in(t, func(x *fixture) {
		x.wide()
		x.lists(0, 4)
		x.peer.Silence()
		x.within(11*time.Second, func() {
			for i := 4; i < 300; i++ {
				if _, err := x.List(fmt.Sprintf("w/d%03d", i)); err != nil {
					x.is(err, peer.Unreachable)
				}
			}
		})
		x.peer.Return()
		time.Sleep(time.Minute)
		x.lists(4, 300)
	})
	in(t, func(x *fixture) {
		x.wide()
		x.lists(0, 4)
		x.peer.Leave()
		x.within(time.Second, func() {
			_, err := x.List("w/d299")
			x.is(err, peer.Unreachable)
		})
		x.peer.Return()
		time.Sleep(time.Minute)
		x.lists(4, 300)
	})
}

// A folder that can't be listed stops nobody.
func TestRefusedAhead(t *testing.T) {
	in(t, func(x *fixture) {
		x.wide()
		x.share.Refuse(func(verb, path string) error {
			if verb == "list" && (path == "w/d006" || path == "w/d010") {
				return &peer.Error{Op: "list", Path: path, Kind: peer.Other}
			}
			return nil
		})
		for i := range 300 {
			if _, err := x.List(fmt.Sprintf("w/d%03d", i)); (err != nil) != (i == 6 || i == 10) {
				t.Errorf("%d: %v", i, err)
			}
		}
	})
}
