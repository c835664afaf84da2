package limit

import (
	"context"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
)

func TestServiceCaps(t *testing.T) {
	s := NewService(2)
	s.total, s.patience = 5, 0
	ids := []peer.ID{testID(t), testID(t), testID(t), testID(t)}
	n := 0
	for range 3 {
		for _, id := range ids {
			if s.Enter(t.Context(), id) {
				n++
			}
		}
	}
	if n != 5 {
		t.Errorf("%d streams of 5 were let in", n)
	}
	for id, n := range s.open {
		if n > 2 {
			t.Errorf("%v has %d streams", id, n)
		}
		for range n {
			s.Leave(id)
		}
	}
	if s.sum != 0 || len(s.open) != 0 || len(s.waiting) != 0 {
		t.Errorf("%d streams of %d peers are left, and %d wait", s.sum, len(s.open), len(s.waiting))
	}
}

// TestServiceWaits: a stream that comes before the last one's place is given back waits for it, and no more of a peer wait
// than may be open.
func TestServiceWaits(t *testing.T) {
	s := NewService(2)
	s.patience = time.Hour
	id, other := testID(t), testID(t)
	ctx, cancel := context.WithCancel(t.Context())
	for range 2 {
		if !s.Enter(ctx, id) {
			t.Fatal("there is no place at first")
		}
	}
	in := make(chan bool, 2)
	for range 2 {
		go func() { in <- s.Enter(ctx, id) }()
	}
	for waiting := 0; waiting < 2; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		waiting = s.waiting[id]
		s.mu.Unlock()
	}
	if s.Enter(ctx, id) {
		t.Error("a third one waited, and got in")
	}
	if !s.Enter(ctx, other) {
		t.Error("another peer has no place")
	}
	s.Leave(id)
	if !<-in {
		t.Error("the place that was given back went to nobody")
	}
	cancel() // its connection is gone
	if <-in {
		t.Error("there was a place for one more than there may be")
	}
	if s.open[id] != 2 || s.waiting[id] != 0 {
		t.Errorf("%d are open, %d wait", s.open[id], s.waiting[id])
	}
}
