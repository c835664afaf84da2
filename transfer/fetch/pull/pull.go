// Package pull brings one large file from everybody who has pieces of it: package swarm decides who is asked for which, here
// that is done. Whatever a source says of itself is a hint; what it sends is verified by the piece's hash before anything
// else is made of it.
package pull

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire/wirepb"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch/lane"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/swarm"
)

// Bans are the sources that gave wrong bytes. The zero Bans is ready, and safe for concurrent use.
type Bans struct {
	mu  sync.Mutex
	all map[peer.ID]bool
}

func (b *Bans) add(id peer.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == nil {
		b.all = make(map[peer.ID]bool)
	}
	b.all[id] = true
}

func (b *Bans) has(id peer.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all[id]
}

// Config says what is pulled, where to, and by what means.
type Config struct {
	File   transfer.File
	Layout transfer.Layout
	Label  string // how the file is called in messages
	Plan   swarm.Options

	Source lane.Source                // the owner
	Owner  *lane.Lanes                // to the owner
	Urgent *lane.Lanes                // to the owner, for what readers wait for; nil makes no difference
	Lanes  func(peer.ID) lane.Options // to another source
	Sources
	Bans *Bans

	Sink     Sink
	Growing  Growing
	Shelf    Shelf
	Progress transfer.Progress
	// Refusal makes an error of what the owner says of the file.
	Refusal func(*wirepb.Error) error
	// Refused is told what the owner says when it gives the file no more, and others go on; nil ends all of it then.
	Refused func(error)
	// Changed tells whether the owner has another version of the file by now, in an error that another try would not mend.
	Changed func(context.Context) error
	Log     *slog.Logger
}

// Pull is one large file on its way.
type Pull struct {
	Config
	begun    time.Time
	ctx      context.Context
	cancel   context.CancelFunc
	tasks    sync.WaitGroup
	done     chan struct{} // closed when every piece is here, or err is set
	ticked   chan struct{} // holds a token when the next tick may be another
	asking   sync.Once
	reaching chan struct{} // has a token for each source that is being reached
	next     chan struct{} // and for the one whose turn is next
	shelved  []byte        // a piece of FromShelf

	mu      sync.Mutex
	swarm   *swarm.Swarm
	hashes  map[int]transfer.Hash // of pieces that are to be had
	jobs    map[request]*pieceJob
	arrived transfer.Set      // pieces that were fetched and counted
	writing map[int]*pieceJob // pieces longer than a step, each by one job at a time
	members map[peer.ID]*member
	topic   []byte
	now     []swarm.Span // pieces that readers wait for
	whole   bool         // every piece was here
	fetched bool         // any piece
	ended   bool
	err     error
}

type request struct {
	source peer.ID
	piece  int
}

// briefing is how long the owner has to say which part of the file to ask it for, before it is asked for any.
const briefing = 500 * time.Millisecond

// ask has the owner asked from now on: this peer is number index of those that fetch the file, or it does not know.
func (l *Pull) ask(index, of int) {
	l.asking.Do(func() { l.apply(swarm.Joined{Source: l.Source.Peer, Origin: true, Index: index, Of: of}) })
}

// Start begins to fetch a file: the owner can be asked at once, others when they are heard of.
func Start(ctx context.Context, c Config) *Pull {
	c.Plan.Seed = uint64(time.Now().UnixNano())
	l := &Pull{
		Config: c, begun: time.Now(), done: make(chan struct{}), reaching: make(chan struct{}, reachAtOnce), next: make(chan struct{}, 1), ticked: make(chan struct{}, 1),
		swarm: swarm.New(c.Layout, c.Plan), hashes: make(map[int]transfer.Hash), jobs: make(map[request]*pieceJob),
		arrived: transfer.NewSet(c.Layout.Pieces()), writing: make(map[int]*pieceJob), members: make(map[peer.ID]*member),
	}
	l.ctx, l.cancel = context.WithCancel(ctx)
	l.members[c.Source.Peer] = &member{pull: l, id: c.Source.Peer, lanes: c.Owner}
	l.tasks.Go(l.tick)
	c.Owner.Connect()
	if c.Check == nil || c.Plan.Reading {
		l.ask(0, 0) // readers don't wait for a part of their own
	}
	if c.Check == nil {
		return l
	}
	l.tasks.Go(l.listen)
	l.tasks.Go(func() {
		select {
		case <-time.After(briefing):
			l.ask(0, 0)
		case <-l.done:
		case <-l.ctx.Done():
		}
	})
	return l
}

