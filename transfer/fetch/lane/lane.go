// Package lane asks one source for pieces and files: requests go out ahead of their answers on a few streams (lanes), each on
// a connection of its own, and each answer is taken by the goroutine that reads it.
//
// A lane that breaks is opened again, and what it still owed is asked for anew, until nothing was heard for
// [Options.Patience].
package lane

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
)

// Source is one share at one peer that has files of it.
type Source struct {
	Opener peer.Opener
	Peer   peer.ID
	Share  transfer.ShareID
	Label  string // how the share is called in messages: //anna/docs
	// Grant gives a grant that is good for some time yet.
	Grant func(context.Context) ([]byte, error)
}

// Options of [Open].
type Options struct {
	Lanes    int           // connections
	First    int           // the number of the first of them, see [peer.Opener]
	Patience time.Duration // how long to try while nothing arrives
	// Heard is when something arrived last, in Unix nanoseconds: of this source, or of all that the user waits for.
	Heard   *atomic.Int64
	Waiting func(error) // told when a lane breaks and is tried again; may be nil
	// Pace lets n bytes be read now, or later; may be nil.
	Pace func(ctx context.Context, n int) error
	Log  *slog.Logger
}

// Bounds of what is asked for at once.
const (
	window     = 16 << 20  // bytes that a lane may owe: covers 1 Gbit/s at 120 ms
	maxPending = 1024      // requests that a lane may owe
	maxQueue   = 4096      // requests that wait for a lane
	uneven     = 256 << 10 // bytes that a lane may owe more than another before a piece is left to that one
)

// readBuffer is for the answers about small files; what a piece has beyond it goes to where it belongs at once. In bytes.
const readBuffer = 16 << 10

// Stall is how long a source may be silent while it owes something.
const Stall = 20 * time.Second

// Job is one request and what becomes of its answer. A job is used by one lane at a time.
type Job interface {
	// Request fills in what to ask for; file has share and grant set.
	Request(*transferpb.GetRequest)
	// Cost is how many bytes the answer will have.
	Cost() int64
	// Receive takes an answer. It reads all of the body, or returns an error that breaks the lane.
	Receive(r *transferpb.GetReply, body io.Reader, s *Scratch) error
	// Fail ends the job with an error that another try would not mend.
	Fail(error)
	// Over reports whether an answer is of no use any more, so that it need not be asked for again.
	Over() bool
}

// Scratch is what a lane keeps for its jobs. Its memory is had when it is asked for, and no more of it: there are lanes to everybody
// who has a file, and most of what they bring is small.
type Scratch struct {
	Hasher manifest.Hasher
	bytes  []byte
}

// Bytes gives n bytes, with anything in them, until it is called again.
func (s *Scratch) Bytes(n int64) []byte {
	if int64(cap(s.bytes)) < n {
		s.bytes = make([]byte, n)
	}
	return s.bytes[:n]
}

// Lanes are the lanes to one source. Their methods may be called at the same time.
type Lanes struct {
	src  Source
	opts Options

	ctx    context.Context // of the lanes; ends with the reason why
	cancel context.CancelCauseFunc
	lanes  sync.WaitGroup

	mu    sync.Mutex
	wake  *sync.Cond
	queue []Job
	talks []*conversation // that are under way
	ready bool            // lanes connect before they have anything to ask for
}

// Open starts lanes, which work until Close or until ctx ends.
func Open(ctx context.Context, src Source, opts Options) *Lanes {
	f := &Lanes{src: src, opts: opts}
	f.wake = sync.NewCond(&f.mu)
	f.ctx, f.cancel = context.WithCancelCause(ctx)
	for i := range opts.Lanes {
		f.lanes.Go(func() { f.lane(opts.First + i) })
	}
	context.AfterFunc(f.ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.wake.Broadcast()
	})
	return f
}

// Context ends when the lanes do, by Close or for the reason that is its cause.
func (f *Lanes) Context() context.Context { return f.ctx }

