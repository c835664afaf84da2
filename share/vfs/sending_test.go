package vfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/vfs/vfstest"
)

// grow writes n MiB at the end of a file, and adds them to what it should be.
func (x *fixture) grow(h vfstest.Handle, all *[]byte, n int) {
	x.Helper()
	for range n {
		b := bytes.Repeat([]byte(fmt.Sprintf("%08x", len(*all))), 1<<17)
		_, err := h.WriteAt(b, int64(len(*all)))
		x.ok(err)
		*all = append(*all, b...)
		synctest.Wait()
	}
}

// flush is a close of another descriptor of the file.
func (x *fixture) flush(h vfstest.Handle) {
	x.Helper()
	x.ok(h.(interface{ Flush() error }).Flush())
}

// TestSentWhileWritten: of a large file that is written from its start on, its owner has most before it is closed, and gives it no
// name before.
func TestSentWhileWritten(t *testing.T) {
	in(t, func(x *fixture) {
		x.ok(x.WriteFile("first", []byte("1")))
		x.drain()
		h, all := x.open("big", os.O_RDWR|os.O_CREATE), []byte(nil)
		x.grow(h, &all, 7)
		if n := x.share.Calls("ahead"); n > 0 {
			t.Error("it is sent when little was written")
		}
		x.grow(h, &all, 14)
		if got := x.share.Ahead("big"); len(got) != 20<<20 || !bytes.Equal(got, all[:len(got)]) {
			t.Errorf("of 21 MiB %d came, or they are not the same", len(got))
		}
		if _, there := x.share.Read("big"); there {
			t.Error("it has its name already")
		}
		_, err := h.WriteAt([]byte("head"), 0) // as who writes how long it became
		x.ok(err)
		copy(all, "head")
		x.grow(h, &all, 4)
		x.ok(h.Close())
		x.drain()
		x.there("big", string(all))
		if n := x.share.Calls("item"); n != 2 || x.share.Calls("ahead") != 1 {
			t.Errorf("%d puts, and %d times ahead", n, x.share.Calls("ahead"))
		}
		h, all = x.open("big", os.O_RDWR|os.O_TRUNC), nil
		x.grow(h, &all, 12)
		if x.share.Calls("ahead") != 1 {
			t.Error("it is sent where the owner may have much of it")
		}
		x.ok(h.Close())
		x.drain()
		x.there("big", string(all))
	})
}

// TestSendingEndsWithTheFile: a file that is removed while it is written is not sent on.
func TestSendingEndsWithTheFile(t *testing.T) {
	in(t, func(x *fixture) {
		h, all := x.open("big", os.O_RDWR|os.O_CREATE), []byte(nil)
		x.grow(h, &all, 10)
		if x.share.Calls("ahead") != 1 || x.share.Sending() != 1 {
			t.Fatalf("%d of %d go on", x.share.Sending(), x.share.Calls("ahead"))
		}
		x.ok(x.Remove("big"))
		synctest.Wait()
		if n := x.share.Sending(); n != 0 {
			t.Errorf("%d go on", n)
		}
		x.grow(h, &all, 10)
		x.ok(h.Close())
		x.drain()
		if n := x.share.Calls("ahead"); n != 1 {
			t.Errorf("it was sent ahead %d times", n)
		}
	})
}

// TestOwnerThatTakesNothingAhead: files come to it all the same, and it is not asked for each.
func TestOwnerThatTakesNothingAhead(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Refuse(func(verb, _ string) error {
			if verb == "ahead" {
				return &peer.Error{Kind: peer.Denied, Err: errors.New("it was asked for what there is not")}
			}
			return nil
		})
		for _, name := range []string{"a", "b"} {
			h, all := x.open(name, os.O_RDWR|os.O_CREATE), []byte(nil)
			x.grow(h, &all, 12)
			x.ok(h.Close())
			x.drain()
			x.there(name, string(all))
		}
		if n := x.share.Calls("ahead"); n != 1 {
			t.Errorf("it was asked %d times", n)
		}
	})
}

// TestClosedAfterSync: what was synced and is closed then goes at once, though it was sent a moment before.
func TestClosedAfterSync(t *testing.T) {
	in(t, func(x *fixture) {
		x.ok(x.WriteFile("f", []byte("old")))
		x.drain()
		time.Sleep(2 * time.Second)
		h := x.open("f", os.O_RDWR)
		_, err := h.WriteAt([]byte("new"), 0)
		x.ok(err)
		x.ok(h.Sync())
		x.ok(h.Close())
		time.Sleep(500 * time.Millisecond)
		x.there("f", "new")
	})
}

// TestEmptyAtFirst: a file that a shell opens for a program, which is flushed before anything is in it, is put once, with what the
// program wrote; and one that stays empty while it is open is put empty.
func TestEmptyAtFirst(t *testing.T) {
	in(t, func(x *fixture) {
		x.ok(x.WriteFile("first", []byte("1")))
		x.drain()
		items := x.share.Calls("item")
		h := x.open("out", os.O_RDWR|os.O_CREATE)
		x.within(time.Millisecond, func() { x.flush(h) })
		time.Sleep(time.Second)
		_, err := h.WriteAt([]byte("text"), 0)
		x.ok(err)
		time.Sleep(time.Minute)
		if _, there := x.share.Read("out"); there {
			t.Error("it was sent while it was written")
		}
		x.flush(h)
		time.Sleep(200 * time.Millisecond)
		x.there("out", "text")
		x.ok(h.Close())
		x.drain()
		if n := x.share.Calls("item") - items; n != 1 {
			t.Errorf("it was put %d times", n)
		}
		h = x.open("stays", os.O_RDWR|os.O_CREATE)
		x.flush(h)
		time.Sleep(3 * time.Second)
		x.there("stays", "")
		x.ok(h.Close())
		h = x.open("closed", os.O_RDWR|os.O_CREATE)
		x.flush(h)
		x.ok(h.Close())
		time.Sleep(200 * time.Millisecond)
		x.there("closed", "")
	})
}
