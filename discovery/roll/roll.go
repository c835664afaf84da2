// Package roll finds the peers of the workgroup beyond the local network. Each peer signs a statement of what it is and where;
// peers pass the statements on to each other, so that whoever reaches one of them soon knows all.
//
// Where multicast brings everybody, nothing is passed on and nothing sent. A roll wakes when a peer is known that multicast
// did not bring: named by the user, remembered from before, or told of by somebody who calls. It then calls its neighbours
// that are not on the roll, passes news on to a few peers at once, and compares with two of them now and then, which mends
// whatever got lost.
package roll

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
)

// Config says whose roll it is. All but the times must be set.
type Config struct {
	Key    crypto.PrivKey
	Open   peer.Opener
	View   *discovery.View
	Logger *slog.Logger
	// Advert is what this peer says of itself just now, with where it may be dialled from other networks.
	Advert func() discovery.Advert
	// Known are peers from before, the most promising first, to be tried when nothing else leads out of the local network.
	Known func() []peer.ID

	Settle time.Duration // for multicast to bring a peer before it counts as one from beyond; 0 is 1 s
	Round  time.Duration // between two comparisons; 0 is 30 s
}

// How the roll is passed on.
const (
	newsDelay  = 200 * time.Millisecond // so that much news is told at once
	newsAgain  = 1500 * time.Millisecond
	fanOut     = 2 // peers that are told news, twice
	partners   = 2 // peers that are compared with in turn
	partnerFor = 10 * time.Minute
	headStart  = 3 * time.Second // what is left to who woke the neighbourhood, and to news, before others call a neighbour
	turn       = time.Second     // what each neighbour leaves the nearer ones to call a newcomer
	stepPause  = 100 * time.Millisecond
	maxCalls   = 8 // at a time
	callLimit  = 8 * time.Second
	failPause  = time.Second // after a call that failed, doubled by each up to failLimit
	failLimit  = 5 * time.Minute
	maxTries   = 4 // peers from before that are tried at a time
)

// Roll is a peer's roll. It is safe for concurrent use.
type Roll struct {
	cfg  Config
	self peer.ID
	wake chan struct{}

	mu      sync.Mutex
	table   *table
	found   func(discovery.Sighting) // nil until Find
	waiting []discovery.Sighting     // for Find
	news    []time.Time              // when to tell news, in order
	calls   map[peer.ID]bool         // under way
	late    map[peer.ID]setback
	missing map[peer.ID]time.Time // neighbours that are not on the roll, since when
	pace    time.Duration         // that exchanges take of late; on a slow network all waits grow with it
	waker   bool                  // this peer is the first of its neighbourhood to be on the roll, and calls all
	ring    []partner
	turns   int
	round   time.Time // when to compare next
	said    discovery.Advert
	closing bool
	tasks   sync.WaitGroup
}

// setback is how long a peer is left alone that did not answer.
type setback struct {
	until time.Time
	pause time.Duration
}

// partner is a peer to compare with, for a while.
type partner struct {
	id    peer.ID
	until time.Time
}

var _ discovery.Finder = (*Roll)(nil)

// New makes the roll of a peer. It is silent until [Roll.Find] runs; [Roll.Handle] may serve before.
func New(cfg Config) *Roll {
	if cfg.Settle <= 0 {
		cfg.Settle = time.Second
	}
	if cfg.Round <= 0 {
		cfg.Round = 30 * time.Second
	}
	a := cfg.Advert()
	return &Roll{
		cfg: cfg, self: a.ID, wake: make(chan struct{}, 1), table: newTable(a.ID, a.Workgroup),
		calls: make(map[peer.ID]bool), late: make(map[peer.ID]setback), missing: make(map[peer.ID]time.Time),
	}
}

// Changed has this peer's own statement looked at again: it offers something else, or is somewhere else.
func (r *Roll) Changed() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Find reports whoever is on the roll until ctx ends, and then tells a few that this peer leaves.
func (r *Roll) Find(ctx context.Context, found func(discovery.Sighting)) error {
	r.mu.Lock()
	r.found = found
	waiting := r.waiting
	r.waiting = nil
	r.mu.Unlock()
	for _, s := range waiting {
		found(s)
	}
	changed, stop := r.cfg.View.Subscribe()
	defer stop()
	began := time.Now()
	for ctx.Err() == nil {
		next := r.step(ctx, time.Now(), began)
		timer := time.NewTimer(min(time.Until(next), time.Hour))
		select {
		case <-timer.C:
		case <-r.wake:
		case <-changed:
			// The view changes in bursts.
			select {
			case <-time.After(newsDelay):
			case <-ctx.Done():
			}
		case <-ctx.Done():
		}
		timer.Stop()
		select { // so that much that happens at once is looked at once
		case <-time.After(stepPause):
		case <-ctx.Done():
		}
	}
	r.leave()
	return nil
}

