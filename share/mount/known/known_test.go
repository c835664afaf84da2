package known_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/mount/known"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/vfs/vfstest"
)

func fresh(t *testing.T) *known.Known {
	t.Helper()
	w := vfstest.NewWorld()
	w.Add("anna").Share("docs", share.Full)
	fs, err := vfs.New(w, vfs.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fs.Close(); err != nil {
			t.Error(err)
		}
	})
	return known.New(fs)
}

func file(ino vfs.Ino) vfs.Attr { return vfs.Attr{Ino: ino, Fresh: time.Hour} }

const dir vfs.Ino = 7

func at(name string) known.Place { return known.Place{Parent: dir, Name: name} }

func TestTurns(t *testing.T) {
	k := fresh(t)
	turn := k.Now()
	if got := k.Told(file(10), at("a"), turn); got != time.Hour {
		t.Errorf("what did not change is believed for %v", got)
	}
	k.Heard(11)
	if got := k.Told(file(10), at("a"), turn); got != time.Hour {
		t.Errorf("it is believed for %v after another changed", got)
	}
	k.Heard(10)
	if got := k.Told(file(10), at("a"), turn); got != 0 {
		t.Errorf("it is believed for %v after it changed", got)
	}
	if got := k.Told(file(10), at("a"), k.Now()); got != time.Hour {
		t.Errorf("it is believed for %v when it was asked for again", got)
	}
	turn = k.Now()
	k.Heard(dir)
	if got := k.Missed(at("b"), turn, time.Hour); got != 0 {
		t.Errorf("a name is believed to be missing for %v after the folder changed", got)
	}
	turn = k.Now()
	for ino := vfs.Ino(1000); ino < 10_000; ino++ {
		k.Heard(ino)
	}
	if got := k.Told(file(10), at("a"), turn); got != 0 {
		t.Errorf("it is believed for %v after more changed than are told apart", got)
	}
	turn = k.Now()
	k.HeardAny()
	if got := k.Told(file(10), at("a"), turn); got != 0 {
		t.Errorf("it is believed for %v after anything may have changed", got)
	}
}

func TestNames(t *testing.T) {
	k := fresh(t)
	k.Told(file(10), at("a"), k.Now())
	if !k.Is(at("a"), 10) || k.Is(at("a"), 11) || k.Is(at("b"), 10) || k.Is(at("b"), 0) {
		t.Error("a name stands for what it does not")
	}
	k.Told(file(11), at("b"), k.Now())
	k.Moved(at("a"), at("b"))
	if k.Is(at("a"), 10) || !k.Is(at("b"), 10) || !k.IsGone(11) || k.IsGone(10) {
		t.Error("a rename over another was not noted")
	}
	k.Removed(at("b"))
	if !k.IsGone(10) || k.Is(at("b"), 10) {
		t.Error("a removal was not noted")
	}
	k.Forget(10, 5)
	k.Forget(10, 1)
	if k.Holds(10) || k.IsGone(10) {
		t.Error("what was forgotten is still known")
	}
	k.ForgetAll()
	if files, folders, names := k.All(); len(files)+len(folders)+len(names) > 0 {
		t.Errorf("%v, %v, %v", files, folders, names)
	}
}

// opener has a file open.
type opener struct{ tag string }

func (o *opener) Tag() string { return o.tag }

func TestCache(t *testing.T) {
	k := fresh(t)
	k.Told(file(10), at("a"), k.Now())
	open := func(tag string) (o *opener, keep, direct bool) {
		o = &opener{tag}
		keep, direct = k.Opened(10, o, tag)
		return o, keep, direct
	}
	one, keep, direct := open("1")
	if keep || direct {
		t.Errorf("the first: %v, %v", keep, direct)
	}
	same, keep, direct := open("1")
	if !keep || direct {
		t.Errorf("the same again: %v, %v", keep, direct)
	}
	k.Closed(10, same)
	k.Wrote(10, "1", "2")
	one.tag = "2" // as it was written through it
	same, keep, direct = open("2")
	if !keep || direct {
		t.Errorf("after it was written here: %v, %v", keep, direct)
	}
	k.Closed(10, same)
	other, keep, direct := open("3")
	if keep || !direct {
		t.Errorf("another beside it: %v, %v", keep, direct)
	}
	k.Closed(10, one)
	k.Closed(10, other)
	_, keep, direct = open("3")
	if keep || direct {
		t.Errorf("what was read beside another is in no cache: %v, %v", keep, direct)
	}
	if !k.Caches(10, "3") || k.Caches(10, "2") || k.Caches(99, "3") || k.Caches(10, "") {
		t.Error("the cache is taken for another")
	}
}

