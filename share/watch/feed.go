package watch

import (
	"context"
	"crypto/rand"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
)

// Kind is what happened to a path.
type Kind uint8

// The kinds of events.
const (
	Created Kind = iota + 1 // nothing was there
	Changed                 // a file got other bytes or another attribute; of a folder only by peerd itself
	Removed                 // Entry is as it was last; what was below a folder is told before it
	Moved                   // from From, with all that is below; what was at Entry.Path is gone
)

func (k Kind) String() string {
	switch k {
	case Created:
		return "created"
	case Changed:
		return "changed"
	case Removed:
		return "removed"
	case Moved:
		return "moved"
	}
	return "unknown"
}

// Event is one change. Who applies all events after a cursor to what the share held then has what it holds now.
type Event struct {
	Seq   uint64 // given by the feed, each one more than the last
	Kind  Kind
	Entry share.Entry
	From  share.Path // of Moved
	By    peer.ID    // who did it; "" where it was noticed on the disk, so by the owner's own programs
	Time  time.Time  // when it was done or noticed, by the owner's clock
}

// Cursor is a place in a feed.
type Cursor struct {
	Epoch [8]byte // random, one per feed: another run of the daemon, another epoch
	Seq   uint64  // of the last event before it
}

// ErrGap says that events after a cursor are not known any more, so that the follower must list again.
var ErrGap = errors.New("changes were missed")

// Keep is how many events a feed usually keeps.
const Keep = 4096

// Feed hands out the changes of one share, in order, to any number of followers. It waits for none: a follower that is too
// slow has a gap.
type Feed struct {
	epoch [8]byte
	keep  uint64

	mu    sync.Mutex
	start uint64        // sequence number of ring[0] before it was first overwritten
	last  uint64        // sequence number given last
	ring  []Event       // event s is at (s - start) % keep
	news  chan struct{} // closed at the next event; nil while nobody waits
}

// NewFeed makes a feed that keeps the last events, at least one. A follower may be that far behind.
func NewFeed(keep int) *Feed {
	f := &Feed{keep: uint64(max(keep, 1)), start: 1}
	rand.Read(f.epoch[:])
	return f
}

// Publish numbers the events and hands them out.
func (f *Feed) Publish(events ...Event) {
	if len(events) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, ev := range events {
		f.last++
		ev.Seq = f.last
		if uint64(len(f.ring)) < f.keep {
			f.ring = append(f.ring, ev)
		} else {
			f.ring[(ev.Seq-f.start)%f.keep] = ev
		}
	}
	f.wakeLocked()
}

// Break forgets all events, so that every follower has a gap and lists again.
func (f *Feed) Break() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++ // the event that nobody can be told
	f.start, f.ring = f.last+1, nil
	f.wakeLocked()
}

func (f *Feed) wakeLocked() {
	if f.news != nil {
		close(f.news)
		f.news = nil
	}
}

// Now is the place after the last event.
func (f *Feed) Now() Cursor {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Cursor{f.epoch, f.last}
}

// Follow yields the events after a cursor as they come, until ctx ends, whose error is then the last that it yields. An error
// that is [ErrGap] ends it as well; it is told as soon as the follower asks for an event that is not kept any more.
func (f *Feed) Follow(ctx context.Context, after Cursor) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		var some [32]Event
		for {
			n, news, err := f.next(after, some[:])
			if err != nil {
				yield(Event{}, err)
				return
			}
			for _, ev := range some[:n] {
				if ctx.Err() != nil {
					break
				}
				if !yield(ev, nil) {
					return
				}
				after.Seq = ev.Seq
			}
			if n == 0 {
				select {
				case <-ctx.Done():
				case <-news:
				}
			}
			if err := ctx.Err(); err != nil {
				yield(Event{}, err)
				return
			}
		}
	}
}

// next copies events after a cursor; where there is none yet, news is closed when there is.
func (f *Feed) next(after Cursor, to []Event) (n int, news <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := max(f.start, f.last+1-min(f.keep, uint64(len(f.ring))))
	if after.Epoch != f.epoch || after.Seq+1 < first || after.Seq > f.last {
		return 0, nil, &peer.Error{Op: "follow changes", Kind: peer.Conflict, Err: ErrGap, Hint: "list again"}
	}
	for s := after.Seq + 1; s <= f.last && n < len(to); s++ {
		to[n] = f.ring[(s-f.start)%f.keep]
		n++
	}
	if n == 0 {
		if f.news == nil {
			f.news = make(chan struct{})
		}
		news = f.news
	}
	return n, news, nil
}
