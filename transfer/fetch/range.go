package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch/lane"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
)

// Streams on which hashes are asked for.
const (
	maxAsking = 4                // at a time
	maxIdle   = 2                // that wait for another request
	idleFor   = 45 * time.Second // which the owner does for a minute
)

// asking is a stream on which hashes are asked for, one request after the other.
type asking struct {
	stream peer.Stream
	in     *wire.Reader
	shown  []byte // the grant that was shown last
	idle   time.Time
}

// hashes asks the owner for n hashes of a file from piece first on. learn is told those and maybe more of the pieces after them,
// and in the end the root, if the owner knows it.
func (f *Fetcher) hashes(ctx context.Context, file transfer.File, l transfer.Layout, first, n int, learn func(first int, hashes []transfer.Hash, root transfer.Hash) error) error {
	select {
	case f.turns <- struct{}{}:
		defer func() { <-f.turns }()
	case <-ctx.Done():
		return ctx.Err()
	}
	n = min(n, serve.MaxRange)
	for {
		a, used, err := f.asking(ctx)
		if err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, func() { a.stream.Reset() })
		heard, err := f.askOn(ctx, a, file, l, first, n, learn)
		if stop() && err == nil {
			f.idle(a)
			return nil
		}
		a.stream.Reset()
		if heard || !used || ctx.Err() != nil {
			return err
		}
	}
}

// asking gives a stream, and reports whether it was used before: then it may have ended since.
func (f *Fetcher) asking(ctx context.Context) (a *asking, used bool, err error) {
	f.mu.Lock()
	for len(f.waiters) > 0 && a == nil {
		last := len(f.waiters) - 1
		if a, f.waiters = f.waiters[last], f.waiters[:last]; time.Since(a.idle) > idleFor {
			a.stream.Reset()
			a = nil
		}
	}
	f.mu.Unlock()
	if a != nil {
		return a, true, nil
	}
	st, err := f.src.Opener.Open(ctx, f.src.Peer, serve.ManifestProtocol, 0)
	if err != nil {
		return nil, false, err
	}
	return &asking{stream: st, in: wire.NewReaderSize(lane.Alive(st), 8<<10)}, false, nil
}

// idle keeps a stream for another request.
func (f *Fetcher) idle(a *asking) {
	a.idle = time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx.Err() != nil || len(f.waiters) >= maxIdle {
		a.stream.Reset()
		return
	}
	f.waiters = append(f.waiters, a)
}

// askOn asks on a stream, and reports whether anything came.
func (f *Fetcher) askOn(ctx context.Context, a *asking, file transfer.File, l transfer.Layout, first, n int, learn func(int, []transfer.Hash, transfer.Hash) error) (heard bool, err error) {
	grant, err := f.src.Grant(ctx)
	if err != nil {
		return true, err
	}
	req := &transferpb.ManifestRequest{File: &transferpb.File{Share: file.Share[:], Path: file.Path}, Version: file.Version[:], First: uint32(first), Count: uint32(n)}
	if string(grant) != string(a.shown) {
		req.File.Grant, a.shown = grant, grant
	}
	if err := a.stream.SetWriteDeadline(time.Now().Add(lane.Stall)); err != nil {
		return false, err
	}
	if err := wire.WriteMsg(a.stream, req); err != nil {
		return false, err
	}
	var r transferpb.ManifestReply
	if err := lane.Read(a.in, &r, maxManifestReply, f.src.Label); err != nil {
		return false, err
	}
	switch s := r.GetState(); {
	case s == nil:
		return true, f.refusal(r.GetError(), file.Path)
	case string(s.Version) != string(file.Version[:]):
		return true, f.changed(file.Path)
	case s.Size != l.Size:
		return true, f.lie(file.Path, fmt.Errorf("a version has %d bytes, and %d", l.Size, s.Size))
	}
	for at := first; ; {
		if err := lane.Read(a.in, &r, maxManifestReply, f.src.Label); err != nil {
			return true, err
		}
		if r.GetError() != nil {
			return true, f.refusal(r.GetError(), file.Path)
		}
		if root, ok := r.What.(*transferpb.ManifestReply_Root); ok && (len(root.Root) == 0 || len(root.Root) == transfer.HashSize) {
			if at < min(first+n, l.Pieces()) {
				return true, f.lie(file.Path, errors.New("it has too few hashes"))
			}
			if len(root.Root) == 0 {
				return true, nil
			}
			return true, f.told(file.Path, learn(at, nil, transfer.Hash(root.Root)))
		}
		hashes, err := manifest.Hashes(r.GetHashes())
		if err != nil || len(hashes) == 0 || at+len(hashes) > min(first+n+serve.MaxRange, l.Pieces()) {
			return true, f.lie(file.Path, errors.New("it has the wrong number of hashes"))
		}
		if err := learn(at, hashes, transfer.Hash{}); err != nil {
			return true, f.told(file.Path, err)
		}
		at += len(hashes)
	}
}

// told makes an error of what is wrong with what the owner said.
func (f *Fetcher) told(path []string, err error) error {
	if err == nil {
		return nil
	}
	return f.lie(path, err)
}

// lie is the error of a manifest that can't be true.
func (f *Fetcher) lie(path []string, err error) error {
	return &peer.Error{Path: f.label(path), Kind: peer.Integrity, Err: fmt.Errorf("the source's manifest can't be true: %w", err)}
}

// wholeJob asks for all of a small file.
type wholeJob struct {
	f    *Fetcher
	path []string
	size int64
	take func(data []byte, st transfer.State, root transfer.Hash) error // what data holds is the lane's
	bad  int
	done chan struct{} // closed once err is set
	once sync.Once
	err  error
}

func (f *Fetcher) newWhole(path []string, size int64, take func([]byte, transfer.State, transfer.Hash) error) *wholeJob {
	return &wholeJob{f: f, path: path, size: size, take: take, done: make(chan struct{})}
}

// run has the file asked for, until ctx ends.
func (j *wholeJob) run(ctx context.Context) error {
	defer j.end(errEnded)
	if err := j.f.owner.Push(j, true); err != nil {
		return err
	}
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		return ctx.Err()
	case <-j.f.ctx.Done():
		return context.Cause(j.f.ctx)
	}
}

// end sets the outcome, once.
func (j *wholeJob) end(err error) {
	j.once.Do(func() {
		j.err = err
		close(j.done)
	})
}

// Over reports whether nobody waits for the file any more.
func (j *wholeJob) Over() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// Request asks for all of the file.
func (j *wholeJob) Request(q *transferpb.GetRequest) {
	q.File.Path = j.path
	q.Whole = true
}

// Cost is about what the answer weighs.
func (j *wholeJob) Cost() int64 { return j.size + overhead }

// Fail gives the file up.
func (j *wholeJob) Fail(err error) { j.end(err) }

// Receive takes the file and verifies it.
func (j *wholeJob) Receive(m *transferpb.GetReply, body io.Reader, s *lane.Scratch) error {
	data, st, err := whole(j.f, j.path, m, body, s)
	var bad *badAnswer
	switch {
	case errors.As(err, &bad):
		if j.bad++; j.bad < maxBad {
			j.f.owner.Again(j)
			return nil
		}
		err = &peer.Error{Path: j.f.label(j.path), Kind: peer.Integrity, Err: bad, Hint: "the source sends wrong bytes"}
	case err != nil && m.Error == nil:
		return err
	case err == nil:
		err = j.take(data, st, transfer.Hash(m.Root))
	}
	j.end(err)
	return nil
}
