package servetest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
	"github.com/peerd/peerd/share/serve"
)

// Ledger keeps what is written down.
type Ledger struct {
	mu     sync.Mutex
	events []audit.Event
}

// Audit has all that happens at the owner's gate written down. It comes before anything is asked of the owner.
func (w *World) Audit() *Ledger {
	l := new(Ledger)
	w.Gate.AuditTo(serve.Audit{Recorder: l, Who: func(peer.ID) (name, addr string) { return "somebody", "somewhere" }})
	return l
}

// Add writes an event down.
func (l *Ledger) Add(e audit.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

// Of are the events of a kind.
func (l *Ledger) Of(kind audit.Kind) []audit.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.events), func(e audit.Event) bool { return e.Kind != kind })
}

// Wait waits for n events of a kind, and fails if there are others.
func (l *Ledger) Wait(t *testing.T, kind audit.Kind, n int) []audit.Event {
	t.Helper()
	for late := time.Now().Add(20 * time.Second); len(l.Of(kind)) < n && time.Now().Before(late); {
		time.Sleep(5 * time.Millisecond)
	}
	got := l.Of(kind)
	if len(got) != n {
		t.Fatalf("%d events of kind %s, not %d: %+v", len(got), kind, n, got)
	}
	return got
}
