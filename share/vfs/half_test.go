package vfs_test

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
)

// TestHalfWrittenIsNotSent: what waits for its owner and is being written to again goes when it is closed, however long that takes.
func TestHalfWrittenIsNotSent(t *testing.T) {
	const whole = "version one, whole"
	for flag, want := range map[int]string{os.O_WRONLY | os.O_TRUNC: "half of it", os.O_RDWR: "half of it" + whole[len("half of it"):]} {
		in(t, func(x *fixture) {
			x.share.Write("doc", []byte("v0"))
			x.here("doc", "v0")
			x.peer.Leave()
			time.Sleep(time.Second)
			x.ok(x.WriteFile("doc", []byte(whole)))
			h := x.open("doc", flag)
			_, err := h.WriteAt([]byte("half of "), 0)
			x.ok(err)
			x.peer.Return()
			x.ok(x.WriteFile("other", []byte("goes")))
			for range 3 {
				time.Sleep(time.Minute)
				x.drain() // does not wait for it
				x.there("doc", "v0")
				x.there("other", "goes")
			}
			_, err = h.WriteAt([]byte("it"), 8)
			x.ok(err)
			x.ok(h.Close())
			x.drain()
			x.there("doc", want)
		})
	}
}

// TestHalfOfALostBaseIsNotSent: so it is with what is saved anew since its owner has not what it was made of any more.
func TestHalfOfALostBaseIsNotSent(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("doc", bytes.Repeat([]byte("0123456789abcdef"), 1<<18))
		_, err := x.List("")
		x.ok(err)
		h := x.open("doc", os.O_RDWR)
		_, err = h.WriteAt([]byte("my"), 0)
		x.ok(err)
		x.share.Remove("doc")
		time.Sleep(10 * time.Second)
		x.is(h.Close(), peer.Conflict)
		h = x.open("doc", os.O_WRONLY|os.O_TRUNC)
		_, err = h.WriteAt([]byte("half of "), 0)
		x.ok(err)
		time.Sleep(3 * time.Minute)
		if got, ok := x.share.Read("doc"); ok {
			x.Errorf("the owner has %q while it is still written", got)
		}
		_, err = h.WriteAt([]byte("it"), 8)
		x.ok(err)
		x.ok(h.Close())
		x.drain()
		x.there("doc", "half of it")
	})
}
