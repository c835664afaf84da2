package fetch

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch/lane"
	"github.com/peerd/peerd/transfer/fetch/pull"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/swarm"
	"github.com/peerd/peerd/transfer/transferpb"
)

// readAhead is how many bytes beyond the piece that the reader waits for are asked for.
const readAhead = 16 << 20

// Read writes bytes from up to before to of a file to w, in order, each piece verified before a byte of it is written. A
// negative to means the end. size is what the listing says, to choose the quicker way.
func (f *Fetcher) Read(ctx context.Context, path []string, size, from, to int64, w io.Writer) error {
	out := &ordered{f: f, path: path, w: w, from: from, to: to}
	if size > transfer.SmallFile {
		return out.large(ctx)
	}
	r := &wholeRead{ordered: out, size: size, done: make(chan struct{})}
	defer r.end(errEnded)
	if err := f.owner.Push(r, true); err != nil {
		return err
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	case <-f.ctx.Done():
		return context.Cause(f.ctx)
	}
}

var errEnded = errors.New("the transfer was ended")

// ordered writes a part of a file.
type ordered struct {
	f        *Fetcher
	path     []string
	w        io.Writer
	from, to int64
}

// write puts out the part of b, which lies at off in the file, that is wanted.
func (o *ordered) write(b []byte, off int64) error {
	end := off + int64(len(b))
	if o.to >= 0 {
		end = min(end, o.to)
	}
	if start := max(off, o.from); start < end {
		_, err := o.w.Write(b[start-off : end-off])
		return err
	}
	return nil
}

// large reads the pieces of a large file that hold the range, those first that come first.
func (o *ordered) large(ctx context.Context) error {
	f := o.f
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ms, err := f.openManifest(ctx, o.path)
	if err != nil {
		return err
	}
	defer func() { ms.close() }()
	l := ms.layout
	if l.Pieces() == 1 {
		return f.changed(o.path)
	}
	if o.from >= l.Size || (o.to >= 0 && o.to <= o.from) {
		return nil
	}
	first, last := int(o.from>>l.Bits), l.Pieces()-1
	if o.to >= 0 && o.to < l.Size {
		last = int((o.to - 1) >> l.Bits)
	}
	memory := newMemory(l)
	grow := f.opts.Shelf.Begin(f.file(ms), l, memory)
	defer grow.Close()
	ld, end := f.start(f.file(ms), ms.layout, memory, grow, swarm.Options{Reading: true}, nil)
	defer end()
	want(ld, first)
	hashed, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		hashed <- o.hashes(ctx, ms, ld, first, last)
	}()
	defer func() {
		cancel()
		<-ended
	}()
	err = o.pieces(ctx, ld, memory, first, last, hashed)
	if err == nil && first == 0 && o.to < 0 {
		grow.Finish(transfer.Manifest{Layout: l, Root: ms.root, Pieces: ms.got}, "")
	}
	return err
}

// want has a piece asked for that the reader waits for, and those ahead of it.
func want(ld *pull.Pull, i int) {
	ld.Want(nil, []swarm.Span{{From: i, To: i + max(2, readAhead>>ld.Layout.Bits)}})
}

var errEnough = errors.New("enough")

// hashes has the pieces of the range asked for as their hashes become known.
func (o *ordered) hashes(ctx context.Context, ms *manifestStream, ld *pull.Pull, first, last int) error {
	var h manifest.Hasher
	err := ms.each(ctx, func(i int, want transfer.Hash) error {
		select {
		case <-ld.Done():
			return errEnough
		default:
		}
		switch {
		case i < first:
		case ld.FromShelf(&h, i, want):
			ld.Here(i)
		default:
			ld.Known(i, want)
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

// pieces writes the pieces of the range in order, as they come.
func (o *ordered) pieces(ctx context.Context, ld *pull.Pull, memory *memory, first, last int, hashed chan error) error {
	for i := first; i <= last; i++ {
		var data []byte
		for data == nil {
			var changed <-chan struct{}
			if data, changed = memory.piece(i); data != nil {
				break
			}
			select {
			case <-changed:
			case err := <-hashed:
				if err != nil {
					return err
				}
				hashed = nil // all are known
			case <-ld.Done():
				if ld.Err() != nil {
					return ld.Err()
				}
			case <-o.f.ctx.Done():
				return ld.Missing(context.Cause(o.f.ctx))
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := o.write(data, ld.Layout.Offset(i)); err != nil {
			return err
		}
		ld.Keep(i, data)
		memory.drop(i)
		want(ld, i+1)
	}
	if hashed == nil || o.to >= 0 {
		return nil
	}
	return <-hashed // whether they add up to the root
}

// wholeRead reads a small file.
type wholeRead struct {
	*ordered
	size int64
	bad  int
	once sync.Once
	done chan struct{} // closed once err is set
	err  error
}

// end sets the outcome, once.
func (r *wholeRead) end(err error) {
	r.once.Do(func() {
		r.err = err
		close(r.done)
	})
}

// Over reports whether nobody waits for the file any more.
func (r *wholeRead) Over() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// Request asks for all of the file.
func (r *wholeRead) Request(q *transferpb.GetRequest) {
	q.File.Path = r.path
	q.Whole = true
}

// Cost is about what the answer weighs.
func (r *wholeRead) Cost() int64 { return r.size + overhead }

// Fail gives the file up.
func (r *wholeRead) Fail(err error) { r.end(err) }

// Receive takes the file, verifies and writes it.
func (r *wholeRead) Receive(m *transferpb.GetReply, body io.Reader, s *lane.Scratch) error {
	data, _, err := whole(r.f, r.path, m, body, s)
	var bad *badAnswer
	switch {
	case errors.As(err, &bad):
		if r.bad++; r.bad < maxBad {
			r.f.owner.Again(r)
			return nil
		}
		err = &peer.Error{Path: r.f.label(r.path), Kind: peer.Integrity, Err: bad, Hint: "the source sends wrong bytes"}
	case err != nil && m.Error == nil:
		return err
	case err == nil:
		if err = r.write(data, 0); err == nil {
			r.f.opts.Progress.Got(r.f.src.Peer, r.f.label(r.path), int64(len(data)))
		}
	}
	r.end(err)
	return nil
}
