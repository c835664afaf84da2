//go:build linux || darwin

package face

import (
	"context"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/peerd/peerd/share/mount/known"
	"github.com/peerd/peerd/share/vfs"
)

// Bounds of the notifier.
const (
	maxLanes  = 64                   // that are at work at once
	lookAgain = 2 * time.Second      // for what a name stands for now
	retries   = 4                    // while the kernel does not know yet what it was told of
	retry     = 5 * time.Millisecond // before the first; each next waits four times as long
)

// Kernel is who is told that what it holds is true no more, and given bytes unasked; a [fuse.Server].
type Kernel interface {
	InodeNotify(node uint64, off, length int64) fuse.Status
	EntryNotify(parent uint64, name string) fuse.Status
	InodeNotifyStoreCache(node uint64, off int64, b []byte) fuse.Status
}

// notifier takes back from the kernel what changed. The kernel lets it wait: for whoever looks into the same folder, and for
// whoever reads the same file, and those wait for handlers. So it works in lanes, one per folder or file, none of which holds
// up another, and holds nothing that a handler could wait for.
type notifier struct {
	f   *Face
	to  Kernel
	ctx context.Context
	sem chan struct{}
	wg  sync.WaitGroup

	mu    sync.Mutex
	lanes map[vfs.Ino]*lane // nil while nothing is told
}

// lane is what is to be told of one node.
type lane struct {
	attr, content, listing bool
	names                  map[string]bool // to be told only if they stand for something else
}

func (l *lane) name(name string, look bool) {
	if l.names == nil {
		l.names = map[string]bool{}
	}
	old, ok := l.names[name]
	l.names[name] = look && (old || !ok)
}

func newNotifier(f *Face) *notifier {
	return &notifier{f: f, sem: make(chan struct{}, maxLanes)}
}

// Follow tells the kernel of all that changes, until the context ends.
func (f *Face) Follow(ctx context.Context, to Kernel) {
	n := f.notify
	pushing, end := context.WithCancel(ctx)
	n.mu.Lock()
	n.ctx, n.to, n.lanes = ctx, to, map[vfs.Ino]*lane{}
	n.mu.Unlock()
	n.wg.Go(func() { f.pushes.Run(pushing, to) })
	for c := range f.fs.Changes(ctx) {
		if c.What&vfs.All != 0 {
			f.known.HeardAny()
			n.everything()
			continue
		}
		if c.What&vfs.Content != 0 {
			f.known.Heard(c.Ino)
			n.content(c.Ino)
		}
		if c.What&vfs.Name != 0 {
			f.known.Heard(c.Parent)
			n.name(known.Place{Parent: c.Parent, Name: c.Name})
		}
	}
	n.mu.Lock()
	n.lanes = nil
	n.mu.Unlock()
	end()
	n.wg.Wait()
}

// everything has the kernel ask anew about all that it knows. Of bytes it asks by itself when a file is opened.
func (n *notifier) everything() {
	files, folders, names := n.f.known.All()
	for _, ino := range files {
		n.add(ino, func(l *lane) { l.attr = true })
	}
	for _, ino := range folders {
		n.listing(ino)
	}
	for _, at := range names {
		n.add(at.Parent, func(l *lane) { l.name(at.Name, false) })
	}
}

// content takes back what the kernel holds of a file's bytes, size and times.
func (n *notifier) content(ino vfs.Ino) {
	if n.f.known.Holds(ino) {
		n.add(ino, func(l *lane) { l.content = true })
	}
}

// listing takes back what the kernel holds of what a folder holds.
func (n *notifier) listing(ino vfs.Ino) {
	n.add(ino, func(l *lane) { l.listing = true })
}

// name takes back what the kernel holds of a name, if that stands for something else.
func (n *notifier) name(at known.Place) {
	if !n.f.known.Holds(at.Parent) {
		return // as it does not know what lies above the part of the tree that is shown
	}
	n.add(at.Parent, func(l *lane) { l.name(at.Name, true) })
}

func (n *notifier) add(ino vfs.Ino, what func(*lane)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lanes == nil {
		return
	}
	l := n.lanes[ino]
	if l == nil {
		l = &lane{}
		n.lanes[ino] = l
		n.wg.Add(1)
		go n.run(ino)
	}
	what(l)
}

// run tells all that a lane gets, until nothing is left.
func (n *notifier) run(ino vfs.Ino) {
	defer n.wg.Done()
	for {
		n.mu.Lock()
		l := n.lanes[ino]
		if l == nil || !l.attr && !l.content && !l.listing && l.names == nil {
			delete(n.lanes, ino)
			n.mu.Unlock()
			return
		}
		n.lanes[ino] = &lane{}
		n.mu.Unlock()
		told := l.listing
		for name, look := range l.names {
			told = n.tellName(known.Place{Parent: ino, Name: name}, look) || told
		}
		if told { // of a name that it does not know the kernel hears nothing, but it may have the listing
			n.at(func() { n.to.InodeNotify(n.f.id(ino), 0, 0) })
		}
		if l.content || l.attr {
			n.tellContent(ino, l.content)
		}
	}
}

// at runs what tells the kernel of something, as one of maxLanes.
func (n *notifier) at(tell func()) {
	n.sem <- struct{}{}
	defer func() { <-n.sem }()
	tell()
}

// tellContent takes back what a node is, and with bytes what it holds, if the kernel can have other bytes. It asks again a little later
// where the kernel does not know the node that it was told of: the answer is on its way.
func (n *notifier) tellContent(ino vfs.Ino, bytes bool) {
	if bytes {
		ctx, end := context.WithTimeout(n.ctx, lookAgain)
		a, err := n.f.fs.Attr(ctx, ino)
		end()
		bytes = err != nil || !n.f.known.Caches(ino, a.Tag)
	}
	off := int64(-1) // attributes alone
	if bytes {
		off = 0
	}
	wait := retry
	for range retries {
		st := fuse.OK
		n.at(func() { st = n.to.InodeNotify(n.f.id(ino), off, 0) })
		if st != fuse.ENOENT || !n.f.known.Holds(ino) {
			return
		}
		select {
		case <-time.After(wait):
		case <-n.ctx.Done():
			return
		}
		wait *= 4
	}
}

// tellName takes a name back, and reports whether it did. With look it leaves one alone that stands for what the kernel knows: most
// changes are its own.
func (n *notifier) tellName(at known.Place, look bool) bool {
	n.f.known.Settled(n.ctx, at)
	if look {
		ctx, end := context.WithTimeout(n.ctx, lookAgain)
		a, err := n.f.fs.Lookup(ctx, at.Parent, at.Name)
		end()
		if err == nil && n.f.known.Is(at, a.Ino) {
			return false
		}
	}
	n.f.known.Lost(at)
	n.at(func() { n.to.EntryNotify(n.f.id(at.Parent), at.Name) })
	return true
}
