// Package journal keeps a peer's audit log in a folder: it writes it, goes on after whatever ended the run before, verifies and
// reads it. What is in it, and what its verification finds and does not, says package audit.
//
// Records are gathered in files named by their first record's number, of 16 MiB each, of which the newest ten are kept. Every
// 1,000 records, every 5 minutes in which something was added, and at the end of a file and of a run there is a checkpoint, and the
// disk is made to keep what was written. Beside the files lies "head", written over in place after each write, and what was cut
// off at the end of a log that a crash had torn, in files that begin with "torn-".
package journal

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/peerd/peerd/peer/audit"
)

// Options of a log. The zero value is good.
type Options struct {
	Now  func() time.Time // nil: time.Now
	Log  *slog.Logger     // is told when the log can't be written, and of findings on opening; nil: nobody is
	Boot string           // names this run of the operating system; "": as that tells it

	FileSize int64 // bytes from which on a file is full; 0: 16 MiB
	Files    int   // how many are kept, 2 or more; 0: 10
	Queue    int   // events that wait to be written, at most; 0: 8,192

	FlushEvery        time.Duration // an event is in the file so long after Add; 0: 100 ms
	CheckpointEvery   time.Duration // an event is safe on the disk so long after Add; 0: 5 min
	CheckpointRecords int           // or after so many records; 0: 1,000
	Window            time.Duration // over which equal refusals are gathered; 0: 5 s
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Boot == "" {
		o.Boot = bootID()
	}
	o.Boot = o.Boot[:min(len(o.Boot), audit.MaxBoot)]
	or(&o.FileSize, 16<<20)
	or(&o.Files, 10)
	o.Files = max(2, o.Files)
	or(&o.Queue, 8192)
	or(&o.FlushEvery, 100*time.Millisecond)
	or(&o.CheckpointEvery, 5*time.Minute)
	or(&o.CheckpointRecords, 1000)
	or(&o.Window, 5*time.Second)
	return o
}

func or[T int | int64 | time.Duration](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}

const (
	retryEvery = time.Second           // while the log can't be written
	patience   = 50 * time.Millisecond // of Add with a full queue, while the log can be written
)

// Log is an audit log that is written to. It is safe for concurrent use, by one process at a time.
type Log struct {
	dir string
	pub crypto.PubKey
	opt Options

	wake  chan struct{} // there is something in the queue
	asked chan request
	done  chan struct{} // closed once nothing is written any more

	mu      sync.Mutex // held for moments
	queue   []audit.Stamped
	room    chan struct{} // closed when the queue was taken from, and made anew
	dropped audit.Event   // its Count is 0 if nothing was
	failing error
	since   time.Time  // of failing
	last    audit.Mark // the newest record in the files
	closed  bool

	// Of the one goroutine that writes.
	w            *writer
	g            audit.Gatherer
	flushAt      time.Time // zero if nothing waits
	checkpointAt time.Time // zero if nothing was added since the last
}

// request asks for all that was added before to be written; end says that it is the last.
type request struct {
	end   bool
	reply chan error
}

// Open opens the log in a folder, which it makes if it is not there, to go on where it ended. What it finds changed or lost it
// tells in a record, and goes on; it fails if it can't read what is there. A log belongs to one key.
func Open(dir string, key crypto.PrivKey, opt Options) (*Log, error) {
	return open(dir, key, opt, func(d disk) disk { return d })
}

func open(dir string, key crypto.PrivKey, opt Options, through func(disk) disk) (*Log, error) {
	opt = opt.withDefaults()
	d, err := openFolder(dir, true)
	if err != nil {
		return nil, failed("open audit", dir, err)
	}
	s, found, err := recovered(d, key.GetPublic(), opt.Boot)
	if err != nil {
		return nil, failed("open audit", dir, errors.Join(err, d.close()))
	}
	l := &Log{
		dir: dir, pub: key.GetPublic(), opt: opt,
		wake: make(chan struct{}, 1), asked: make(chan request), done: make(chan struct{}), room: make(chan struct{}),
		last: s.last,
		w:    newWriter(through(d), key, s, d.head != nil, opt),
		g:    audit.Gatherer{Window: opt.Window},
	}
	if found != nil {
		level := slog.LevelInfo
		if found.Result != audit.OK {
			level = slog.LevelWarn
		}
		opt.Log.Log(context.Background(), level, "audit: the run before did not end in order", "dir", dir, "result", found.Result,
			"lost", found.Count, "why", found.Why)
		l.w.add(*found, opt.Now())
	}
	if found != nil || !l.w.hasHead { // a head comes before any file: files without one are a finding
		_ = l.note(l.w.checkpoint()) // a disk that is full now may not be later
	}
	go l.run()
	return l, nil
}

// Add records an event. It does not wait for the disk, but up to 50 ms if events come faster than they can be written. It never
// fails: how many events were dropped, and when, is told in a later record. After Close it does nothing.
func (l *Log) Add(e audit.Event) {
	e = e.Clean()
	if e.Kind == "" || strings.HasPrefix(string(e.Kind), "audit.") {
		e.Kind = "unknown." + e.Kind // these are not for others to write
	}
	if !l.add(e, l.opt.Now(), false) {
		l.add(e, l.opt.Now(), true)
	}
}

