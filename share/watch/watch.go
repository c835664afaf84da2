// Package watch notices what changes in a shared folder, whoever changes it, and tells it as a [Feed] of events.
//
// A [Watcher] keeps an index of all that the share holds. What the system says of a change (inotify and its like, by fsnotify)
// is only a hint to look at one folder again: it is listed through the confined [share.FS], the listing is compared with the
// index, and the differences become events. So no link and no race can make up an event, and a lost hint is made good by the
// next rescan. Where the system has no watches left, rescans alone find the changes, and [Watcher.State] says so.
//
// Who needs to know all that a share holds takes a [Watcher.Snapshot] and applies the events after its cursor. A listing from
// the disk is no such start: it may show a file that came and went before the watcher looked, of which no event ever tells.
package watch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/watch/notify"
)

// Options say how a share is watched. The zero Options do for most.
type Options struct {
	// Changed is told of each change that the owner's own programs made, with what was there before; in order, by the
	// goroutine of Run, which waits for it. What a folder held that was found with the folder is told as well. May be nil.
	Changed func(ev Event, before share.Entry)
	// Rescan is how often folders are looked at that aren't watched; 0 is 30 s. Scans never take more than a twentieth of the
	// time: a longer scan is a rarer one. What is watched is scanned as often, but for no more than a 200th of the time or every
	// 10 minutes, since not every change is told of: those through memory maps aren't, nor those by other computers on a network disk.
	Rescan time.Duration
	// MaxWatches is how many folders are watched at most; 0 is what suits the system, and below 0 is none.
	MaxWatches int
	// Log is told of what goes wrong; nil for nobody.
	Log *slog.Logger

	notify func() (notifier, error) // the system's, or a test's
}

// notifier gives hints, see [notify.System].
type notifier interface {
	Add(dir string) error
	Remove(dir string)
	Notices() <-chan notify.Notice
	Close()
}

// State is how well a share is watched.
type State struct {
	Ready   bool          // it was looked through once
	Away    error         // why the folder can't be looked at, or nil
	Folders int           // that are known
	Watched int           // of them: changes there are noticed at once. The others are found by the rescan
	Why     string        // why not all are watched, and what to do; "" if all are
	Every   time.Duration // how often the others are looked at
	Scanned time.Time     // when all was last looked through
	Took    time.Duration // how long that took
}

// Watcher notices the changes of one share. It is safe for concurrent use.
type Watcher struct {
	fs    share.FS
	dir   string
	feed  *Feed
	opt   Options
	ready chan struct{}
	wake  chan struct{} // the loop has something new to do

	mu         sync.Mutex
	ix         *index
	queue      queue
	noted      map[share.Path]struct{} // since the listing that runs began
	held       map[share.Path]int      // how many Holds a path is in
	heldBelow  map[share.Path]int      // the same for the folders above
	overflowed bool                    // hints were lost
	limit      error                   // why no watch could be added; nil if none was refused
	state      State                   // but for what the index knows
}

// New makes a watcher of the folder dir, an absolute path, that fs reads. It does nothing until Run.
func New(fs share.FS, dir string, feed *Feed, opt Options) *Watcher {
	if opt.Changed == nil {
		opt.Changed = func(Event, share.Entry) {}
	}
	if opt.Rescan <= 0 {
		opt.Rescan = 30 * time.Second
	}
	if opt.MaxWatches == 0 {
		opt.MaxWatches = notify.Usual()
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.notify == nil {
		opt.notify = func() (notifier, error) { return notify.New() }
	}
	w := &Watcher{
		fs: fs, dir: filepath.Clean(dir), feed: feed, opt: opt,
		ready: make(chan struct{}), wake: make(chan struct{}, 1),
		ix: newIndex(), queue: queue{}, noted: map[share.Path]struct{}{},
		held: map[share.Path]int{}, heldBelow: map[share.Path]int{},
	}
	w.settleLocked()
	return w
}

// Ready is closed when all was looked through once. Changes before that are in no event; who follows the feed has a gap then.
func (w *Watcher) Ready() <-chan struct{} { return w.ready }

// Totals is how many files the share holds and how many bytes they have; not ok before it is ready.
func (w *Watcher) Totals() (files int, bytes int64, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ix.files, w.ix.bytes, w.state.Ready
}

// Lookup tells what is known of a path. The time and version of a folder may be older ones.
func (w *Watcher) Lookup(p share.Path) (share.Entry, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ix.get(p)
}

// State is how well the share is watched now.
func (w *Watcher) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	st := w.state
	st.Folders, st.Watched = len(w.ix.folders), w.ix.watched
	if st.Watched < st.Folders && st.Away == nil {
		why := "peerd may not watch all"
		if w.limit != nil {
			why = w.limit.Error()
		}
		st.Why = fmt.Sprintf("%s: %d of %d folders are watched, the others are looked at every %v", why, st.Watched, st.Folders,
			max(st.Every, w.opt.Rescan).Round(time.Millisecond))
		var full *notify.Limit
		if errors.As(w.limit, &full) && full.Hint != "" {
			st.Why += "; " + full.Hint
		}
	}
	return st
}

// Snapshot gives all that is known below a folder, in the order of [share.FS.Walk], and the place in the feed that it is as of.
// It fails with [peer.Busy] before the share is ready, and with [peer.NotFound] where no folder is.
func (w *Watcher) Snapshot(p share.Path) (iter.Seq[share.Entry], Cursor, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !w.state.Ready:
		return nil, Cursor{}, &peer.Error{Op: "list changes", Path: p.String(), Kind: peer.Busy,
			Err: errors.New("the share is still being looked through"), Hint: "try again in a moment"}
	case w.ix.folders[p] == nil:
		return nil, Cursor{}, &peer.Error{Op: "list changes", Path: p.String(), Kind: peer.NotFound}
	}
	folders := map[share.Path][]item{}
	var copyAll func(p share.Path)
	copyAll = func(p share.Path) {
		items := slices.Clone(w.ix.folders[p].items)
		folders[p] = items
		for _, it := range items {
			if q, err := p.Join(it.name); err == nil && it.kind == share.Dir {
				copyAll(q)
			}
		}
	}
	copyAll(p)
	return func(yield func(share.Entry) bool) { yieldAll(folders, p, yield) }, w.feed.Now(), nil
}

func yieldAll(folders map[share.Path][]item, p share.Path, yield func(share.Entry) bool) bool {
	for _, it := range folders[p] {
		q, err := p.Join(it.name)
		if err != nil {
			continue
		}
		if !yield(it.entry(q)) || it.kind == share.Dir && !yieldAll(folders, q, yield) {
			return false
		}
	}
	return true
}

// settleLocked queues the folders that a change of the index asks to look at.
func (w *Watcher) settleLocked() {
	now := time.Now()
	for _, p := range w.ix.enter {
		w.queue.add(p, now)
	}
	w.ix.enter = nil
}

func (w *Watcher) wakeUp() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run watches until ctx ends, and gives its error. It may be called once.
func (w *Watcher) Run(ctx context.Context) error {
	l := &loop{Watcher: w}
	defer l.hangUp()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		pause := l.turn(ctx)
		if pause <= 0 {
			continue
		}
		timer.Reset(pause)
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-timer.C:
		}
	}
	return ctx.Err()
}
