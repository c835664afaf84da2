package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/transferpb"
)

// Read writes bytes from up to before to of a file to w, in order, each piece verified before a byte of it is written. A
// negative to means the end. size is what the listing says, to choose the quicker way. The Fetcher must have one lane, on
// which answers come in the order of the requests.
func (f *Fetcher) Read(ctx context.Context, path []string, size, from, to int64, w io.Writer) error {
	if f.opts.Lanes != 1 {
		return errors.New("fetch: Read needs a Fetcher with one lane")
	}
	out := &ordered{f: f, path: path, w: w, from: from, to: to, done: make(chan struct{})}
	defer out.end(errEnded)
	var err error
	if size <= transfer.SmallFile {
		err = f.push(&wholeRead{ordered: out, size: size}, true)
	} else {
		err = out.pieces(ctx)
	}
	if err != nil {
		return err
	}
	select {
	case <-out.done:
		return out.err
	case <-ctx.Done():
		return ctx.Err()
	case <-f.ctx.Done():
		return context.Cause(f.ctx)
	}
}

// ordered writes what one lane receives, in order. All but err is used by the lane's goroutine alone once jobs are queued.
type ordered struct {
	f        *Fetcher
	path     []string
	w        io.Writer
	from, to int64
	done     chan struct{} // closed when err is set, or all is written
	err      error
}

// write puts out the part of b, which lies at off in the file, that is wanted.
func (o *ordered) write(b []byte, off int64) error {
	end := off + int64(len(b))
	if o.to >= 0 {
		end = min(end, o.to)
	}
	if start := max(off, o.from); start < end {
		n, err := o.w.Write(b[start-off : end-off])
		o.f.opts.Progress.Got(o.f.label(o.path), int64(n))
		return err
	}
	return nil
}

// end sets the outcome, once.
func (o *ordered) end(err error) {
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	select {
	case <-o.done:
	default:
		o.err = err
		close(o.done)
	}
}

func (o *ordered) over() bool {
	select {
	case <-o.done:
		return true
	default:
		return false
	}
}

// pieces asks for the pieces of the range as their hashes become known.
func (o *ordered) pieces(ctx context.Context) error {
	ms, err := o.f.openManifest(ctx, o.path)
	if err != nil {
		return err
	}
	defer func() { ms.close() }()
	l := ms.layout
	if l.Pieces() == 1 {
		return o.f.changed(o.path)
	}
	last := l.Pieces() - 1
	if o.to >= 0 && o.to < l.Size {
		last = int(max(o.to-1, 0) >> l.Bits)
	}
	if o.from >= l.Size || (o.to >= 0 && o.to <= o.from) {
		o.end(nil)
		return nil
	}
	errEnough := errors.New("enough")
	err = ms.each(ctx, func(i int, want transfer.Hash) error {
		switch {
		case o.over():
			return errEnough
		case i < int(o.from>>l.Bits):
			return nil
		}
		if err := o.f.push(&pieceRead{ordered: o, state: ms.state, layout: l, index: i, want: want, last: i == last}, true); err != nil {
			return err
		}
		if i == last && o.to >= 0 {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// pieceRead reads one piece of a large file.
type pieceRead struct {
	*ordered
	state  transfer.State
	layout transfer.Layout
	index  int
	want   transfer.Hash
	last   bool
	bad    int
}

func (p *pieceRead) request(r *transferpb.GetRequest) {
	r.File.Path = p.path
	r.Version = p.state.Version[:]
	r.Piece = uint32(p.index)
}

func (p *pieceRead) cost() int64 { return p.layout.Length(p.index) }

func (p *pieceRead) fail(err error) { p.end(err) }

func (p *pieceRead) receive(r *transferpb.GetReply, body io.Reader, s *scratch) error {
	if p.over() {
		_, err := io.Copy(io.Discard, body)
		return err
	}
	if r.Error != nil {
		p.end(p.f.refusal(r.Error, p.path))
		return nil
	}
	n, off := p.cost(), p.layout.Offset(p.index)
	if r.Length != uint64(n) {
		return p.spoiled(fmt.Errorf("piece %d came with %d bytes in place of %d", p.index, r.Length, n))
	}
	data := s.whole[:0]
	steps := make([]transfer.Hash, 0, 8)
	for at := int64(0); at < n; at += manifest.Step {
		// Memory is had as bytes arrive, not as the source says that they will.
		data = slices.Grow(data, manifest.Step)[:min(at+manifest.Step, n)]
		if _, err := io.ReadFull(body, data[at:]); err != nil {
			return err
		}
		steps = append(steps, s.hasher.Subtree(data[at:], off+at))
	}
	s.whole = data
	if manifest.Join(steps) != p.want {
		return p.spoiled(fmt.Errorf("piece %d does not match its hash", p.index))
	}
	if err := p.write(data, off); err != nil || p.last {
		p.end(err)
	}
	return nil
}

// spoiled breaks the lane, since what follows on it would come out of order, and gives up after a few times.
func (p *pieceRead) spoiled(err error) error {
	if p.bad++; p.bad >= maxBad {
		p.end(&peer.Error{Path: p.f.label(p.path), Kind: peer.Integrity, Err: err, Hint: "the source sends wrong bytes"})
	}
	return err
}

// wholeRead reads a small file.
type wholeRead struct {
	*ordered
	size int64
	bad  int
}

func (r *wholeRead) request(q *transferpb.GetRequest) {
	q.File.Path = r.path
	q.Whole = true
}

func (r *wholeRead) cost() int64 { return r.size + overhead }

func (r *wholeRead) fail(err error) { r.end(err) }

func (r *wholeRead) receive(m *transferpb.GetReply, body io.Reader, s *scratch) error {
	data, _, err := whole(r.f, r.path, m, body, s)
	var bad *badAnswer
	switch {
	case errors.As(err, &bad):
		if r.bad++; r.bad < maxBad {
			r.f.again(r)
			return nil
		}
		err = &peer.Error{Path: r.f.label(r.path), Kind: peer.Integrity, Err: bad, Hint: "the source sends wrong bytes"}
	case err != nil && m.Error == nil:
		return err
	case err == nil:
		err = r.write(data, 0)
	}
	r.end(err)
	return nil
}
