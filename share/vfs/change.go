package vfs

import (
	"context"
	"strings"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/vfs/tree"
	"github.com/peerd/peerd/share/watch"
	"github.com/peerd/peerd/transfer"
)

// keepUpTo is how large a file may be, in bytes, that is fetched when its name goes while it is open.
const keepUpTo = 64 << 20

// here gives a share whose owner is to change something now.
func (f *FS) here(ctx context.Context, op string, p place, name string) (Remote, error) {
	r, err := f.enter(ctx, op, p.pt)
	switch {
	case err != nil:
		return nil, err
	case r == nil || r.Away():
		return nil, unreachable(op, p.child(name), nil)
	case r.Right() < share.Full:
		f.askRight(p.pt)
		return nil, fail(op, p.child(name), ErrReadOnly)
	}
	return r, nil
}

// settleSoon is how long a change of names waits for files that are being sent, before they are broken off.
const settleSoon = 300 * time.Millisecond

// abortLocked breaks off the sending of all at and below a path.
func (f *FS) abortLocked(pt *point, path string) {
	for _, it := range pt.queue.All() {
		if b := pt.bodies[it.ID]; it.Sending && b.way != nil && (it.Path == path || strings.HasPrefix(it.Path, path+"/")) {
			b.way.Abort()
		}
	}
}

// settle keeps what waits at and below a path from being sent, and waits until nothing of it is on its way.
func (f *FS) settle(ctx context.Context, pt *point, path string) (release func(), err error) {
	ctx, end := context.WithTimeout(ctx, metaPatience)
	defer end()
	release = func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		pt.queue.Release(path)
		f.kickLocked(pt)
	}
	soon := time.NewTimer(settleSoon)
	defer soon.Stop()
	f.mu.Lock()
	pt.queue.Hold(path)
	for pt.queue.Sending(path) {
		settled := f.settled
		f.mu.Unlock()
		select {
		case <-settled:
		case <-soon.C:
			f.mu.Lock()
			f.abortLocked(pt, path)
			f.mu.Unlock()
		case <-ctx.Done():
			release()
			return nil, unreachable("wait for", pt.label()+"/"+path, errSilent)
		}
		f.mu.Lock()
	}
	f.mu.Unlock()
	return release, nil
}

// keepOpen fetches files whose names are about to go, as far as they are open and not large: their owner will give no more of them.
func (f *FS) keepOpen(ctx context.Context, n *tree.Node) {
	f.mu.Lock()
	var open []*body
	for _, b := range f.clean[n.Ino] {
		if b.opens > 0 && b.c.State().Size <= keepUpTo && !b.c.Whole() {
			open = append(open, b)
		}
	}
	f.mu.Unlock()
	ctx, end := context.WithTimeout(ctx, metaPatience)
	defer end()
	for _, b := range open {
		_ = b.c.Fill(ctx) // else it is read for as long as the owner lets it
	}
}

// setFacts sets times and mode: of what was written here with its delivery, else at the owner.
func (f *FS) setFacts(ctx context.Context, b *body, s Set) error {
	if s.ModTime == nil && s.Exec == nil {
		return nil
	}
	f.mu.Lock()
	p, err := f.placeLocked(b.n)
	here := b.gone || b.overlay || b.dirty() || err != nil
	if here {
		b.c.Set(s.ModTime, s.Exec)
		b.n.Changed()
	}
	waits := b.flushed != 0 && b.opens == 0
	f.mu.Unlock()
	if here {
		if waits {
			return f.journalled(b)
		}
		return nil
	}
	was, err := f.touch(ctx, p, s)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if b.c.State().Gen == b.sent {
		b.c.Set(s.ModTime, s.Exec)
		b.sent = b.c.State().Gen
		if b.base == was { // else what is written next is not upon what is there now
			b.base = b.n.Version
		}
	}
	return nil
}

// touch sets times and mode at the owner, and gives the version that the file had here. One that is another by then is not taken for
// the same with another time: then none is given.
func (f *FS) touch(ctx context.Context, p place, s Set) (was transfer.Version, err error) {
	if err := f.may(ctx, "set", p, true); err != nil {
		return was, err
	}
	r, err := f.here(ctx, "set", p, "")
	if err != nil {
		return was, err
	}
	short, end := context.WithTimeout(ctx, metaPatience)
	defer end()
	f.mu.Lock()
	p.pt.expectLocked(p.path.String())
	was = p.n.Version
	f.mu.Unlock()
	base := change.Base{Version: was}
	if p.n.Dir {
		base = change.Base{Any: true}
	}
	c, same, err := touchAt(short, r, p.path, base, s)
	err = f.answered(ctx, p.pt, "set", p.String(), err)
	f.mu.Lock()
	defer f.mu.Unlock()
	kind := watch.Changed
	if err != nil || was == c.Entry.Version {
		kind = 0
	}
	if err == nil {
		f.factsLocked(p.n, c.Entry, same, time.Now())
		p.n.Epoch = p.pt.epoch
		f.tellLocked(Change{What: Content, Ino: p.n.Ino})
	}
	f.doneLocked(p.pt, p.path.String(), expected{kind: kind, dir: p.n.Dir, version: c.Entry.Version})
	if !same {
		was = transfer.Version{}
	}
	return was, err
}

