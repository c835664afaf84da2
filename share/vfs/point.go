package vfs

import (
	"context"
	"errors"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs/ahead"
	"github.com/peerd/peerd/share/vfs/queue"
	"github.com/peerd/peerd/share/vfs/tree"
	"github.com/peerd/peerd/share/watch"
)

// point is a share that is, or was, in use. What is in it is guarded by FS.mu.
type point struct {
	fs          *FS
	peer, share string

	remote   Remote
	err      error // of the last try to enter
	tried    time.Time
	entering chan struct{} // closed when it is done
	asking   bool          // for a higher right
	asked    time.Time     // for one
	again    bool          // to be entered anew, for what was known may not hold
	used     time.Time
	silent   time.Time // until then the owner is not asked about what is known

	watching bool
	rest     context.CancelFunc // ends the watch
	cut      context.CancelFunc // ends it so that it begins anew
	live     chan struct{}      // closed when the watch is live; replaced when it breaks
	epoch    uint32             // of the watch that is live; 0 for none
	last     uint32             // epoch
	cursor   watch.Cursor
	applied  uint64 // events
	echoes   map[string]*echo
	asks     map[string]*asking // what is asked of the owner just now
	leaving  []*leaving         // what the owner is asked to have elsewhere
	walks    ahead.Walks
	guides   map[*ahead.Walk]*guide
	wake     chan struct{} // has the watch tried again
	retry    chan struct{} // has what waits tried again
	more     chan struct{} // says that something is ready

	space   Space
	spaceAt time.Time

	queue      queue.Queue
	bodies     map[uint64]*body // that wait, by the ID of their staging files
	bytes      int64            // of them
	queued     time.Time        // when one of them came last
	delivering bool
	went       uint64    // files that were delivered
	refused    bool      // the last delivery was
	delivered  bool      // the last delivery went well
	tries      int       // that failed since one went well
	aheads     int       // files that are sent while they are written
	noAhead    time.Time // until then nothing is sent before it is closed: the owner does not take it
}

func (f *FS) pointLocked(peerName, shareName string) *point {
	key := "//" + peerName + "/" + shareName
	pt := f.points[key]
	if pt == nil {
		pt = &point{
			fs: f, peer: peerName, share: shareName, live: make(chan struct{}), echoes: make(map[string]*echo), asks: make(map[string]*asking), wake: make(chan struct{}, 1),
			retry: make(chan struct{}, 1), more: make(chan struct{}, 1),
			bodies: make(map[uint64]*body), guides: make(map[*ahead.Walk]*guide),
		}
		f.points[key] = pt
	}
	return pt
}

func (pt *point) label() string { return "//" + pt.peer + "/" + pt.share }

// node is the share's own, or nil.
func (pt *point) node() *tree.Node {
	return pt.fs.tree.Get(Root).Find([]string{pt.peer, pt.share})
}

func (pt *point) find(p share.Path) *tree.Node {
	n := pt.node()
	if n == nil {
		return nil
	}
	return n.Find(p.Components())
}

func (pt *point) rightLocked() share.Right {
	if pt.remote == nil {
		return share.Read
	}
	return pt.remote.Right()
}

// mutelyLocked reports whether the owner is known to be away, or as good as that.
func (pt *point) muteLocked(now time.Time) bool {
	return now.Before(pt.silent) || pt.remote != nil && pt.remote.Away()
}

// freshLocked reports whether what is known of a node can be believed.
func (pt *point) freshLocked(n *tree.Node, now time.Time) bool {
	if p := n.Parent(); p != nil && p.Folder().Full && pt.keptLocked(p.Folder().Epoch, p.Folder().Seen, now) {
		return true
	}
	return n.Known && pt.keptLocked(n.Epoch, n.Seen, now)
}

// toldLocked reports whether the owner tells when a node changes. That may be less than fresh: what was learned a moment ago, and
// under another watch, is asked for again soon.
func (pt *point) toldLocked(n *tree.Node, now time.Time) bool {
	told := func(epoch uint32, seen int64) bool {
		return epoch != 0 && epoch == pt.epoch && time.Duration(now.UnixNano()-seen) < freshWatched
	}
	if p := n.Parent(); p != nil && p.Folder().Full && told(p.Folder().Epoch, p.Folder().Seen) {
		return true
	}
	return n.Known && told(n.Epoch, n.Seen)
}