// add reports whether it is done with the event: a full queue is waited for once.
func (l *Log) add(e audit.Event, at time.Time, last bool) bool {
	l.mu.Lock()
	switch {
	case l.closed:
	case len(l.queue) < l.opt.Queue:
		l.queue = append(l.queue, audit.Stamped{Event: e, At: at})
		if n := len(l.queue); n == 1 || n == l.opt.Queue/2 {
			select {
			case l.wake <- struct{}{}:
			default:
			}
		}
	case last || l.failing != nil:
		if l.dropped.Count == 0 {
			l.dropped = audit.Event{Kind: audit.KindDropped, First: at}
		}
		l.dropped.Count += e.Times()
		l.dropped.Last = at
	default:
		room := l.room
		l.mu.Unlock()
		t := time.NewTimer(patience)
		defer t.Stop()
		select {
		case <-room:
		case <-l.done:
		case <-t.C:
		}
		return false
	}
	l.mu.Unlock()
	return true
}

// take gives the oldest events of the queue, and, if that empties it, what had no room in it.
func (l *Log) take(most int) (batch []audit.Stamped, dropped audit.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := min(most, len(l.queue)); n < len(l.queue) {
		batch, l.queue = l.queue[:n], l.queue[n:]
	} else {
		batch, l.queue = l.queue, nil
		dropped, l.dropped = l.dropped, audit.Event{}
	}
	close(l.room)
	l.room = make(chan struct{})
	return batch, dropped
}

// Err is why the log can't be written, or nil. It is a [peer.Error] of the cause's kind.
func (l *Log) Err() error {
	_, err := l.Failing()
	return err
}

// Failing is since when and why the log can't be written; the error is nil if it can.
func (l *Log) Failing() (since time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.since, l.failing
}

// note takes the outcome of a write.
func (l *Log) note(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = l.w.last
	switch {
	case err != nil && l.failing == nil:
		l.since = l.opt.Now()
		l.opt.Log.Warn("audit: the log can't be written", "dir", l.dir, "err", err)
	case err == nil && l.failing != nil:
		l.opt.Log.Info("audit: the log can be written again", "dir", l.dir, "after", l.opt.Now().Sub(l.since))
		l.since = time.Time{}
	}
	l.failing = nil
	if err != nil {
		l.failing = failed("write audit", l.dir, err)
	}
	return l.failing
}

// Flush waits until what was added before is in the files, and gives why it can't be. It does not wait for the disk to have it.
func (l *Log) Flush(ctx context.Context) error { return l.ask(ctx, false) }

func (l *Log) ask(ctx context.Context, end bool) error {
	r := request{end, make(chan error, 1)}
	select {
	case l.asked <- r:
		return <-r.reply
	case <-l.done:
		return failed("write audit", l.dir, errors.New("it is closed"))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close writes what was added before, with a checkpoint, and ends the log. What can't be written is lost, and the error says why.
func (l *Log) Close() error {
	l.mu.Lock()
	again := l.closed
	l.closed = true
	l.mu.Unlock()
	if again {
		<-l.done
		return nil
	}
	return l.ask(context.Background(), true)
}

// Verify is [Verify] of this log, and compares what is there with what was written in this run.
func (l *Log) Verify(ctx context.Context) (audit.Report, error) {
	_ = l.Flush(ctx) // what can't be written is no reason not to look at what was
	l.mu.Lock()
	last := l.last
	l.mu.Unlock()
	return verify(ctx, l.dir, l.pub, last)
}

// run writes until the log is closed.
func (l *Log) run() {
	defer close(l.done)
	timer := time.NewTimer(0)
	for {
		select {
		case <-l.wake:
			if l.Err() != nil {
				break // there is a time for trying again
			}
			if l.waiting() >= l.opt.Queue/2 {
				l.step(false)
			} else if l.flushAt.IsZero() {
				l.flushAt = l.opt.Now().Add(l.opt.FlushEvery)
			}
		case r := <-l.asked:
			err := l.step(r.end)
			if r.end {
				r.reply <- errors.Join(err, l.w.close())
				return
			}
			r.reply <- err
		case <-timer.C:
			l.step(false)
		}
		if at := l.nextAt(); at.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(at.Sub(l.opt.Now()))
		}
	}
}

func (l *Log) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

// nextAt is when step has something to do, or zero.
func (l *Log) nextAt() (next time.Time) {
	if l.Err() != nil {
		return l.opt.Now().Add(retryEvery)
	}
	for _, at := range []time.Time{l.flushAt, l.checkpointAt, l.g.Next()} {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// step writes all that waits, with the checkpoints that are due; at the end everything is.
func (l *Log) step(end bool) error {
	err := l.w.write() // what could not be written before
	for more := true; more && err == nil; {
		more = l.encode()
		for _, e := range l.g.Due(l.opt.Now(), end) {
			l.w.add(e.Event, e.At)
		}
		if err = l.w.write(); err == nil && l.w.since >= l.opt.CheckpointRecords {
			err = l.w.checkpoint()
		}
		if err == nil {
			err = l.w.rotate()
		}
	}
	now := l.opt.Now()
	if err == nil && (end || !l.checkpointAt.IsZero() && !now.Before(l.checkpointAt)) {
		err = l.w.checkpoint()
	}
	switch {
	case l.w.since == 0:
		l.checkpointAt = time.Time{}
	case l.checkpointAt.IsZero():
		l.checkpointAt = now.Add(l.opt.CheckpointEvery)
	}
	l.flushAt = time.Time{}
	return l.note(err)
}

// encode makes records of what waits, up to the next checkpoint, and reports whether it left any.
func (l *Log) encode() (more bool) {
	for !l.w.full() && !more {
		room := max(1, l.opt.CheckpointRecords-l.w.since)
		batch, dropped := l.take(min(room, 1024))
		for _, e := range batch {
			if l.g.Add(e) {
				l.w.add(e.Event, e.At)
			}
		}
		if dropped.Count > 0 {
			dropped.Why = "the log could not be written, or not fast enough"
			l.w.add(dropped, l.opt.Now())
		}
		if len(batch) == 0 {
			return false
		}
		more = l.w.since >= l.opt.CheckpointRecords
	}
	return true
}