// touchAt sets times and mode of whatever is at a path, and reports whether the base fitted.
func touchAt(ctx context.Context, r Remote, at share.Path, base change.Base, s Set) (c remote.Changed, fits bool, err error) {
	c, err = r.Touch(ctx, at, base, s.ModTime, s.Exec)
	if peer.KindOf(err) != peer.Conflict {
		return c, true, err
	}
	c, err = r.Touch(ctx, at, change.Base{Any: true}, s.ModTime, s.Exec)
	return c, false, err
}

// SetAttr sets size, times and mode.
func (f *FS) SetAttr(ctx context.Context, ino Ino, s Set) (Attr, error) {
	p, err := f.place(ino)
	if err != nil {
		return Attr{}, err
	}
	if err := f.may(ctx, "set", p, true); err != nil {
		return Attr{}, err
	}
	if p.n.Dir {
		switch {
		case s.Size != nil:
			return Attr{}, fail("truncate", p.String(), ErrIsDir)
		case s.ModTime != nil && !p.path.IsRoot():
			if _, err := f.touch(ctx, p, Set{ModTime: s.ModTime}); err != nil {
				return Attr{}, err
			}
		}
		return f.Attr(ctx, ino)
	}
	h, err := f.open(ctx, p, Mode{Read: true, Write: true})
	if err != nil {
		return Attr{}, err
	}
	if _, err = h.SetAttr(ctx, s); err == nil && s.Size != nil {
		err = h.Flush(ctx)
	}
	if e := h.Close(); err == nil {
		err = e
	}
	if err != nil {
		return Attr{}, err
	}
	return f.Attr(ctx, ino)
}

// Mkdir makes a folder.
func (f *FS) Mkdir(ctx context.Context, parent Ino, name string) (Attr, error) {
	p, err := f.creating(ctx, "mkdir", parent, name)
	if err != nil {
		return Attr{}, err
	}
	if _, err := f.lookup(ctx, p, name); err == nil {
		return Attr{}, fail("mkdir", p.child(name), ErrExists)
	} else if peer.KindOf(err) != peer.NotFound {
		return Attr{}, err
	}
	if err := f.free(ctx, "mkdir", p, name, nil); err != nil {
		return Attr{}, err
	}
	r, err := f.here(ctx, "mkdir", p, name)
	if err != nil {
		return Attr{}, err
	}
	at, err := p.path.Join(name)
	if err != nil {
		return Attr{}, fail("mkdir", p.child(name), ErrTooLong)
	}
	short, end := context.WithTimeout(ctx, metaPatience)
	defer end()
	f.mu.Lock()
	p.pt.expectLocked(at.String())
	epoch := p.pt.epoch
	f.mu.Unlock()
	err = f.answered(ctx, p.pt, "mkdir", p.child(name), r.Mkdir(short, at, false))
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.doneLocked(p.pt, at.String(), expected{})
		if peer.KindOf(err) == peer.Conflict {
			p.n.Folder().Seen, p.n.Folder().Epoch = 0, 0
			err = fail("mkdir", p.child(name), ErrExists)
		}
		return Attr{}, err
	}
	now := time.Now()
	n := p.n.Child(name)
	if n == nil || !n.Dir {
		n, _ = f.tree.Add(p.n, name, true)
	}
	f.factsLocked(n, share.Entry{Path: at, Kind: share.Dir, ModTime: now}, false, now)
	n.Epoch = p.pt.epoch
	n.Folder().Full, n.Folder().Epoch, n.Folder().Seen = true, 0, now.UnixNano() // it is empty
	if epoch == p.pt.epoch {
		n.Folder().Epoch = epoch
	}
	f.tellName(n, p.n, name)
	f.doneLocked(p.pt, at.String(), expected{kind: watch.Created, dir: true})
	return f.attrLocked(n, p.pt, now), nil
}