// leave tells that this peer goes, and ends.
func (r *Roll) leave() {
	r.mu.Lock()
	awake := len(r.table.peers) > 1
	if awake {
		if s, err := sign(r.cfg.Key, r.cfg.Advert(), r.serial(time.Now()), true); err == nil {
			r.table.put(time.Now(), s)
		}
	}
	to := r.some(fanOut, nil)
	r.closing = true
	r.mu.Unlock()
	r.tasks.Wait() // calls end with Find's context
	if !awake {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var g sync.WaitGroup
	for _, id := range to {
		g.Go(func() { _ = r.exchange(ctx, id) }) // who does not hear it notices in time
	}
	g.Wait()
}

// step does what is due and says when to look again.
func (r *Roll) step(ctx context.Context, now, began time.Time) (next time.Time) {
	view := r.cfg.View.Snapshot()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.table.expire(now)
	due := &agenda{next: now.Add(time.Hour)}
	near := make(map[peer.ID]bool)
	var far []peer.ID // known by other ways
	for _, p := range view {
		switch {
		case p.Near():
			near[p.ID] = true
		case !slices.Contains(p.Ways, discovery.Static): // who is told of is on the roll already
		case due.at(now, p.Since.Add(r.cfg.Settle)):
			far = append(far, p.ID)
		}
	}
	awake := len(far) > 0
	for id := range r.table.peers {
		awake = awake || id != r.self && !near[id]
	}
	if !awake {
		r.missing, r.ring, r.waker = map[peer.ID]time.Time{}, nil, false
		if due.at(now, began.Add(2*r.cfg.Settle+r.place(near))) {
			r.remember(ctx, now, near, due)
		}
		return due.next
	}
	r.own(now, due)
	for _, id := range far {
		if !r.table.here(id) {
			r.call(ctx, now, id, due)
		}
	}
	r.greet(ctx, now, near, due)
	r.tell(ctx, now, due)
	r.compare(ctx, now, due)
	return due.next
}

// agenda keeps the next time at which something is due.
type agenda struct{ next time.Time }

// at reports whether t has come, and else has it come.
func (a *agenda) at(now, t time.Time) bool {
	if !now.Before(t) {
		return true
	}
	if t.Before(a.next) {
		a.next = t
	}
	return false
}

// serial is a number for the next statement. r.mu is held.
func (r *Roll) serial(now time.Time) uint64 {
	n := uint64(now.UnixMilli())
	if e := r.table.peers[r.self]; e != nil {
		n = max(n, e.serial+1)
	}
	return n
}

// own keeps this peer's own statement true and young. r.mu is held.
func (r *Roll) own(now time.Time, due *agenda) {
	a := r.cfg.Advert()
	e := r.table.peers[r.self]
	if e != nil && !due.at(now, e.signed.Add(refreshEvery)) && sameAdvert(r.said, a) {
		return
	}
	s, err := sign(r.cfg.Key, a, r.serial(now), false)
	if err != nil {
		r.cfg.Logger.Error("sign what this peer says of itself", "err", err)
		return
	}
	if e != nil && !same(e.said, s.said) {
		r.spread(now)
	}
	r.said = a
	r.table.put(now, s)
	due.at(now, now.Add(refreshEvery))
}

func sameAdvert(a, b discovery.Advert) bool {
	return a.Name == b.Name && a.Version == b.Version && a.Count == b.Count && a.Revision == b.Revision && a.Relay == b.Relay &&
		slices.Equal(a.Shares, b.Shares) && slices.EqualFunc(a.Addrs, b.Addrs, func(x, y peer.Addr) bool { return x.Equal(y) })
}

// place has one neighbour after the other try peers from before when all start at once: the first that reaches one calls
// the others. r.mu is held.
func (r *Roll) place(near map[peer.ID]bool) (wait time.Duration) {
	own := markOf(r.self)
	for id := range near {
		if m := markOf(id); bytes.Compare(m[:], own[:]) < 0 {
			wait += r.slow(turn)
		}
	}
	return wait
}

// remember tries peers from before, since none from beyond is known. r.mu is held.
func (r *Roll) remember(ctx context.Context, now time.Time, near map[peer.ID]bool, due *agenda) {
	tries := 0
	for _, id := range r.cfg.Known() {
		if near[id] || tries >= maxTries {
			continue
		}
		if r.call(ctx, now, id, due) {
			tries++
		}
	}
}

// greet calls the neighbours that are not on the roll yet. The first that is on it calls all; later ones leave that to the
// first, to news, and then to those whose IDs are nearer to the newcomer's, or all would call all. r.mu is held.
func (r *Roll) greet(ctx context.Context, now time.Time, near map[peer.ID]bool, due *agenda) {
	maps.DeleteFunc(r.missing, func(id peer.ID, _ time.Time) bool { return !near[id] || r.table.peers[id] != nil })
	alone, left := true, false
	for id := range near {
		alone, left = alone && !r.table.here(id), left || r.table.peers[id] == nil
	}
	r.waker = left && (alone || r.waker)
	for id := range near {
		if r.table.peers[id] != nil {
			continue
		}
		since, ok := r.missing[id]
		if !ok {
			since = now
			r.missing[id] = since
		}
		wait := time.Duration(0)
		if !r.waker {
			wait = r.rank(id, near)
		}
		if due.at(now, since.Add(wait)) {
			r.call(ctx, now, id, due)
		}
	}
}

// rank is how long this peer leaves it to others to call a newcomer. r.mu is held.
func (r *Roll) rank(id peer.ID, near map[peer.ID]bool) time.Duration {
	wait := r.slow(headStart)
	for other := range near {
		if r.table.here(other) && nearer(id, other, r.self) {
			wait += r.slow(turn)
		}
	}
	return wait
}

// nearer reports whether a's mark is nearer to the target's than b's is.
func nearer(target, a, b peer.ID) bool {
	t, x, y := markOf(target), markOf(a), markOf(b)
	for i := range t {
		if x[i] != y[i] {
			return x[i]^t[i] < y[i]^t[i]
		}
	}
	return false
}

// spread has news told, soon and once more. r.mu is held.
func (r *Roll) spread(now time.Time) {
	if len(r.news) < 2 {
		r.news = []time.Time{now.Add(r.slow(newsDelay)), now.Add(r.slow(newsAgain))}
	}
}

// slow is a wait that leaves time for several exchanges as they go now: when many start at once on a busy computer or a thin
// line, those who are in a hurry would keep each other from ever being done. r.mu is held.
func (r *Roll) slow(wait time.Duration) time.Duration { return max(wait, 8*r.pace) }

// tell passes news on to a few. r.mu is held.
func (r *Roll) tell(ctx context.Context, now time.Time, due *agenda) {
	if len(r.news) == 0 || !due.at(now, r.news[0]) || len(r.calls)+fanOut > maxCalls {
		return // whoever ends wakes us
	}
	r.news = r.news[1:]
	for _, id := range r.some(fanOut, nil) {
		r.call(ctx, now, id, due)
	}
	if len(r.news) > 0 {
		due.at(now, r.news[0])
	}
}

// compare calls one of the partners when it is time. They stay for a while, so that few connections are made. r.mu is held.
func (r *Roll) compare(ctx context.Context, now time.Time, due *agenda) {
	if !due.at(now, r.round) {
		return
	}
	r.round = now.Add(r.cfg.Round + time.Duration((rand.Float64()-0.5)/4*float64(r.cfg.Round)))
	due.at(now, r.round)
	r.ring = slices.DeleteFunc(r.ring, func(p partner) bool {
		return !now.Before(p.until) || !r.table.here(p.id) || now.Before(r.late[p.id].until)
	})
	for len(r.ring) < partners {
		more := r.some(1, r.ring)
		if len(more) == 0 {
			break
		}
		r.ring = append(r.ring, partner{more[0], now.Add(partnerFor/2 + rand.N(partnerFor))})
	}
	if len(r.ring) > 0 {
		r.turns++
		r.call(ctx, now, r.ring[r.turns%len(r.ring)].id, due)
	}
}

// some picks peers of the roll that may answer, at random and without those of the ring. r.mu is held.
func (r *Roll) some(n int, without []partner) []peer.ID {
	var all []peer.ID
	now := time.Now()
	for id, e := range r.table.peers {
		if id != r.self && !e.gone && !now.Before(r.late[id].until) &&
			!slices.ContainsFunc(without, func(p partner) bool { return p.id == id }) {
			all = append(all, id)
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
}
