package vfs

import (
	"context"
	"fmt"
	"path"
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

// renaming is one rename.
type renaming struct {
	from, to       place // the folders
	n, target      *tree.Node
	at, toAt       share.Path
	name, newName  string
	conflict       bool // the target had changed: it went beside it
	targetWasKnown bool
}

// Rename moves a file or folder within a share, over a file or an empty folder that is there unless noReplace.
func (f *FS) Rename(ctx context.Context, from Ino, name string, to Ino, newName string, noReplace bool) error {
	rn := &renaming{name: name, newName: newName}
	var err error
	if rn.from, rn.n, rn.at, err = f.named(ctx, "rename", from, name); err != nil {
		return err
	}
	if rn.to, err = f.creating(ctx, "rename", to, newName); err != nil {
		return err
	}
	if rn.from.pt != rn.to.pt {
		return fail("rename", rn.from.child(name), ErrCrossShare)
	}
	if rn.toAt, err = rn.to.path.Join(newName); err != nil {
		return fail("rename", rn.to.child(newName), ErrTooLong)
	}
	if rn.at == rn.toAt {
		return nil
	}
	if _, below := rn.toAt.Below(rn.at); below {
		return fail("rename", rn.to.child(newName), ErrName)
	}
	if err := f.renameTarget(ctx, rn, noReplace); err != nil {
		return err
	}
	for _, at := range []share.Path{rn.at, rn.toAt} {
		release, err := f.settle(ctx, rn.from.pt, at.String())
		if err != nil {
			return err
		}
		defer release()
	}
	f.mu.Lock()
	there := rn.n.Known || rn.n.Dir
	rn.targetWasKnown = rn.target != nil && rn.target.Known
	f.mu.Unlock()
	if rn.target != nil {
		f.keepOpen(ctx, rn.target)
	}
	if there {
		err = f.renameThere(ctx, rn)
	} else {
		err = f.renameHere(rn)
	}
	if err != nil {
		return err
	}
	return f.unkept(rn.n)
}

// unkept has a file that was kept here under the name that it had wait for its owner from now on, unless who writes to it will close it.
func (f *FS) unkept(n *tree.Node) error {
	f.mu.Lock()
	b, _ := n.Local.(*body)
	waits := b != nil && !b.overlay && b.flushed == 0 && (b.writers == 0 || b.syncs)
	f.mu.Unlock()
	if !waits {
		return nil
	}
	return f.journalled(b)
}

// renameTarget looks at what has the new name.
func (f *FS) renameTarget(ctx context.Context, rn *renaming, noReplace bool) error {
	var err error
	rn.target, err = f.lookup(ctx, rn.to, rn.newName)
	switch t := rn.target; {
	case peer.KindOf(err) == peer.NotFound:
		return f.free(ctx, "rename", rn.to, rn.newName, rn.n)
	case err != nil:
		return err
	case noReplace:
		return fail("rename", rn.to.child(rn.newName), ErrExists)
	case t.Dir && !rn.n.Dir:
		return fail("rename", rn.to.child(rn.newName), ErrIsDir)
	case !t.Dir && rn.n.Dir:
		return fail("rename", rn.to.child(rn.newName), ErrNotDir)
	case t.Dir:
		if err := f.Remove(ctx, rn.to.n.Ino, rn.newName, true); err != nil {
			return err
		}
		rn.target = nil
	}
	return nil
}

// renameHere renames what its owner has not seen yet: it will be put under the new name, over what is there now.
func (f *FS) renameHere(rn *renaming) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	pt := rn.from.pt
	b, _ := rn.n.Local.(*body)
	if b == nil || rn.n.Parent() == nil {
		return notFound("rename", rn.from.child(rn.name))
	}
	var facts tree.Facts
	was, stayed, replaced := b.base, b.overlay, false
	b.base, b.overlay = transfer.Version{}, stayed && keepsLocked(rn.newName, rn.target)
	if t := rn.target; t != nil {
		facts, b.base = t.Facts, t.Version
		if tb, ok := t.Local.(*body); ok {
			b.base = tb.base
			var err error
			if replaced, err = f.replaceLocked(b, rn.to, rn.newName, tb); err != nil {
				b.base, b.overlay = was, stayed
				return err
			}
		}
		f.forgetLocked(pt, t, rn.toAt.String())
	}
	if _, ok := f.tree.Move(rn.n, rn.to.n, rn.newName); !ok {
		return fail("rename", rn.to.child(rn.newName), ErrName)
	}
	rn.n.Facts, rn.n.Known = facts, rn.targetWasKnown
	if stayed && !b.overlay {
		b.flushed = 0
	}
	f.renamedLocked(pt, rn.at.String(), rn.toAt.String())
	switch it, waits := pt.queue.Get(b.c.ID()); {
	case waits && !it.After.Equal(later()):
		pt.queue.Set(it.ID, it.Path, f.afterLocked(b))
	case !waits && replaced:
		after := f.afterLocked(b)
		if b.writers > 0 { // who will close it
			after = later()
		}
		f.queueLocked(b, rn.toAt.String(), after)
	}
	f.tellName(nil, rn.from.n, rn.name)
	f.tellName(rn.n, rn.to.n, rn.newName)
	return nil
}

// renamedLocked has what waits, or is kept here, at and below a path go to another, where its node is already.
func (f *FS) renamedLocked(pt *point, from, to string) {
	for _, it := range pt.queue.Rename(from, to) {
		b := pt.bodies[it.ID]
		p, err := f.placeLocked(b.n)
		if err == nil {
			err = f.recordLocked(b, p)
		}
		if err != nil {
			f.log.Error("the journal can't be written", "path", it.Path, "err", err)
		}
	}
	if p, err := share.SplitPath(to); err == nil {
		f.keptElsewhereLocked(pt.find(p))
	}
}

