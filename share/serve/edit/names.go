package edit

import (
	"crypto/rand"
	"sync"

	"github.com/peerd/peerd/share"
)

// stagedName is a name in the staging folder of a share.
type stagedName struct {
	share share.ID
	text  string
}

// names are the names that are in use, so that of two puts of the same file each has its own, and which put of a file came last.
type names struct {
	mu    sync.Mutex
	taken map[stagedName]bool
	files map[stagedName]*states // by how the names of all states of a file begin
}

// states are those of one file that are on their way.
type states struct {
	open int
	last *item
}

// take takes a name, or another that is free.
func (n *names) take(name stagedName) stagedName {
	n.mu.Lock()
	defer n.mu.Unlock()
	for n.taken[name] {
		name.text += "-" + rand.Text()[:8]
	}
	n.taken[name] = true
	return name
}

// use makes an item the last one of its file.
func (n *names) use(it *item) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.files[it.file]
	if f == nil {
		f = &states{}
		n.files[it.file] = f
	}
	f.open++
	f.last = it
}

// stale reports whether another state of the same file came after an item, be it done with or not: the other side of this one's put was
// lost, and put it again.
func (n *names) stale(it *item) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.files[it.file]
	return f != nil && f.last.state != it.state
}

func (n *names) release(it *item) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.taken, it.name)
	if f := n.files[it.file]; f != nil {
		if f.open--; f.open == 0 {
			delete(n.files, it.file)
		}
	}
}
