package vfs_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs"
)

func (x *fixture) prepare() {
	x.Helper()
	x.share.Write("a", []byte("cached"))
	x.share.Write("d/b", []byte("in a folder"))
	x.share.Write("e/c", []byte("never looked at"))
	for _, dir := range []string{"", "d"} {
		if _, err := x.List(dir); err != nil {
			x.Fatal(err)
		}
	}
}

// TestAlike: what its owner would refuse is refused at once, also in a folder that nobody has listed, and while the owner is away.
func TestAlike(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("d/Plan", []byte("1"))
		alike := func(err error) {
			x.Helper()
			if !errors.Is(err, vfs.ErrAlike) || !strings.Contains(err.Error(), "Plan") {
				x.Errorf("%v", err)
			}
			x.is(err, peer.Conflict)
		}
		alike(x.WriteFile("d/PLAN", nil))
		alike(x.Mkdir("d/plan"))
		x.ok(x.WriteFile("d/other", nil))
		alike(x.Rename("d/other", "d/pLAN"))
		_, err := x.FS.Upload(x.Ctx, mustWalk(x, "d").Ino, "PLAN")
		alike(err)
		alike(x.FS.Copy(x.Ctx, mustWalk(x, "d", "other").Ino, mustWalk(x, "d").Ino, "PLAN"))
		x.ok(x.WriteFile("d/._x", nil)) // stays here
		x.ok(x.WriteFile("d/._X", nil))
		x.drain()
		x.peer.Leave()
		time.Sleep(time.Second)
		alike(x.WriteFile("d/PLAN", nil))
		x.ok(x.WriteFile("d/New", nil))
		if err := x.WriteFile("d/NEW", nil); !errors.Is(err, vfs.ErrAlike) {
			x.Errorf("like one that waits: %v", err)
		}
		x.ok(x.Rename("d/New", "d/NEW"))
		x.peer.Return()
		x.drain()
		x.share.Remove("d/Plan")
		time.Sleep(time.Second)
		x.ok(x.WriteFile("d/PLAN", nil))
		x.drain()
		x.there("d/PLAN", "")
		x.there("d/NEW", "")
	})
}

func TestKnownAway(t *testing.T) {
	in(t, func(x *fixture) {
		x.prepare()
		x.peer.Leave()
		time.Sleep(time.Second)
		x.within(50*time.Millisecond, func() {
			if is, err := x.List(""); err != nil || len(is) != 3 {
				x.Errorf("%v, %v", is, err)
			}
			if i, err := x.Stat("d/b"); err != nil || i.Size != 11 {
				x.Errorf("%v, %v", i, err)
			}
			_, err := x.Stat("d/nothing")
			x.is(err, peer.NotFound)
			_, err = x.List("e")
			x.is(err, peer.Unreachable)
			_, err = x.Stat("e/c")
			x.is(err, peer.Unreachable)
			_, err = x.ReadFile("a")
			x.is(err, peer.Unreachable)
			x.is(x.Mkdir("n"), peer.Unreachable)
			x.is(x.Remove("a"), peer.Unreachable)
			x.is(x.Rename("a", "z"), peer.Unreachable)
			x.ok(x.WriteFile("new", []byte("waits")))
			x.here("new", "waits")
			x.ok(x.Rename("new", "newer"))
			x.ok(x.WriteFile("d/b", []byte("changed")))
			x.here("d/b", "changed")
			x.ok(x.WriteFile("gone", []byte("x")))
			x.ok(x.Remove("gone"))
			if es, err := x.FS.List(x.Ctx, vfs.Root); err != nil || len(es) != 1 {
				x.Errorf("%v, %v", es, err)
			}
			_, err = x.FS.Space(x.Ctx, mustWalk(x).Ino)
			x.ok(err)
		})
		if ps := x.FS.Pending(); len(ps) != 2 {
			x.Errorf("%+v", ps)
		}
		x.peer.Return()
		x.drain()
		x.there("newer", "waits")
		x.there("d/b", "changed")
		x.here("a", "cached")
		x.here("e/c", "never looked at")
	})
}