// keptElsewhereLocked has the journal know where the files are that are kept here, at and below a node, or nil.
func (f *FS) keptElsewhereLocked(n *tree.Node) {
	if n == nil {
		return
	}
	if b, ok := n.Local.(*body); ok && b.overlay && b.flushed != 0 {
		p, err := f.placeLocked(n)
		if err == nil {
			err = f.recordLocked(b, p)
		}
		if err != nil {
			f.log.Error("the journal can't be written", "path", p.String(), "err", err)
		}
	}
	if n.Dir {
		for _, c := range n.Folder().Children() {
			f.keptElsewhereLocked(c)
		}
	}
}

// renameThere has the owner rename something.
func (f *FS) renameThere(ctx context.Context, rn *renaming) error {
	pt := rn.from.pt
	r, err := f.here(ctx, "rename", rn.from, rn.name)
	if err != nil {
		return err
	}
	f.mu.Lock()
	gone := &leaving{rn.at, make(chan struct{})}
	pt.leaving = append(pt.leaving, gone)
	defer f.left(pt, gone)
	toBase := change.Base{}
	if rn.targetWasKnown {
		toBase.Version = rn.target.Version
	}
	f.mu.Unlock()
	c, err := f.move(ctx, r, pt, rn.at, rn.toAt, toBase)
	if peer.KindOf(err) == peer.Conflict && !rn.n.Dir {
		if _, e := f.ask(ctx, pt, r, rn.toAt); e == nil || peer.KindOf(e) == peer.NotFound {
			c, err = f.moveAgain(ctx, r, rn, toBase)
		}
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !rn.conflict && rn.target != nil {
		f.forgetLocked(pt, rn.target, rn.toAt.String())
	}
	f.movedHereLocked(rn, c.Entry)
	return nil
}

// moveAgain is for a target that is another than was known: what took its place since is not overwritten, the newcomer goes beside it.
func (f *FS) moveAgain(ctx context.Context, r Remote, rn *renaming, was change.Base) (remote.Changed, error) {
	pt := rn.from.pt
	f.mu.Lock()
	now := change.Base{}
	if t := pt.find(rn.toAt); t != nil && t.Known {
		now.Version = t.Version
	}
	f.mu.Unlock()
	if now == was || now == (change.Base{}) { // it was the other path that did not fit, or it is free
		return f.move(ctx, r, pt, rn.at, rn.toAt, now)
	}
	ext := path.Ext(rn.newName)
	beside := fmt.Sprintf("%s (conflict %s)%s", strings.TrimSuffix(rn.newName, ext), time.Now().Format("2006-01-02 150405"), ext)
	at, err := rn.to.path.Join(beside)
	if err != nil {
		return remote.Changed{}, fail("rename", rn.to.child(rn.newName), ErrTooLong)
	}
	c, err := f.move(ctx, r, pt, rn.at, at, change.Base{})
	if err == nil {
		f.mu.Lock()
		f.conflicts++
		f.mu.Unlock()
		f.log.Warn("somebody else has changed a file meanwhile: both are kept", "share", pt.label(), "path", at.String())
		rn.conflict, rn.toAt, rn.newName = true, at, beside
	}
	return c, err
}

// move has the owner move something, and takes note that the watch will tell of it.
func (f *FS) move(ctx context.Context, r Remote, pt *point, from, to share.Path, toBase change.Base) (remote.Changed, error) {
	short, end := context.WithTimeout(ctx, metaPatience)
	defer end()
	f.mu.Lock()
	pt.expectLocked(from.String())
	pt.expectLocked(to.String())
	f.mu.Unlock()
	c, err := r.Move(short, from, to, change.Base{Any: true}, toBase)
	err = f.answered(ctx, pt, "rename", pt.label()+"/"+from.String(), err)
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.doneLocked(pt, from.String(), expected{})
		f.doneLocked(pt, to.String(), expected{})
	}
	return c, err
}

// rebaseLocked has what is made of a version be made of another that has the same bytes.
func (f *FS) rebaseLocked(n *tree.Node, was, is transfer.Version) {
	for _, b := range f.clean[n.Ino] {
		if b.base == was {
			b.base = is
		}
	}
	if b, ok := n.Local.(*body); ok && b.base == was {
		b.base = is
	}
}

// movedHereLocked takes in that the owner has moved something as it was told.
func (f *FS) movedHereLocked(rn *renaming, e share.Entry) {
	pt, n, now := rn.from.pt, rn.n, time.Now()
	before := n.Version
	if n.Parent() != nil {
		if _, ok := f.tree.Move(n, rn.to.n, rn.newName); ok {
			n.Known = true
			f.factsLocked(n, e, true, now)
			n.Epoch = pt.epoch
		}
	}
	if b, ok := n.Local.(*body); ok {
		if b.overlay && !kept(rn.newName) {
			b.overlay, b.flushed = false, 0
		}
	}
	f.rebaseLocked(n, before, e.Version)
	if n.Dir { // of what others did below it meanwhile the watch told under the old name
		f.doubtLocked(n)
		f.strayLocked(n, now)
		pt.askAgainLocked(rn.at, rn.toAt)
	}
	f.renamedLocked(pt, rn.at.String(), rn.toAt.String())
	f.tellName(nil, rn.from.n, rn.name)
	f.tellName(n, rn.to.n, rn.newName)
	x := expected{kind: watch.Moved, from: rn.at, to: rn.toAt}
	f.doneLocked(pt, rn.at.String(), x)
	f.doneLocked(pt, rn.toAt.String(), x)
}