// fullLocked reports whether all that a folder holds is known.
func (pt *point) fullLocked(n *tree.Node, now time.Time) bool {
	fo := n.Folder()
	return fo.Full && pt.keptLocked(fo.Epoch, fo.Seen, now)
}

func (pt *point) keptLocked(epoch uint32, seen int64, now time.Time) bool {
	age := time.Duration(now.UnixNano() - seen)
	return age < freshUnwatched || epoch != 0 && epoch == pt.epoch && age < freshWatched
}

// enter gives a share, if there is a right to it, to somebody who uses it.
func (f *FS) enter(ctx context.Context, op string, pt *point) (Remote, error) {
	return f.reach(ctx, op, pt, true)
}

// reach is enter, also for the watch, which is no use of a share: it goes on only as long as there is another.
func (f *FS) reach(ctx context.Context, op string, pt *point, used bool) (Remote, error) {
	for waited := 0; ; waited++ {
		f.mu.Lock()
		now := time.Now()
		if used {
			pt.used = now
		}
		r, err := pt.remote, pt.err
		if r != nil && pt.again && pt.entering == nil { // what was known holds until more is
			pt.entering = make(chan struct{})
			f.taskLocked(func() { f.entering(pt) })
		}
		// What is from before the workgroup changed is asked for once more, but nobody waits twice for an owner that says nothing.
		older := waited == 1 && pt.tried.IsZero() && !errors.Is(err, errSilent)
		if r != nil || waited > 0 && err != nil && !older {
			f.mu.Unlock()
			switch {
			case r == nil:
				return nil, err
			case r.Right() == share.None:
				return nil, denied(op, pt.label())
			}
			return r, nil
		}
		if err != nil && now.Sub(pt.tried) < freshUnwatched {
			f.mu.Unlock()
			return nil, err
		}
		if pt.entering == nil {
			pt.entering = make(chan struct{})
			f.taskLocked(func() { f.entering(pt) })
		}
		entering := pt.entering
		f.mu.Unlock()
		select {
		case <-entering:
		case <-f.base.Done():
			return nil, fail(op, pt.label(), ErrClosed)
		case <-ctx.Done():
			return nil, located(ctx, op, pt.label(), ctx.Err())
		}
	}
}

// AskRight has the owner of a share asked, behind what goes on, whether there is a higher right by now: somebody wants to change something
// there, and the last word was that it can only be read. An owner tells by itself when a right ends, and not when there is more.
func (f *FS) AskRight(ino Ino) {
	if p, err := f.place(ino); err == nil && p.pt != nil {
		f.askRight(p.pt)
	}
}

func (f *FS) askRight(pt *point) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := pt.remote
	if r == nil || pt.asking || time.Since(pt.asked) < freshUnwatched {
		return
	}
	pt.asking = true
	f.taskLocked(func() {
		ctx, end := context.WithTimeout(f.base, metaPatience)
		defer end()
		r.AskRight(ctx)
		f.mu.Lock()
		defer f.mu.Unlock()
		pt.asking, pt.asked = false, time.Now()
		if r.Right() == share.Full {
			f.wakeLocked(pt)
		}
	})
}

func (f *FS) entering(pt *point) {
	ctx, end := context.WithTimeout(f.base, metaPatience)
	defer end()
	f.mu.Lock()
	pt.again = false
	f.mu.Unlock()
	r, err := f.world.Enter(ctx, pt.peer, pt.share)
	err = located(f.base, "enter", pt.label(), err)
	f.mu.Lock()
	defer f.mu.Unlock()
	close(pt.entering)
	pt.entering, pt.tried, pt.err = nil, time.Now(), err
	if err != nil {
		if pt.again { // the workgroup changed meanwhile
			pt.tried = time.Time{}
		}
		if peer.KindOf(err) != peer.Unreachable && pt.remote != nil { // the right ended
			pt.remote = nil
			f.staleLocked(pt, true)
		}
		return
	}
	if old := pt.remote; old != nil && (old.ID() != r.ID() || old.Owner() != r.Owner()) {
		f.emptyLocked(pt) // another share has the name now
	}
	pt.remote = r
	f.wakeLocked(pt)
}

