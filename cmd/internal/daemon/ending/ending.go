// Package ending tells those who give on files of this peer's shares when rights to them end: at once, again to those that can't be
// reached, and to those that begin to give on while grants from before a change may live.
package ending

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/registry"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/sharepb"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/tracker"
)

// How those who give on what is owned here hear that rights ended.
const (
	// For is how long it is tried at a stretch to tell a peer. Whoever can't be reached goes by the life of grants.
	For = time.Minute
	// Again is how often it is looked for those who came later, or came back, while grants from before may live.
	Again = 15 * time.Second
	// Life is how long those may live, by the clock of a seed that is behind.
	Life = grant.MaxLife + 2*time.Minute
)

// Teller tells those who give on files that are owned here when rights end. It is safe for concurrent use.
type Teller struct {
	reg   *registry.Registry
	table *tracker.Table
	send  func(ctx context.Context, who peer.ID, m *sharepb.ShareState) error
	log   *slog.Logger

	mu     sync.Mutex
	serial uint64 // of the last state that was told
	shares map[share.ID]*ended
	busy   map[target]bool
	told   map[target]uint64 // the count of ended that a peer has heard of
}

// ended is a share in which a right ended lately.
type ended struct {
	count uint64
	until time.Time    // when nothing from before is left
	gone  grant.Epochs // the epochs after the last, of a share that is no more
}

// target is one peer that gives on files of a share.
type target struct {
	peer  peer.ID
	share share.ID
}

// New makes a Teller for the shares of a registry and those that a table knows to give on their files. send brings a message to a peer, and
// returns once that has it.
func New(reg *registry.Registry, table *tracker.Table, send func(ctx context.Context, who peer.ID, m *sharepb.ShareState) error, log *slog.Logger) *Teller {
	return &Teller{
		reg: reg, table: table, send: send, log: log,
		shares: make(map[share.ID]*ended), busy: make(map[target]bool), told: make(map[target]uint64),
	}
}

// Run tells until ctx ends.
func (e *Teller) Run(ctx context.Context) {
	var pushes sync.WaitGroup
	defer pushes.Wait()
	e.recall(time.Now())
	defer e.reg.OnChange(func(before, after *registry.Share) {
		if before == nil {
			return
		}
		anybody, everybody := e.changed(*before, after)
		if anybody {
			e.push(ctx, &pushes, before.ID)
		}
		if everybody {
			e.table.Forget(transfer.ShareID(before.ID)) // who still may, says so again
		}
	})()
	defer e.reg.OnBlock(func(who peer.ID, _ bool) {
		for _, s := range e.reg.List() {
			e.note(s.ID, grant.Epochs{}, time.Now())
			e.table.Drop(transfer.ShareID(s.ID), who)
			e.push(ctx, &pushes, s.ID)
		}
	})()
	tick := time.NewTicker(Again)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, id := range e.recent(time.Now()) {
			e.push(ctx, &pushes, id)
		}
	}
}

// changed takes note of what ended from one state of a share to the next, and reports whether it did for anybody, and for
// all that had a right.
func (e *Teller) changed(before registry.Share, after *registry.Share) (anybody, everybody bool) {
	id := before.ID
	if after == nil {
		now := time.Now()
		e.note(id, grant.Epochs{Read: grant.NextEpoch(before.Epochs.Read, now), Full: grant.NextEpoch(before.Epochs.Full, now)}, now)
		return true, true
	}
	for who := range after.Denied {
		if _, was := before.Denied[who]; !was {
			e.table.Drop(transfer.ShareID(id), who)
		}
	}
	everybody = before.Epochs != after.Epochs
	anybody = everybody || !maps.Equal(before.Denied, after.Denied)
	if anybody {
		e.note(id, grant.Epochs{}, time.Now())
	}
	return anybody, everybody
}

func (e *Teller) note(id share.ID, gone grant.Epochs, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	x := e.shares[id]
	if x == nil {
		x = new(ended)
		e.shares[id] = x
	}
	x.count++
	x.gone, x.until = gone, now.Add(Life)
}

// recall takes note of what ended shortly before this peer stopped.
func (e *Teller) recall(now time.Time) {
	for _, s := range e.reg.List() {
		last := time.Unix(int64(min(max(s.Epochs.Read, s.Epochs.Full), 1<<40)), 0)
		for _, since := range s.Denied {
			last = later(last, since)
		}
		for _, b := range e.reg.Blocked() {
			last = later(last, b.Since)
		}
		if now.Sub(last) < Life {
			e.note(s.ID, grant.Epochs{}, now)
		}
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// recent are the shares of which grants from before a change may live.
func (e *Teller) recent(now time.Time) (ids []share.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, x := range e.shares {
		if now.Before(x.until) {
			ids = append(ids, id)
			continue
		}
		delete(e.shares, id)
		maps.DeleteFunc(e.told, func(t target, _ uint64) bool { return t.share == id })
	}
	return ids
}

// Lost takes note that a peer may have forgotten what it was told.
func (e *Teller) Lost(id peer.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	maps.DeleteFunc(e.told, func(t target, _ uint64) bool { return t.peer == id })
}

// push tells all who give on files of a share and have not heard yet.
func (e *Teller) push(ctx context.Context, pushes *sync.WaitGroup, id share.ID) {
	for _, who := range e.table.Givers(transfer.ShareID(id)) {
		t := target{who, id}
		e.mu.Lock()
		x := e.shares[id]
		start := x != nil && e.told[t] != x.count && !e.busy[t]
		if start {
			e.busy[t] = true
		}
		e.mu.Unlock()
		if start {
			pushes.Go(func() { e.tell(ctx, t) })
		}
	}
}

// tell tells one peer, until it has heard of the last change.
func (e *Teller) tell(ctx context.Context, t target) {
	ctx, cancel := context.WithTimeout(ctx, For)
	defer cancel()
	for wait := 200 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		state, count, denied := e.state(t)
		var err error
		if !denied {
			err = e.send(ctx, t.peer, state.Message(t.share))
		}
		if err == nil && e.heard(t, count) {
			return
		}
		if err == nil {
			continue
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			e.mu.Lock()
			delete(e.busy, t)
			e.mu.Unlock()
			e.log.Warn("a peer was not told that a right ended; its grants do within their life", "peer", t.peer, "err", err)
			return
		}
	}
}

// state is what there is to tell of a share now, the count that it stands for, and whether the peer itself is denied: then
// it is told nothing.
func (e *Teller) state(t target) (state serve.State, count uint64, denied bool) {
	e.mu.Lock() // held over all, so that a later serial is never that of an earlier state
	defer e.mu.Unlock()
	e.serial = max(e.serial+1, uint64(time.Now().UnixMilli()))
	state = serve.State{Serial: e.serial, Denied: make(map[peer.ID]bool)}
	if x := e.shares[t.share]; x != nil {
		count, state.Epochs = x.count, x.gone
	}
	for who := range e.reg.Blocked() {
		state.Denied[who] = true
	}
	if s, err := e.reg.ByID(t.share); err == nil {
		state.Epochs = s.Epochs
		for who := range s.Denied {
			state.Denied[who] = true
		}
	}
	return state, count, state.Denied[t.peer]
}

// heard takes note of what a peer was told, and reports whether that is all.
func (e *Teller) heard(t target, count uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told[t] = count
	if x := e.shares[t.share]; x != nil && x.count != count {
		return false
	}
	delete(e.busy, t)
	return true
}
