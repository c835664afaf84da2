package vfs_test

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs/vfstest"
)

// part opens a file of 4 MiB that was never read here and changes a part of it, so that its rest has to be fetched before it can be sent.
func (x *fixture) part() vfstest.Handle {
	x.Helper()
	x.share.Write("doc", bytes.Repeat([]byte("0123456789abcdef"), 1<<18))
	_, err := x.List("")
	x.ok(err)
	h := x.open("doc", os.O_RDWR)
	_, err = h.WriteAt([]byte("my"), 0)
	x.ok(err)
	return h
}

func (x *fixture) pendingErr() error {
	x.Helper()
	ps := x.FS.Pending()
	if len(ps) != 1 {
		x.Fatalf("%+v", ps)
	}
	return ps[0].Err
}

// TestSavedInFullMeanwhile: what was saved in full while the rest of its base was fetched in vain needs that no more.
func TestSavedInFullMeanwhile(t *testing.T) {
	in(t, func(x *fixture) {
		h := x.part()
		answer := make(chan struct{})
		x.share.Refuse(func(verb, _ string) error {
			if verb == "open" || verb == "read" {
				<-answer
				return &peer.Error{Op: verb, Kind: peer.NotFound}
			}
			return nil
		})
		x.ok(h.Close())
		h = x.open("doc", os.O_WRONLY|os.O_TRUNC)
		_, err := h.WriteAt([]byte("all of it"), 0)
		x.ok(err)
		close(answer)
		synctest.Wait()
		x.ok(x.pendingErr())
		x.ok(h.Close())
		x.drain()
		x.there("doc", "all of it")
	})
}

// TestSavedInFullAndSlow: who saves in full is not told that the base was lost before, also if its owner takes its time.
func TestSavedInFullAndSlow(t *testing.T) {
	in(t, func(x *fixture) {
		h := x.part()
		x.share.Remove("doc")
		time.Sleep(10 * time.Second)
		x.is(h.Close(), peer.Conflict)
		x.is(x.pendingErr(), peer.Conflict)
		answer := x.hold("put", "")
		x.ok(x.WriteFile("doc", []byte("all of it")))
		x.ok(x.pendingErr())
		close(answer)
		x.drain()
		x.there("doc", "all of it")
	})
}

// TestFilledAtAClose: what waits for the rest of its base tries at once when it is closed again, however long it has failed.
func TestFilledAtAClose(t *testing.T) {
	in(t, func(x *fixture) {
		h := x.part()
		busy := func(verb, _ string) error {
			if verb == "open" || verb == "read" {
				return &peer.Error{Op: verb, Kind: peer.Busy, Err: errors.New("too much to do")}
			}
			return nil
		}
		x.share.Refuse(busy)
		x.ok(h.Close())
		time.Sleep(70 * time.Second) // it waits for half a minute and more between two tries by now
		x.share.Refuse(nil)
		x.ok(x.open("doc", os.O_RDWR).Close())
		time.Sleep(5 * time.Second)
		if got, _ := x.share.Read("doc"); string(got[:4]) != "my23" {
			x.Errorf("the owner has %q", got[:4])
		}
	})
}

// TestUnseenBaseIsNotLost: of what waited over a restart nobody knows whether its owner has the base yet, so who syncs it does not wait.
func TestUnseenBaseIsNotLost(t *testing.T) {
	in(t, func(x *fixture) {
		h := x.part()
		x.peer.Leave()
		time.Sleep(time.Second)
		x.ok(h.Close())
		x.stop()
		x.share.Refuse(func(verb, _ string) error {
			if verb == "open" || verb == "read" {
				return &peer.Error{Op: verb, Kind: peer.Busy, Err: errors.New("too much to do")}
			}
			return nil
		})
		x.peer.Return()
		x.start()
		time.Sleep(10 * time.Second)
		h = x.open("doc", os.O_RDWR)
		x.within(0, func() { x.ok(h.Sync()) })
		x.ok(h.Close())
	})
}

// TestAnotherShareKeepsWhatIsHere: what waits for a share that is another one now, and what is kept here, can be had at its path, however
// deep that is.
func TestAnotherShareKeepsWhatIsHere(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("a/b/doc", []byte("old"))
		x.share.Write("a/c/other", []byte("old"))
		x.here("a/b/doc", "old")
		x.here("a/c/other", "old")
		x.ok(x.WriteFile("a/b/._doc", []byte("fork")))
		x.peer.Leave()
		time.Sleep(time.Second)
		x.ok(x.WriteFile("a/b/doc", []byte("mine")))
		x.peer.Unshare("docs")
		x.share = x.peer.Share("docs", share.Full)
		x.share.Write("a/new", []byte("of others"))
		x.peer.Return()
		time.Sleep(time.Minute)
		x.is(x.pendingErr(), peer.Conflict)
		x.here("a/b/doc", "mine")
		x.here("a/b/._doc", "fork")
		x.here("a/new", "of others")
		_, err := x.Stat("a/c/other")
		x.is(err, peer.NotFound)
		x.ok(x.Remove("a/b/doc"))
		x.drain()
	})
}
