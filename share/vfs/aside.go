package vfs

import (
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs/tree"
)

// aside is a file that is kept here, of a share that is not in the tree.
type aside struct {
	path string
	b    *body
}

// putAsideLocked puts aside what is kept here in a share that is about to leave the tree: that its owner does not list it says not that
// it is no more. It reports whether that could be done: nothing of it is open.
func (f *FS) putAsideLocked(pt *point, n *tree.Node) bool {
	var all []aside
	if !f.keptLocked(n, &all) {
		return false
	}
	for _, s := range all {
		s.b.n.Local = nil
	}
	if len(all) > 0 {
		key := share.FoldKey(pt.label())
		f.aside[key] = append(f.aside[key], all...)
	}
	return true
}

// keptLocked gives what is kept here at and below a node; false if something of it is open.
func (f *FS) keptLocked(n *tree.Node, all *[]aside) bool {
	if b, ok := n.Local.(*body); ok && b.overlay {
		p, err := f.placeLocked(n)
		if err != nil || b.opens > 0 {
			return false
		}
		*all = append(*all, aside{p.path.String(), b})
	}
	if n.Dir {
		for _, c := range n.Folder().Children() {
			if !f.keptLocked(c, all) {
				return false
			}
		}
	}
	return true
}

// bringBackLocked brings back what is kept here in a share that is in the tree again.
func (f *FS) bringBackLocked(pt *point) {
	key := share.FoldKey(pt.label())
	for _, s := range f.aside[key] {
		if n := f.leafLocked(pt.peer, pt.share, s.path); n != nil && n.Local == nil {
			s.b.pt, s.b.n, n.Local = pt, n, s.b
		}
	}
	delete(f.aside, key)
}
