package vfs

import (
	"context"
	"slices"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs/tree"
)

// asks is how many names of a folder are asked for one by one before it is listed.
const asks = 2

// Lookup gives the node of a name in a folder.
func (f *FS) Lookup(ctx context.Context, parent Ino, name string) (Attr, error) {
	p, err := f.place(parent)
	switch {
	case err != nil:
		return Attr{}, err
	case !p.n.Dir:
		return Attr{}, fail("look up", p.String(), ErrNotDir)
	case len(name) > share.MaxComponent:
		return Attr{}, fail("look up", p.String(), ErrTooLong)
	}
	var n *tree.Node
	if p.pt == nil {
		n, err = f.lookupOutside(ctx, p, name)
	} else {
		n, err = f.lookup(ctx, p, name)
	}
	if err != nil {
		return Attr{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	pt := p.pt
	if pt == nil && p.n.Ino != Root {
		pt = f.pointLocked(p.n.Name(), n.Name()) // which may be spelled otherwise
	}
	return f.attrLocked(n, pt, time.Now()), nil
}

// lookupOutside finds a peer, or a share of one.
func (f *FS) lookupOutside(ctx context.Context, p place, name string) (*tree.Node, error) {
	_, err := f.List(ctx, p.n.Ino)
	f.mu.Lock()
	n := p.n.Child(name)
	f.mu.Unlock()
	switch {
	case n != nil:
		return n, nil
	case p.n.Ino == Root && err == nil:
		return nil, notFound("look up", p.child(name))
	case p.n.Ino == Root || share.CheckComponent(name) != nil:
		if err == nil {
			err = notFound("look up", p.child(name))
		}
		return nil, err
	}
	f.mu.Lock()
	if n = spelled(p.n, name); n != nil {
		f.mu.Unlock()
		return n, nil
	}
	pt := f.pointLocked(p.n.Name(), name) // it may be a hidden share
	f.mu.Unlock()
	if _, err := f.enter(ctx, "look up", pt); err != nil {
		if peer.KindOf(err) == peer.Denied { // who may not know of it is not told that it is there
			err = notFound("look up", p.child(name))
		}
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if n = spelled(p.n, name); n == nil {
		n, _ = f.tree.Add(p.n, name, true)
		n.Known, n.Seen = true, time.Now().UnixNano()
		f.bringBackLocked(pt)
	}
	return n, nil
}

// spelled is the peer or share that a name at the root or in a peer means, or nil. Whatever spelling is one for who has it: were it two
// here, what waits under one would not show under the other.
func spelled(folder *tree.Node, name string) *tree.Node {
	if n := folder.Child(name); n != nil {
		return n
	}
	if alike := folder.Folder().Alike(name); len(alike) > 0 {
		return alike[0]
	}
	return nil
}

// Spelled gives a path from the root as the tree has it: the peer and the share may be spelled otherwise. What is not there stays as it is.
func (f *FS) Spelled(ctx context.Context, path ...string) []string {
	out, ino := path, Root
	for i, name := range path[:min(len(path), 2)] {
		f.mu.Lock()
		n := f.tree.Get(ino).Find([]string{name})
		f.mu.Unlock()
		if n == nil {
			a, err := f.Lookup(ctx, ino, name)
			if err != nil {
				break
			}
			p, err := f.place(a.Ino)
			if err != nil {
				break
			}
			n = p.n
			out = slices.Clone(out)
			out[i] = p.names[i]
		}
		ino = n.Ino
	}
	return out
}

// lookup finds a name in a folder of a share.
func (f *FS) lookup(ctx context.Context, p place, name string) (*tree.Node, error) {
	r, err := f.enter(ctx, "look up", p.pt)
	if err != nil && !known(err) {
		return nil, err
	}
	path, bad := p.path.Join(name)
	now := time.Now()
	f.mu.Lock()
	f.watchLocked(p.pt)
	n, fo := p.n.Child(name), p.n.Folder()
	mute := r == nil || p.pt.muteLocked(now)
	full, listed := p.pt.fullLocked(p.n, now), fo.Full
	fresh := n != nil && (n.Local != nil || p.pt.freshLocked(n, now))
	if !full && !fresh && fo.Asked <= asks {
		fo.Asked++
	}
	list := listed || fo.Asked > asks
	f.mu.Unlock()
	switch {
	case bad != nil:
		return nil, notFound("look up", p.child(name))
	case n != nil && (fresh || mute):
		return n, nil
	case n == nil && (full || mute && listed):
		return nil, notFound("look up", p.child(name))
	case mute:
		if err == nil {
			err = unreachable("look up", p.child(name), nil)
		}
		return nil, err
	case list:
		err = f.list(ctx, p)
	default:
		n, err = f.ask(ctx, p.pt, r, path)
		if err == nil && f.child(p.n, n) {
			return n, nil
		}
		if now, went := f.went(ctx, "look up", p, err); went {
			return f.lookup(ctx, now, name)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if n = p.n.Child(name); n != nil && (err == nil || known(err)) {
		return n, nil
	}
	if err == nil || known(err) && fo.Full {
		err = notFound("look up", p.child(name))
	}
	return nil, err
}

// child reports whether a node is in a folder.
func (f *FS) child(folder, n *tree.Node) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return n.Parent() == folder
}

// asking is a question about a path that waits for its answer.
type asking struct {
	count int
	stale bool // the path was changed here meanwhile, or is another's now
}

// stat asks the owner about one path. stale says that the answer may be older than what is known.
func (f *FS) stat(ctx context.Context, pt *point, r Remote, path share.Path) (e share.Entry, stale bool, err error) {
	ctx, end := context.WithTimeout(ctx, metaPatience)
	defer end()
	f.mu.Lock()
	a := pt.asks[path.String()]
	if a == nil {
		a = &asking{}
		pt.asks[path.String()] = a
	}
	a.count++
	f.mu.Unlock()
	e, err = r.Stat(ctx, path)
	f.mu.Lock()
	defer f.mu.Unlock()
	if a.count--; pt.asks[path.String()] == a && (a.count == 0 || a.stale) {
		delete(pt.asks, path.String())
	}
	return e, a.stale, err
}

// ask asks the owner about one path, and takes in what it says.
func (f *FS) ask(ctx context.Context, pt *point, r Remote, path share.Path) (*tree.Node, error) {
	f.mu.Lock()
	applied := pt.applied
	f.mu.Unlock()
	e, stale, err := f.stat(ctx, pt, r, path)
	for try := 0; stale && try < 3; try++ {
		e, stale, err = f.stat(ctx, pt, r, path)
	}
	err = f.answered(ctx, pt, "stat", pt.label()+"/"+path.String(), err)
	f.mu.Lock()
	defer f.mu.Unlock()
	parent := pt.find(path.Dir())
	if path.IsRoot() {
		n := pt.node()
		if err == nil && n != nil {
			f.factsLocked(n, e, false, time.Now())
		}
		return n, err
	}
	if parent == nil || !parent.Dir {
		return nil, notFound("stat", pt.label()+"/"+path.String())
	}
	if err != nil {
		if peer.KindOf(err) == peer.NotFound && pt.leavingLocked(path) == nil {
			f.lostLocked(parent.Child(path.Base()))
			if n := parent.Child(path.Base()); n != nil { // written here
				return n, nil
			}
		}
		return nil, err
	}
	e.Path = path
	epoch := pt.epoch
	if applied != pt.applied {
		pt.epoch = 0 // this may be older than what was told meanwhile: it isn't believed for long
	}
	n := f.saidLocked(pt, parent, e)
	pt.epoch = epoch
	return n, nil
}

// saidLocked takes in an answer about a name in a folder.
func (f *FS) saidLocked(pt *point, parent *tree.Node, e share.Entry) *tree.Node {
	n := parent.Child(e.Name())
	dir := e.Kind == share.Dir
	if n == nil || n.Dir != dir && n.Local == nil {
		n, _ = f.tree.Add(parent, e.Name(), dir)
		f.factsLocked(n, e, false, time.Now())
		f.tellName(n, parent, e.Name())
	} else if n.Dir == dir && f.factsLocked(n, e, false, time.Now()) {
		f.tellLocked(Change{What: Content, Ino: n.Ino})
	}
	n.Epoch = pt.epoch
	return n
}

// Walk gives the node at a path from the root: peer, share, components.
func (f *FS) Walk(ctx context.Context, path ...string) (Attr, error) {
	a, err := f.Attr(ctx, Root)
	for _, name := range path {
		if err != nil {
			break
		}
		a, err = f.Lookup(ctx, a.Ino, name)
	}
	return a, err
}

// Attr tells of a node. One that is gone is told of as long as it is open.
func (f *FS) Attr(ctx context.Context, ino Ino) (Attr, error) {
	p, err := f.place(ino)
	if err != nil {
		if p.n != nil && p.n.Opens > 0 {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.attrLocked(p.n, nil, time.Now()), nil
		}
		return Attr{}, err
	}
	if p.pt != nil && len(p.names) > 2 {
		r, err := f.enter(ctx, "stat", p.pt)
		if err != nil && !known(err) {
			return Attr{}, err
		}
		f.mu.Lock()
		now := time.Now()
		ask := r != nil && p.n.Local == nil && !p.pt.muteLocked(now) && !p.pt.freshLocked(p.n, now)
		f.mu.Unlock()
		if ask {
			if _, err := f.ask(ctx, p.pt, r, p.path); err != nil && !known(err) {
				if _, went := f.went(ctx, "stat", p, err); went {
					return f.Attr(ctx, ino)
				}
				return Attr{}, err
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.attrLocked(p.n, p.pt, time.Now()), nil
}

// spaceFresh is how long it is believed what a share has room for.
const spaceFresh = 10 * time.Second

// Space tells of the room in a share, as it was known last; of all shares in use at the root and in a peer.
func (f *FS) Space(ctx context.Context, ino Ino) (Space, error) {
	p, err := f.place(ino)
	if err != nil {
		return Space{}, err
	}
	if p.pt == nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		var all Space
		for _, pt := range f.points {
			if p.n.Ino == Root || pt.peer == p.names[0] {
				all.Total += pt.space.Total
				all.Free += pt.space.Free
			}
		}
		return all, nil
	}
	r, err := f.enter(ctx, "space", p.pt)
	if err != nil {
		return Space{}, err
	}
	f.mu.Lock()
	s, now := p.pt.space, time.Now()
	ask := now.Sub(p.pt.spaceAt) > spaceFresh && !p.pt.muteLocked(now)
	f.mu.Unlock()
	if !ask {
		return s, nil
	}
	short, end := context.WithTimeout(ctx, time.Second)
	defer end()
	got, err := r.Space(short)
	if err = f.answered(ctx, p.pt, "space", p.String(), err); err != nil {
		if known(err) {
			err = nil
		}
		return s, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p.pt.space, p.pt.spaceAt = got, now
	return got, nil
}
