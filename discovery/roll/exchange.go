package roll

import (
	"context"
	"errors"
	"time"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/discovery/roll/rollpb"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
)

// Protocol is one exchange: the caller says what it has, gets what it lacks, and gives what it is asked for.
const Protocol = "/peerd/roll/1"

// Streams is how many exchanges a peer may have going with another at a time.
const Streams = 2

// Bounds of messages, in bytes. Each has room for a full roll of honest statements.
const (
	maxCall    = markSize*discovery.MaxPeers + 64
	maxEntries = 2 << 20
	readBuffer = 4 << 10
)

// exchangeLimit is how long an exchange may take.
const exchangeLimit = 8 * time.Second

// call starts an exchange unless one is under way or the last failed a short while ago, and reports whether it did. r.mu
// is held.
func (r *Roll) call(ctx context.Context, now time.Time, id peer.ID, due *agenda) bool {
	switch {
	case r.closing, r.calls[id], !due.at(now, r.late[id].until):
		return false
	case len(r.calls) >= maxCalls:
		return false // whoever ends wakes us
	}
	if r.table.peers[r.self] == nil {
		r.own(now, due)
	}
	r.calls[id] = true
	r.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, callLimit)
		defer cancel()
		began := time.Now()
		err := r.exchange(ctx, id)
		r.mu.Lock()
		delete(r.calls, id)
		if peer.KindOf(err) != peer.Unreachable { // who is off says nothing of how busy the others are
			r.pace = (r.pace + time.Since(began)) / 2
		}
		if err == nil {
			delete(r.late, id)
		} else {
			r.fail(time.Now(), id, err)
		}
		r.mu.Unlock()
		r.Changed()
	})
	return true
}

// fail has a peer left alone for a while. One that answers, and does not speak the protocol, is for long. r.mu is held.
func (r *Roll) fail(now time.Time, id peer.ID, err error) {
	pause := min(max(2*r.late[id].pause, failPause), failLimit)
	if peer.KindOf(err) == peer.Other {
		pause = failLimit
	}
	if len(r.late) >= 2*discovery.MaxPeers {
		clear(r.late)
	}
	r.late[id] = setback{now.Add(pause), pause}
	r.cfg.Logger.Debug("a peer does not compare rolls", "peer", id, "again", pause, "err", err)
}

// exchange compares rolls with a peer.
func (r *Roll) exchange(ctx context.Context, id peer.ID) error {
	st, err := r.cfg.Open.Open(ctx, id, Protocol, 0)
	if err != nil {
		return err
	}
	defer st.Close()
	defer context.AfterFunc(ctx, func() { st.Reset() })()
	if err := st.SetDeadline(time.Now().Add(exchangeLimit)); err != nil {
		return err
	}
	r.mu.Lock()
	marks := r.table.marks()
	r.mu.Unlock()
	if err := wire.WriteMsg(st, &rollpb.Call{Marks: marks}); err != nil {
		return err
	}
	var answer rollpb.Answer
	in := wire.NewReaderSize(st, readBuffer)
	if err := in.ReadMsg(&answer, maxEntries); err != nil {
		return err
	}
	r.mu.Lock()
	rest := r.table.take(time.Now(), answer.Wants)
	r.mu.Unlock()
	if err := wire.WriteMsg(st, &rollpb.Rest{Entries: rest}); err != nil {
		return err
	}
	if err := st.CloseWrite(); err != nil {
		return err
	}
	return r.take(id, answer.Entries)
}

// Handle answers an exchange.
func (r *Roll) Handle(ctx context.Context, st peer.Stream) error {
	if err := st.SetDeadline(time.Now().Add(exchangeLimit)); err != nil {
		return err
	}
	in := wire.NewReaderSize(st, readBuffer)
	var call rollpb.Call
	if err := in.ReadMsg(&call, maxCall); err != nil {
		return err
	}
	now := time.Now()
	r.mu.Lock()
	if e := r.table.peers[r.self]; !r.closing && (e == nil || now.Sub(e.signed) >= refreshEvery) {
		r.own(now, &agenda{next: now})
	}
	var answer rollpb.Answer
	answer.Entries, answer.Wants = r.table.compare(now, call.Marks)
	r.mu.Unlock()
	if err := wire.WriteMsg(st, &answer); err != nil {
		return err
	}
	var rest rollpb.Rest
	if err := in.ReadMsg(&rest, maxEntries); err != nil {
		return err
	}
	return r.take(st.Peer(), rest.Entries)
}

// take enters what a peer passed on, and tells of it. Nothing of a peer is believed that passes on what was never said.
func (r *Roll) take(from peer.ID, entries []*rollpb.Entry) error {
	if len(entries) > discovery.MaxPeers {
		return &peer.Error{Op: "compare rolls", Path: from.String(), Kind: peer.Integrity, Err: errors.New("it has too many entries")}
	}
	now := time.Now()
	r.mu.Lock()
	var seen []discovery.Sighting
	var failed error
	for _, in := range entries {
		e, news, err := r.table.merge(now, in)
		if err != nil {
			failed = &peer.Error{Op: "compare rolls", Path: from.String(), Kind: peer.Integrity, Err: err}
			break
		}
		if e == nil {
			continue
		}
		if e.id == r.self { // said in an earlier life, with a clock that was ahead
			if own := r.table.peers[r.self]; own == nil || own.serial < e.serial {
				r.table.put(now.Add(-refreshEvery), e.statement) // ours is to be later
			}
			continue
		}
		if news {
			r.spread(now)
		}
		seen = append(seen, e.sighting(now, from))
	}
	found := r.found
	if found == nil {
		r.waiting = append(r.waiting, seen...)
		r.waiting = r.waiting[:min(len(r.waiting), discovery.MaxPeers)]
	}
	r.mu.Unlock()
	if found != nil {
		for _, s := range seen {
			found(s)
		}
	}
	if len(seen) > 0 {
		r.Changed()
	}
	return failed
}
