package serve

import (
	"slices"
	"sync"
	"time"

	"github.com/peerd/peerd/share"
)

// MaxLocks is how many locks one peer may hold in all shares.
const MaxLocks = 1000

// Locks are who works on which file. They are leased by whoever holds the stream behind each, so none outlives its holder by
// more than the stream does. It is safe for concurrent use.
type Locks struct {
	mu   sync.Mutex
	held map[lockKey][]*share.Lock // by age
}

type lockKey struct {
	share share.ID
	path  share.Path
}

// NewLocks makes Locks of which none is held.
func NewLocks() *Locks { return &Locks{held: make(map[lockKey][]*share.Lock)} }

// Of is the oldest lock on a file, or nil.
func (l *Locks) Of(id share.ID, p share.Path) *share.Lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	if held := l.held[lockKey{id, p}]; len(held) > 0 {
		lock := *held[0]
		return &lock
	}
	return nil
}

// Take adds a lock, and gives those that others hold already. It reports false for a peer that holds too many.
func (l *Locks) Take(id share.ID, p share.Path, lock share.Lock) (others []share.Lock, release func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	mine := 0
	for _, held := range l.held {
		for _, h := range held {
			if h.Peer == lock.Peer {
				mine++
			}
		}
	}
	if mine >= MaxLocks {
		return nil, nil, false
	}
	key := lockKey{id, p}
	for _, h := range l.held[key] {
		if h.Peer != lock.Peer {
			others = append(others, *h)
		}
	}
	lock.Since = lock.Since.Round(time.Second)
	held := &lock
	l.held[key] = append(l.held[key], held)
	return others, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.held[key] = slices.DeleteFunc(l.held[key], func(h *share.Lock) bool { return h == held })
		if len(l.held[key]) == 0 {
			delete(l.held, key)
		}
	}, true
}
