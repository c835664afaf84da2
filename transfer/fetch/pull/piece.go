package pull

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch/lane"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/swarm"
	"github.com/peerd/peerd/transfer/transferpb"
)

// pieceJob fetches one piece of a large file from one source.
type pieceJob struct {
	*Pull
	member *member
	index  int
	want   transfer.Hash
	lanes  *lane.Lanes // those that it is given to
	off    atomic.Bool // called off
	sent   bool        // given to the lanes; guarded by Pull.mu
}

var _ lane.Job = (*pieceJob)(nil)

// Request asks for the piece.
func (p *pieceJob) Request(r *transferpb.GetRequest) {
	r.File.Path = p.File.Path
	r.Version = p.File.Version[:]
	r.Piece = uint32(p.index)
}

// Cost is the piece's length.
func (p *pieceJob) Cost() int64 { return p.Layout.Length(p.index) }

// Over reports whether the piece is here, or not wanted any more.
func (p *pieceJob) Over() bool { return p.off.Load() || p.over() }

// Fail ends the whole file where it is the owner who can't be asked any more.
func (p *pieceJob) Fail(err error) {
	if p.member.id == p.Source.Peer {
		p.end(err)
	}
}

// Receive takes the piece, verifies and writes it.
func (p *pieceJob) Receive(r *transferpb.GetReply, body io.Reader, s *lane.Scratch) error {
	if r.Error != nil {
		p.refused(p.Refusal(r.Error))
		return nil
	}
	if r.Length != uint64(p.Cost()) {
		p.spoiled()
		return fmt.Errorf("piece %d came with %d bytes in place of %d", p.index, r.Length, p.Cost())
	}
	if wanted, free := p.claim(); !wanted || !free {
		_, err := io.Copy(io.Discard, body)
		if wanted {
			p.lanes.Again(p)
		}
		return err
	}
	good, err := p.take(body, s)
	p.release()
	var ours *sinkError
	switch {
	case errors.As(err, &ours):
		p.end(ours.error)
		_, err := io.Copy(io.Discard, body)
		return err
	case err != nil:
		return err
	case !good:
		p.spoiled()
		return nil
	}
	p.settled()
	if p.first() {
		p.Progress.Got(p.member.id, p.Label, p.Cost())
		p.here(p.index)
	}
	p.apply(swarm.Got{Source: p.member.id, Piece: p.index})
	return nil
}

// claim reports whether the piece is still wanted, and may be written: a piece longer than a step is written before all of it
// is verified, and must not spoil one that is there or on its way.
func (p *pieceJob) claim() (wanted, free bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || p.swarm.Have(p.index) {
		return false, false
	}
	if p.writing[p.index] != nil {
		return true, false
	}
	if p.Cost() > transfer.UsualPiece {
		p.writing[p.index] = p
	}
	return true, true
}

func (p *pieceJob) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writing[p.index] == p {
		delete(p.writing, p.index)
	}
}

// first reports whether the piece was not fetched before: two sources may bring it at the same moment.
func (p *pieceJob) first() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetched = true
	return p.arrived.Add(p.index)
}

// take reads, hashes and writes the piece. It is written once it is right, but for one that is too long to be held: that is
// written step by step.
func (p *pieceJob) take(body io.Reader, s *lane.Scratch) (good bool, err error) {
	if p.Cost() > transfer.UsualPiece {
		return p.read(body, s, nil)
	}
	if to, ok := p.Sink.(Taker); ok {
		b := to.Buffer(int(p.Cost()))
		if good, err := p.read(body, s, b); !good || err != nil {
			to.Recycle(b)
			return good, err
		}
		to.Take(p.index, b)
		return true, nil
	}
	b := s.Bytes(p.Cost())
	if good, err := p.read(body, s, b); !good || err != nil {
		return good, err
	}
	return true, p.write(b, p.Layout.Offset(p.index))
}

// read reads and hashes the piece into whole, or, if that is nil, writes it step by step.
func (p *pieceJob) read(body io.Reader, s *lane.Scratch, whole []byte) (good bool, err error) {
	steps := make([]transfer.Hash, 0, 8)
	begin, end := p.Layout.Offset(p.index), p.Layout.Offset(p.index)+p.Cost()
	for off := begin; off < end; {
		n := min(manifest.Step, end-off)
		var b []byte
		if whole != nil {
			b = whole[off-begin:][:n]
		} else {
			b = s.Bytes(n)
		}
		if _, err := io.ReadFull(body, b); err != nil {
			return false, err
		}
		steps = append(steps, s.Hasher.Subtree(b, off))
		if whole == nil {
			if err := p.write(b, off); err != nil {
				return false, err
			}
		}
		off += n
	}
	return manifest.Join(steps) == p.want, nil
}

// sinkError is of this side: the file is given up for it, and not the source.
type sinkError struct{ error }

func (p *pieceJob) write(b []byte, off int64) error {
	if _, err := p.Sink.WriteAt(b, off); err != nil {
		return &sinkError{err}
	}
	return nil
}

// settled forgets the request, which was answered.
func (p *pieceJob) settled() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := (request{p.member.id, p.index}); p.jobs[r] == p {
		p.forget(r, p)
	}
}

// spoiled tells the swarm of a wrong answer.
func (p *pieceJob) spoiled() {
	p.settled()
	p.off.Store(true)
	p.Progress.Bad(p.member.id, false)
	p.apply(swarm.Bad{Source: p.member.id, Piece: p.index})
}

// refused ends the file where the owner refuses a piece. Any other source may have it no more, or not be let to give it.
func (p *pieceJob) refused(err error) {
	p.settled()
	switch {
	case p.member.id == p.Source.Peer && p.Refused != nil:
		p.left(p.member.id)
		p.Refused(err)
	case p.member.id == p.Source.Peer:
		p.end(err)
	case peer.KindOf(err) == peer.NotFound:
		p.apply(swarm.Refused{Source: p.member.id, Piece: p.index})
	default:
		p.Log.Debug("a source refuses", "peer", p.member.id, "err", err)
		p.member.leave()
	}
}
