// Package fetch gets files from everybody who may give them. Small files come from the owner of their share, asked for on a
// few lanes ahead of their answers. A large file is a swarm of its own: package swarm decides which piece is asked of whom,
// here that is done. Each answer is received, hashed and written by the goroutine that reads it, and nothing takes its
// final name unverified.
package fetch

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire/wirepb"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch/lane"
	"github.com/peerd/peerd/transfer/fetch/pull"
	"github.com/peerd/peerd/transfer/fetch/reader"
	"github.com/peerd/peerd/transfer/fetch/recent"
	"github.com/peerd/peerd/transfer/swarm"
)

// Source is one share at its owner.
type Source = lane.Source

// Options of a [Fetcher].
type Options struct {
	Lanes    int           // connections to the owner; default 2
	First    int           // the number of the first of them, see [peer.Opener]; 0 is that of short exchanges
	Patience time.Duration // how long to try while nothing arrives; default 2 minutes
	Progress transfer.Progress
	Waiting  func(error) // told when the owner can't be reached and is tried again, and what is missing; may be nil
	Pace     func(ctx context.Context, from peer.ID, n int) error
	// Exact has a file that is not as large as its Item says be an error of kind [peer.Conflict]: whoever lets it in goes by that.
	Exact   bool
	Sources Sources
	Shelf   pull.Shelf    // nil keeps and gives on nothing
	Memory  *recent.Cache // what files that are read keep in memory; nil has one of the Fetcher's own
	Log     *slog.Logger
}

// Sources is what it takes to have sources besides the owner.
type Sources = pull.Sources

// File is one version of a file that is read at any place.
type File = reader.File

// Fetcher fetches from one share. Its methods may be called at the same time.
type Fetcher struct {
	src   Source
	opts  Options
	owner *lane.Lanes

	ctx    context.Context // ends with Close, or with the reason why the owner's lanes ended
	root   context.Context // ends once Close has let the sources hear of what is whole
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	heard atomic.Int64 // when something arrived last, in Unix nanoseconds

	bans pull.Bans

	files *reader.Share

	mu     sync.Mutex
	pulls  map[*pull.Pull]struct{} // under way
	urgent *lane.Lanes             // for what readers wait for; nil as long as there are none
}

// New starts a Fetcher, which works until Close or until ctx ends.
func New(ctx context.Context, src Source, opts Options) *Fetcher {
	if opts.Lanes == 0 {
		opts.Lanes = 2
	}
	if opts.Patience == 0 {
		opts.Patience = 2 * time.Minute
	}
	if opts.Progress == nil {
		opts.Progress = nobody{}
	}
	if opts.Shelf == nil {
		opts.Shelf = noShelf{}
	}
	if opts.Memory == nil {
		opts.Memory = recent.New(0)
	}
	f := &Fetcher{src: src, opts: opts, pulls: make(map[*pull.Pull]struct{})}
	f.heard.Store(time.Now().UnixNano())
	all, cancel := context.WithCancel(ctx)
	f.root, f.cancel = all, cancel
	f.owner = lane.Open(all, src, f.lanes(opts.Lanes, opts.First))
	f.ctx = f.owner.Context()
	f.files = reader.New(f.root, reader.Options{
		Source: src, Owner: f.owner, Patience: opts.Patience, Memory: opts.Memory, Shelf: opts.Shelf, Progress: opts.Progress,
		Pull: func(file transfer.File, l transfer.Layout, to pull.Sink, g pull.Growing, refused func(error)) (*pull.Pull, func()) {
			return f.start(file, l, to, g, swarm.Options{Reading: true}, refused)
		},
	})
	return f
}

// pace is what holds back the lanes to a source.
func (f *Fetcher) pace(from peer.ID) func(context.Context, int) error {
	if f.opts.Pace == nil {
		return nil
	}
	return func(ctx context.Context, n int) error { return f.opts.Pace(ctx, from, n) }
}

