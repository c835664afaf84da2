//go:build linux || darwin

package face

import (
	"context"
	"sync"
	"time"
)

// call is the context of one request. It ends when whoever asked is told to stop, which the kernel says by closing cancel.
//
// The kernel says so for any signal, and only once; yet a request that fails because a timer ticked or a window changed its
// size breaks programs that rightly expect no such thing of a file. So the signal itself is looked at, see meant. That costs
// nothing to those who need not wait: nobody looks before Done is called.
type call struct {
	context.Context // a background, for Deadline and Value
	cancel          <-chan struct{}
	pid             uint32
	over            chan struct{} // closed by end

	mu   sync.Mutex
	done chan struct{} // nil until somebody waits
}

// again is how often a request that a signal reached, which was not meant for it, looks whether there is another.
const again = 50 * time.Millisecond

func newCall(cancel <-chan struct{}, pid uint32) *call {
	return &call{Context: context.Background(), cancel: cancel, pid: pid, over: make(chan struct{})}
}

// end lets go of all that waits. The kernel uses cancel for another request then.
func (c *call) end() { close(c.over) }

// Done is closed when the request should be given up.
func (c *call) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		go c.watch(c.done)
	}
	return c.done
}

// Err is context.Canceled once Done is closed.
func (c *call) Err() error {
	c.mu.Lock()
	done := c.done
	c.mu.Unlock()
	select {
	case <-done: // never if it is nil
		return context.Canceled
	default:
		return nil
	}
}

func (c *call) watch(done chan struct{}) {
	select {
	case <-c.over:
		return
	case <-c.cancel:
	}
	for !meant(c.pid) {
		select {
		case <-c.over:
			return
		case <-time.After(again):
		}
	}
	close(done)
}
