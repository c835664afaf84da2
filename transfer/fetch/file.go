package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/peer/wire/wirepb"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/store"
	"github.com/peerd/peerd/transfer/transferpb"
)

// changedTries is how often a file is begun anew that changes while it is fetched.
const changedTries = 3

// large fetches a file of several pieces.
func (f *Fetcher) large(ctx context.Context, it Item, dst *store.Dir, replace bool) (transfer.Hash, error) {
	for try := 1; ; try++ {
		root, err := f.tryLarge(ctx, it, dst, replace)
		if try == changedTries || !errors.Is(err, errChanged) {
			return root, err
		}
	}
}

// errChanged means that the source has another version now.
var errChanged = errors.New("the file changed meanwhile")

func (f *Fetcher) tryLarge(ctx context.Context, it Item, dst *store.Dir, replace bool) (transfer.Hash, error) {
	var none transfer.Hash
	ms, err := f.openManifest(ctx, it.Path)
	if err != nil {
		return none, err
	}
	defer ms.close()
	if ms.layout.Pieces() == 1 {
		return none, f.changed(it.Path)
	}
	old, err := f.standing(dst, it, ms.layout, replace)
	if err != nil {
		return none, err
	}
	if old != nil {
		defer old.Close()
	}
	if old != nil && !replace {
		err := f.compare(ctx, ms, it, old)
		return ms.root, err
	}
	key := fmt.Sprintf("%s/%s/%s/%s", f.src.Peer, f.src.Share, strings.Join(it.Path, "/"), it.Dest[len(it.Dest)-1])
	part, err := dst.Partial(it.Dest, key, ms.layout, store.Meta{ModTime: ms.state.ModTime, Exec: it.Exec})
	if err != nil {
		return none, err
	}
	defer part.Close()
	l := &load{f: f, it: it, state: ms.state, layout: ms.layout, part: part, done: make(chan struct{})}
	l.left = l.layout.Pieces()
	defer l.settle(errors.New("given up")) // pieces still on their way are of no use then
	if err := l.pieces(ctx, ms, old); err != nil {
		return none, err
	}
	select {
	case <-l.done:
	case <-f.ctx.Done():
		return none, context.Cause(f.ctx)
	case <-ctx.Done():
		return none, ctx.Err()
	}
	if l.err != nil {
		return none, l.err
	}
	err = part.Promote(replace)
	if peer.KindOf(err) == peer.Conflict && f.same(dst, it, ms) {
		return ms.root, part.Discard() // somebody else brought the same file meanwhile
	}
	return ms.root, err
}

// standing opens what stands at the target already: what may be the same file, or be replaced by one that has pieces of it.
func (f *Fetcher) standing(dst *store.Dir, it Item, l transfer.Layout, replace bool) (*os.File, error) {
	found, size, _, err := dst.Look(it.Dest)
	switch {
	case err != nil:
		return nil, err
	case found == store.Regular && (size == l.Size || replace):
		return dst.Open(it.Dest)
	case found != store.Absent:
		return nil, exists(dst, it)
	}
	return nil, nil
}

// compare finds out whether a file of the same size is the same file.
func (f *Fetcher) compare(ctx context.Context, ms *manifestStream, it Item, old io.ReaderAt) error {
	var h manifest.Hasher
	buf := make([]byte, manifest.Step)
	return ms.each(ctx, func(i int, want transfer.Hash) error {
		if got, err := manifest.Piece(&h, old, ms.layout, i, buf); err != nil || got != want {
			return &peer.Error{Path: f.label(it.Path), Kind: peer.Conflict, Err: errors.New("a different file has its name already"), Hint: "use -f to replace it"}
		}
		f.opts.Progress.Had(f.label(it.Path), ms.layout.Length(i))
		return nil
	})
}

// same reports whether the file that stands at the target is the one whose manifest this is, all of it.
func (f *Fetcher) same(dst *store.Dir, it Item, ms *manifestStream) bool {
	old, err := f.standing(dst, it, ms.layout, false)
	if err != nil || old == nil {
		return false
	}
	defer old.Close()
	var h manifest.Hasher
	buf := make([]byte, manifest.Step)
	for i, want := range ms.got {
		if got, err := manifest.Piece(&h, old, ms.layout, i, buf); err != nil || got != want {
			return false
		}
	}
	return true
}

// load is a large file on its way.
type load struct {
	f      *Fetcher
	it     Item
	state  transfer.State
	layout transfer.Layout
	part   *store.Partial
	done   chan struct{} // closed when left is 0 or err is set

	mu   sync.Mutex
	left int // pieces neither here nor failed
	err  error
}

