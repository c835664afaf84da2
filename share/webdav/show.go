package webdav

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/webdav/lock"
)

const (
	// maxShown is how many locks others are told of at once; each keeps a stream open.
	maxShown = 64
	// lookEvery is how often it is looked whether a lock is still there, and so how long others are told of it at most after its end.
	lookEvery = 2 * time.Second
)

// showing are the locks that others are told of.
type showing struct {
	ctx   context.Context // ends them
	count atomic.Int32
	tasks sync.WaitGroup
}

// show tells who works in the share by another way that somebody works on a file, for as long as its lock is there. That keeps nobody
// from anything, as the lock itself does among the clients of this listener.
func (h *handler) show(l lock.Lock, ino vfs.Ino) {
	if h.showing.count.Add(1) > maxShown {
		h.showing.count.Add(-1)
		return
	}
	h.showing.tasks.Go(func() {
		defer h.showing.count.Add(-1)
		ctx, end := context.WithCancel(h.showing.ctx)
		defer end()
		h.showing.tasks.Go(func() { h.fs.WorkOn(ctx, ino) })
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for h.locks.Has(time.Now(), l.Root, l.Token) {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
}