// Close ends it. What its requests still bring is of no use then. The other sources of a file that is whole have a moment
// to hear of that, in background, which is told when that is over.
func (l *Pull) Close(background func(func())) {
	if l.wasWhole() {
		l.end(nil)
	}
	l.end(errors.New("given up"))
	if l.err != nil {
		l.cancel()
		l.tasks.Wait()
		return
	}
	background(func() {
		timer := time.AfterFunc(farewell, l.cancel)
		defer timer.Stop()
		l.tasks.Wait()
		l.cancel()
	})
}

func (l *Pull) wasWhole() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.whole
}

// end sets the outcome, once.
func (l *Pull) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.ended, l.err = true, err
		close(l.done)
	}
}

// over reports whether the load ended, so that pieces are of no use any more.
func (l *Pull) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// Done is closed at the end; then Err says how it was.
func (l *Pull) Done() <-chan struct{} { return l.done }

// Err is why not every piece is here, or nil. It is asked once Done is closed.
func (l *Pull) Err() error { return l.err }

// Wait waits for the end. It tells what is missing where the owner could not be asked any more.
func (l *Pull) Wait(ctx context.Context) error {
	select {
	case <-l.done:
		return l.err
	case <-l.Owner.Context().Done():
		return l.Missing(context.Cause(l.Owner.Context()))
	case <-ctx.Done():
		if l.Owner.Context().Err() != nil { // which is why
			return l.Missing(context.Cause(l.Owner.Context()))
		}
		return ctx.Err()
	}
}

// Missing adds to an error of the owner, who can't be reached, what is not here yet.
func (l *Pull) Missing(err error) error {
	if peer.KindOf(err) != peer.Unreachable {
		return err
	}
	l.mu.Lock()
	left := l.swarm.Left()
	l.mu.Unlock()
	return &peer.Error{Path: l.Label, Kind: peer.Unreachable,
		Err:  fmt.Errorf("%d of %d pieces are missing, and nobody else who is here has them: %w", left, l.Layout.Pieces(), err),
		Hint: "what came is kept: run it again when the owner is back"}
}

// Known says that a piece is to be had, and by which hash.
func (l *Pull) Known(i int, h transfer.Hash) {
	l.mu.Lock()
	l.hashes[i] = h
	l.mu.Unlock()
	l.apply(swarm.Known{Piece: i})
}

// Here says that a piece is there already.
func (l *Pull) Here(i int) {
	l.Progress.Had(l.Label, l.Layout.Length(i))
	l.here(i)
	l.apply(swarm.Here{Piece: i})
}

func (l *Pull) here(i int) {
	l.Sink.Here(i)
	l.Growing.Add(i)
}

// Want says which pieces readers wait for now, and which they are about to want, each in the order of need.
func (l *Pull) Want(now, ahead []swarm.Span) {
	l.mu.Lock()
	l.now = now
	l.mu.Unlock()
	l.apply(swarm.Want{Spans: append(slices.Clone(now), ahead...)})
}

// Gone says that a piece is here no more, and may be wanted again.
func (l *Pull) Gone(i int) {
	l.mu.Lock()
	l.arrived.Remove(i)
	l.mu.Unlock()
	l.apply(swarm.Gone{Piece: i})
}

// Any reports whether any piece was fetched.
func (l *Pull) Any() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fetched
}

// Others reports whether any source but the owner is asked now.
func (l *Pull) Others() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.members) > 1
}

// FromShelf takes a piece that was fetched before. It is for one goroutine, that which learns the hashes.
func (l *Pull) FromShelf(h *manifest.Hasher, i int, want transfer.Hash) bool {
	if l.Layout.Length(i) > transfer.UsualPiece {
		return false
	}
	if l.shelved == nil {
		l.shelved = make([]byte, min(l.Layout.Length(0), transfer.UsualPiece))
	}
	b, ok := l.Shelf.Piece(l.File, l.Layout, i, want, l.shelved)
	if !ok || h.Subtree(b, l.Layout.Offset(i)) != want {
		return false
	}
	_, err := l.Sink.WriteAt(b, l.Layout.Offset(i))
	return err == nil
}

// Keep puts a piece on the shelf for another time, if it was fetched.
func (l *Pull) Keep(i int, data []byte) {
	l.mu.Lock()
	want, fetched := l.hashes[i]
	l.mu.Unlock()
	if fetched {
		l.Shelf.Keep(want, data)
	}
}

