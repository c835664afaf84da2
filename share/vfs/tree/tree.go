// Package tree is the nodes that a tree of shares knows: what their owners said of them, what was written over it here, and
// how they hang together. It is a plain data structure, without clock or lock.
package tree

import (
	"cmp"
	"slices"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/transfer"
)

// Ino names a node, and no other.
type Ino uint64

// Root is the node of the root.
const Root Ino = 1

// Facts are what is told of a file or folder.
type Facts struct {
	Size    int64
	ModTime int64 // nanoseconds since 1970
	Version transfer.Version
	Exec    bool
}

// Node is a file or folder. Its fields are the caller's; how it hangs together with others is the tree's.
type Node struct {
	Ino    Ino
	parent *Node // nil at the root, and of what is gone
	name   string
	Facts         // by its owner, if Known
	Tag    string // of the bytes, where they have another than Version says
	Seen   int64  // when Facts were told, in nanoseconds since 1970
	Epoch  uint32 // of the watch that keeps them true; 0 for none
	Held   uint32 // by faces
	Opens  int32  // files that are open
	Dir    bool
	Known  bool // its owner has it, for all that is known
	Local  any  // what was written here, and shows instead of Facts; nil for nothing
	folder *Folder
}

// Folder is what is known of a folder's content.
type Folder struct {
	children map[string]*Node
	alike    map[string][]*Node // the children by share.FoldKey, once somebody wanted that
	Full     bool               // all of it was listed once
	Asked    uint8              // how often something in it was asked for by itself
	Epoch    uint32             // as of Node, for the names
	Seen     int64
	Cache    any // what the caller made of the children; dropped when one changes
	Listing  any // who lists it just now
}

// Tree is all nodes.
type Tree struct {
	nodes map[Ino]*Node
	last  Ino
}

// New makes a tree of a root alone.
func New() *Tree {
	t := &Tree{nodes: make(map[Ino]*Node)}
	t.make(true)
	return t
}

func (t *Tree) make(dir bool) *Node {
	t.last++
	n := &Node{Ino: t.last, Dir: dir}
	if dir {
		n.folder = new(Folder)
	}
	t.nodes[n.Ino] = n
	return n
}

// Get gives a node, or nil.
func (t *Tree) Get(ino Ino) *Node { return t.nodes[ino] }

// Len is how many nodes there are.
func (t *Tree) Len() int { return len(t.nodes) }

// Parent is the folder that a node is in; nil at the root and of what is gone.
func (n *Node) Parent() *Node { return n.parent }

// Name is the node's name in its folder.
func (n *Node) Name() string { return n.name }

// Folder is what is known of a folder's content; nil of a file.
func (n *Node) Folder() *Folder { return n.folder }

// Child is the node of a name in a folder, or nil.
func (n *Node) Child(name string) *Node {
	if n.folder == nil {
		return nil
	}
	return n.folder.children[name]
}

// Len is how many nodes are known in a folder.
func (f *Folder) Len() int { return len(f.children) }

// Children are the nodes of a folder, sorted by name.
func (f *Folder) Children() []*Node {
	ns := make([]*Node, 0, len(f.children))
	for _, n := range f.children {
		ns = append(ns, n)
	}
	slices.SortFunc(ns, func(a, b *Node) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return ns
}

// Alike are the nodes of a folder whose names others than its own many systems take for a name.
func (f *Folder) Alike(name string) (ns []*Node) {
	if f.alike == nil {
		f.alike = make(map[string][]*Node, len(f.children))
		for _, n := range f.children {
			f.fold(n)
		}
	}
	for _, n := range f.alike[share.FoldKey(name)] {
		if n.name != name {
			ns = append(ns, n)
		}
	}
	return ns
}

func (f *Folder) fold(n *Node) {
	key := share.FoldKey(n.name)
	f.alike[key] = append(f.alike[key], n)
}

func (f *Folder) unfold(n *Node) {
	key := share.FoldKey(n.name)
	left := slices.DeleteFunc(f.alike[key], func(o *Node) bool { return o == n })
	if f.alike[key] = left; len(left) == 0 {
		delete(f.alike, key)
	}
}

// Folders are the folders in a folder, in the order in which they came to be known.
func (n *Node) Folders() []*Node {
	var ns []*Node
	for _, c := range n.folder.children {
		if c.Dir {
			ns = append(ns, c)
		}
	}
	slices.SortFunc(ns, func(a, b *Node) int { return cmp.Compare(a.Ino, b.Ino) })
	return ns
}

// Changed drops what was made of the folder that a node is in.
func (n *Node) Changed() {
	if n.parent != nil {
		n.parent.folder.Cache = nil
	}
}

// Add makes a node in a folder, in the place of one of that name, which it gives back.
func (t *Tree) Add(parent *Node, name string, dir bool) (n, old *Node) {
	old = parent.Child(name)
	if old != nil {
		t.Drop(old)
	}
	n = t.make(dir)
	t.hang(n, parent, name)
	return n, old
}

func (t *Tree) hang(n, parent *Node, name string) {
	f := parent.folder
	if f.children == nil {
		f.children = make(map[string]*Node)
	}
	n.parent, n.name = parent, name
	f.children[name] = n
	if f.alike != nil {
		f.fold(n)
	}
	f.Cache = nil
}

func (n *Node) unhang() {
	if p := n.parent; p != nil {
		delete(p.folder.children, n.name)
		if p.folder.alike != nil {
			p.folder.unfold(n)
		}
		p.folder.Cache = nil
		n.parent = nil
	}
}

// Drop takes a node and all below it out. Those that are held or open can still be got, until Forget.
func (t *Tree) Drop(n *Node) {
	n.unhang()
	t.forget(n)
	if n.folder != nil {
		for _, c := range n.folder.children {
			t.Drop(c)
		}
	}
}

// Forget drops what is known of a node that is gone and that nobody holds.
func (t *Tree) Forget(n *Node) {
	if n.parent == nil && n.Ino != Root {
		t.forget(n)
	}
}

func (t *Tree) forget(n *Node) {
	if n.Held == 0 && n.Opens == 0 {
		delete(t.nodes, n.Ino)
	}
}

// Move hangs a node elsewhere, in the place of one that is there, which it gives back. A folder can't go below itself.
func (t *Tree) Move(n, parent *Node, name string) (old *Node, ok bool) {
	for p := parent; p != nil; p = p.parent {
		if p == n {
			return nil, false
		}
	}
	if old = parent.Child(name); old == n {
		return nil, true
	}
	n.unhang() // before, for it may be below old
	if old != nil {
		t.Drop(old)
	}
	t.hang(n, parent, name)
	return old, true
}

// Path is the names from the root down to a node, and whether it hangs in the tree.
func (n *Node) Path() (names []string, ok bool) {
	for ; n.parent != nil; n = n.parent {
		names = append(names, n.name)
	}
	slices.Reverse(names)
	return names, n.Ino == Root
}

// Find is the node at names below a node, or nil if it isn't known.
func (n *Node) Find(names []string) *Node {
	for _, name := range names {
		if n == nil {
			return nil
		}
		n = n.Child(name)
	}
	return n
}

// Prune drops what nobody needs of a folder: children below it, however deep, unless keep says that one must stay.
func (t *Tree) Prune(n *Node, keep func(*Node) bool) (empty bool) {
	empty = true
	for _, c := range n.folder.children {
		below := c.folder == nil || t.Prune(c, keep)
		if below && c.Held == 0 && c.Opens == 0 && !keep(c) {
			t.Drop(c)
			n.folder.Full = false
			continue
		}
		empty = false
	}
	return empty
}
