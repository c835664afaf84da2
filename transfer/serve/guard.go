package serve

import (
	"context"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
)

// Ender is a [Pass] that says when it ends, and not only when it is asked.
type Ender interface {
	// OnEnd has end called once, from any goroutine, when the pass is no longer good for any other reason than its age, or
	// at once if it is not now. stop takes that back; a call that runs may then still go on.
	OnEnd(end func()) (stop func())
}

// Grace is how long a stream may still say that its right ended before it is reset.
const Grace = 250 * time.Millisecond

// Guard ends a stream with the right that it runs by, whatever it waits for just then: a reader who takes nothing, a turn, a
// limit. What waits notices the end by the guard's context and by the stream's reset, after [Grace].
//
// Its methods are for the goroutine that serves the stream.
type Guard struct {
	stream peer.Stream
	cancel context.CancelFunc

	mu  sync.Mutex
	now *watch // nil without a pass
}

// watch is one pass that is looked after.
type watch struct {
	stop  func()
	ended chan struct{}
	timer *time.Timer // runs once it has ended
}

// NewGuard makes the guard of a stream, and the context of all that is done for it. [Guard.Close] must be called.
func NewGuard(ctx context.Context, st peer.Stream) (*Guard, context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	return &Guard{stream: st, cancel: cancel}, ctx
}

// Watch looks after a pass in place of the one before. One that is no [Ender] has no end that shows.
func (g *Guard) Watch(pass any) {
	w := &watch{ended: make(chan struct{}), stop: func() {}}
	g.replace(w)
	if e, ok := pass.(Ender); ok {
		w.stop = e.OnEnd(func() { g.end(w) })
	}
}

// Ended is closed when the pass that is watched now has ended.
func (g *Guard) Ended() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now == nil {
		return nil
	}
	return g.now.ended
}

// Close lets the stream go.
func (g *Guard) Close() {
	g.replace(nil)
	g.cancel()
}

func (g *Guard) replace(w *watch) {
	g.mu.Lock()
	old := g.now
	g.now = w
	if old != nil && old.timer != nil {
		old.timer.Stop()
	}
	g.mu.Unlock()
	if old != nil {
		old.stop()
	}
}

func (g *Guard) end(w *watch) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now != w || w.timer != nil {
		return
	}
	close(w.ended)
	w.timer = time.AfterFunc(Grace, func() {
		g.mu.Lock()
		still := g.now == w
		g.mu.Unlock()
		if still {
			g.cancel()
			g.stream.Reset()
		}
	})
}