// Names that are missing are noted, but not without end.
func TestMissingNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := fresh(t)
		believed := 0
		for i := range 70_000 {
			if k.Missed(at(fmt.Sprint(i)), k.Now(), time.Hour) == time.Hour {
				believed++
			}
		}
		if believed != 1<<16 {
			t.Errorf("%d are believed to be missing for long", believed)
		}
		time.Sleep(known.Trust + time.Second)
		if got := k.Missed(at("later"), k.Now(), time.Hour); got != time.Hour {
			t.Errorf("when the kernel believes none of them any more one is believed for %v", got)
		}
	})
}

func TestSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := fresh(t)
		end := k.Begin(at("a"), at("b"))
		again := k.Begin(at("a"))
		done := false
		go func() {
			k.Settled(t.Context(), at("a"))
			done = true
		}()
		k.Settled(t.Context(), at("c"))
		end()
		synctest.Wait()
		if done {
			t.Error("it was not waited for all")
		}
		again()
		synctest.Wait()
		if !done {
			t.Error("it is waited for nobody")
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer k.Begin(at("a"))()
		cancel()
		k.Settled(ctx, at("a"))
	})
}

// The kernel keeps a folder's listing if events keep it true, and nothing changed while it read.
func TestListed(t *testing.T) {
	for name, c := range map[string]struct {
		read func(k *known.Known) (drop bool)
		want bool
	}{
		"told": {func(k *known.Known) bool {
			turn := k.Now()
			return k.Listed(dir, turn, true, false) || k.Listed(dir, turn, true, true)
		}, false},
		"untold": {func(k *known.Known) bool {
			return !k.Listed(dir, k.Now(), false, false) && k.Listed(dir, k.Now(), true, true)
		}, true},
		"changed before it was read": {func(k *known.Known) bool {
			k.Heard(dir)
			return k.Listed(dir, k.Now(), true, false) || k.Listed(dir, k.Now(), true, true)
		}, false},
		"changed meanwhile": {func(k *known.Known) bool {
			turn := k.Now()
			drop := k.Listed(dir, turn, true, false)
			k.Heard(dir)
			return !drop && k.Listed(dir, turn, true, true)
		}, true},
		"another changed meanwhile": {func(k *known.Known) bool {
			turn := k.Now()
			k.Heard(dir + 1)
			return k.Listed(dir, turn, true, true)
		}, false},
		"half of it of before a change, by somebody who left": {func(k *known.Known) bool {
			k.Listed(dir, k.Now(), true, false)
			k.Heard(dir)
			k.Listed(dir, k.Now(), true, false)
			return k.Listed(dir, k.Now(), true, true)
		}, true},
		"the next one": {func(k *known.Known) bool {
			k.Listed(dir, k.Now(), false, true)
			return k.Listed(dir, k.Now(), true, true)
		}, false},
	} {
		k := fresh(t)
		k.Pin(dir)
		if got := c.read(k); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := fresh(t)
		k.Pin(dir)
		if k.Overdue(dir) {
			t.Error("a listing that nobody read is overdue")
		}
		k.Listed(dir, k.Now(), true, true)
		time.Sleep(known.Trust - time.Second)
		if k.Overdue(dir) {
			t.Error("it is overdue too early")
		}
		time.Sleep(time.Second)
		if !k.Overdue(dir) || k.Overdue(dir) {
			t.Error("it must be overdue, once")
		}
	})
}
