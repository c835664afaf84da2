package vfs

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs/tree"
)

// What the owner says about a path while something leaves it is about what was there, what is there now, or nothing. Here is what keeps
// those apart.

// leaving is something that the owner is asked to have elsewhere: until it has answered, what is at the path is not known.
type leaving struct {
	path share.Path
	over chan struct{} // closed when it is
}

// leavingLocked gives what is closed when something at a path, or a folder above it, has left; nil if nothing leaves.
func (pt *point) leavingLocked(p share.Path) <-chan struct{} {
	for _, l := range pt.leaving {
		if _, below := p.Below(l.path); below {
			return l.over
		}
	}
	return nil
}

func (f *FS) left(pt *point, l *leaving) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pt.leaving = slices.DeleteFunc(pt.leaving, func(x *leaving) bool { return x == l })
	close(l.over)
}

// whereNow gives the place of a node, when what leaves the path that it had has left.
func (f *FS) whereNow(ctx context.Context, op string, p place) (place, error) {
	for {
		f.mu.Lock()
		leaving := p.pt.leavingLocked(p.path)
		now, err := f.placeLocked(p.n)
		f.mu.Unlock()
		if leaving == nil {
			return now, err
		}
		select {
		case <-leaving:
		case <-f.base.Done():
			return p, fail(op, p.String(), ErrClosed)
		case <-ctx.Done():
			return p, located(ctx, op, p.String(), ctx.Err())
		}
	}
}

// went reports whether what the owner said about a path, with or without an error, is not about the node that had it, and gives the
// place where that is.
func (f *FS) went(ctx context.Context, op string, p place, said error) (place, bool) {
	if said != nil && peer.KindOf(said) != peer.NotFound {
		return p, false
	}
	now, err := f.whereNow(ctx, op, p)
	return now, err == nil && now.path != p.path
}

// askAgainLocked says that answers about what is below some paths may be about what was there before.
func (pt *point) askAgainLocked(paths ...share.Path) {
	for at, a := range pt.asks {
		for _, p := range paths {
			a.stale = a.stale || strings.HasPrefix(at, p.String()+"/")
		}
	}
}

// doubtLocked says that what is known below a folder is to be asked for again.
func (f *FS) doubtLocked(n *tree.Node) {
	n.Folder().Epoch, n.Folder().Seen = 0, 0
	for _, c := range n.Folder().Children() {
		c.Epoch = 0
		if c.Dir {
			f.doubtLocked(c)
		}
	}
}

// strayLocked says that a folder is elsewhere now. What is just being listed at and below its old path says nothing of it, nor may what
// was listed since a moment before.
func (f *FS) strayLocked(n *tree.Node, since time.Time) {
	fo := n.Folder()
	if l, ok := fo.Listing.(*lister); ok {
		l.astray = true
	}
	if fo.Seen > since.UnixNano() {
		fo.Epoch, fo.Seen = 0, 0
	}
	for _, c := range n.Folders() {
		f.strayLocked(c, since)
	}
}
