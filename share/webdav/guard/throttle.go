package guard

import (
	"net/netip"
	"sync"
	"time"
)

// Wrong passwords that an address may try.
const (
	burst        = 10
	refill       = 6 * time.Second // until one more may be tried
	maxAddresses = 4096
)

// throttle counts wrong passwords by address. When it is full, those that are new to it share one count: a flood of addresses
// slows itself down, and nobody who is known already.
type throttle struct {
	limit int

	mu   sync.Mutex
	full map[netip.Prefix]time.Time // when the bucket of an address will be full again; those that are, are not kept
}

func newThrottle(limit int) *throttle {
	return &throttle{limit: limit, full: map[netip.Prefix]time.Time{}}
}

// try is told of a password, and whether it is the right one, before anybody else is. It gives how long its address must wait until
// it may try, or 0 if this try counts.
func (t *throttle) try(from netip.Prefix, right bool, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	slot := t.slotLocked(from, now)
	full, ok := t.full[slot]
	if !ok || full.Before(now) {
		full = now
	}
	if wait := full.Sub(now) - (burst-1)*refill; wait > 0 {
		return wait
	}
	if !right {
		t.full[slot] = full.Add(refill)
	}
	return 0
}

func (t *throttle) slotLocked(from netip.Prefix, now time.Time) netip.Prefix {
	if _, ok := t.full[from]; ok {
		return from
	}
	if len(t.full) >= t.limit {
		for p, at := range t.full {
			if !at.After(now) {
				delete(t.full, p)
			}
		}
	}
	if len(t.full) >= t.limit {
		return netip.Prefix{}
	}
	return from
}
