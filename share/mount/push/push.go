//go:build linux || darwin

// Package push gives the kernel parts of files that programs read in small pieces here and there, so that it need not ask for each page:
// a request takes as long as twenty reads of what the kernel has.
//
// The kernel puts what it gets over what it has (fuse_notify_store). So no part is pushed of a file that a program has open for writing,
// or makes shorter: that waits until the push under way is over. Nor is a push under way when a program opens a file that has other
// bytes now: the kernel forgets those that it has when it is answered, and those pushed would come after.
//
// In the kernel a push waits for whoever reads one of its pages, which is answered at once, as the part is here. Who reads more than a
// part, or of two, may wait for the network: as long as somebody does, nothing is pushed of that file. No read waits for a push.
package push

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/peerd/peerd/share/vfs"
)

// Part is how many bytes the kernel gets at once.
const Part = 64 << 10

// Bounds of what it gets.
const (
	often     = 4           // reads within a part that ask for less than one, after which it gets that part
	maxParts  = 8 << 10     // that reads are counted in, of an open file; one more, and all counts begin anew
	maxPushes = 64          // that wait; more are not made
	patience  = time.Second // until a part is here
	lookAgain = 2 * time.Second
)

// Kernel gets the bytes, and loses them if they are true no more; a [fuse.Server].
type Kernel interface {
	InodeNotifyStoreCache(node uint64, off int64, b []byte) fuse.Status
	InodeNotify(node uint64, off, length int64) fuse.Status
}

// Tree is what is mounted.
type Tree interface {
	ID(ino vfs.Ino) uint64                                // the kernel's number of a node
	Open(fh uint64) File                                  // nil if it is closed
	Caches(ino vfs.Ino, tag string) bool                  // what the kernel has of a file are bytes of tag
	Is(ctx context.Context, ino vfs.Ino, tag string) bool // and so is the file
}

// File is an open file.
type File interface {
	Tag() string // of the bytes that are read
	ReadAt(ctx context.Context, b []byte, off int64) (int, error)
	Node() vfs.Ino
}

// Reads counts the small reads of an open file. The zero Reads are none; it is safe for concurrent use.
type Reads struct {
	mu    sync.Mutex
	parts map[int64]int
}

// often counts a read in a part, and reports each time that there were so many that the kernel should have all of it.
func (r *Reads) often(part int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.parts == nil || len(r.parts) >= maxParts {
		r.parts = map[int64]int{}
	}
	if r.parts[part]++; r.parts[part] < often {
		return false
	}
	delete(r.parts, part)
	return true
}

// Pusher pushes parts of the files of a mount. It is safe for concurrent use.
type Pusher struct {
	tree  Tree
	queue chan push
	none  atomic.Bool // the kernel takes none

	mu   sync.Mutex
	held map[vfs.Ino]int // why nothing is pushed: who writes, and who reads of several parts
	now  vfs.Ino         // 0 if nothing is under way
	over chan struct{}   // closed when that is over
}

// push is a part of an open file that the kernel is to get.
type push struct {
	fh   uint64
	part int64
}

// New makes a pusher that pushes nothing before Run.
func New(t Tree) *Pusher {
	return &Pusher{tree: t, queue: make(chan push, maxPushes), held: map[vfs.Ino]int{}}
}

// Read notes that a program reads n bytes from off on of an open file; r is nil if what it reads is not to be pushed. What it gives is called when it
// has them.
func (p *Pusher) Read(ino vfs.Ino, fh uint64, r *Reads, off, n uint64) (done func()) {
	part := int64(off / Part)
	if int64((off+max(n, 1)-1)/Part) != part {
		p.hold(ino)
		return func() { p.free(ino) }
	}
	if r != nil && !p.none.Load() && r.often(part) {
		select {
		case p.queue <- push{fh, part}:
		default:
		}
	}
	return func() {}
}

// Write waits until nothing is pushed of a file, and keeps it so until Written is called. It fails if ctx ends before.
func (p *Pusher) Write(ctx context.Context, ino vfs.Ino) error {
	p.hold(ino)
	err := p.Wait(ctx, ino)
	if err != nil {
		p.free(ino)
	}
	return err
}

// Written ends what Write began. The kernel need not have the answer yet: what is pushed from now on is what was written.
func (p *Pusher) Written(ino vfs.Ino) { p.free(ino) }

func (p *Pusher) hold(ino vfs.Ino) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held[ino]++
}

func (p *Pusher) free(ino vfs.Ino) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held[ino]--; p.held[ino] == 0 {
		delete(p.held, ino)
	}
}

func (p *Pusher) isHeld(ino vfs.Ino) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held[ino] > 0
}

// Wait waits until the push of a file's bytes that is under way is over, if there is one.
func (p *Pusher) Wait(ctx context.Context, ino vfs.Ino) error {
	p.mu.Lock()
	now, over := p.now, p.over
	p.mu.Unlock()
	if now == 0 || now != ino {
		return nil
	}
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *Pusher) begin(ino vfs.Ino) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held[ino] > 0 {
		return false
	}
	p.now, p.over = ino, make(chan struct{})
	return true
}

func (p *Pusher) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = 0
	close(p.over)
}

// Run pushes what is to be, one after the other, until ctx ends.
func (p *Pusher) Run(ctx context.Context, to Kernel) {
	b := make([]byte, Part)
	for {
		select {
		case <-ctx.Done():
			return
		case x := <-p.queue:
			if h := p.tree.Open(x.fh); h != nil {
				p.push(ctx, to, h, x.part*Part, b)
			}
		}
	}
}

// push pushes a part of what is now the file, and takes it back if it no longer was when the kernel had it. The page that the file ends
// in is not pushed: the kernel clears what lies behind the end of it, and reads it from there on as the end of the file.
func (p *Pusher) push(ctx context.Context, to Kernel, h File, off int64, b []byte) {
	ino, tag := h.Node(), h.Tag()
	if p.isHeld(ino) || !p.tree.Caches(ino, tag) {
		return
	}
	n := p.fetch(ctx, h, off, b)
	if n == 0 || !p.is(ctx, ino, tag) || !p.begin(ino) {
		return
	}
	defer p.end()
	if h.Tag() != tag || !p.tree.Caches(ino, tag) {
		return
	}
	if to.InodeNotifyStoreCache(p.tree.ID(ino), off, b[:n]) == fuse.ENOSYS {
		p.none.Store(true)
		return
	}
	if h.Tag() != tag || !p.tree.Caches(ino, tag) || !p.is(ctx, ino, tag) {
		to.InodeNotify(p.tree.ID(ino), off, int64(n))
	}
}

// fetch reads whole pages. It gives up by itself, and not for want of an answer, which would have others give up as well.
func (p *Pusher) fetch(ctx context.Context, h File, off int64, b []byte) int {
	ctx, end := context.WithCancel(ctx)
	defer end()
	defer time.AfterFunc(patience, end).Stop()
	n, err := h.ReadAt(ctx, b, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0
	}
	return n - n%os.Getpagesize()
}

func (p *Pusher) is(ctx context.Context, ino vfs.Ino, tag string) bool {
	ctx, end := context.WithTimeout(ctx, lookAgain)
	defer end()
	return p.tree.Is(ctx, ino, tag)
}
