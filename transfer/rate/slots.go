package rate

import (
	"context"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
)

// Slots lets pieces go a few at a time, so that each is whole soon and can be passed on by who got it, while all others
// would only share the same path. Peers take turns. A reader that is slow is not waited for long. The nil Slots lets all
// go at once. It is safe for use from several goroutines.
type Slots struct {
	waiters waiters

	mu    sync.Mutex
	few   few
	alarm alarm
}

// NewSlots makes Slots.
func NewSlots() *Slots { return &Slots{few: newFew()} }

// Turn is a piece that may go. The zero Turn is one of nil Slots.
type Turn struct{ w *waiter }

// Enter waits until a piece of n bytes may go to a peer, or gives the error of ctx. [Slots.Leave] must follow a Turn.
func (s *Slots) Enter(ctx context.Context, who peer.ID, n int64) (Turn, error) {
	if s == nil {
		return Turn{}, nil
	}
	w := s.waiters.get()
	w.who, w.n = who, n
	s.mu.Lock()
	s.few.add(w, time.Now())
	s.grant()
	s.mu.Unlock()
	select {
	case <-w.ready:
		return Turn{w}, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-w.ready:
	default:
	}
	s.few.cancel(w)
	s.grant()
	s.waiters.put(w)
	return Turn{}, context.Cause(ctx)
}

// Leave says that a piece is sent, or will not be.
func (s *Slots) Leave(t Turn) {
	if t.w == nil {
		return
	}
	s.mu.Lock()
	s.few.leave(t.w, time.Now())
	s.grant()
	s.mu.Unlock()
	s.waiters.put(t.w)
}

// grant lets all go that may now, and comes back when the next one may. s.mu is held.
func (s *Slots) grant() {
	for {
		w, d := s.few.next(time.Now())
		if w == nil {
			s.alarm.set(d, s)
			return
		}
		w.ready <- struct{}{}
	}
}

func (s *Slots) ring() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grant()
}
