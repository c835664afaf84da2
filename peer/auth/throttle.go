package auth

import (
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
)

// limit is a token bucket: so many at once, then one per interval.
type limit struct {
	burst int
	every time.Duration
}

// kind tells the buckets of a [Throttle] apart.
type kind uint8

const (
	perPeer      kind = iota // share and peer: manners only, since IDs cost nothing
	perAddr                  // share and IPv4 /32 or IPv6 /128
	perNet                   // share and IPv6 /64
	perStrangers             // share, all peers that never got in: the limit that counts
	perKnown                 // share, all peers that got in, so that strangers do not stand in their way
	perRefund                // share, logins by the read password that cost nothing
	perHost                  // address, all shares
	nodeStrangers
	nodeKnown
	heat // share, failures of strangers
	slow // share, until when strangers are slowed down
	kinds
)

// limits of all kinds but slow.
func (k kind) limit() limit {
	return [kinds]limit{
		perPeer:       {5, 12 * time.Second},
		perAddr:       {10, 12 * time.Second},
		perNet:        {10, 12 * time.Second},
		perStrangers:  {10, 6 * time.Second},
		perKnown:      {10, 6 * time.Second},
		perRefund:     {60, time.Minute},
		perHost:       {20, 2 * time.Second},
		nodeStrangers: {20, time.Second / 20},
		nodeKnown:     {20, time.Second / 20},
		heat:          {30, 2 * time.Minute},
	}[k]
}

const (
	slowEvery = time.Minute // one attempt of all strangers at a share, once heat has overflowed
	slowFor   = time.Hour   // without a failure, to end it

	// maxBuckets bounds the table, above what can be in use: a bucket is forgotten once it is full again, and an attempt
	// keeps buckets in use for 3 × 12 s (peer and addresses), 60 s (share), 120 s (heat), 2 s (host) and a thirtieth of
	// an hour (slow). At 20 attempts of strangers a second those are 6,760, and 360 for those who are known.
	maxBuckets = 1 << 13
	maxKnown   = 4096 // peers that got in, over all shares
)

// bucket names one bucket; fields that its kind does not need are zero.
type bucket struct {
	kind  kind
	share ShareID
	peer  peer.ID
	addr  netip.Prefix
}

type member struct {
	share ShareID
	peer  peer.ID
}

// Throttle slows down guessing: every attempt is charged when KE1 comes, since KE2 already answers it, and refunded when
// KE3 proves that it was no guess. It delays and never locks out, and treats shares that do not exist as any other.
//
// Against strangers a share stands at most 10 attempts and one every 6 s more, and after 30 failures in an hour one a
// minute until an hour passes without any: 1,440 guesses a day.
//
// Somebody who has the read password could send it in one slot and a guess in the other, and be refunded. So logins that
// open the read slot are refunded only 60 at a time and one a minute.
//
// Times come from the caller and must not go backwards by much. It is safe for use from several goroutines. The zero
// Throttle is ready.
type Throttle struct {
	mu    sync.Mutex
	full  map[bucket]time.Time // when each bucket is full again; those that are full are left out
	known map[member]time.Time // when each got in last
}

// Attempt is who tries to log in to what. The ID comes from the connection's handshake, the address from the connection.
type Attempt struct {
	Share ShareID
	Peer  peer.ID
	Addr  netip.Addr
}

// Run is an attempt that was let through, with what it was charged. It is given to [Throttle.Succeed] or dropped.
type Run struct {
	attempt    Attempt
	charged    []charge
	slowBefore time.Time
	slowAfter  time.Time
}

type charge struct {
	bucket bucket
	limit  limit
}

// Charge lets an attempt through, or gives nil and the time to wait before the next one. A refused attempt costs nothing.
func (t *Throttle) Charge(now time.Time, a Attempt) (*Run, time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.full == nil {
		t.full = make(map[bucket]time.Time)
		t.known = make(map[member]time.Time)
	}
	_, known := t.known[member{a.Share, a.Peer}]
	run := &Run{attempt: a, charged: t.charges(now, a, known)}
	wait := time.Duration(0)
	for _, c := range run.charged {
		if c.bucket.kind != heat {
			wait = max(wait, t.used(now, c)-time.Duration(c.limit.burst-1)*c.limit.every)
		}
	}
	if wait > 0 {
		return nil, wait
	}
	if len(t.full)+len(run.charged)+1 > maxBuckets {
		maps.DeleteFunc(t.full, func(_ bucket, full time.Time) bool { return !full.After(now) })
		if len(t.full)+len(run.charged)+1 > maxBuckets {
			return nil, time.Second
		}
	}
	for _, c := range run.charged {
		t.take(now, c)
	}
	if !known {
		t.cool(now, run)
	}
	return run, 0
}