func mustWalk(x *fixture, path ...string) vfs.Attr {
	x.Helper()
	a, err := x.FS.Walk(x.Ctx, append([]string{"anna", "docs"}, path...)...)
	x.ok(err)
	return a
}

// TestSilent has an owner that says nothing, which nobody knows.
func TestSilent(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(x *fixture) error
		most time.Duration
		want peer.Kind // Other: no error
	}{
		{"root", func(x *fixture) error { _, err := x.FS.List(x.Ctx, vfs.Root); return err }, 0, peer.Other},
		{"known folder", func(x *fixture) error { _, err := x.List("d"); return err }, 0, peer.Other},
		{"known file", func(x *fixture) error { _, err := x.Stat("a"); return err }, 0, peer.Other},
		{"known not to be there", func(x *fixture) error { _, err := x.Stat("x"); return err }, 0, peer.NotFound},
		{"folder", func(x *fixture) error { _, err := x.List("e"); return err }, 5 * time.Second, peer.Unreachable},
		{"file", func(x *fixture) error { _, err := x.Stat("e/c"); return err }, 5 * time.Second, peer.Unreachable},
		{"read", func(x *fixture) error { _, err := x.ReadFile("a"); return err }, 15 * time.Second, peer.Unreachable},
		{"mkdir", func(x *fixture) error { return x.Mkdir("n") }, 5 * time.Second, peer.Unreachable},
		{"remove", func(x *fixture) error { return x.Remove("a") }, 5 * time.Second, peer.Unreachable},
		{"rename", func(x *fixture) error { return x.Rename("a", "b") }, 5 * time.Second, peer.Unreachable},
		{"times", func(x *fixture) error { return x.SetTime("a", time.Now()) }, 5 * time.Second, peer.Unreachable},
		{"write", func(x *fixture) error { return x.WriteFile("new", []byte("x")) }, 10 * time.Second, peer.Other},
		{"overwrite", func(x *fixture) error { return x.WriteFile("a", []byte("x")) }, 10 * time.Second, peer.Other},
	} {
		t.Run(c.name, func(t *testing.T) {
			in(t, func(x *fixture) {
				x.prepare()
				x.peer.Silence()
				x.within(c.most, func() {
					if err := c.do(x); c.want == peer.Other {
						x.ok(err)
					} else {
						x.is(err, c.want)
					}
				})
				ctx, cancel := context.WithCancel(x.Context()) // whoever is interrupted does not wait
				x.Ctx = ctx
				time.AfterFunc(100*time.Millisecond, cancel)
				x.within(100*time.Millisecond, func() { _ = c.do(x) })
				x.Ctx = x.Context()
				x.peer.Return()
				time.Sleep(5 * time.Second)
				x.here("d/b", "in a folder")
				x.here("e/c", "never looked at")
			})
		})
	}
}

// TestReadAgain has an owner that gives no bytes: who asks for the same ones again at once, as a kernel does by itself, does not wait
// again.
func TestReadAgain(t *testing.T) {
	in(t, func(x *fixture) {
		x.prepare()
		h := x.open("a", os.O_RDONLY)
		b := make([]byte, 6)
		read := func(want time.Duration) {
			x.Helper()
			began := time.Now()
			_, err := h.ReadAt(b, 0)
			x.is(err, peer.Unreachable)
			if took := time.Since(began); took != want {
				x.Errorf("a read fails after %v, want %v", took, want)
			}
		}
		x.peer.Silence()
		read(15 * time.Second)
		read(50 * time.Millisecond)
		time.Sleep(3 * time.Second)
		read(15 * time.Second) // the owner has another chance
		x.peer.Return()
		time.Sleep(3 * time.Second)
		_, err := h.ReadAt(b, 0)
		x.ok(err)
		x.ok(h.Close())
	})
}