// Remove removes a file, or with dir an empty folder.
func (f *FS) Remove(ctx context.Context, parent Ino, name string, dir bool) error {
	return f.remove(ctx, parent, name, func(p place, n *tree.Node) error {
		switch {
		case n.Dir && !dir:
			return fail("remove", p.child(name), ErrIsDir)
		case dir && !n.Dir:
			return fail("remove", p.child(name), ErrNotDir)
		case dir:
			q, err := f.place(n.Ino)
			if err != nil {
				return err
			}
			if err := f.list(ctx, q); err != nil {
				return err
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if n.Folder().Len() > 0 {
				return fail("remove", p.child(name), ErrNotEmpty)
			}
		}
		return nil
	}, false)
}

// RemoveAll removes a file, or a folder with all in it.
func (f *FS) RemoveAll(ctx context.Context, parent Ino, name string) error {
	return f.remove(ctx, parent, name, func(place, *tree.Node) error { return nil }, true)
}

func (f *FS) remove(ctx context.Context, parent Ino, name string, check func(place, *tree.Node) error, deep bool) error {
	p, n, at, err := f.named(ctx, "remove", parent, name)
	if err != nil {
		return err
	}
	if err := check(p, n); err != nil {
		return err
	}
	release, err := f.settle(ctx, p.pt, at.String())
	if err != nil {
		return err
	}
	defer release()
	f.mu.Lock()
	there := n.Known
	f.mu.Unlock()
	if there {
		f.keepOpen(ctx, n)
		if err := f.removeThere(ctx, p, n, at, deep); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgetLocked(p.pt, n, at.String())
	f.tellName(nil, p.n, name)
	if there {
		f.doneLocked(p.pt, at.String(), expected{kind: watch.Removed})
	}
	return nil
}

// forgetLocked drops a node, and what waits at and below it.
func (f *FS) forgetLocked(pt *point, n *tree.Node, path string) {
	for _, it := range pt.queue.All() {
		if b := pt.bodies[it.ID]; it.Path == path || strings.HasPrefix(it.Path, path+"/") {
			b.gone = true
			b.endAhead()
			f.unqueueLocked(b)
			f.restBodyLocked(b)
		}
	}
	f.goneLocked(n)
	if n.Parent() != nil {
		f.dropLocked(n)
	}
}

// goneLocked says that what is open at and below a node has no name any more.
func (f *FS) goneLocked(n *tree.Node) {
	if b, ok := n.Local.(*body); ok {
		b.gone = true
		b.endAhead()
		f.unqueueLocked(b)
		if b.opens == 0 {
			f.restBodyLocked(b)
		}
	}
	for _, b := range f.clean[n.Ino] {
		b.gone = true
	}
	if n.Dir {
		for _, c := range n.Folder().Children() {
			f.goneLocked(c)
		}
	}
}

// named gives the node of a name that is about to be changed, and its path.
func (f *FS) named(ctx context.Context, op string, parent Ino, name string) (p place, n *tree.Node, at share.Path, err error) {
	if p, err = f.place(parent); err != nil {
		return p, nil, at, err
	}
	if !p.n.Dir {
		return p, nil, at, fail(op, p.String(), ErrNotDir)
	}
	if err = f.may(ctx, op, p, true); err != nil {
		return p, nil, at, err
	}
	if n, err = f.lookup(ctx, p, name); err != nil {
		return p, nil, at, err
	}
	if at, err = p.path.Join(name); err != nil {
		err = fail(op, p.child(name), ErrTooLong)
	}
	return p, n, at, err
}

// removeThere has the owner remove something. It may take long as long as it goes on.
func (f *FS) removeThere(ctx context.Context, p place, n *tree.Node, at share.Path, deep bool) error {
	r, err := f.here(ctx, "remove", p, at.Base())
	if err != nil {
		return err
	}
	slow, end := context.WithCancelCause(ctx)
	defer end(nil)
	t := time.AfterFunc(metaPatience, func() { end(context.DeadlineExceeded) })
	defer t.Stop()
	f.mu.Lock()
	p.pt.expectLocked(at.String())
	f.mu.Unlock()
	for c, e := range r.Remove(slow, at, change.Base{Any: true}, deep) {
		t.Reset(metaPatience)
		if e == nil {
			e = c.Err
		}
		if err == nil {
			err = e
		}
	}
	if err != nil && slow.Err() != nil {
		err = context.Cause(slow)
	}
	if err == nil || peer.KindOf(err) == peer.NotFound {
		return nil
	}
	err = f.answered(ctx, p.pt, "remove", p.child(at.Base()), err)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.doneLocked(p.pt, at.String(), expected{})
	if n.Dir && !deep && peer.KindOf(err) == peer.Conflict {
		n.Folder().Seen, n.Folder().Epoch = 0, 0
		err = fail("remove", p.child(at.Base()), ErrNotEmpty)
	}
	if n.Dir { // who knows what is left of it
		n.Folder().Seen, n.Folder().Epoch = 0, 0
	}
	return err
}
