package reader

import (
	"context"
	"errors"
	"fmt"
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
	shown  []byte    // the grant that was shown last
	since  time.Time // it waits
}

// hashes asks the owner for n hashes of a file from piece first on. learn is told those and maybe more of the pieces after them,
// and in the end the root, if the owner knows it.
func (s *Share) hashes(ctx context.Context, file transfer.File, l transfer.Layout, first, n int, learn func(first int, hashes []transfer.Hash, root transfer.Hash) error) error {
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
		return ctx.Err()
	}
	n = min(n, serve.MaxRange)
	for {
		a, used, err := s.asking(ctx)
		if err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, func() { a.stream.Reset() })
		heard, err := s.askOn(ctx, a, file, l, first, n, learn)
		if stop() && err == nil {
			s.rest(a)
			return nil
		}
		a.stream.Reset()
		if heard || !used || ctx.Err() != nil {
			return err
		}
	}
}

// asking gives a stream, and reports whether it was used before: then it may have ended since.
func (s *Share) asking(ctx context.Context) (a *asking, used bool, err error) {
	s.mu.Lock()
	for len(s.idle) > 0 && a == nil {
		last := len(s.idle) - 1
		if a, s.idle = s.idle[last], s.idle[:last]; time.Since(a.since) > idleFor {
			a.stream.Reset()
			a = nil
		}
	}
	s.mu.Unlock()
	if a != nil {
		return a, true, nil
	}
	st, err := s.Source.Opener.Open(ctx, s.Source.Peer, serve.ManifestProtocol, 0)
	if err != nil {
		return nil, false, err
	}
	return &asking{stream: st, in: wire.NewReaderSize(lane.Alive(st), 8<<10)}, false, nil
}

// rest keeps a stream for another request.
func (s *Share) rest(a *asking) {
	a.since = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.idle) >= maxIdle {
		a.stream.Reset()
		return
	}
	s.idle = append(s.idle, a)
}

// askOn asks on a stream, and reports whether anything came.
func (s *Share) askOn(ctx context.Context, a *asking, file transfer.File, l transfer.Layout, first, n int, learn func(int, []transfer.Hash, transfer.Hash) error) (heard bool, err error) {
	grant, err := s.Source.Grant(ctx)
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
	if err := lane.Read(a.in, &r, lane.MaxManifest, s.Source.Label); err != nil {
		return false, err
	}
	switch st := r.GetState(); {
	case st == nil:
		return true, s.Source.Refusal(r.GetError(), file.Path)
	case string(st.Version) != string(file.Version[:]):
		return true, s.Source.Changed(file.Path)
	case st.Size != l.Size:
		return true, s.Source.Lie(file.Path, fmt.Errorf("a version has %d bytes, and %d", l.Size, st.Size))
	}
	for at := first; ; {
		if err := lane.Read(a.in, &r, lane.MaxManifest, s.Source.Label); err != nil {
			return true, err
		}
		if r.GetError() != nil {
			return true, s.Source.Refusal(r.GetError(), file.Path)
		}
		if root, ok := r.What.(*transferpb.ManifestReply_Root); ok && (len(root.Root) == 0 || len(root.Root) == transfer.HashSize) {
			if at < min(first+n, l.Pieces()) {
				return true, s.Source.Lie(file.Path, errors.New("it has too few hashes"))
			}
			if len(root.Root) == 0 {
				return true, nil
			}
			return true, s.told(file.Path, learn(at, nil, transfer.Hash(root.Root)))
		}
		hashes, err := manifest.Hashes(r.GetHashes())
		if err != nil || len(hashes) == 0 || at+len(hashes) > min(first+serve.MaxRange, l.Pieces()) {
			return true, s.Source.Lie(file.Path, errors.New("it has the wrong number of hashes"))
		}
		if err := learn(at, hashes, transfer.Hash{}); err != nil {
			return true, s.told(file.Path, err)
		}
		at += len(hashes)
	}
}

// told makes an error of what is wrong with what the owner said.
func (s *Share) told(path []string, err error) error {
	if err == nil {
		return nil
	}
	return s.Source.Lie(path, err)
}
