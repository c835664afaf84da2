package vfs

import (
	"context"
	"errors"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/vfs/tree"
	"github.com/peerd/peerd/share/watch"
)

// Bounds of a watch.
const (
	// idle is how long a share that nobody uses is watched.
	idle = 5 * time.Minute
	// settleIn is how long a first listing waits for the watch that keeps it true.
	settleIn = time.Second
	// breakFor is how long a watch may be broken before those who follow are told to ask anew.
	breakFor = 3 * time.Second
)

// watchLocked has a share watched.
func (f *FS) watchLocked(pt *point) {
	if !pt.watching && !f.closed {
		pt.watching = true
		var ctx context.Context
		ctx, pt.rest = context.WithCancel(f.base)
		f.taskLocked(func() { f.watch(ctx, pt) })
	}
}

// restLocked ends the watch of a share that nobody uses.
func (f *FS) restLocked(pt *point, now time.Time) {
	if pt.watching && now.Sub(pt.used) > idle {
		pt.rest()
	}
}

func (f *FS) watch(ctx context.Context, pt *point) {
	pause := time.Duration(0)
	broken := time.Time{}
	for ctx.Err() == nil {
		r, err := f.reach(ctx, "watch", pt, false)
		if err == nil {
			err = f.follow(ctx, pt, r)
		}
		f.mu.Lock()
		if pt.epoch != 0 {
			broken, pause = time.Now(), 0
			f.staleLocked(pt, false)
		}
		if errors.Is(err, remote.ErrGap) || errors.Is(err, watch.ErrGap) {
			pt.cursor = watch.Cursor{}
		}
		if kind := peer.KindOf(err); kind == peer.Denied || kind == peer.NotFound {
			pt.again = true
			f.staleLocked(pt, true)
		}
		if !broken.IsZero() && time.Since(broken)+pause > breakFor && pt.remote != nil && !pt.remote.Away() {
			broken = time.Time{}
			f.staleLocked(pt, true) // who is here and isn't watched is asked
		}
		f.mu.Unlock()
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-pt.wake:
		case <-t.C:
		}
		t.Stop()
		pause = min(pause*2+100*time.Millisecond, 5*time.Second)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	pt.watching = false
	f.staleLocked(pt, true)
}

