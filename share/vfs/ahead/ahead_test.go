package ahead

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/share/vfs/tree"
)

// world is a tree of folders, of which one walks.
type world struct {
	*testing.T
	Walks
	tree *tree.Tree
	now  time.Time
}

func newWorld(t *testing.T, folders ...string) *world {
	w := &world{T: t, tree: tree.New(), now: time.Unix(1000, 0)}
	for _, f := range folders {
		n := w.tree.Get(tree.Root)
		for name := range strings.SplitSeq(f, "/") {
			c := n.Child(name)
			if c == nil {
				c, _ = w.tree.Add(n, name, true)
			}
			n = c
		}
	}
	return w
}

func (w *world) node(path string) *tree.Node {
	return w.tree.Get(tree.Root).Find(strings.Split(path, "/"))
}

// steps lists folders one by one, and gives the walk that the last one belongs to.
func (w *world) steps(here bool, paths ...string) (x *Walk) {
	for _, p := range paths {
		w.now = w.now.Add(50 * time.Millisecond)
		if x = w.Step(w.node(p), here, w.now); x != nil && !here {
			x.Listed(w.node(p), 10)
		}
	}
	return x
}

// next is the folders that come next, as many as there may be, but for those that were listed.
func next(x *Walk, listed ...*tree.Node) (paths []string) {
	for x != nil {
		n := x.Next(func(n *tree.Node) bool { return !slices.Contains(listed, n) })
		if n == nil {
			break
		}
		names, _ := n.Path()
		paths = append(paths, strings.Join(names, "/"))
	}
	return paths
}

var folders = []string{"s/a/1/x", "s/a/2", "s/b/1", "s/b/2/y/z", "s/c", "s/d", "t/a", "t/b"}

func TestWhoWalks(t *testing.T) {
	for _, c := range []struct {
		name, steps, want string
	}{
		{"one folder", "s", ""},
		{"a folder and one in it", "s s/a", ""},
		{"downwards and on", "s s/a s/a/1", "s/a/1/x s/a/2 s/b s/c s/d"},
		{"one beside another", "s/a s/b s/c", "s/d"},
		{"up again", "s/a s/a/1 s/a/1/x s/a/2", ""},
		{"and beside where it began", "s/a s/a/1 s/a/1/x s/a/2 s/b", "s/b/1 s/b/2 s/c s/d"},
		{"here and there", "s/a t/a s/b/1", ""},
		{"backwards in a line of parents", "s/b/2/y s/b/2 s/b", ""},
		{"the same again", "s s s s", ""},
		{"never above where it began", "s/a s/a/1 s/a/2", ""},
		{"two at once", "s t s/a t/a s/b t/b", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, folders...)
			var listed []*tree.Node
			for _, p := range strings.Fields(c.steps) {
				listed = append(listed, w.node(p))
			}
			got := next(w.steps(false, strings.Fields(c.steps)...), listed...)
			if strings.Join(got, " ") != c.want {
				t.Errorf("%s: %q come next, want %q", c.steps, got, c.want)
			}
		})
	}
}

func TestSlowStepsAreNoWalk(t *testing.T) {
	w := newWorld(t, folders...)
	for _, p := range []string{"s", "s/a", "s/b", "s/c"} {
		w.now = w.now.Add(2 * time.Second)
		if x := w.Step(w.node(p), false, w.now); x != nil {
			t.Error("it is taken for a walk")
		}
	}
}

// What is known already is no step of a walk that nobody knows of, and goes on with one that is known.
func TestHere(t *testing.T) {
	w := newWorld(t, folders...)
	if x := w.steps(true, "s", "s/a", "s/b", "s/c", "s/d"); x != nil {
		t.Error("who lists what is here needs nobody ahead")
	}
	if x := w.steps(false, "s", "s/a", "s/a/1"); x == nil || w.steps(true, "s/a/2") != x {
		t.Error("a walk ends at what is here")
	}
}

// No more is listed ahead than was taken before lets expect, and nothing more when nobody takes it.
func TestBounds(t *testing.T) {
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("s/%03d", i))
	}
	w := newWorld(t, many...)
	x := w.steps(false, "s/000", "s/001", "s/002")
	ahead := next(x)
	if len(ahead) != firstMost || ahead[0] != "s/003" {
		t.Fatalf("%q come next, want %d", ahead, firstMost)
	}
	if got := next(x); len(got) > 0 {
		t.Errorf("%q come next while nobody takes", got)
	}
	for _, p := range ahead {
		x.Listed(w.node(p), 10)
	}
	for i := 0; i < 500; i++ {
		if w.steps(true, ahead[i]) != x {
			t.Fatal("it is another walk")
		}
		got := next(x)
		for _, p := range got {
			x.Listed(w.node(p), 10)
		}
		ahead = append(ahead, got...)
		if n := len(ahead) - i - 1; n > lastMost || i > 5 && n < lastMost {
			t.Fatalf("%d are ahead after %d were taken", n, i+1)
		}
	}
	if !slices.Equal(ahead, many[3:3+len(ahead)]) {
		t.Error("they come in another order than they are in")
	}
}

func TestMuchIsHeld(t *testing.T) {
	w := newWorld(t, folders...)
	x := w.steps(false, "s", "s/a", "s/a/1")
	n := x.Next(func(*tree.Node) bool { return true })
	x.Listed(n, maxHeld)
	if got := next(x); len(got) > 0 {
		t.Errorf("%q come next while so much is held", got)
	}
	x.Failed(n)
	if got := next(x); len(got) == 0 {
		t.Error("nothing comes next when that is held no more")
	}
}

// What goes from the tree meanwhile is no reason to fail.
func TestGoneFolders(t *testing.T) {
	w := newWorld(t, folders...)
	x := w.steps(false, "s", "s/a", "s/a/1")
	w.tree.Drop(w.node("s/a"))
	s := w.node("s")
	w.tree.Drop(s)
	w.steps(false, "t", "t/a", "t/b")
	if w.Step(s, false, w.now) != x {
		t.Error("it is not the walk's own")
	}
	w.End(x)
	next(x)
	if w.Step(s, false, w.now) == x {
		t.Error("it was ended")
	}
}
