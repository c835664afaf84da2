package vfs

import (
	"context"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/vfs/ahead"
)

// List gives what a folder holds, sorted by name. The slice is the caller's to read, not to change.
func (f *FS) List(ctx context.Context, ino Ino) ([]Entry, error) {
	p, err := f.place(ino)
	if err != nil {
		return nil, err
	}
	switch {
	case !p.n.Dir:
		return nil, fail("list", p.String(), ErrNotDir)
	case p.pt == nil:
		err = f.listOutside(ctx, p, false)
	default:
		err = f.list(ctx, p)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && !(known(err) && p.n.Folder().Full) {
		return nil, err
	}
	return f.entriesLocked(p), nil
}

// Told reports whether [FS.Changes] tells of whatever changes in the listing of a folder.
func (f *FS) Told(ino Ino) bool {
	p, err := f.place(ino)
	if err != nil || !p.n.Dir {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	fo := p.n.Folder()
	return fo.Full && (p.pt == nil || p.pt.epoch != 0 && fo.Epoch == p.pt.epoch)
}

// listing is what was made of a folder's nodes.
type listing struct {
	entries []Entry
	live    bool
	right   share.Right
}

func (f *FS) entriesLocked(p place) []Entry {
	now := time.Now()
	fo := p.n.Folder()
	live := p.pt != nil && p.pt.epoch != 0 && p.pt.fullLocked(p.n, now)
	right := share.Read
	if p.pt != nil {
		right = p.pt.rightLocked()
	}
	if l, ok := fo.Cache.(*listing); ok && l.live == live && l.right == right {
		return l.entries
	}
	l := &listing{live: live, right: right}
	l.entries = make([]Entry, 0, fo.Len())
	for _, n := range fo.Children() {
		pt := p.pt
		if pt == nil && p.n.Ino != Root {
			pt = f.pointLocked(p.n.Name(), n.Name())
		}
		l.entries = append(l.entries, Entry{n.Name(), f.attrLocked(n, pt, now)})
	}
	fo.Cache = l
	return l.entries
}

// listOutside makes what is known of peers, or of the shares of one, up to date: anew at once, else behind what is known.
func (f *FS) listOutside(ctx context.Context, p place, anew bool) error {
	fo := p.n.Folder()
	f.mu.Lock()
	fresh := fo.Full && !anew && time.Now().UnixNano()-fo.Seen < int64(freshPeers)
	if fo.Full && !anew && !fresh && f.running { // nobody waits for what is known
		fresh, fo.Seen = true, time.Now().UnixNano()
		f.taskLocked(func() { _ = f.listOutside(f.base, p, true) })
	}
	f.mu.Unlock()
	if fresh {
		return nil
	}
	short, end := context.WithTimeout(ctx, metaPatience)
	defer end()
	there := make(map[string]bool)
	if p.n.Ino == Root {
		peers, err := f.world.Peers(short)
		if err != nil {
			return located(ctx, "list", "//", err)
		}
		for _, name := range peers {
			there[name] = true
		}
	} else {
		infos, err := f.world.Shares(short, p.names[0])
		if err != nil {
			return located(ctx, "list", p.String(), err)
		}
		for _, i := range infos {
			there[string(i.Name)] = true
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now().UnixNano()
	for _, n := range fo.Children() {
		if there[n.Name()] || f.waitsLocked(n, p.n.Ino == Root) {
			continue
		}
		if p.n.Ino != Root {
			if pt := f.pointLocked(p.names[0], n.Name()); pt.enteredLocked() || !f.putAsideLocked(pt, n) {
				continue
			}
		}
		f.dropLocked(n)
		f.tellName(nil, p.n, n.Name())
	}
	for name := range there {
		if n := spelled(p.n, name); n == nil && share.CheckComponent(name) == nil {
			n, _ = f.tree.Add(p.n, name, true)
			n.Known, n.Seen = true, now
			if p.n.Ino != Root {
				f.bringBackLocked(f.pointLocked(p.names[0], name))
			}
			f.tellName(n, p.n, name)
		}
	}
	fo.Full, fo.Seen = true, now
	return nil
}

// enteredLocked reports whether there is a right to a share, which may be a hidden one.
func (pt *point) enteredLocked() bool {
	return pt.remote != nil && pt.remote.Right() > share.None && !pt.again
}

// lister lists a folder for all who wait for that.
type lister struct {
	done   chan struct{}
	err    error
	missed []remote.Event  // what was told of the folder meanwhile
	own    map[string]bool // what was changed here meanwhile
	ahead  bool            // nobody asked for it when it began
	astray bool            // the folder went elsewhere meanwhile, or is about to: what its path has may not be its own
	walk   *ahead.Walk     // that it belongs to, or nil
}

// list makes what is known of a folder of a share up to date. An error of kind peer.Unreachable says that it is not.
func (f *FS) list(ctx context.Context, p place) error {
	if _, err := f.enter(ctx, "list", p.pt); err != nil {
		return err
	}
	for {
		f.mu.Lock()
		f.watchLocked(p.pt)
		now := time.Now()
		here := p.pt.fullLocked(p.n, now)
		if !here && p.pt.muteLocked(now) {
			f.mu.Unlock()
			return unreachable("list", p.String(), nil)
		}
		w := f.stepLocked(p.pt, p.n, here, now)
		if here {
			f.mu.Unlock()
			return nil
		}
		l, ok := p.n.Folder().Listing.(*lister)
		if !ok {
			l = &lister{done: make(chan struct{}), own: make(map[string]bool), walk: w}
			p.n.Folder().Listing = l
			f.taskLocked(func() { f.lister(p, l) })
		}
		f.mu.Unlock()
		select {
		case <-l.done:
			if l.astray {
				var err error
				if p, err = f.whereNow(ctx, "list", p); err != nil {
					return err
				}
				continue
			}
			if l.err != nil && l.ahead {
				continue
			}
			return l.err
		case <-f.base.Done():
			return fail("list", p.String(), ErrClosed)
		case <-ctx.Done():
			return located(ctx, "list", p.String(), ctx.Err())
		}
	}
}

func (f *FS) lister(p place, l *lister) {
	ctx, end := context.WithCancelCause(f.base)
	defer end(nil)
	slow := time.AfterFunc(metaPatience, func() { end(context.DeadlineExceeded) })
	defer slow.Stop()
	f.mu.Lock()
	live, r := p.pt.live, p.pt.remote
	f.mu.Unlock()
	t := time.NewTimer(settleIn)
	defer t.Stop()
	select {
	case <-live:
	case <-t.C:
	case <-ctx.Done():
	}
	f.mu.Lock()
	epoch := p.pt.epoch
	f.mu.Unlock()
	var es []share.Entry
	err := errGone
	if r != nil {
		err = nil
		for e, e2 := range r.List(ctx, p.path) {
			slow.Reset(metaPatience)
			if err = e2; err != nil {
				break
			}
			es = append(es, e)
		}
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	err = f.answered(f.base, p.pt, "list", p.String(), err)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listerLocked(p, l, es, epoch, err)
}

// listerLocked takes in what a lister got under a watch.
func (f *FS) listerLocked(p place, l *lister, es []share.Entry, epoch uint32, err error) {
	p.n.Folder().Listing = nil
	defer close(l.done)
	if l.astray = l.astray || (err == nil || peer.KindOf(err) == peer.NotFound) && p.pt.leavingLocked(p.path) != nil; l.astray {
		return
	}
	l.err = err
	switch {
	case l.err == nil:
		for path := range p.pt.echoes {
			if sp, err := share.SplitPath(path); err == nil && sp.Dir() == p.path {
				l.own[sp.Base()] = true
			}
		}
		f.listedLocked(p, es, epoch, l.own)
		for _, ev := range l.missed {
			f.eventLocked(p.pt, ev, func(at share.Path) bool { return at.Dir() != p.path || l.own[at.Base()] })
		}
		if l.walk != nil {
			f.onLocked(p.pt, l.walk, p.n, len(es))
		}
	case peer.KindOf(l.err) == peer.NotFound && !p.path.IsRoot():
		switch now, err := f.placeLocked(p.n); {
		case err == nil && now.path == p.path:
			f.lostLocked(p.n)
		case err == nil: // it went elsewhere before its owner was asked
			l.astray, l.err = true, nil
		}
	}
}

// listedLocked takes in what a folder holds, but for what was changed here meanwhile.
func (f *FS) listedLocked(p place, es []share.Entry, epoch uint32, own map[string]bool) {
	fo, now := p.n.Folder(), time.Now()
	there := make(map[string]bool, len(es))
	first := !fo.Full
	for _, e := range es {
		name := e.Name()
		there[name] = true
		if own[name] {
			continue
		}
		n, dir := p.n.Child(name), e.Kind == share.Dir
		switch {
		case n == nil || n.Dir != dir && n.Local == nil:
			n, _ = f.tree.Add(p.n, name, dir)
			f.factsLocked(n, e, false, now)
			if !first {
				f.tellName(n, p.n, name)
			}
		case n.Dir == dir && f.factsLocked(n, e, false, now):
			f.tellLocked(Change{What: Content, Ino: n.Ino})
		}
		n.Epoch = epoch
	}
	for _, n := range fo.Children() {
		if !there[n.Name()] && !own[n.Name()] {
			f.lostLocked(n)
		}
	}
	fo.Full, fo.Epoch, fo.Seen, fo.Cache = true, epoch, now.UnixNano(), nil
}

func join(p share.Path, name string) string {
	if p.IsRoot() {
		return name
	}
	return p.String() + "/" + name
}
