package vfs

import (
	"context"
	"errors"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs/ahead"
	"github.com/peerd/peerd/share/vfs/tree"
)

const (
	// rest is how long a guide waits for who it goes ahead of.
	rest = 2 * time.Second
	// guided is how many entries a folder has at most that is listed ahead.
	guided = 20_000
)

// guide lists folders ahead of somebody who goes through them. What is in it is guarded by FS.mu.
type guide struct {
	walk  *ahead.Walk
	more  chan struct{} // says that there may be another folder to list
	asked []going       // the first is answered next
}

// going is a folder that is being listed.
type going struct {
	place
	*lister
	epoch uint32
}

// stepLocked takes note that a folder is listed for somebody, and goes ahead of who lists one after another, if it is told when what is
// listed changes.
func (f *FS) stepLocked(pt *point, n *tree.Node, here bool, now time.Time) *ahead.Walk {
	if pt.epoch == 0 || f.closed {
		return nil
	}
	w := pt.walks.Step(n, here, now)
	if w != nil && pt.guides[w] == nil {
		g := &guide{walk: w, more: make(chan struct{}, 1)}
		pt.guides[w] = g
		f.taskLocked(func() { f.guide(pt, g) })
	}
	f.moreLocked(pt, w)
	return w
}

// onLocked says that a folder on somebody's way was listed.
func (f *FS) onLocked(pt *point, w *ahead.Walk, n *tree.Node, entries int) {
	w.Listed(n, entries)
	f.moreLocked(pt, w)
}

func (f *FS) moreLocked(pt *point, w *ahead.Walk) {
	if g := pt.guides[w]; g != nil {
		select {
		case g.more <- struct{}{}:
		default:
		}
	}
}

// guide lists what comes next until nobody follows, or that fails.
func (f *FS) guide(pt *point, g *guide) {
	ctx, end := context.WithCancelCause(f.base)
	folders, fed := make(chan share.Path), make(chan struct{})
	slow := time.AfterFunc(metaPatience, func() { end(context.DeadlineExceeded) })
	slow.Stop()
	go func() {
		defer close(fed)
		f.feed(ctx, pt, g, folders, slow)
	}()
	f.mu.Lock()
	r := pt.remote
	f.mu.Unlock()
	err := errGone
	if r != nil {
		err = nil
		for l, e := range r.Lists(ctx, folders, guided) {
			if err = e; err != nil {
				break
			}
			f.mu.Lock()
			at := g.asked[0]
			if g.asked = g.asked[1:]; len(g.asked) == 0 {
				slow.Stop()
			} else {
				slow.Reset(metaPatience)
			}
			f.listerLocked(at.place, at.lister, l.Entries, at.epoch, located(f.base, "list", at.String(), l.Err))
			if l.Err != nil || at.astray {
				g.walk.Failed(at.n)
			}
			f.moreLocked(pt, g.walk)
			f.mu.Unlock()
		}
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	end(errGone)
	<-fed
	slow.Stop()
	if err != nil && !errors.Is(err, errGone) {
		err = f.answered(f.base, pt, "list", pt.label(), err)
	}
	if err == nil {
		err = errGone
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	pt.walks.End(g.walk)
	delete(pt.guides, g.walk)
	for _, at := range g.asked {
		f.listerLocked(at.place, at.lister, nil, 0, err)
	}
}

// feed says which folders to list, until nobody followed for a while.
func (f *FS) feed(ctx context.Context, pt *point, g *guide, folders chan<- share.Path, slow *time.Timer) {
	defer close(folders)
	idle := time.NewTimer(rest)
	defer idle.Stop()
	for {
		f.mu.Lock()
		p, ok := f.nextLocked(pt, g, slow)
		f.mu.Unlock()
		if ok {
			select {
			case folders <- p:
			case <-ctx.Done():
				return
			}
			continue
		}
		select {
		case <-g.more:
			idle.Reset(rest)
		case <-idle.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// nextLocked gives the next folder to list, for which others wait from now on.
func (f *FS) nextLocked(pt *point, g *guide, slow *time.Timer) (share.Path, bool) {
	now := time.Now()
	if pt.epoch == 0 || pt.muteLocked(now) {
		return share.Path{}, false
	}
	var at going
	n := g.walk.Next(func(n *tree.Node) bool {
		p, err := f.placeLocked(n)
		if err != nil || p.pt != pt || n.Folder().Listing != nil || pt.fullLocked(n, now) {
			return false
		}
		at.place = p
		return true
	})
	if n == nil {
		return share.Path{}, false
	}
	at.lister = &lister{done: make(chan struct{}), own: make(map[string]bool), ahead: true, walk: g.walk}
	at.epoch = pt.epoch
	n.Folder().Listing = at.lister
	if g.asked = append(g.asked, at); len(g.asked) == 1 {
		slow.Reset(metaPatience)
	}
	return at.path, true
}