// TestNeverThere has an owner that was away from the beginning.
func TestNeverThere(t *testing.T) {
	in(t, func(x *fixture) {
		x.peer.Leave()
		_, err := x.List("")
		x.is(err, peer.Unreachable)
		if es, err := x.FS.List(x.Ctx, vfs.Root); err != nil || len(es) != 1 {
			x.Errorf("%v, %v", es, err)
		}
		x.share.Write("a", []byte("x"))
		x.peer.Return()
		time.Sleep(time.Second)
		x.here("a", "x")
	})
}

// tardy is a workgroup whose answers to Enter, once they are found, wait for hold.
type tardy struct {
	vfs.World
	hold   chan struct{}
	enters *atomic.Int32
}

func (w tardy) Enter(ctx context.Context, peer, name string) (vfs.Remote, error) {
	r, err := w.World.Enter(ctx, peer, name)
	w.enters.Add(1)
	<-w.hold
	return r, err
}

// TestBackWhileEntering: who asks for a share while its owner comes back is not told that it is away by an answer from before. Then the
// share is not entered again and again.
func TestBackWhileEntering(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("a", []byte("x"))
		x.stop()
		w := tardy{x.world, make(chan struct{}), new(atomic.Int32)}
		x.startIn(w)
		synctest.Wait()
		x.peer.Leave()
		synctest.Wait()
		done := make(chan error)
		go func() {
			_, err := x.Stat("a")
			done <- err
		}()
		synctest.Wait()
		x.peer.Return()
		synctest.Wait()
		close(w.hold)
		x.ok(<-done)
		for range 20 {
			x.here("a", "x")
			synctest.Wait()
		}
		if n := w.enters.Load(); n > 3 {
			t.Errorf("entered %d times", n)
		}
	})
}

// TestChangedWhileEntering: what an owner says of a share while the workgroup changes may be from before, and is asked for once more, also
// where there is every right already. Then it holds.
func TestChangedWhileEntering(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("a", []byte("x"))
		x.share.SetRight(share.Read)
		x.share.Unwatched(true) // a watch that ends would tell of the right as well
		x.stop()
		w := tardy{x.world, make(chan struct{}), new(atomic.Int32)}
		x.startIn(w)
		entered := func(want int32) {
			t.Helper()
			for range 5 {
				go func() { _, _ = x.Stat("a") }()
				synctest.Wait()
			}
			if n := w.enters.Load(); n != want {
				t.Fatalf("entered %d times, not %d", n, want)
			}
		}
		entered(1)
		w.hold <- struct{}{}
		synctest.Wait()
		x.world.Add("bob") // there may be a higher right now
		entered(2)
		x.share.SetRight(share.Full)
		synctest.Wait()
		x.world.Add("carl")
		entered(2)
		w.hold <- struct{}{}
		entered(3)
		w.hold <- struct{}{}
		entered(3)
		x.world.Add("dora")
		entered(3)
	})
}

// TestSilentWhileAnotherComes: who waits for an owner that says nothing waits no longer because the workgroup changes.
func TestSilentWhileAnotherComes(t *testing.T) {
	in(t, func(x *fixture) {
		a, err := x.FS.Walk(x.Ctx, "anna")
		x.ok(err)
		_, err = x.FS.List(x.Ctx, a.Ino) // so that it is docs alone that is waited for
		x.ok(err)
		x.peer.Silence()
		synctest.Wait()
		x.within(6*time.Second, func() {
			time.AfterFunc(time.Second, func() { x.world.Add("bob") })
			_, err := x.Stat("a")
			x.is(err, peer.Unreachable)
		})
	})
}

// TestBackWhileAnotherIsSilent: an owner that comes back is there at once, also while another that says nothing is asked what it has.
func TestBackWhileAnotherIsSilent(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("a", []byte("x"))
		bob := x.world.Add("bob")
		bob.Share("docs", share.Read)
		_, err := x.FS.Walk(x.Ctx, "bob", "docs")
		x.ok(err)
		synctest.Wait()
		x.peer.Leave()
		bob.Silence()
		synctest.Wait()
		_, err = x.Stat("a")
		x.is(err, peer.Unreachable)
		x.within(50*time.Millisecond, func() {
			x.peer.Return()
			synctest.Wait()
			x.here("a", "x")
		})
	})
}

