package webdav

import (
	"context"
	"sync"
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
	ctx   context.Context // ends with close
	end   context.CancelFunc
	tasks sync.WaitGroup

	mu     sync.Mutex
	count  int
	closed bool
}

// close ends all, and waits for that.
func (s *showing) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.tasks.Wait()
}

// begin reports whether there may be one more, and counts it.
func (s *showing) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.count == maxShown {
		return false
	}
	s.count++
	s.tasks.Add(1)
	return true
}

func (s *showing) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count--
	s.tasks.Done()
}

// show tells who works in the share by another way that somebody works on a file, for as long as its lock is there. That keeps nobody
// from anything, as the lock itself does among the clients of this listener.
func (h *handler) show(l lock.Lock, ino vfs.Ino) {
	if !h.showing.begin() {
		return
	}
	ctx, end := context.WithCancel(h.showing.ctx)
	h.showing.tasks.Go(func() {
		defer end()
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
	go func() {
		defer h.showing.done()
		h.fs.WorkOn(ctx, ino)
		end() // it could not
	}()
}
