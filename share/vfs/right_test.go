package vfs_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs"
)

// TestRightGrows: who may not change something has the owner asked whether that may be by now, whatever it is that is tried.
func TestRightGrows(t *testing.T) {
	for name, try := range map[string]func(x *fixture) error{
		"create": func(x *fixture) error { return x.WriteFile("new", nil) },
		"open":   func(x *fixture) error { return x.WriteFile("doc", nil) },
		"mkdir":  func(x *fixture) error { return x.Mkdir("d") },
		"rename": func(x *fixture) error { return x.Rename("doc", "other") },
		"remove": func(x *fixture) error { return x.Remove("doc") },
		"upload": func(x *fixture) error {
			u, err := x.FS.Upload(x.Ctx, mustWalk(x).Ino, "up")
			if err == nil {
				u.Abort()
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(x *fixture) {
				x.share.SetRight(share.Read)
				x.share.Write("doc", []byte("old"))
				x.here("doc", "old")
				x.share.Grow(share.Full)
				if err := try(x); !errors.Is(err, vfs.ErrReadOnly) {
					x.Errorf("%v, want that it is refused", err)
				}
				synctest.Wait()
				x.ok(try(x))
			})
		})
	}
}

// TestRightOfAnOpenFileGrows: so it is where a right ended while a file is written to.
func TestRightOfAnOpenFileGrows(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("doc", []byte("old"))
		a := mustWalk(x, "doc")
		h, err := x.FS.Open(x.Ctx, a.Ino, vfs.Mode{Read: true, Write: true})
		x.ok(err)
		defer h.Close()
		x.share.SetRight(share.Read)
		x.share.Grow(share.Full)
		if _, err := h.WriteAt(x.Ctx, []byte("new"), 0); !errors.Is(err, vfs.ErrReadOnly) {
			x.Errorf("%v, want that it is refused", err)
		}
		synctest.Wait()
		_, err = h.WriteAt(x.Ctx, []byte("new"), 0)
		x.ok(err)
	})
}

// TestRightToDeliverGrows: so it is for what waits, though nobody tries anything.
func TestRightToDeliverGrows(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("doc", []byte("old"))
		x.here("doc", "old")
		x.peer.Leave()
		time.Sleep(time.Second)
		x.ok(x.WriteFile("doc", []byte("new")))
		x.share.SetRight(share.Read)
		x.peer.Return()
		time.Sleep(time.Minute)
		x.there("doc", "old")
		x.share.Grow(share.Full)
		time.Sleep(10 * time.Minute)
		x.there("doc", "new")
	})
}
