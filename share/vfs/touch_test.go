package vfs_test

import (
	"testing"
	"time"

	"github.com/peerd/peerd/share/vfs"
)

// TestTouchUponOthers: time and mode are set of whatever is there, but what somebody else has written by then is not taken for what was
// here before: it is read anew, and who goes on writing upon the old one has a conflict.
func TestTouchUponOthers(t *testing.T) {
	const old, theirs = "old text", "THEIR TEXT"
	for _, tc := range []struct {
		name  string
		known bool // their text is known here before the touch
		touch func(x *fixture, h *vfs.File) error
	}{
		{"by path", false, func(x *fixture, _ *vfs.File) error { return x.SetExec("doc", true) }},
		{"by handle", false, func(x *fixture, h *vfs.File) error { return setExec(x, h) }},
		{"by handle, known before", true, func(x *fixture, h *vfs.File) error { return setExec(x, h) }},
		{"with what was written", false, func(x *fixture, h *vfs.File) error {
			if _, err := h.WriteAt(x.Ctx, []byte(old), 0); err != nil {
				return err
			}
			return h.Flush(x.Ctx)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in(t, func(x *fixture) {
				x.share.Write("doc", []byte(old))
				x.here("doc", old)
				before, err := x.FS.Walk(x.Ctx, "anna", "docs", "doc")
				x.ok(err)
				h, err := x.FS.Open(x.Ctx, before.Ino, vfs.Mode{Read: true, Write: true})
				x.ok(err)
				time.Sleep(10 * time.Second)
				if tc.known {
					x.share.Write("doc", []byte(theirs))
					time.Sleep(10 * time.Second)
				}
				told := tc.known
				x.share.Refuse(func(verb, _ string) error {
					if verb == "touch" && !told {
						told = true
						x.share.Write("doc", []byte(theirs)) // it is told of too late
					}
					return nil
				})
				x.ok(tc.touch(x, h))
				x.drain()
				if !told {
					t.Fatal("nothing was touched")
				}
				x.here("doc", theirs)
				if now, err := x.FS.Walk(x.Ctx, "anna", "docs", "doc"); err != nil || now.Tag == before.Tag {
					t.Errorf("other bytes have the tag of the old ones (%v)", err)
				}
				_, err = h.WriteAt(x.Ctx, []byte("my"), 0)
				x.ok(err)
				x.ok(h.Close())
				x.drain()
				x.there("doc", theirs)
				if n := x.FS.Conflicts(); n != 1 {
					t.Errorf("%d conflicts", n)
				}
			})
		})
	}
}

func setExec(x *fixture, h *vfs.File) error {
	yes := true
	_, err := h.SetAttr(x.Ctx, vfs.Set{Exec: &yes})
	return err
}