// apply tells the swarm what happened and does what it says.
func (l *Pull) apply(e swarm.Event) {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return
	}
	var drops []swarm.Drop
	done := false
	for _, a := range l.swarm.Apply(time.Since(l.begun), e) {
		switch a := a.(type) {
		case swarm.Ask:
			if m := l.members[a.Source]; m != nil {
				j := &pieceJob{Pull: l, member: m, index: a.Piece, want: l.hashes[a.Piece]}
				l.callOff(request{a.Source, a.Piece}) // the swarm may think it answered, by what an earlier request brought
				l.jobs[request{a.Source, a.Piece}] = j
				m.held = append(m.held, j)
			}
		case swarm.Cancel:
			l.callOff(request{a.Source, a.Piece})
		case swarm.Drop:
			drops = append(drops, a)
		case swarm.Done:
			l.whole = true
			done = !l.Plan.Reading
		}
	}
	due := l.due()
	l.mu.Unlock()
	for lanes, jobs := range due {
		lanes.PushAll(jobs) // lanes that have ended tell the swarm that their source left
	}
	for _, d := range drops {
		l.drop(d)
	}
	if done {
		l.end(nil)
	}
	select {
	case l.ticked <- struct{}{}:
	default:
	}
}

// Requests go out a few at a time while a source has enough to do: each write of one is a wake-up on both sides.
const (
	together = 8
	enough   = 2 * together // requests that a source was sent and did not answer yet
)

// due takes the requests that are to go out now. Those that are held back go when an answer comes. l.mu is held.
func (l *Pull) due() map[*lane.Lanes][]lane.Job {
	var due map[*lane.Lanes][]lane.Job
	for _, m := range l.members {
		waited := l.Urgent != nil && m.id == l.Source.Peer && slices.ContainsFunc(m.held, l.urgent)
		if len(m.held) == 0 || m.sent >= enough && len(m.held) < together && !waited {
			continue
		}
		if due == nil {
			due = make(map[*lane.Lanes][]lane.Job)
		}
		for _, j := range m.held {
			if !j.off.Load() {
				j.sent = true
				m.sent++
				j.lanes = m.lanes
				if waited && l.urgent(j) {
					j.lanes = l.Urgent
				}
				due[j.lanes] = append(due[j.lanes], j)
			}
		}
		m.held = m.held[:0]
	}
	return due
}

// urgent reports whether a reader waits for a piece. l.mu is held.
func (l *Pull) urgent(j *pieceJob) bool {
	return slices.ContainsFunc(l.now, func(w swarm.Span) bool { return w.From <= j.index && j.index < w.To })
}

// callOff takes a request back. l.mu is held.
func (l *Pull) callOff(r request) {
	if j := l.jobs[r]; j != nil {
		j.off.Store(true)
		l.forget(r, j)
	}
}

// forget drops a request that was answered or is called off. l.mu is held.
func (l *Pull) forget(r request, j *pieceJob) {
	delete(l.jobs, r)
	if j.sent {
		j.member.sent--
	}
}

// again is how long the owner is left alone that was slow.
const again = 5 * time.Second

// drop parts from a source.
func (l *Pull) drop(d swarm.Drop) {
	l.mu.Lock()
	m := l.members[d.Source]
	for r := range l.jobs {
		if r.source == d.Source {
			l.callOff(r)
		}
	}
	l.mu.Unlock()
	l.Log.Debug("source dropped", "peer", d.Source, "why", d.Why)
	if d.Why == swarm.Lying {
		l.Bans.add(d.Source)
		l.Progress.Bad(d.Source, true)
	}
	switch {
	case d.Source != l.Source.Peer:
		if m != nil {
			m.leave()
		}
	case d.Why == swarm.Lying:
		l.tasks.Go(l.judge)
	default:
		time.AfterFunc(again, func() { l.apply(swarm.Joined{Source: d.Source, Origin: true}) })
	}
}

// How often, and after what pauses, it is looked whether a file changed whose owner gave wrong bytes.
const (
	looks     = 4
	lookAgain = 300 * time.Millisecond
)

// judge ends a file whose owner gave wrong bytes: either it changed meanwhile, or the owner lies.
func (l *Pull) judge() {
	var err error
	for look := 0; look < looks && err == nil; look++ {
		// A write that is under way changes bytes before anybody is told: it shows a little later.
		select {
		case <-time.After(lookAgain):
			err = l.Changed(l.ctx)
		case <-l.ctx.Done():
			return
		}
	}
	if err == nil {
		err = &peer.Error{Path: l.Label, Kind: peer.Integrity, Err: errors.New("the owner's bytes do not match their hashes"),
			Hint: "nothing was written under the file's name"}
	}
	l.end(err)
}

// tick lets the swarm know that time passes.
func (l *Pull) tick() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		l.mu.Lock()
		next, due := l.swarm.NextTick()
		l.mu.Unlock()
		if !due {
			next = time.Since(l.begun) + time.Hour
		}
		timer.Reset(max(next-time.Since(l.begun), time.Millisecond))
		select {
		case <-timer.C:
			l.apply(swarm.Tick{})
		case <-l.ticked:
		case <-l.done:
			return
		case <-l.ctx.Done():
			return
		}
	}
}
