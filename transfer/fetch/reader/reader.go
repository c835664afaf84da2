// Package reader reads files of one share at any place. What is read comes piece by piece from everybody who has it, is kept in
// memory and on the shelf, and is read ahead of who reads in order.
//
// Hashes of pieces come from the owner, by themselves: which of them belong together is proven once all of a file's are known,
// and not before.
package reader

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch/lane"
	"github.com/peerd/peerd/transfer/fetch/pull"
	"github.com/peerd/peerd/transfer/fetch/recent"
	"github.com/peerd/peerd/transfer/manifest"
)

// mostKeeping is how many bytes may wait to be put on the shelf.
const mostKeeping = 32 << 20

// Options of a [Share].
type Options struct {
	Source   lane.Source
	Owner    *lane.Lanes   // to it; when they end, all reads fail
	Patience time.Duration // how long to ask for hashes while nobody answers
	Memory   *recent.Cache
	Shelf    pull.Shelf
	Progress transfer.Progress
	// Pull begins to bring pieces of a file, until end is called. refused is as in [pull.Config].
	Pull func(f transfer.File, l transfer.Layout, to pull.Sink, g pull.Growing, refused func(error)) (p *pull.Pull, end func())
}

// Share is one share whose files are read.
type Share struct {
	Options
	ctx     context.Context
	turns   chan struct{} // of those who ask for hashes
	keeping atomic.Int64  // bytes that wait to be put on the shelf
	hashers sync.Pool     // of *manifest.Hasher

	mu     sync.Mutex
	idle   []*asking // streams that wait for another request
	closed bool
}

// New reads files until Close, or until ctx ends.
func New(ctx context.Context, o Options) *Share {
	return &Share{
		Options: o, ctx: ctx, turns: make(chan struct{}, maxAsking),
		hashers: sync.Pool{New: func() any { return new(manifest.Hasher) }},
	}
}

// Close lets go of the streams that are held for further requests.
func (s *Share) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, a := range s.idle {
		a.stream.Reset()
	}
	s.idle = nil
}
