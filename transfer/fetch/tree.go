package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch/lane"
	"github.com/peerd/peerd/transfer/fetch/small"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/store"
	"github.com/peerd/peerd/transfer/transferpb"
)

// Item is a file or folder to fetch, as a listing tells of it.
type Item struct {
	Path    []string // in the share
	Dest    []string // below the target folder; at least one name
	Dir     bool
	Size    int64
	ModTime time.Time
	Exec    bool
	// Old opens a file elsewhere that may have pieces of this one, as its version before; nil knows none. It is called for a
	// file of several pieces, and may give nil.
	Old func() io.ReaderAt
	// Begun names a file beside Dest, made by [store.Dir.Begin], that has bytes of this one at their places; which are right is
	// found out. A file of several pieces grows on in it; else, and where it is "", nothing is done with it.
	Begun string
}

// maxLarge is how many files of several pieces are on their way at once, so that the end of one does not wait for the
// start of the next.
const maxLarge = 3

// Report is told what became of each file, one call at a time. Folders are told of only when they fail.
type Report interface {
	// Done tells of a file that has its name now; root is zero where the file was there already by its size and time.
	Done(it Item, root transfer.Hash)
	Failed(it Item, err error)
}

// Tree fetches items below dst, folders before what is in them. A file that is there already, of the same size and time,
// is left alone; one that is different is an error of kind [peer.Conflict] without replace. An item that can't be had does
// not stop the others; Tree's own error ends all of it, after which only Close is of use. It also
// ends when items yields an error.
func (f *Fetcher) Tree(ctx context.Context, items iter.Seq2[Item, error], dst *store.Dir, replace bool, report Report) error {
	t := &tree{f: f, dst: dst, replace: replace, report: report, large: make(chan struct{}, maxLarge)}
	all, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(f.ctx, cancel)
	defer stop()
	err := t.all(all, items)
	if err != nil {
		cancel()
	}
	t.wait(all)
	t.mu.Lock()
	t.report = nil
	t.mu.Unlock()
	if cause := context.Cause(f.ctx); cause != nil {
		return t.lostBy(cause)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

type tree struct {
	f       *Fetcher
	dst     *store.Dir
	replace bool
	large   chan struct{}

	mu     sync.Mutex
	report Report         // nil once Tree returned
	lost   error          // what a large file misses since the owner is away
	open   sync.WaitGroup // items on their way
	larges sync.WaitGroup // large files on their way
}

// lostBy is why all of it ended: the owner could not be reached any more, and what a large file misses for that.
func (t *tree) lostBy(cause error) error {
	t.larges.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case peer.KindOf(cause) != peer.Unreachable:
		return cause
	case t.lost != nil:
		return t.lost
	}
	return &peer.Error{Path: t.f.src.Label, Kind: peer.Unreachable, Err: fmt.Errorf("nothing came for %v: %w", t.f.opts.Patience, cause),
		Hint: "what came is kept: run it again when the owner is back"}
}

func (t *tree) all(ctx context.Context, items iter.Seq2[Item, error]) error {
	for it, err := range items {
		if err != nil {
			return err
		}
		if err := t.item(ctx, it); err != nil {
			return err
		}
	}
	return nil
}

// item starts one item.
func (t *tree) item(ctx context.Context, it Item) error {
	if it.Dir {
		if err := t.dst.Mkdir(it.Dest); err != nil {
			t.fail(it, err)
		}
		return ctx.Err()
	}
	found, size, mod, err := t.dst.Look(it.Dest)
	switch {
	case err != nil:
		t.fail(it, err)
		return ctx.Err()
	case found == store.Other:
		t.fail(it, &peer.Error{Path: t.dst.Name(it.Dest), Kind: peer.Conflict, Err: errors.New("something that is no file is in the way")})
		return ctx.Err()
	case found == store.Regular && size == it.Size && mod.Equal(it.ModTime):
		t.f.opts.Progress.Had(t.f.src.Path(it.Path), size)
		t.done(it, transfer.Hash{})
		return ctx.Err()
	case found == store.Regular && size != it.Size && !t.replace:
		t.fail(it, exists(t.dst, it))
		return ctx.Err()
	}
	if it.Size <= transfer.SmallFile {
		t.open.Add(1)
		if err := t.f.owner.Push(&smallJob{tree: t, it: it, compare: found == store.Regular && !t.replace}, true); err != nil {
			t.open.Done()
			return err
		}
		return nil
	}
	select {
	case t.large <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	t.open.Add(1)
	t.larges.Add(1)
	t.f.tasks.Go(func() {
		defer t.open.Done()
		defer t.larges.Done()
		defer func() { <-t.large }()
		root, err := t.f.large(ctx, it, t.dst, t.replace)
		if err != nil {
			t.fail(it, err)
			return
		}
		t.done(it, root)
	})
	return nil
}

func (t *tree) fail(it Item, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if it.Size > transfer.SmallFile && peer.KindOf(err) == peer.Unreachable && t.lost == nil {
		t.lost = err
	}
	if t.report != nil {
		t.report.Failed(it, err)
	}
}

func (t *tree) done(it Item, root transfer.Hash) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.report != nil {
		t.report.Done(it, root)
	}
}

// wait waits for all items on their way, or for ctx.
func (t *tree) wait(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		t.open.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

func exists(dst *store.Dir, it Item) error {
	return &peer.Error{Path: dst.Name(it.Dest), Kind: peer.Conflict, Err: errors.New("it exists already and is different"), Hint: "use -f to replace it"}
}

// smallJob fetches a file of one piece.
type smallJob struct {
	*tree
	it      Item
	compare bool // a file stands there, of the same size
	bad     int
	ended   bool
}

// Request asks for all of the file.
func (j *smallJob) Request(r *transferpb.GetRequest) {
	r.File.Path = j.it.Path
	r.Whole = true
}

// Cost is about what the answer weighs.
func (j *smallJob) Cost() int64 { return j.it.Size + small.Overhead }

// Over reports whether the file is done with.
func (j *smallJob) Over() bool { return j.ended }

// Fail gives the file up.
func (j *smallJob) Fail(err error) {
	j.ended = true
	j.tree.fail(j.it, err)
	j.open.Done()
}

// Receive takes the file, verifies and writes it.
func (j *smallJob) Receive(r *transferpb.GetReply, body io.Reader, s *lane.Scratch) error {
	data, st, err := small.Whole(j.f.src, j.it.Path, r, body, s)
	var bad *small.BadAnswer
	switch {
	case errors.As(err, &bad):
		if j.bad++; j.bad < small.MaxBad {
			j.f.owner.Again(j)
			return nil
		}
		err = &peer.Error{Path: j.f.src.Path(j.it.Path), Kind: peer.Integrity, Err: bad, Hint: "the source sends wrong bytes; nothing was written"}
	case err != nil && r.Error == nil:
		return err // of the stream, or a source that makes no sense
	}
	if err == nil {
		err = j.f.sized(j.it, int64(len(data)))
	}
	if err == nil {
		err = j.put(data, store.Meta{ModTime: st.ModTime, Exec: j.it.Exec})
	}
	if err != nil {
		j.Fail(err)
		return nil
	}
	j.ended = true
	j.tree.done(j.it, transfer.Hash(r.Root))
	j.open.Done()
	return nil
}

func (j *smallJob) put(data []byte, m store.Meta) error {
	name := j.f.src.Path(j.it.Path)
	if j.compare {
		if !j.same(data) {
			return exists(j.dst, j.it)
		}
		j.f.opts.Progress.Had(name, int64(len(data)))
		return nil
	}
	err := j.dst.Put(j.it.Dest, data, m, j.replace)
	if err != nil && (peer.KindOf(err) != peer.Conflict || !j.same(data)) {
		return err
	}
	j.f.opts.Progress.Got(j.f.src.Peer, name, int64(len(data)))
	return nil
}

// same reports whether the file that stands at the target holds exactly data.
func (j *smallJob) same(data []byte) bool {
	found, size, _, err := j.dst.Look(j.it.Dest)
	if err != nil || found != store.Regular || size != int64(len(data)) {
		return false
	}
	old, err := j.dst.Open(j.it.Dest)
	if err != nil {
		return false
	}
	defer old.Close()
	l, _ := transfer.LayoutOf(size)
	was, err := manifest.Build(old, l, nil)
	return err == nil && was.Root == manifest.Whole(data)
}