// pieces asks for every piece that is not here as soon as its hash is known.
func (l *load) pieces(ctx context.Context, ms *manifestStream, old *os.File) error {
	var h manifest.Hasher
	buf := make([]byte, manifest.Step)
	return ms.each(ctx, func(i int, want transfer.Hash) error {
		if l.part.Has(&h, i, want, buf) || (old != nil && l.part.CopyFrom(&h, old, i, want, buf)) {
			l.f.opts.Progress.Had(l.f.label(l.it.Path), l.layout.Length(i))
			l.settle(nil)
			return nil
		}
		select {
		case <-l.done: // an earlier piece failed
			return l.err
		default:
		}
		return l.f.push(&pieceJob{load: l, index: i, want: want}, false)
	})
}

// settle notes that one piece is here, or that the file failed.
func (l *load) settle(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || l.left == 0 {
		return
	}
	l.left--
	if l.err = err; err != nil || l.left == 0 {
		close(l.done)
	}
}

// over reports whether the file failed, so that its other pieces are of no use.
func (l *load) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err != nil
}

// pieceJob fetches one piece of a large file.
type pieceJob struct {
	*load
	index int
	want  transfer.Hash
	bad   int
}

func (p *pieceJob) request(r *transferpb.GetRequest) {
	r.File.Path = p.it.Path
	r.Version = p.state.Version[:]
	r.Piece = uint32(p.index)
}

func (p *pieceJob) cost() int64 { return p.layout.Length(p.index) }

func (p *pieceJob) fail(err error) { p.settle(err) }

func (p *pieceJob) receive(r *transferpb.GetReply, body io.Reader, s *scratch) error {
	if r.Error != nil {
		p.fail(p.f.refusal(r.Error, p.it.Path))
		return nil
	}
	if r.Length != uint64(p.cost()) {
		return p.spoiled(fmt.Errorf("piece %d came with %d bytes in place of %d", p.index, r.Length, p.cost()), true)
	}
	if p.over() {
		_, err := io.Copy(io.Discard, body)
		return err
	}
	steps := make([]transfer.Hash, 0, 8)
	off, end := p.layout.Offset(p.index), p.layout.Offset(p.index)+p.cost()
	for off < end {
		b := s.step[:min(manifest.Step, end-off)]
		if _, err := io.ReadFull(body, b); err != nil {
			return err
		}
		steps = append(steps, s.hasher.Subtree(b, off))
		// What is written here counts only once the whole piece is verified, now or when a later try hashes it.
		if _, err := p.part.WriteAt(b, off); err != nil {
			p.fail(err)
			_, err := io.Copy(io.Discard, body)
			return err
		}
		off += int64(len(b))
	}
	if manifest.Join(steps) != p.want {
		return p.spoiled(fmt.Errorf("piece %d does not match its hash", p.index), false)
	}
	p.f.opts.Progress.Got(p.f.label(p.it.Path), p.cost())
	p.settle(nil)
	return nil
}

// spoiled counts a wrong answer, and asks again or gives the file up. breaks says that the lane is of no more use; then it
// asks again by itself.
func (p *pieceJob) spoiled(err error, breaks bool) error {
	if p.bad++; p.bad >= maxBad {
		p.fail(&peer.Error{Path: p.f.label(p.it.Path), Kind: peer.Integrity, Err: err, Hint: "the source sends wrong bytes; nothing was written"})
	} else if !breaks {
		p.f.again(p)
	}
	if breaks {
		return err
	}
	return nil
}

// changed is the error of a file that has another version now.
func (f *Fetcher) changed(path []string) error {
	return &peer.Error{Path: f.label(path), Kind: peer.Conflict, Err: errChanged, Hint: "run it again"}
}

// refusal makes an error of what the source says of a file.
func (f *Fetcher) refusal(m *wirepb.Error, path []string) error {
	err := wire.ToError(m)
	var e *peer.Error
	switch {
	case err == nil:
		return &peer.Error{Path: f.label(path), Kind: peer.Integrity, Err: errors.New("the source's answer makes no sense")}
	case peer.KindOf(err) == peer.Conflict:
		return f.changed(path)
	case errors.As(err, &e):
		return &peer.Error{Op: e.Op, Path: f.label(path), Kind: e.Kind, Err: e.Err, Hint: e.Hint}
	}
	return err
}

// label is how a file of the source is called in messages.
func (f *Fetcher) label(path []string) string {
	return strings.Join(append([]string{f.src.Label}, path...), "/")
}
