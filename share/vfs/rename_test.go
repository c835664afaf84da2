package vfs_test

import (
	"errors"
	"os"
	"path"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/vfs/vfstest"
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
				answer, moved := x.renaming("e", "f")
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
	t.Run("listed, and another is in its place", func(t *testing.T) {
		in(t, func(x *fixture) {
			x.prepare()
			e := mustWalk(x, "e").Ino
			answer, moved := x.renaming("e", "f")
			x.share.Write("e/other", nil)
			listed := make(chan []vfs.Entry, 1)
			go func() { es, _ := x.FS.List(x.Ctx, e); listed <- es }()
			synctest.Wait()
			close(answer)
			x.ok(<-moved)
			if es := <-listed; len(es) != 1 || es[0].Name != "c" {
				x.Errorf("%+v", es)
			}
		})
	})
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
			owner, set := x.touching("a")
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
			owner, set := x.touching("a")
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
			answer := x.late("list", "")
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
	t.Run("then it changes where it went", func(t *testing.T) {
		for name, change := range map[string]func(x *fixture){
			"written": func(x *fixture) { x.share.Write("d/a", []byte("version two")) },
			"removed": func(x *fixture) { x.share.Remove("d/a") },
		} {
			t.Run(name, func(t *testing.T) {
				in(t, func(x *fixture) {
					x.prepare()
					owner, set := x.touching("a")
					x.share.Rename("a", "d/a")
					x.share.Write("a", []byte("another")) // so that it goes well
					change(x)
					synctest.Wait()
					close(owner)
					x.ok(<-set)
					synctest.Wait()
					if now, there := x.share.Read("d/a"); there {
						x.here("d/a", string(now))
					} else {
						x.gone("d/a")
					}
				})
			})
		}
	})
	t.Run("then it changes where it went from a folder that is listed", func(t *testing.T) {
		in(t, func(x *fixture) {
			x.share.Write("g/x", []byte("one"))
			x.share.Write("g/y", []byte("two"))
			x.prepare()
			answer, listed := x.late("list", "g"), make(chan error, 1)
			go func() { _, err := x.List("g"); listed <- err }()
			synctest.Wait()
			x.share.Rename("g/x", "d/x")
			x.share.Write("d/x", []byte("version two"))
			x.share.Rename("g/y", "d/y")
			x.share.Remove("d/y")
			synctest.Wait()
			close(answer)
			x.ok(<-listed)
			synctest.Wait()
			x.here("d/x", "version two")
			x.gone("d/y")
			x.gone("g/x")
		})
	})
	t.Run("an open one goes to its path", func(t *testing.T) {
		in(t, func(x *fixture) {
			x.prepare()
			h := x.open("d/b", os.O_RDWR)
			owner, set := x.touching("a")
			x.share.Rename("d/b", "a")
			synctest.Wait()
			close(owner)
			x.ok(<-set)
			_, err := h.Write([]byte("IN"))
			x.ok(errors.Join(err, h.Close()))
			time.Sleep(time.Minute)
			if p := x.FS.Pending(); len(p) != 1 || p[0].Err == nil { // the owner has no more of what it is written into
				x.Errorf("what was written is nowhere: %+v", p)
			}
		})
	})
	t.Run("an open one goes where it went", func(t *testing.T) {
		in(t, func(x *fixture) {
			x.prepare()
			owner, set := x.touching("a")
			x.share.Rename("a", "d/a")
			synctest.Wait()
			h := x.open("d/a", os.O_RDWR)
			close(owner)
			<-set
			synctest.Wait()
			_, err := h.Write([]byte("CA"))
			x.ok(errors.Join(err, h.Close()))
			x.drain()
			x.there("d/a", "CAched")
		})
	})
	t.Run("what replaced it, while nobody knew which was first", func(t *testing.T) {
		in(t, func(x *fixture) {
			x.prepare()
			x.share.Unwatched(true)
			synctest.Wait()
			touch, move := make(chan struct{}), make(chan struct{})
			x.share.Answers(func(verb, _ string) {
				switch verb {
				case "touch":
					<-touch
				case "move":
					<-move
				}
			})
			set, moved := make(chan error, 1), make(chan error, 1)
			go func() { set <- x.SetTime("a", time.Now()) }()
			synctest.Wait()
			x.share.Unwatched(false)
			time.Sleep(2 * time.Second)
			go func() { moved <- x.Rename("d/b", "n") }()
			synctest.Wait()
			x.share.Rename("a", "n")
			synctest.Wait()
			close(touch)
			<-set // it is gone by now
			close(move)
			x.ok(<-moved)
			synctest.Wait()
			if i, err := x.Stat("n"); err != nil || i.Size != int64(len("cached")) {
				x.Errorf("%+v, %v", i, err)
			}
			x.gone("a")
		})
	})
	t.Run("a gap before the answer", func(t *testing.T) {
		in(t, func(x *fixture) {
			x.prepare()
			answer, moved := x.renaming("a", "b")
			x.share.Miss()
			time.Sleep(time.Second)
			x.share.Write("a", []byte("another"))
			synctest.Wait()
			close(answer)
			x.ok(<-moved)
			synctest.Wait()
			x.here("a", "another")
		})
	})
	t.Run("a name that was given up while the watch was broken", func(t *testing.T) {
		in(t, func(x *fixture) {
			x.prepare()
			x.peer.Leave()
			synctest.Wait()
			x.share.Refuse(func(verb, _ string) error {
				if verb == "watch" {
					return &peer.Error{Op: "watch", Kind: peer.Busy}
				}
				return nil
			})
			x.peer.Return()
			synctest.Wait()
			x.ok(x.Rename("a", "b"))
			h := x.open("a", os.O_RDWR|os.O_CREATE)
			_, err := h.Write([]byte("new"))
			x.ok(errors.Join(err, h.Sync()))
			x.drain()
			x.share.Refuse(nil)
			time.Sleep(10 * time.Second) // the watch goes on where it was, and tells of the rename
			_, err = h.Write([]byte("er"))
			x.ok(errors.Join(err, h.Close()))
			x.drain()
			x.there("a", "newer")
			x.there("b", "cached")
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
		"of that name": func(x *fixture) { x.share.Rename("e", "f"); x.share.Write("e/c", []byte("x")) },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(x *fixture) {
				x.prepare()
				e := mustWalk(x, "e").Ino
				answer := x.late("stat", "e/c")
				asked := make(chan vfs.Attr, 1)
				go func() { a, _ := x.FS.Lookup(x.Ctx, e, "c"); asked <- a }()
				synctest.Wait()
				move(x)
				synctest.Wait()
				close(answer)
				if a, is := <-asked, mustWalk(x, "f", "c"); a.Ino != is.Ino {
					x.Errorf("%+v was found, it is %+v", a, is)
				}
				if _, there := x.share.Read("e/c"); !there {
					x.gone("e/c")
				}
				x.here("f/c", "never looked at")
			})
		})
	}
}