// charges are what an attempt costs one of each.
func (t *Throttle) charges(now time.Time, a Attempt, known bool) []charge {
	of := func(b bucket) charge { return charge{b, b.kind.limit()} }
	if known {
		return []charge{
			of(bucket{kind: perPeer, share: a.Share, peer: a.Peer}),
			of(bucket{kind: perKnown, share: a.Share}),
			of(bucket{kind: nodeKnown}),
		}
	}
	addr := a.Addr.Unmap() // a prefix has no zone
	host := netip.PrefixFrom(addr, addr.BitLen())
	strangers := of(bucket{kind: perStrangers, share: a.Share})
	if t.full[bucket{kind: slow, share: a.Share}].After(now) {
		strangers.limit = limit{1, slowEvery}
	}
	charges := []charge{
		strangers,
		of(bucket{kind: perPeer, share: a.Share, peer: a.Peer}),
		of(bucket{kind: perAddr, share: a.Share, addr: host}),
		of(bucket{kind: perHost, addr: host}),
		of(bucket{kind: nodeStrangers}),
		of(bucket{kind: heat, share: a.Share}),
	}
	if addr.Is6() {
		net, _ := addr.Prefix(64)
		charges = append(charges, of(bucket{kind: perNet, share: a.Share, addr: net}))
	}
	return charges
}

// used is how much of a bucket is taken, as the time until it is full again; more than all of it when a limit got tighter
// or the clock went back is all of it.
func (t *Throttle) used(now time.Time, c charge) time.Duration {
	full, ok := t.full[c.bucket]
	if !ok {
		return 0
	}
	return min(max(0, full.Sub(now)), time.Duration(c.limit.burst)*c.limit.every)
}

func (t *Throttle) take(now time.Time, c charge) {
	t.full[c.bucket] = now.Add(t.used(now, c) + c.limit.every)
}

// cool slows strangers down when a share has seen too many failures, or keeps them so.
func (t *Throttle) cool(now time.Time, run *Run) {
	b := bucket{kind: slow, share: run.attempt.Share}
	run.slowBefore = t.full[b]
	l := heat.limit()
	hot := t.used(now, charge{bucket{kind: heat, share: run.attempt.Share}, l}) >= time.Duration(l.burst)*l.every
	if hot || run.slowBefore.After(now) {
		run.slowAfter = now.Add(slowFor)
		t.full[b] = run.slowAfter
	}
}

// Succeed marks the peer of a run as one that got in, and takes the charge back: always for the full password, and for
// the read password within the bounds said above.
func (t *Throttle) Succeed(now time.Time, run *Run, opened Slot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	charged := run.charged
	run.charged = nil // a second call gives nothing back
	t.remember(now, member{run.attempt.Share, run.attempt.Peer})
	if opened != Full {
		c := charge{bucket{kind: perRefund, share: run.attempt.Share}, perRefund.limit()}
		if t.used(now, c) > time.Duration(c.limit.burst-1)*c.limit.every || len(t.full) >= maxBuckets {
			return
		}
		t.take(now, c)
	}
	for _, c := range charged {
		if full, ok := t.full[c.bucket]; ok && c.bucket.kind != nodeStrangers && c.bucket.kind != nodeKnown {
			t.full[c.bucket] = full.Add(-c.limit.every)
		}
	}
	if b := (bucket{kind: slow, share: run.attempt.Share}); !run.slowAfter.IsZero() && t.full[b].Equal(run.slowAfter) {
		t.full[b] = run.slowBefore
	}
}

// remember marks a member, and forgets the one that was here least lately when there are too many.
func (t *Throttle) remember(now time.Time, m member) {
	if _, ok := t.known[m]; !ok && len(t.known) >= maxKnown {
		oldest, first := m, now
		for other, last := range t.known {
			if last.Before(first) {
				oldest, first = other, last
			}
		}
		delete(t.known, oldest)
	}
	t.known[m] = now
}

// Forget makes strangers of all who got in at a share. Called when one of its passwords changes; what was charged stays.
func (t *Throttle) Forget(share ShareID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.known, func(m member, _ time.Time) bool { return m.share == share })
}
