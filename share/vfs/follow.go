package vfs

import (
	"context"
	"iter"
	"slices"

	"github.com/peerd/peerd/share/vfs/tree"
)

// follower is somebody who keeps what the tree said.
type follower struct {
	changes []Change
	over    bool
	more    chan struct{}
}

// behind is how many changes a follower may be behind.
const behind = 8192

// tellLocked tells those who follow of changes.
func (f *FS) tellLocked(cs ...Change) {
	for _, fo := range f.followers {
		if fo.over = fo.over || len(fo.changes)+len(cs) > behind; fo.over {
			fo.changes = nil
		} else {
			fo.changes = append(fo.changes, cs...)
		}
		select {
		case fo.more <- struct{}{}:
		default:
		}
	}
}

// tellName tells that a name in a folder is another node, or none.
func (f *FS) tellName(n, parent *tree.Node, name string) {
	c := Change{What: Name, Parent: parent.Ino, Name: name}
	if n != nil {
		c.Ino = n.Ino
	}
	f.tellLocked(c)
}

// Changes yields what changes of what the tree has told, until ctx ends.
func (f *FS) Changes(ctx context.Context) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		fo := &follower{more: make(chan struct{}, 1)}
		f.mu.Lock()
		f.followers = append(f.followers, fo)
		f.mu.Unlock()
		defer func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.followers = slices.DeleteFunc(f.followers, func(x *follower) bool { return x == fo })
		}()
		for {
			select {
			case <-ctx.Done():
				return
			case <-f.base.Done():
				return
			case <-fo.more:
			}
			f.mu.Lock()
			cs := fo.changes
			if fo.over {
				cs = []Change{{What: All}}
			}
			fo.changes, fo.over = nil, false
			f.mu.Unlock()
			for _, c := range cs {
				if !yield(c) {
					return
				}
			}
		}
	}
}
