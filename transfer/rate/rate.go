// Package rate says when bytes may pass: within a limit, and fairly. A [Limiter] is a number of bytes a second that peers
// share; [Slots] lets pieces go a few at a time, so that each is whole soon.
//
// What is decided, in what order and when, is decided by queue and slots, which have neither clock nor lock: times are
// arguments, so tables and random runs test them. Limiter and Slots are their shells.
package rate

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
)

// Limiter lets bytes pass at a limited rate that peers share equally, however many streams each has. Interactive passes
// before Bulk, which gets a quarter nevertheless. The nil and the zero Limiter set no limit. It is safe for use from several goroutines.
type Limiter struct {
	limit   atomic.Int64 // a transfer.Rate; changed with mu held
	waiters waiters

	mu    sync.Mutex
	queue queue
	alarm alarm
}

// NewLimiter makes a Limiter.
func NewLimiter(r transfer.Rate) *Limiter {
	l := &Limiter{}
	l.SetLimit(r)
	return l
}

// Limit is the limit.
func (l *Limiter) Limit() transfer.Rate {
	if l == nil {
		return 0
	}
	return transfer.Rate(l.limit.Load())
}

// Chunk is how many bytes are best asked for in one [Limiter.Wait]: under a limit at most [MaxChunk], and less if it is
// low, so that what is sent or read comes evenly.
func (l *Limiter) Chunk() int {
	r := l.Limit()
	if r == 0 {
		return math.MaxInt
	}
	return int(chunkOf(r))
}

// SetLimit changes the limit, also for those that wait.
func (l *Limiter) SetLimit(r transfer.Rate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r = max(r, 0); r == transfer.Rate(l.limit.Load()) {
		return
	}
	l.limit.Store(int64(r))
	// Who waits is let go, and asks again by the new limit for what is left.
	for c := range l.queue.lines {
		for w := l.queue.lines[c].first(); w != nil; w = l.queue.lines[c].first() {
			l.queue.lines[c].pass(w)
			w.ready <- struct{}{}
		}
	}
	if r > 0 {
		l.queue.setLimit(time.Now(), r)
	}
}

// Wait returns when n bytes from or to a peer may pass, or with the error of ctx: then they must not. Bytes that have
// arrived already, and so can't be held back, are waited for after: the next ones come later for it.
func (l *Limiter) Wait(ctx context.Context, who peer.ID, n int, c Class) error {
	if l == nil || l.limit.Load() == 0 {
		return nil
	}
	for n > 0 {
		passed, err := l.pass(ctx, who, n, c)
		if err != nil {
			return err
		}
		n -= passed
	}
	return nil
}

// pass lets a part of n bytes pass and says how many.
func (l *Limiter) pass(ctx context.Context, who peer.ID, n int, c Class) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, context.Cause(ctx)
	}
	w := l.waiters.get()
	defer l.waiters.put(w)
	l.mu.Lock()
	r := transfer.Rate(l.limit.Load())
	if r == 0 {
		l.mu.Unlock()
		return n, nil
	}
	w.who, w.n = who, min(int64(n), chunkOf(r))
	l.queue.add(w, c)
	l.grant()
	l.mu.Unlock()
	select {
	case <-w.ready:
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		select {
		case <-w.ready:
		default:
		}
		l.queue.cancel(w, c)
		l.grant()
		return 0, context.Cause(ctx)
	}
	if !w.granted {
		return 0, nil
	}
	return int(w.n), nil
}

// grant lets all pass that may now, and comes back when the next one may. l.mu is held.
func (l *Limiter) grant() {
	for {
		w, d := l.queue.next(time.Now())
		if w == nil {
			l.alarm.set(d, l)
			return
		}
		w.ready <- struct{}{}
	}
}

func (l *Limiter) ring() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.grant()
}

// waiters are used again: who waits does so for every chunk.
type waiters struct{ pool sync.Pool }

func (p *waiters) get() *waiter {
	if w, ok := p.pool.Get().(*waiter); ok {
		return w
	}
	return &waiter{ready: make(chan struct{}, 1)}
}

func (p *waiters) put(w *waiter) {
	w.who, w.granted = "", false
	p.pool.Put(w)
}

// alarm rings once, later.
type alarm struct{ timer *time.Timer }

// set lets it ring in d for the one whose alarm it is. Only the last call counts; 0 is never.
func (a *alarm) set(d time.Duration, whose interface{ ring() }) {
	switch {
	case d > 0 && a.timer == nil:
		a.timer = time.AfterFunc(d, whose.ring)
	case d > 0:
		a.timer.Reset(d)
	case a.timer != nil:
		a.timer.Stop()
	}
}
