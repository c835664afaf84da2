package vfs_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/vfs"
)

// TestListedWhileItMoves: what is asked of a folder under a path that it leaves meanwhile says nothing of it, whoever moves it.
func TestListedWhileItMoves(t *testing.T) {
	here := func(x *fixture) error { return x.Rename("e", "f") }
	for name, move := range map[string]func(x *fixture) error{
		"here":                      here,
		"another takes its place":   func(x *fixture) error { x.ok(here(x)); return x.WriteFile("e", []byte("a file")) },
		"another folder does":       func(x *fixture) error { x.ok(here(x)); x.share.Write("e/other", nil); return nil },
		"by the owner":              func(x *fixture) error { x.share.Rename("e", "f"); return nil },
		"by the owner, and another": func(x *fixture) error { x.share.Rename("e", "f"); x.share.Write("e/other", nil); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(x *fixture) {
				x.prepare()
				e := mustWalk(x, "e").Ino
				asked := x.hold("list", "e")
				var es []vfs.Entry
				var err error
				done := make(chan struct{})
				go func() {
					defer close(done)
					es, err = x.FS.List(x.Ctx, e)
				}()
				synctest.Wait()
				x.ok(move(x))
				synctest.Wait()
				close(asked)
				<-done
				if x.ok(err); len(es) != 1 || es[0].Name != "c" {
					x.Errorf("%+v", es)
				}
				x.here("f/c", "never looked at")
			})
		})
	}
}

// TestAskedWhileItMoves: so with what is asked of one name in it, or of the folder before the owner has said that it is elsewhere.
func TestAskedWhileItMoves(t *testing.T) {
	for name, ask := range map[string]func(x *fixture, e vfs.Ino) error{
		"look up": func(x *fixture, e vfs.Ino) error { _, err := x.FS.Lookup(x.Ctx, e, "c"); return err },
		"list": func(x *fixture, e vfs.Ino) error {
			es, err := x.FS.List(x.Ctx, e)
			if err == nil && !slices.ContainsFunc(es, func(e vfs.Entry) bool { return e.Name == "c" }) {
				x.Errorf("%+v", es)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(x *fixture) {
				x.prepare()
				e := mustWalk(x, "e").Ino
				answer, moved := make(chan struct{}), make(chan error, 1)
				x.share.Answers(func(verb, _ string) {
					if verb == "move" {
						<-answer
					}
				})
				go func() { moved <- x.Rename("e", "f") }()
				synctest.Wait()
				asked := make(chan error, 1)
				go func() { asked <- ask(x, e) }()
				synctest.Wait()
				early := len(asked) > 0
				close(answer)
				if early {
					x.Errorf("%v before it is known where the folder is", <-asked)
				}
				if x.ok(<-moved); !early {
					x.ok(<-asked)
				}
				x.here("f/c", "never looked at")
				_, err := x.Stat("e")
				x.is(err, peer.NotFound)
			})
		})
	}
	t.Run("behind the answer", func(t *testing.T) {
		in(t, func(x *fixture) {
			x.prepare()
			e := mustWalk(x, "e").Ino
			answer := x.hold("stat", "e/c")
			asked := make(chan error, 1)
			go func() { _, err := x.FS.Lookup(x.Ctx, e, "c"); asked <- err }()
			synctest.Wait()
			x.ok(x.Rename("e", "f"))
			close(answer)
			x.ok(<-asked)
			x.here("f/c", "never looked at")
		})
	})
}

// TestRenamedUnheard: whoever writes to a name that was just given up keeps what is written under it, though the watch, which broke and
// went on meanwhile, tells of the rename only now.
func TestRenamedUnheard(t *testing.T) {
	in(t, func(x *fixture) {
		x.prepare()
		x.share.Unwatched(true)
		synctest.Wait()
		owner := x.hold("move", "a")
		moved := make(chan error, 1)
		go func() { moved <- x.Rename("a", "b") }()
		synctest.Wait()
		x.share.Unwatched(false)
		time.Sleep(time.Second)
		_, err := x.List("")
		x.ok(err)
		x.peer.Slow(100 * time.Millisecond)
		close(owner)
		x.ok(<-moved)
		x.ok(x.WriteFile("a", []byte("new")))
		x.peer.Slow(0)
		time.Sleep(time.Second)
		x.here("a", "new")
		x.drain()
		x.there("a", "new")
		x.there("b", "cached")
	})
}

