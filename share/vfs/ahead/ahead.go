// Package ahead notices who goes through a tree of folders, one after another, and says which ones come next, so that they can be
// listed before they are asked for. It is a plain data structure, without clock or lock.
package ahead

import (
	"slices"
	"time"

	"github.com/peerd/peerd/share/vfs/tree"
)

const (
	maxWalks  = 4           // that are told apart
	known     = 3           // steps that make a walk
	pause     = time.Second // that a walk does not make, before it is known
	firstMost = 8           // folders ahead, at first; each that is taken doubles that
	lastMost  = 64
	maxHeld   = 32 << 10 // entries of folders that nobody took yet
	maxNext   = 64 << 10 // folders that wait for their turn
)

// Walks are those that go on in one share. The zero Walks are none.
type Walks struct{ all []*Walk }

// Walk is somebody's way through the folders below one.
type Walk struct {
	top   *tree.Node
	last  *tree.Node // folder that was listed
	at    time.Time
	steps int
	next  []*tree.Node       // folders that may be listed ahead; the first is the last
	ahead map[*tree.Node]int // those that are, or are being listed, and that nobody took: their entries
	held  int                // entries
	most  int                // folders
}

// Step notes that a folder is listed for somebody, as it is if here says so, and gives the walk that this belongs to if there is one.
func (w *Walks) Step(n *tree.Node, here bool, now time.Time) *Walk {
	for i, x := range w.all {
		if x.known() && below(n, x.top) || goesOn(x, n) && now.Sub(x.at) < pause {
			w.all = append(slices.Delete(w.all, i, i+1), x)
			return x.step(n, here, now)
		}
	}
	if !here {
		if len(w.all) == maxWalks {
			w.all = slices.Delete(w.all, 0, 1)
		}
		w.all = append(w.all, &Walk{top: n, last: n, at: now, steps: 1, most: firstMost, ahead: make(map[*tree.Node]int)})
	}
	return nil
}

// End forgets a walk.
func (w *Walks) End(x *Walk) {
	w.all = slices.DeleteFunc(w.all, func(y *Walk) bool { return x == y })
}

// below reports whether a node is another one, or below it.
func below(n, top *tree.Node) bool {
	for ; n != nil; n = n.Parent() {
		if n == top {
			return true
		}
	}
	return false
}

// goesOn reports whether a folder comes after the last one of a walk: it is in that, or beside it or a folder that that is in.
func goesOn(x *Walk, n *tree.Node) bool {
	return n.Parent() != nil && below(x.last, n.Parent()) && !below(x.last, n)
}

func (x *Walk) known() bool { return x.steps >= known }

func (x *Walk) step(n *tree.Node, here bool, now time.Time) *Walk {
	was := x.known()
	if !here || was {
		x.steps++
	}
	x.last, x.at = n, now
	old := x.top
	for x.top != nil && !below(n, x.top) {
		x.top = x.top.Parent()
	}
	if x.top == nil { // what was the top went elsewhere
		x.top = n
	}
	if !x.known() {
		return nil
	}
	if !was || old != x.top {
		x.beside(n)
	}
	switch entries, taken := x.ahead[n]; {
	case taken:
		delete(x.ahead, n)
		x.held -= entries
		x.most = min(2*x.most, lastMost)
	case here:
		x.Listed(n, 0)
	}
	return x
}

// beside has the folders come next that are beside one, behind it, and beside those that it is in, up to the top.
func (x *Walk) beside(n *tree.Node) {
	var levels [][]*tree.Node
	for ; n != x.top && n.Parent() != nil; n = n.Parent() {
		all := n.Parent().Folders()
		levels = append(levels, all[slices.Index(all, n)+1:])
	}
	for _, level := range slices.Backward(levels) {
		x.push(level)
	}
}

func (x *Walk) push(folders []*tree.Node) {
	if len(x.next)+len(folders) > maxNext {
		return
	}
	for _, n := range slices.Backward(folders) {
		x.next = append(x.next, n)
	}
}

// Next gives a folder to list ahead, of those that want says are worth it, or nil if there is none now.
func (x *Walk) Next(want func(*tree.Node) bool) *tree.Node {
	for len(x.ahead) < x.most && x.held < maxHeld && len(x.next) > 0 {
		n := x.next[len(x.next)-1]
		x.next = x.next[:len(x.next)-1]
		if _, is := x.ahead[n]; !is && want(n) {
			x.ahead[n] = 0
			return n
		}
	}
	return nil
}

// Listed notes that a folder was listed, of so many entries; those in it come next.
func (x *Walk) Listed(n *tree.Node, entries int) {
	if _, ahead := x.ahead[n]; ahead {
		x.ahead[n] = entries
		x.held += entries
	}
	x.push(n.Folders())
}

// Failed notes that a folder could not be listed ahead.
func (x *Walk) Failed(n *tree.Node) {
	x.held -= x.ahead[n]
	delete(x.ahead, n)
}
