package limit

import (
	"context"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
)

// Patience is how long a stream waits for a place before it is refused: whoever asks one thing after another is not to be
// told that there is too much to do since a handler returned a moment after its last word.
const Patience = 500 * time.Millisecond

// peersPerProtocol is for how many peers at their cap a protocol has streams in all.
const peersPerProtocol = 32

// Service counts the streams of one protocol that is served. It is safe for concurrent use.
type Service struct {
	perPeer, total int
	patience       time.Duration

	mu            sync.Mutex
	open, waiting map[peer.ID]int
	sum           int
	freed         chan struct{} // closed when there may be room; nil if nobody waits
}

// NewService makes one of which a peer may have perPeer streams open, and all together 32 times as many.
func NewService(perPeer int) *Service {
	return &Service{perPeer: perPeer, total: peersPerProtocol * perPeer, patience: Patience,
		open: make(map[peer.ID]int), waiting: make(map[peer.ID]int)}
}

// Enter takes a place for one stream of a peer, and waits a moment for one: what the peer had open may be over and its
// handler about to return. Of each peer no more wait than may be open.
func (s *Service) Enter(ctx context.Context, id peer.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.take(id) {
		return true
	}
	if s.waiting[id] >= s.perPeer {
		return false
	}
	s.waiting[id]++
	defer func() {
		if s.waiting[id]--; s.waiting[id] == 0 {
			delete(s.waiting, id)
		}
	}()
	late := time.NewTimer(s.patience)
	defer late.Stop()
	for {
		if s.freed == nil {
			s.freed = make(chan struct{})
		}
		freed := s.freed
		s.mu.Unlock()
		waits := true
		select {
		case <-freed:
		case <-late.C:
			waits = false
		case <-ctx.Done():
			waits = false
		}
		s.mu.Lock()
		if s.take(id) {
			return true
		}
		if !waits {
			return false
		}
	}
}

// take takes a place if there is one. s.mu is held.
func (s *Service) take(id peer.ID) bool {
	if s.open[id] >= s.perPeer || s.sum >= s.total {
		return false
	}
	s.open[id]++
	s.sum++
	return true
}

// Leave gives a place back.
func (s *Service) Leave(id peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum--
	if s.open[id]--; s.open[id] == 0 {
		delete(s.open, id)
	}
	if s.freed != nil {
		close(s.freed)
		s.freed = nil
	}
}