// TestToldWhileItChanges: what the owner tells of a path while it is being changed from here is taken in as far as it is not older.
func TestToldWhileItChanges(t *testing.T) {
	t.Run("removed when the watch breaks", func(t *testing.T) {
		in(t, func(x *fixture) {
			x.prepare()
			owner := x.hold("remove", "a")
			removed := make(chan error, 1)
			go func() { removed <- x.Remove("a") }()
			synctest.Wait()
			x.share.Write("a", []byte("another's"))
			synctest.Wait()
			x.share.Unwatched(true)
			synctest.Wait()
			close(owner)
			x.ok(<-removed)
			_, err := x.Stat("a")
			x.is(err, peer.NotFound)
		})
	})
	t.Run("another goes to its path", func(t *testing.T) {
		in(t, func(x *fixture) {
			x.prepare()
			owner := x.hold("touch", "a")
			set := make(chan error, 1)
			go func() { set <- x.SetTime("a", time.Now()) }()
			synctest.Wait()
			x.share.Rename("d/b", "a")
			synctest.Wait()
			close(owner)
			x.ok(<-set)
			synctest.Wait()
			_, err := x.Stat("d/b")
			x.is(err, peer.NotFound)
			x.here("a", "in a folder")
		})
	})
	t.Run("it leaves its path", func(t *testing.T) {
		in(t, func(x *fixture) {
			x.prepare()
			owner := x.hold("touch", "a")
			set := make(chan error, 1)
			go func() { set <- x.SetTime("a", time.Now()) }()
			synctest.Wait()
			x.share.Rename("a", "d/a")
			x.share.Write("a", []byte("another"))
			synctest.Wait()
			close(owner)
			x.ok(<-set)
			synctest.Wait()
			x.here("a", "another")
			x.here("d/a", "cached")
		})
	})
	t.Run("written while it is listed", func(t *testing.T) {
		in(t, func(x *fixture) {
			x.prepare()
			x.share.Write("c", []byte("moves"))
			synctest.Wait()
			answer := make(chan struct{})
			x.share.Answers(func(verb, path string) {
				if verb == "list" && path == "" {
					<-answer
				}
			})
			x.share.Miss() // so that it is listed again
			time.Sleep(time.Second)
			x.share.Rename("c", "a")
			synctest.Wait()
			x.ok(x.WriteFile("a", []byte("written")))
			time.Sleep(time.Second)
			x.there("a", "written")
			close(answer)
			synctest.Wait()
			x.here("a", "written")
			_, err := x.Stat("c")
			x.is(err, peer.NotFound)
		})
	})
	t.Run("before what was changed here", func(t *testing.T) {
		in(t, func(x *fixture) {
			x.prepare()
			x.peer.Slow(time.Second)
			x.share.WriteAt("a", []byte("theirs"), time.Now().Add(-time.Hour))
			synctest.Wait()
			x.peer.Slow(0)
			now := time.Now()
			x.ok(x.SetTime("a", now))
			fails := make(chan struct{})
			x.share.Refuse(func(verb, _ string) error {
				if verb == "touch" {
					<-fails
					return &peer.Error{Op: "touch", Kind: peer.Full}
				}
				return nil
			})
			set := make(chan error, 1)
			go func() { set <- x.SetTime("a", now.Add(time.Hour)) }()
			time.Sleep(2 * time.Second) // it has told of both
			close(fails)
			x.is(<-set, peer.Full)
			if i, err := x.Stat("a"); err != nil || !i.ModTime.Equal(now) {
				x.Errorf("%+v, %v; want %v", i, err, now)
			}
		})
	})
	t.Run("a name that was given up is taken", func(t *testing.T) {
		in(t, func(x *fixture) {
			x.prepare()
			x.ok(x.Rename("a", "b"))
			synctest.Wait()
			x.share.Write("a", []byte("another"))
			synctest.Wait()
			x.here("a", "another")
			x.here("b", "cached")
		})
	})
	t.Run("both paths change again", func(t *testing.T) {
		in(t, func(x *fixture) {
			x.prepare()
			removes, makes := make(chan struct{}), make(chan struct{})
			x.share.Refuse(func(verb, _ string) error {
				switch verb {
				case "remove":
					<-removes
				case "mkdir":
					<-makes
					return &peer.Error{Op: "mkdir", Kind: peer.Full}
				}
				return nil
			})
			x.peer.Slow(100 * time.Millisecond)
			x.ok(x.Rename("a", "b.tmp"))
			removed, made := make(chan error, 1), make(chan error, 1)
			go func() { removed <- x.Remove("b.tmp") }()
			time.Sleep(time.Second) // it has told of the rename
			x.peer.Slow(0)
			go func() { made <- x.Mkdir("a") }()
			synctest.Wait()
			close(removes)
			x.ok(<-removed)
			x.ok(x.WriteFile("b.tmp", []byte("new"))) // which is not sent at once
			close(makes)
			x.is(<-made, peer.Full)
			x.ok(x.Rename("b.tmp", "c"))
			x.drain()
			x.there("c", "new")
		})
	})
}

// TestAnswerOfBefore: an answer about a name in a folder that went elsewhere says nothing of another folder in its place.
func TestAnswerOfBefore(t *testing.T) {
	for name, move := range map[string]func(x *fixture){
		"here":         func(x *fixture) { x.ok(x.Rename("e", "f")); x.ok(x.Mkdir("e")) },
		"by the owner": func(x *fixture) { x.share.Rename("e", "f"); x.share.Mkdir("e") },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(x *fixture) {
				x.prepare()
				e := mustWalk(x, "e").Ino
				answer := make(chan struct{})
				x.share.Answers(func(verb, path string) {
					if verb == "stat" && path == "e/c" {
						<-answer
					}
				})
				asked := make(chan error, 1)
				go func() { _, err := x.FS.Lookup(x.Ctx, e, "c"); asked <- err }()
				synctest.Wait()
				move(x)
				synctest.Wait()
				close(answer)
				x.ok(<-asked)
				_, err := x.Stat("e/c")
				x.is(err, peer.NotFound)
				x.here("f/c", "never looked at")
			})
		})
	}
}

// hold has the owner wait with its answer to the first call of a kind about a path until what it gives is closed.
func (x *fixture) hold(verb, path string) (answer chan struct{}) {
	answer = make(chan struct{})
	x.share.Refuse(func(v, p string) error {
		if v == verb && p == path {
			<-answer
		}
		return nil
	})
	return answer
}