func TestRestartWhileAway(t *testing.T) {
	in(t, func(x *fixture) {
		x.prepare()
		x.peer.Leave()
		x.ok(x.WriteFile("d/new", []byte("waits")))
		x.ok(x.WriteFile("a", []byte("waits too")))
		x.stop()
		x.start()
		if len(x.FS.Pending()) != 2 {
			x.Errorf("%+v", x.FS.Pending())
		}
		x.peer.Return()
		x.drain()
		x.there("d/new", "waits")
		x.there("a", "waits too")
		if x.FS.Conflicts() > 0 {
			x.Error("a conflict, and nobody else was there")
		}
	})
}

func TestSyncedIsDeliveredAfterASilence(t *testing.T) {
	in(t, func(x *fixture) {
		x.prepare()
		h := x.open("f", os.O_RDWR|os.O_CREATE)
		_, err := h.WriteAt([]byte("synced"), 0)
		x.ok(err)
		x.peer.Silence()
		x.ok(h.Sync())
		time.Sleep(time.Hour)
		x.peer.Leave()
		time.Sleep(time.Hour)
		x.peer.Return()
		time.Sleep(time.Minute)
		x.there("f", "synced")
		x.ok(h.Close())
	})
}

func TestRightEnds(t *testing.T) {
	in(t, func(x *fixture) {
		x.prepare()
		h := x.open("a", os.O_RDWR)
		b := make([]byte, 6)
		_, err := h.ReadAt(b, 0)
		x.ok(err)
		x.share.SetRight(share.Read)
		synctest.Wait()
		_, err = h.WriteAt(b, 0)
		if x.is(err, peer.Denied); !errors.Is(err, vfs.ErrReadOnly) {
			x.Errorf("%v is no vfs.ErrReadOnly", err)
		}
		_, err = h.ReadAt(b, 0)
		x.ok(err)
		x.share.SetRight(share.None)
		synctest.Wait()
		_, err = h.ReadAt(b, 0)
		x.is(err, peer.Denied)
		_, err = x.List("")
		x.is(err, peer.Denied)
		_, err = x.Stat("a")
		x.is(err, peer.Denied)
		_, err = x.ReadFile("d/b")
		x.is(err, peer.Denied)
		x.ok(h.Close())
		x.share.SetRight(share.Full)
		time.Sleep(2 * time.Second)
		x.here("a", "cached")
		x.ok(x.WriteFile("a", []byte("again")))
		x.drain()
		x.there("a", "again")
	})
}