// emptyLocked forgets what the owner told of a share.
func (f *FS) emptyLocked(pt *point) {
	if n := pt.node(); n != nil {
		f.emptyFolderLocked(n)
	}
	pt.cursor = watch.Cursor{}
	f.staleLocked(pt, true)
}

// emptyFolderLocked leaves in a folder what waits and what is kept here.
func (f *FS) emptyFolderLocked(n *tree.Node) {
	for _, c := range n.Folder().Children() {
		switch {
		case c.Local != nil:
		case c.Dir && f.waitsLocked(c, true):
			f.emptyFolderLocked(c)
			c.Known, c.Epoch = false, 0
		default:
			f.tree.Drop(c)
		}
	}
	n.Folder().Full = false
}

// staleLocked says that nobody tells of changes any more. With all, those who follow ask anew about all that they know.
func (f *FS) staleLocked(pt *point, all bool) {
	if pt.cut != nil {
		pt.cut()
		pt.cut = nil
	}
	if pt.epoch != 0 {
		pt.epoch = 0
		pt.live = make(chan struct{})
	}
	if all {
		f.tellLocked(Change{What: All})
	}
}

// wakeLocked has what waits for a share's owner tried again.
func (f *FS) wakeLocked(pt *point) {
	for _, ch := range []chan struct{}{pt.wake, pt.retry} {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
	f.kickLocked(pt)
}

// answered takes note of how a call to the owner went, and gives its error a place.
func (f *FS) answered(ctx context.Context, pt *point, op, path string, err error) error {
	if err == nil {
		return nil
	}
	silent := errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil
	err = located(ctx, op, path, err)
	f.mu.Lock()
	defer f.mu.Unlock()
	if silent {
		pt.silent = time.Now().Add(silence)
	}
	if peer.KindOf(err) == peer.Denied && !errors.Is(err, ErrReadOnly) && pt.remote != nil && time.Since(pt.tried) > freshUnwatched {
		pt.again = true // it may have a right yet, or none any more
	}
	return err
}

// known is whether an answer from what is known is better than an error.
func known(err error) bool { return peer.KindOf(err) == peer.Unreachable }

// followWorld looks again at who is there, and what they offer, when that may have changed.
func (f *FS) followWorld() {
	again := make(chan struct{}, 1)
	f.task(func() { f.listRoots(again) })
	for range f.world.Changed(f.base) {
		f.mu.Lock()
		for _, pt := range f.points {
			pt.silent = time.Time{}
			if pt.remote == nil || pt.remote.Right() < share.Full || pt.err != nil || pt.entering != nil {
				pt.again = true
				pt.tried = time.Time{}
			}
			if pt.remote != nil && pt.remote.Right() == share.None {
				f.staleLocked(pt, true)
			}
			f.wakeLocked(pt)
		}
		f.mu.Unlock()
		select {
		case again <- struct{}{}:
		default:
		}
	}
}

// listRoots lists the root, and those peers whose shares were listed, again and again; differences are told.
func (f *FS) listRoots(again <-chan struct{}) {
	for {
		select {
		case <-f.base.Done():
			return
		case <-again:
		}
		for _, n := range f.roots() {
			ctx, end := context.WithTimeout(f.base, metaPatience)
			if p, err := f.place(n); err == nil {
				_ = f.listOutside(ctx, p, true)
			}
			end()
		}
	}
}

// roots are the root and those peers whose shares were listed.
func (f *FS) roots() []Ino {
	f.mu.Lock()
	defer f.mu.Unlock()
	is := []Ino{Root}
	for _, n := range f.tree.Get(Root).Folder().Children() {
		if n.Folder().Full {
			is = append(is, n.Ino)
		}
	}
	return is
}