// TestWrittenWhileItsFolderMoves: who has a file open when its folder is renamed, and somebody looks at the file before that is answered,
// goes on writing to it.
func TestWrittenWhileItsFolderMoves(t *testing.T) {
	for name, look := range map[string]func(x *fixture, folder, file vfs.Ino) error{
		"look up": func(x *fixture, folder, _ vfs.Ino) error { _, err := x.FS.Lookup(x.Ctx, folder, "c"); return err },
		"attr":    func(x *fixture, _, file vfs.Ino) error { _, err := x.FS.Attr(x.Ctx, file); return err },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(x *fixture) {
				x.prepare()
				folder, file := mustWalk(x, "e").Ino, mustWalk(x, "e", "c").Ino
				x.ok(x.Rename("e", "g")) // nothing is believed below it from now on
				h := x.open("g/c", os.O_RDWR)
				time.Sleep(2 * time.Second)
				answer, moved := x.renaming("g", "f")
				looked := make(chan error, 1)
				go func() { looked <- look(x, folder, file) }()
				synctest.Wait()
				close(answer)
				x.ok(<-moved)
				x.ok(<-looked)
				_, err := h.Write([]byte("NEVER"))
				x.ok(errors.Join(err, h.Close()))
				x.drain()
				x.there("f/c", "NEVER looked at")
			})
		})
	}
}

