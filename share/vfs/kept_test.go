package vfs_test

import (
	"os"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
)

// TestKeptHereOfWhatIsNotListed: that its owner does not list a share says not that it is no more: what is kept here of it is there again
// with it, also after several runs in which nobody looked.
func TestKeptHereOfWhatIsNotListed(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("d/doc", []byte("d"))
		x.ok(x.WriteFile("d/._doc", []byte("fork")))
		listed := func() (names []string) {
			a, err := x.FS.Walk(x.Ctx, "anna")
			x.ok(err)
			es, err := x.FS.List(x.Ctx, a.Ino)
			x.ok(err)
			for _, e := range es {
				names = append(names, e.Name)
			}
			return names
		}
		x.share.Hide(true)
		for range 3 {
			x.stop()
			x.start()
			time.Sleep(time.Minute)
			if names := listed(); len(names) > 0 {
				x.Errorf("%q are listed", names)
			}
		}
		x.here("d/doc", "d") // who knows its name finds it
		x.here("d/._doc", "fork")
		x.ok(x.WriteFile("d/._doc", []byte("another")))
		x.stop()
		x.start()
		listed()
		x.share.Hide(false)
		time.Sleep(time.Minute)
		listed()
		x.here("d/._doc", "another")
		x.ok(x.Remove("d/._doc"))
		x.stop()
		x.start()
		x.gone("d/._doc")
	})
}

// TestKeptHereGoesAlong: what is kept here, and what waits, is in its folder also where its owner has that in another one that nobody
// looked into here.
func TestKeptHereGoesAlong(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("dir/doc", []byte("d"))
		x.share.Write("other/sub/f", []byte("f"))
		for _, dir := range []string{"", "dir"} {
			_, err := x.List(dir)
			x.ok(err)
		}
		x.ok(x.WriteFile("dir/._doc", []byte("fork")))
		time.Sleep(10 * time.Second)
		x.share.Rename("dir", "other/sub/dir")
		time.Sleep(10 * time.Second)
		_, err := x.Stat("dir")
		x.is(err, peer.NotFound)
		x.here("other/sub/dir/doc", "d")
		x.here("other/sub/dir/._doc", "fork")
		x.here("other/sub/f", "f")
		x.stop()
		x.start()
		x.here("other/sub/dir/._doc", "fork")
	})
}

// TestSavedWhereItWentUnseen: so it is with a file that is open.
func TestSavedWhereItWentUnseen(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("doc", []byte("old"))
		x.share.Write("other/sub/f", []byte("f"))
		_, err := x.List("")
		x.ok(err)
		h := x.open("doc", os.O_RDWR)
		_, err = h.WriteAt([]byte("new"), 0)
		x.ok(err)
		x.share.Rename("doc", "other/sub/doc")
		time.Sleep(10 * time.Second)
		x.ok(h.Close())
		x.drain()
		x.there("other/sub/doc", "new")
		x.here("other/sub/doc", "new")
		if _, ok := x.share.Read("doc"); ok || x.FS.Conflicts() > 0 {
			x.Errorf("the owner has %q, %d conflicts", x.share.Paths(), x.FS.Conflicts())
		}
	})
}