// Close ends the lanes. Files that are not done fail.
func (f *Fetcher) Close() {
	f.owner.Close()
	f.mu.Lock()
	urgent := f.urgent
	f.mu.Unlock()
	if urgent != nil {
		urgent.Close()
	}
	f.files.Close()
	f.tasks.Wait()
	f.cancel()
}

// seedLane is the connection that pieces of sources besides the owner come on: that on which they tell what they have, so that
// a swarm of n peers takes n² / 2 of them and no more.
const seedLane = 0

// waiting tells that the owner is away, and what is missing.
func (f *Fetcher) waiting(err error) {
	if f.opts.Waiting == nil {
		return
	}
	f.mu.Lock()
	for l := range f.pulls {
		err = l.Missing(err)
		break
	}
	f.mu.Unlock()
	f.opts.Waiting(err)
}

// pull starts to bring a large file, all of it. It ends when end is called, be it cancelled or not.
func (f *Fetcher) pull(ms *manifestStream, to pull.Sink, grow pull.Growing) (l *pull.Pull, end func()) {
	return f.start(f.file(ms), ms.layout, to, grow, swarm.Options{}, nil)
}

// start starts to bring pieces of a large file. It ends when end is called, be it cancelled or not.
func (f *Fetcher) start(file transfer.File, layout transfer.Layout, to pull.Sink, grow pull.Growing, plan swarm.Options, refused func(error)) (l *pull.Pull, end func()) {
	c := pull.Config{
		File: file, Layout: layout, Label: f.src.Path(file.Path), Plan: plan,
		Source: f.src, Owner: f.owner, Sources: f.opts.Sources, Bans: &f.bans,
		Lanes: func(id peer.ID) lane.Options {
			return lane.Options{Lanes: 1, First: seedLane, Patience: -1, Heard: &f.heard, Pace: f.pace(id), Log: f.opts.Log}
		},
		Sink: to, Growing: grow, Shelf: f.opts.Shelf, Progress: f.opts.Progress, Log: f.opts.Log,
		Refusal: func(e *wirepb.Error) error { return f.src.Refusal(e, file.Path) },
		Refused: refused,
		Changed: func(ctx context.Context) error { return f.stillThere(ctx, file.Path, file.Version) },
	}
	f.mu.Lock()
	if plan.Reading && f.urgent == nil && f.root.Err() == nil {
		f.urgent = lane.Open(f.ctx, f.src, f.lanes(1, 0))
		context.AfterFunc(f.urgent.Context(), func() { f.owner.End(context.Cause(f.urgent.Context())) })
	}
	c.Urgent = f.urgent
	f.mu.Unlock()
	l = pull.Start(f.root, c)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pulls[l] = struct{}{}
	return l, func() {
		f.mu.Lock()
		delete(f.pulls, l)
		f.mu.Unlock()
		l.Close(f.tasks.Go)
	}
}

// lanes are options of so many lanes to the owner.
func (f *Fetcher) lanes(n, first int) lane.Options {
	return lane.Options{
		Lanes: n, First: first, Patience: f.opts.Patience, Heard: &f.heard, Waiting: f.waiting, Pace: f.pace(f.src.Peer), Log: f.opts.Log,
	}
}

// nobody is told of no progress.
type nobody struct{}

func (nobody) Got(peer.ID, string, int64) {}
func (nobody) Had(string, int64)          {}
func (nobody) Bad(peer.ID, bool)          {}

// noShelf keeps nothing.
type noShelf struct{}

func (noShelf) Piece(transfer.File, transfer.Layout, int, transfer.Hash, []byte) ([]byte, bool) {
	return nil, false
}
func (noShelf) Manifest(transfer.File) (transfer.Manifest, bool)               { return transfer.Manifest{}, false }
func (noShelf) Keep(transfer.Hash, []byte)                                     {}
func (noShelf) Begin(transfer.File, transfer.Layout, io.ReaderAt) pull.Growing { return noGrowing{} }
func (noShelf) Secret(transfer.File, []byte)                                   {}

type noGrowing struct{}

func (noGrowing) Add(int)                          {}
func (noGrowing) Finish(transfer.Manifest, string) {}
func (noGrowing) Close()                           {}