// End ends the lanes for a reason. Close must be called even so.
func (f *Lanes) End(why error) { f.cancel(why) }

// Close ends the lanes. Jobs that are not done fail.
func (f *Lanes) Close() {
	f.cancel(errEnded)
	f.lanes.Wait()
	f.mu.Lock()
	left := f.queue
	f.queue = nil
	f.mu.Unlock()
	for _, j := range left {
		j.Fail(context.Cause(f.ctx))
	}
}

var errEnded = errors.New("the transfer was ended")

// Push queues a job. With wait it waits while too many are queued.
func (f *Lanes) Push(j Job, wait bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for wait && len(f.queue) >= maxQueue && f.ctx.Err() == nil {
		f.wake.Wait()
	}
	if f.ctx.Err() != nil {
		return context.Cause(f.ctx)
	}
	f.queue = append(f.queue, j)
	f.wake.Broadcast()
	return nil
}

// PushAll queues jobs, however many are.
func (f *Lanes) PushAll(jobs []Job) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, jobs...)
	f.wake.Broadcast()
}

// Again puts jobs back in front of the queue.
func (f *Lanes) Again(jobs ...Job) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(jobs, f.queue...)
	f.wake.Broadcast()
}

// Connect has all lanes connect that did not yet, since much is about to be asked for. It does not wait for that.
func (f *Lanes) Connect() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ready {
		f.ready = true
		f.wake.Broadcast()
	}
}

// connect waits until a lane is to connect, and has it do so if there is nothing to ask for yet. What comes of it shows when
// there is.
func (f *Lanes) connect(n int) {
	f.mu.Lock()
	for !f.queued() && !f.ready && f.ctx.Err() == nil {
		f.wake.Wait()
	}
	early := !f.queued()
	f.mu.Unlock()
	if !early || f.ctx.Err() != nil {
		return
	}
	// A stream on which nothing is said would be taken for dead.
	if st, err := f.src.Opener.Open(f.ctx, f.src.Peer, serve.GetProtocol, n); err == nil {
		st.Reset()
	}
}

// lane runs one lane until the lanes end.
func (f *Lanes) lane(n int) {
	f.connect(n)
	s := &Scratch{}
	var since time.Time // of the first of the breaks with nothing heard between them
	var wait time.Duration
	for f.need() {
		owed, err := f.converse(n, s)
		f.Again(owed...)
		if f.ctx.Err() != nil || err == nil {
			continue
		}
		if time.Unix(0, f.opts.Heard.Load()).After(since) {
			since, wait = time.Now(), 0
		}
		if Final(err) || time.Since(since) > f.opts.Patience {
			f.cancel(err)
			return
		}
		f.opts.Log.Debug("lane broke", "lane", n, "peer", f.src.Peer, "err", err)
		if f.opts.Waiting != nil {
			f.opts.Waiting(err)
		}
		wait = min(max(2*wait, 100*time.Millisecond), 2*time.Second)
		select {
		case <-time.After(wait):
		case <-f.ctx.Done():
		}
	}
}

// Final reports whether trying again is pointless.
func Final(err error) bool {
	switch peer.KindOf(err) {
	case peer.Denied, peer.NotFound, peer.Integrity, peer.Usage:
		return true
	}
	return false
}

// need waits until there is something to ask for.
func (f *Lanes) need() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.queued() && f.ctx.Err() == nil {
		f.wake.Wait()
	}
	return f.ctx.Err() == nil
}

// queued reports whether there is a job in front of the queue, after those that are over are taken off. f.mu is held.
func (f *Lanes) queued() bool {
	n := len(f.queue)
	for len(f.queue) > 0 && f.queue[0].Over() {
		f.queue = f.queue[1:]
	}
	if len(f.queue) < n {
		f.wake.Broadcast() // who waits for room in the queue
	}
	return len(f.queue) > 0
}