// TestListedBeforeItIsTold: a listing that came before the word that its folder is elsewhere is not believed after it.
func TestListedBeforeItIsTold(t *testing.T) {
	in(t, func(x *fixture) {
		x.prepare()
		x.peer.Slow(time.Second)
		x.share.Rename("e", "f")
		x.share.Write("e/other", nil)
		synctest.Wait()
		x.peer.Slow(0)
		_, err := x.List("e")
		x.ok(err)
		time.Sleep(10 * time.Second)
		for dir, want := range map[string]string{"f": "c", "e": "other"} {
			if is, err := x.List(dir); err != nil || len(is) != 1 || is[0].Name != want {
				x.Errorf("%s: %+v, %v", dir, is, err)
			}
		}
	})
}

// TestMovedAlongIsBelieved: what is known below a folder that another renames is known under its new name.
func TestMovedAlongIsBelieved(t *testing.T) {
	in(t, func(x *fixture) {
		x.prepare()
		time.Sleep(10 * time.Second)
		calls := x.share.Calls("")
		x.share.Rename("d", "dd")
		synctest.Wait()
		_, err := x.List("dd")
		x.ok(err)
		_, err = x.Stat("dd/b")
		if x.ok(err); x.share.Calls("") != calls {
			x.Errorf("the owner was asked %d times", x.share.Calls("")-calls)
		}
	})
}

// late has the owner do what a call of a kind asks for about a path, and wait with its answer until what it gives is closed.
func (x *fixture) late(verb, path string) (answer chan struct{}) {
	answer = make(chan struct{})
	x.share.Answers(func(v, p string) {
		if v == verb && p == path {
			<-answer
		}
	})
	return answer
}

// touching sets the time of a file, and gives what has the owner do it and what came of that.
func (x *fixture) touching(path string) (owner chan struct{}, done chan error) {
	owner, done = x.hold("touch", path), make(chan error, 1)
	go func() { done <- x.SetTime(path, time.Now()) }()
	synctest.Wait()
	return owner, done
}

// renaming renames something, and gives what has the owner say that it did and what came of that.
func (x *fixture) renaming(from, to string) (answer chan struct{}, done chan error) {
	answer, done = x.late("move", from), make(chan error, 1)
	go func() { done <- x.Rename(from, to) }()
	synctest.Wait()
	return answer, done
}

// gone checks that nothing is shown of a name.
func (x *fixture) gone(name string) {
	x.Helper()
	_, err := x.Stat(name)
	x.is(err, peer.NotFound)
	is, err := x.List(path.Dir("/" + name)[1:])
	if x.ok(err); slices.ContainsFunc(is, func(i vfstest.Info) bool { return i.Name == path.Base(name) }) {
		x.Errorf("%s is in %+v", name, is)
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

// TestWrittenWhileOthersMoveIt: what is written to a file goes where somebody else has moved it meanwhile, and is no conflict.
func TestWrittenWhileOthersMoveIt(t *testing.T) {
	in(t, func(x *fixture) {
		x.share.Write("doc", []byte("old text"))
		x.here("doc", "old text")
		h := x.open("doc", os.O_RDWR)
		_, err := h.WriteAt([]byte("my"), 0)
		x.ok(err)
		time.Sleep(10 * time.Second)
		x.share.Rename("doc", "moved")
		time.Sleep(10 * time.Second)
		x.ok(h.Close())
		x.drain()
		x.there("moved", "myd text")
		if paths := x.share.Paths(); x.FS.Conflicts() > 0 || len(paths) != 1 {
			t.Errorf("the owner has %q, %d conflicts", paths, x.FS.Conflicts())
		}
	})
}
