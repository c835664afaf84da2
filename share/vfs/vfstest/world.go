// Package vfstest is a workgroup in memory for tests of the tree and of its faces, and the suite of what programs do with
// files that each of them must pass. Only tests import it.
package vfstest

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/watch"
)

// World is a workgroup in memory. It is safe for concurrent use.
type World struct {
	mu      sync.Mutex
	peers   map[string]*Peer
	changed chan struct{} // closed and replaced at each change
}

var _ vfs.World = (*World)(nil)

// NewWorld makes a workgroup that nobody is in.
func NewWorld() *World {
	return &World{peers: make(map[string]*Peer), changed: make(chan struct{})}
}

// Peer is a computer of the workgroup.
type Peer struct {
	world *World
	name  string
	id    peer.ID

	mu     sync.Mutex
	shares map[string]*Share
	made   byte // shares, ever
	state  state
	slow   time.Duration // each answer takes that long
	back   chan struct{} // closed when the peer is back
}

// state is whether a peer answers.
type state uint8

const (
	here state = iota
	away
	silent
)

// Add makes a peer, or gives the one of that name.
func (w *World) Add(name string) *Peer {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.peers[name]
	if p == nil {
		p = &Peer{world: w, name: name, id: peer.ID("peer " + name), shares: make(map[string]*Share), back: make(chan struct{})}
		w.peers[name] = p
		w.tellLocked()
	}
	return p
}

// Forget drops a peer: nobody knows of it any more.
func (w *World) Forget(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.peers, name)
	w.tellLocked()
}

func (w *World) tellLocked() {
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *World) tell() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tellLocked()
}

// Peers gives the names of all peers.
func (w *World) Peers(context.Context) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.peers)), nil
}

func (w *World) peer(name string) (*Peer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.peers[name]; p != nil {
		return p, nil
	}
	return nil, &peer.Error{Op: "find", Path: "//" + name, Kind: peer.NotFound}
}

// Shares gives what a peer offers.
func (w *World) Shares(ctx context.Context, name string) ([]share.Info, error) {
	p, err := w.peer(name)
	if err != nil {
		return nil, err
	}
	if err := p.answer(ctx, "//"+name); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var infos []share.Info
	for _, n := range slices.Sorted(maps.Keys(p.shares)) {
		s := p.shares[n]
		if !s.hidden {
			infos = append(infos, share.Info{ID: s.id, Name: share.Name(n), Open: s.right()})
		}
	}
	return infos, nil
}

// Enter gives a share, however its name is spelled.
func (w *World) Enter(ctx context.Context, name, shareName string) (vfs.Remote, error) {
	p, err := w.peer(name)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	var s *Share
	for n := range p.shares {
		if share.FoldKey(n) == share.FoldKey(shareName) {
			s = p.shares[n]
		}
	}
	p.mu.Unlock()
	if s == nil {
		return nil, &peer.Error{Op: "enter", Path: "//" + name + "/" + shareName, Kind: peer.NotFound}
	}
	if err := p.answer(ctx, s.label); err != nil {
		return nil, err
	}
	if s.right() == share.None {
		return nil, s.denied()
	}
	return &remoteShare{s}, nil
}

// Changed yields whenever peers or shares come or go.
func (w *World) Changed(ctx context.Context) iter.Seq[struct{}] {
	return func(yield func(struct{}) bool) {
		w.mu.Lock()
		changed := w.changed
		w.mu.Unlock()
		for {
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
			w.mu.Lock()
			changed = w.changed // what changes while the caller looks is told after
			w.mu.Unlock()
			if !yield(struct{}{}) {
				return
			}
		}
	}
}

// Share makes a share with a right, or gives the one of that name.
func (p *Peer) Share(name string, right share.Right) *Share {
	p.mu.Lock()
	s := p.shares[name]
	if s == nil {
		s = &Share{
			peer: p, label: "//" + p.name + "/" + name, granted: right, feed: watch.NewFeed(watch.Keep),
			files: map[string]*file{"": {dir: true, modTime: time.Now()}}, calls: make(map[string]int), space: vfs.Space{Total: 1 << 40, Free: 1 << 39},
		}
		copy(s.id[:], s.label)
		s.id[len(s.id)-1] = p.made // another one under the name of one that ended is another
		p.made++
		p.shares[name] = s
	}
	p.mu.Unlock()
	p.world.tell()
	return s
}

// Unshare ends a share.
func (p *Peer) Unshare(name string) {
	p.mu.Lock()
	s := p.shares[name]
	delete(p.shares, name)
	p.mu.Unlock()
	if s != nil {
		s.SetRight(share.None)
	}
	p.world.tell()
}

// Leave makes the peer known to be away: calls fail at once, those that run too.
func (p *Peer) Leave() { p.become(away) }

// Silence makes the peer say nothing more, which nobody knows: calls hang until their ctx ends, or the peer is back.
func (p *Peer) Silence() { p.become(silent) }

// Return brings the peer back.
func (p *Peer) Return() { p.become(here) }

// Slow makes each answer of the peer take so long.
func (p *Peer) Slow(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slow = d
}

func (p *Peer) become(s state) {
	p.mu.Lock()
	p.state = s
	close(p.back) // who waits looks again
	p.back = make(chan struct{})
	p.mu.Unlock()
	p.world.tell()
}

// unreachable is the error of a peer that is away.
func unreachable(path string) error {
	return &peer.Error{Op: "reach", Path: path, Kind: peer.Unreachable, Hint: `run "peerd doctor"`}
}

// answer waits as long as the peer takes for an answer.
func (p *Peer) answer(ctx context.Context, path string) error {
	p.mu.Lock()
	slow := p.slow
	p.mu.Unlock()
	if slow > 0 {
		t := time.NewTimer(slow)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for {
		p.mu.Lock()
		s, back := p.state, p.back
		p.mu.Unlock()
		switch s {
		case here:
			return ctx.Err()
		case away:
			return unreachable(path)
		}
		select {
		case <-back:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// gone gives a ctx that ends when the peer leaves.
func (p *Peer) gone(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for {
			p.mu.Lock()
			s, back := p.state, p.back
			p.mu.Unlock()
			if s == away {
				cancel()
			}
			select {
			case <-ctx.Done():
				return
			case <-back:
			}
		}
	}()
	return ctx, cancel
}