// TestRights does all that changes something with every right: without the full one nothing changes, and the owner is not
// even asked.
func TestRights(t *testing.T) {
	when := time.Now().Add(-time.Hour)
	verbs := map[string]func(x *fixture, a vfs.Attr) error{
		"open to write":    func(x *fixture, a vfs.Attr) error { _, err := x.Open("a", os.O_RDWR); return err },
		"open to truncate": func(x *fixture, a vfs.Attr) error { _, err := x.Open("a", os.O_WRONLY|os.O_TRUNC); return err },
		"open to append":   func(x *fixture, a vfs.Attr) error { _, err := x.Open("a", os.O_WRONLY|os.O_APPEND); return err },
		"create":           func(x *fixture, a vfs.Attr) error { _, err := x.Open("n", os.O_WRONLY|os.O_CREATE); return err },
		"create what is there": func(x *fixture, a vfs.Attr) error {
			_, err := x.Open("a", os.O_WRONLY|os.O_CREATE)
			return err
		},
		"create to read": func(x *fixture, a vfs.Attr) error { _, err := x.Open("n", os.O_RDONLY|os.O_CREATE); return err },
		"truncate":       func(x *fixture, a vfs.Attr) error { return x.Truncate("a", 1) },
		"set time":       func(x *fixture, a vfs.Attr) error { return x.SetTime("a", when) },
		"set mode":       func(x *fixture, a vfs.Attr) error { return x.SetExec("a", true) },
		"mkdir":          func(x *fixture, a vfs.Attr) error { return x.Mkdir("n") },
		"remove":         func(x *fixture, a vfs.Attr) error { return x.Remove("a") },
		"remove folder":  func(x *fixture, a vfs.Attr) error { return x.FS.Remove(x.Ctx, a.Ino, "empty", true) },
		"remove all":     func(x *fixture, a vfs.Attr) error { return x.FS.RemoveAll(x.Ctx, a.Ino, "d") },
		"rename":         func(x *fixture, a vfs.Attr) error { return x.Rename("a", "n") },
		"rename over":    func(x *fixture, a vfs.Attr) error { return x.Rename("a", "d/b") },
		"rename folder":  func(x *fixture, a vfs.Attr) error { return x.Rename("d", "n") },
		"copy": func(x *fixture, a vfs.Attr) error {
			f, err := x.FS.Lookup(x.Ctx, a.Ino, "a")
			if err != nil {
				return err
			}
			return x.FS.Copy(x.Ctx, f.Ino, a.Ino, "n")
		},
		"upload": func(x *fixture, a vfs.Attr) error {
			u, err := x.FS.Upload(x.Ctx, a.Ino, "n")
			if err == nil {
				_, _ = u.Write([]byte("x"))
				_, err = u.Commit(x.Ctx, when)
			}
			return err
		},
		"write what was opened before": func(x *fixture, a vfs.Attr) error {
			x.share.SetRight(share.Full)
			time.Sleep(2 * time.Second)
			h := x.open("a", os.O_RDWR)
			x.share.SetRight(share.Read)
			time.Sleep(2 * time.Second)
			_, err := h.WriteAt([]byte("x"), 0)
			x.ok(h.Close())
			return err
		},
		"truncate what was opened before": func(x *fixture, a vfs.Attr) error {
			x.share.SetRight(share.Full)
			time.Sleep(2 * time.Second)
			h := x.open("a", os.O_RDWR)
			x.share.SetRight(share.Read)
			time.Sleep(2 * time.Second)
			err := h.Truncate(0)
			x.ok(h.Close())
			return err
		},
		"commit what was begun before": func(x *fixture, a vfs.Attr) error {
			x.share.SetRight(share.Full)
			time.Sleep(2 * time.Second)
			u, err := x.FS.Upload(x.Ctx, a.Ino, "n")
			x.ok(err)
			defer u.Abort()
			x.share.SetRight(share.Read)
			time.Sleep(2 * time.Second)
			_, err = u.Commit(x.Ctx, when)
			return err
		},
	}
	for name, do := range verbs {
		t.Run(name, func(t *testing.T) {
			in(t, func(x *fixture) {
				x.prepare()
				x.share.Mkdir("empty")
				x.share.SetRight(share.Read)
				time.Sleep(2 * time.Second)
				a := mustWalk(x)
				before := strings.Join(x.share.Paths(), " ")
				changes := x.changes()
				if err := do(x, a); !errors.Is(err, vfs.ErrReadOnly) {
					x.Errorf("%v, want vfs.ErrReadOnly", err)
				}
				time.Sleep(time.Minute)
				if after := strings.Join(x.share.Paths(), " "); after != before || x.changes() != changes {
					x.Errorf("the owner was asked; it has %s and had %s", after, before)
				}
				x.there("a", "cached")
				if len(x.FS.Pending()) > 0 {
					x.Errorf("%+v", x.FS.Pending())
				}
				x.share.SetRight(share.None)
				synctest.Wait()
				if err := do(x, a); !strings.HasSuffix(name, "before") && peer.KindOf(err) != peer.Denied {
					x.Errorf("%v without any right", err)
				}
			})
		})
	}
}

// changes is how often the owner was asked to change something.
func (x *fixture) changes() (n int) {
	for _, verb := range []string{"put", "item", "mkdir", "touch", "move", "copy", "remove"} {
		n += x.share.Calls(verb)
	}
	return n
}