// follow takes in what the owner tells, until that breaks off.
func (f *FS) follow(ctx context.Context, pt *point, r Remote) error {
	ctx, cut := context.WithCancel(ctx)
	defer cut()
	f.mu.Lock()
	after := pt.cursor
	pt.cut = cut
	f.mu.Unlock()
	for ev, err := range r.Watch(ctx, share.Path{}, after) {
		if err != nil {
			return err
		}
		f.mu.Lock()
		if ctx.Err() != nil {
			f.mu.Unlock()
			break
		}
		if ev.Kind == 0 {
			f.liveLocked(pt, after)
		} else {
			f.eventLocked(pt, ev, nil)
		}
		pt.cursor = ev.After
		f.mu.Unlock()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return unreachable("watch", pt.label(), errors.New("the watch ended"))
}

// liveLocked says that from here on changes are told. After a place that was known nothing was missed.
func (f *FS) liveLocked(pt *point, after watch.Cursor) {
	if after == (watch.Cursor{}) {
		for path, e := range pt.echoes {
			if e.due = nil; e.running == 0 {
				delete(pt.echoes, path)
			}
			e.blind, e.missed = true, nil
		}
		if pt.last++; pt.last > 1 {
			f.taskLocked(func() { f.listAgain(pt) })
		}
	}
	pt.epoch = pt.last
	close(pt.live)
}

// listAgain lists what was listed of a share of which changes were missed; the differences are told. Of what was asked for by itself
// nobody can tell any, so those who follow ask anew.
func (f *FS) listAgain(pt *point) {
	var dirs []Ino
	f.mu.Lock()
	var collect func(n *tree.Node)
	collect = func(n *tree.Node) {
		if n.Folder().Full {
			n.Folder().Seen = 0 // however short ago that was: a face may believe it for long
			dirs = append(dirs, n.Ino)
		}
		for _, c := range n.Folder().Children() {
			if c.Dir {
				collect(c)
			}
		}
	}
	if n := pt.node(); n != nil {
		collect(n)
	}
	f.tellLocked(Change{What: All})
	f.mu.Unlock()
	for _, ino := range dirs {
		if p, err := f.place(ino); err == nil {
			if f.list(f.base, p) != nil && f.base.Err() != nil {
				return
			}
		}
	}
}

// eventLocked takes in a change that the owner tells of, but for paths that are known to be otherwise since: own tells of such, or is nil.
func (f *FS) eventLocked(pt *point, ev remote.Event, own func(share.Path) bool) {
	pt.applied++
	path, moved := ev.Entry.Path, ev.Kind == watch.Moved
	if path.IsRoot() {
		return
	}
	heard := pt.heardLocked(path.String(), ev)
	if moved { // of two paths, and both are known then
		heard = pt.heardLocked(ev.From.String(), ev) || heard
	}
	if heard {
		return
	}
	older := func(at share.Path) bool { return own != nil && own(at) || f.olderLocked(pt, at.String(), ev) }
	toOld, fromOld := older(path), moved && older(ev.From)
	if toOld && (!moved || fromOld) {
		return
	}
	now := time.Now()
	parent := pt.find(path.Dir())
	if parent != nil && !parent.Dir {
		parent = nil
	}
	missLocked(parent, ev)
	if moved {
		missLocked(pt.find(ev.From.Dir()), ev)
	}
	switch {
	case moved && !toOld && !fromOld:
		f.unknownLocked(pt.find(ev.From.Dir()), ev.From.Base())
		f.movedLocked(pt, ev.From, parent, ev.Entry, now)
	case moved && toOld:
		if n := pt.find(ev.From); n != nil && n.Opens > 0 { // who writes to it loses nothing
			f.deafLocked(pt, ev.From.String())
		} else {
			f.removedLocked(pt.find(ev.From.Dir()), ev.From.Base())
		}
	case ev.Kind == watch.Removed:
		f.removedLocked(parent, path.Base())
	case parent != nil:
		f.sawLocked(pt, parent, ev.Entry, false, now)
	}
}

// removedLocked takes in that the owner has nothing of a name in a folder any more.
func (f *FS) removedLocked(parent *tree.Node, name string) {
	if parent != nil && parent.Dir {
		f.unknownLocked(parent, name)
		f.lostLocked(parent.Child(name))
	}
}

// unknownLocked says that a name went from a folder if it is not known any more here: a face may have it in a listing yet.
func (f *FS) unknownLocked(parent *tree.Node, name string) {
	if parent != nil && parent.Dir && !parent.Folder().Full && parent.Child(name) == nil {
		f.tellName(nil, parent, name)
	}
}

// missLocked has an event taken in again by who lists a folder just now.
func missLocked(n *tree.Node, ev remote.Event) {
	if n != nil && n.Dir {
		if l, ok := n.Folder().Listing.(*lister); ok {
			l.missed = append(l.missed, ev)
		}
	}
}

// sawLocked takes in what the owner says of a name in a folder.
func (f *FS) sawLocked(pt *point, parent *tree.Node, e share.Entry, sameBytes bool, now time.Time) *tree.Node {
	name, dir := e.Name(), e.Kind == share.Dir
	n := parent.Child(name)
	switch {
	case n != nil && n.Dir != dir && n.Local != nil: // what is written here shows; its owner will decide
		return n
	case n == nil || n.Dir != dir:
		if n == nil && !parent.Folder().Full {
			f.tellName(nil, parent, name) // nobody knows more than that it was not there
			if pt.epoch == 0 {
				return nil
			}
		}
		n, _ = f.tree.Add(parent, name, dir)
		f.factsLocked(n, e, false, now)
		f.tellName(n, parent, name)
	case f.factsLocked(n, e, sameBytes, now):
		f.tellLocked(Change{What: Content, Ino: n.Ino})
	}
	n.Epoch = pt.epoch
	return n
}

// lostLocked takes in that a node is not at the owner any more.
func (f *FS) lostLocked(n *tree.Node) {
	if n == nil || n.Parent() == nil {
		return
	}
	if b, ok := n.Local.(*body); ok && !b.dirty() {
		n.Local = nil
	}
	if n.Local != nil || n.Dir && f.waitsLocked(n, false) {
		n.Known, n.Facts, n.Seen = false, tree.Facts{}, time.Now().UnixNano()
		return
	}
	parent, name := n.Parent(), n.Name()
	f.dropLocked(n)
	f.tellName(nil, parent, name)
}

// waitsLocked reports whether something below a folder waits for its owner, or with kept is kept here for its name.
func (f *FS) waitsLocked(n *tree.Node, kept bool) bool {
	for _, c := range n.Folder().Children() {
		if b, ok := c.Local.(*body); ok && (kept || !b.overlay) || c.Dir && f.waitsLocked(c, kept) {
			return true
		}
	}
	return false
}

// dropLocked takes a node and all below it out of the tree.
func (f *FS) dropLocked(n *tree.Node) {
	if n.Dir {
		for _, c := range n.Folder().Children() {
			f.dropLocked(c)
		}
	}
	if b, ok := n.Local.(*body); ok && b.overlay { // what is kept here goes with its folder
		f.goneLocked(n)
	}
	f.tree.Drop(n)
}

// wayLocked gives the folder at a path of which nothing but that is known; nil if something else is in the way.
func (f *FS) wayLocked(pt *point, path share.Path) *tree.Node {
	n := pt.node()
	for _, name := range path.Components() {
		if n == nil || !n.Dir {
			return nil
		}
		c := n.Child(name)
		if c == nil {
			c, _ = f.tree.Add(n, name, true)
			f.tellName(c, n, name)
		}
		n = c
	}
	if n == nil || !n.Dir {
		return nil
	}
	return n
}

// movedLocked takes in that the owner has something elsewhere.
func (f *FS) movedLocked(pt *point, from share.Path, parent *tree.Node, e share.Entry, now time.Time) {
	n := pt.find(from)
	if n != nil && !n.Dir && (!n.Known || n.Size != e.Size || n.ModTime != e.ModTime.UnixNano()) { // another, that was written there since
		f.deafLocked(pt, from.String())
		n = nil
	}
	if parent == nil && n != nil && (n.Local != nil || n.Dir && f.waitsLocked(n, true)) { // it takes with it what is here alone
		parent = f.wayLocked(pt, e.Path.Dir())
	}
	switch {
	case n == nil && parent != nil:
		if t := parent.Child(e.Name()); t != nil && t.Dir == (e.Kind == share.Dir) && t.Known && (t.Dir || t.Version == e.Version) {
			if f.factsLocked(t, e, true, now); t.Dir { // it is known already
				f.doubtLocked(t)
			}
			return
		}
		f.lostLocked(parent.Child(e.Name()))
		f.sawLocked(pt, parent, e, false, now)
		return
	case n == nil:
		return
	case parent == nil || n.Dir != (e.Kind == share.Dir):
		f.lostLocked(n)
		return
	}
	if old := parent.Child(e.Name()); old != nil && old.Local != nil {
		f.lostLocked(n)
		f.sawLocked(pt, parent, e, false, now)
		return
	}
	was, name := n.Parent(), n.Name()
	if _, ok := f.tree.Move(n, parent, e.Name()); !ok {
		return
	}
	before := n.Version
	f.factsLocked(n, e, true, now)
	f.rebaseLocked(n, before, e.Version)
	n.Epoch = pt.epoch
	if n.Dir {
		f.strayLocked(n, now.Add(-echoPatience))
		pt.askAgainLocked(from, e.Path)
	}
	f.renamedLocked(pt, from.String(), e.Path.String())
	f.tellName(nil, was, name)
	f.tellName(n, parent, e.Name())
}
