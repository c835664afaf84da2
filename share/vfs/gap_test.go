package vfs_test

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/vfs"
)

// A change that a watch missed a moment after the folder was listed is told all the same: a face may have been told to believe
// the listing for an hour.
func TestMissedJustAfterListing(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("d/f", []byte("one"))
		x.share.Write("e/alone", []byte("one"))
		look := func(path ...string) vfs.Attr {
			x.Helper()
			a, err := x.FS.Walk(x.Ctx, append([]string{"anna", "docs"}, path...)...)
			if err != nil {
				x.Fatal(err)
			}
			return a
		}
		if _, err := x.List("d"); err != nil {
			x.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		x.share.Write("d/g", nil)
		synctest.Wait()
		look("e", "alone") // asked for by itself
		listed := look("d", "f")
		if listed.Fresh < time.Minute || listed.Size != 3 {
			x.Fatalf("%+v, want that it is watched", listed)
		}
		told := map[vfs.Ino]bool{}
		all := false
		go func() {
			for c := range x.FS.Changes(x.Ctx) {
				told[c.Ino] = told[c.Ino] || c.What&vfs.Content != 0
				all = all || c.What&vfs.All != 0
			}
		}()
		synctest.Wait()
		x.share.Unwatched(true)
		x.share.Write("d/f", []byte("three"))
		x.share.Write("e/alone", []byte("three"))
		x.share.Miss()
		x.share.Unwatched(false)
		synctest.Wait()
		for range 20 {
			for _, path := range [][]string{{"d", "f"}, {"e", "alone"}} {
				if a := look(path...); a.Size != 5 && a.Fresh > time.Second {
					x.Fatalf("%v is to be believed for %v, though nobody tells of it", path, a.Fresh)
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if !told[listed.Ino] {
			x.Error("nobody was told of a file that was listed")
		}
		if !all {
			x.Error("nobody was told to ask anew about what was not")
		}
	})
}

// TestOutdated: who was told that a version is no more gets the present one at the next try, though nobody told the tree of that.
func TestOutdated(t *testing.T) {
	for _, listed := range []bool{false, true} {
		in(t, func(x *fixture) {
			x.share.Forgetful()
			x.share.Unwatched(true)
			x.share.Write("d/f", []byte("one"))
			if listed {
				_, err := x.List("d")
				x.ok(err)
			}
			a, err := x.FS.Walk(x.Ctx, "anna", "docs", "d", "f")
			x.ok(err)
			x.share.Write("d/f", []byte("three"))
			read := func() (string, error) {
				h, err := x.FS.Open(x.Ctx, a.Ino, vfs.Mode{Read: true})
				x.ok(err)
				defer h.Close()
				b := make([]byte, 10)
				n, err := h.ReadAt(x.Ctx, b, 0)
				return string(b[:n]), err
			}
			told := x.listen()
			if got, err := read(); peer.KindOf(err) != peer.Conflict {
				x.Errorf("listed %v: %q, %v; want that it is not there any more", listed, got, err)
			}
			if !told.told(vfs.Content, "") {
				x.Errorf("listed %v: nobody was told", listed)
			}
			if got, err := read(); got != "three" || !errors.Is(err, io.EOF) {
				x.Errorf("listed %v: %q, %v; want what is there", listed, got, err)
			}
		})
	}
}
