package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/transferpb"
)

// MaxRange is how many hashes may be asked for that are not all of a file's. They fit into one message.
const MaxRange = maxHashes

// ranger answers requests for some of the hashes of a file. The file that they were last asked of stays open, so that a reader
// keeps its version while the name goes to another.
type ranger struct {
	*session
	builder *builder

	file    File
	owner   peer.ID // of its share
	of      transfer.ShareID
	path    []string
	version transfer.Version
	hasher  manifest.Hasher
	buf     []byte
}

// answer sends some hashes, those first that are known first. Its error is an answer to the other side, unless it is errSend.
func (r *ranger) answer(ctx context.Context, req *transferpb.ManifestRequest) error {
	if len(req.Version) != len(r.version) || req.Count > MaxRange {
		return usage("read manifest", fmt.Errorf("%d hashes of a version of %d bytes", req.Count, len(req.Version)))
	}
	st, l, err := r.open(ctx, req)
	if err != nil {
		return err
	}
	first, n := int(req.First), int(req.Count)
	if l.Pieces() == 1 || int64(req.First) >= int64(l.Pieces()) {
		return usage("read manifest", fmt.Errorf("the hash of piece %d of %d", req.First, l.Pieces()))
	}
	n = min(n, l.Pieces()-first)
	if err := r.send(&transferpb.ManifestReply{What: &transferpb.ManifestReply_State{State: statePB(st)}}); err != nil {
		return err
	}
	root, err := r.hashes(ctx, l, first, n)
	if err != nil {
		return err
	}
	return r.send(&transferpb.ManifestReply{What: &transferpb.ManifestReply_Root{Root: root}})
}

func usage(op string, err error) error { return &peer.Error{Op: op, Kind: peer.Usage, Err: err} }

// open opens the file that is asked for, if it is not open, and sees that it has the version.
func (r *ranger) open(ctx context.Context, req *transferpb.ManifestRequest) (transfer.State, transfer.Layout, error) {
	v := transfer.Version(req.Version)
	if r.file == nil || r.owner != r.pass.Owner() || r.of != r.share || r.version != v || !slices.Equal(r.path, req.File.Path) {
		r.close()
		f, err := r.ours(ctx, req.File.Path, v)
		if err != nil {
			return transfer.State{}, transfer.Layout{}, err
		}
		r.file, r.owner, r.of, r.path, r.version = f, r.pass.Owner(), r.share, slices.Clone(req.File.Path), v
	}
	st, err := r.file.State()
	if err == nil && st.Version != v {
		r.close()
		err = errChanged("read manifest")
	}
	if err != nil {
		return st, transfer.Layout{}, err
	}
	l, err := transfer.LayoutOf(st.Size)
	return st, l, err
}

func (r *ranger) close() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

// spare is how many hashes more than were asked for are sent, for each of those, if they are known: who reads on will ask for
// them, and without them others' pieces are of no use.
const spare = 127

// batch is how many bytes are hashed at most before their hashes are sent, if more than a piece: each message wakes both sides.
const batch = 1 << 20

// hashes sends n hashes from first on, as they are known or computed, and gives the root, if that is known then.
func (r *ranger) hashes(ctx context.Context, l transfer.Layout, first, n int) (root []byte, err error) {
	id := r.id(r.path, r.version)
	p := r.builder.part(id, l)
	end, most := first+n, min(first+min(n*(1+spare), MaxRange), l.Pieces())
	for i, together := first, 1; ; {
		known := p.known(i, most)
		if i >= end && len(known) == 0 {
			break
		}
		if len(known) == 0 {
			n := p.unknown(i, min(i+together, end))
			if n == 0 {
				continue // somebody else was quicker
			}
			if known, err = r.compute(ctx, l, i, n); err != nil {
				return nil, err
			}
			together = max(1, min(2*together, batch>>l.Bits))
			r.builder.learn(id, p, i, known)
		}
		if err := r.pass.Check(); err != nil {
			return nil, err
		}
		raw := make([]byte, 0, len(known)*transfer.HashSize)
		for _, h := range known {
			raw = append(raw, h[:]...)
		}
		if err := r.send(&transferpb.ManifestReply{What: &transferpb.ManifestReply_Hashes{Hashes: raw}}); err != nil {
			return nil, err
		}
		i += len(known)
	}
	if root := p.rootOf(); !root.IsZero() {
		return root[:], nil
	}
	return nil, nil
}

// compute hashes n pieces. That the file has the same version after as before proves that the hashes are of it.
func (r *ranger) compute(ctx context.Context, l transfer.Layout, first, n int) ([]transfer.Hash, error) {
	if err := turn(ctx, r.builder.slots); err != nil {
		return nil, err
	}
	defer func() { <-r.builder.slots }()
	if r.buf == nil {
		r.buf = make([]byte, manifest.Step)
	}
	hashes := make([]transfer.Hash, n)
	for i := range hashes {
		var err error
		hashes[i], err = manifest.Piece(&r.hasher, r.file, l, first+i, r.buf)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = errChanged("hash file")
		}
		if err != nil {
			return nil, err
		}
	}
	st, err := r.file.State()
	if err == nil && st.Version != r.version {
		err = errChanged("hash file")
	}
	return hashes, err
}

// maxKept is how many hashes are kept of files whose other hashes were not asked for, 16 MiB of them.
const maxKept = 1 << 19

// part is what is known of a manifest.
type part struct {
	layout transfer.Layout
	used   uint64 // when it was asked for last; guarded by builder.mu

	mu     sync.Mutex
	root   transfer.Hash // once all is known
	set    transfer.Set
	hashes []transfer.Hash
}

// part gives what is known of the manifest of a file.
func (b *builder) part(id transfer.FileID, l transfer.Layout) *part {
	b.mu.Lock()
	p := b.parts[id]
	b.mu.Unlock()
	if p == nil || p.layout != l {
		p = &part{layout: l, set: transfer.NewSet(l.Pieces()), hashes: make([]transfer.Hash, l.Pieces())}
		if m, ok := b.cache.Get(id); ok && m.Layout == l {
			p = &part{layout: l, root: m.Root, set: transfer.FullSet(l.Pieces()), hashes: m.Pieces}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := b.parts[id]; now != nil && now.layout == l {
		p = now
	} else {
		b.forget(id) // it is of another size
		b.kept += l.Pieces()
		b.shed()
		b.parts[id] = p
	}
	b.turns++
	p.used = b.turns
	if g := b.active[id]; g != nil && g.layout == l {
		g.mu.Lock()
		defer g.mu.Unlock()
		p.add(0, g.hashes)
	}
	return p
}

// shed forgets what was asked for longest ago until there is room. b.mu is held.
func (b *builder) shed() {
	for b.kept > maxKept && len(b.parts) > 0 {
		var oldest transfer.FileID
		for id, p := range b.parts {
			if o := b.parts[oldest]; o == nil || p.used < o.used {
				oldest = id
			}
		}
		b.forget(oldest)
	}
}

// forget drops a part. b.mu is held.
func (b *builder) forget(id transfer.FileID) {
	if p := b.parts[id]; p != nil {
		b.kept -= p.layout.Pieces()
		delete(b.parts, id)
	}
}

// learn adds hashes, and keeps the manifest if it is whole then.
func (b *builder) learn(id transfer.FileID, p *part, i int, hashes []transfer.Hash) {
	if p.add(i, hashes) {
		b.cache.Put(id, transfer.Manifest{Layout: p.layout, Root: p.rootOf(), Pieces: p.hashes})
	}
}

func (p *part) rootOf() transfer.Hash {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.root
}

// known gives the hashes from piece i up to before end, as far as there are any without a gap.
func (p *part) known(i, end int) []transfer.Hash {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := i
	for n < end && p.set.Has(n) {
		n++
	}
	return p.hashes[i:n]
}

// unknown is how many pieces from i up to before end have hashes that are not known, without a gap.
func (p *part) unknown(i, end int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := i
	for n < end && !p.set.Has(n) {
		n++
	}
	return n - i
}

// add adds hashes from piece i on, and reports whether that made it whole.
func (p *part) add(i int, hashes []transfer.Hash) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.set.Full() {
		return false
	}
	for n, h := range hashes {
		if p.set.Add(i + n) {
			p.hashes[i+n] = h
		}
	}
	if p.set.Full() {
		p.root = manifest.Root(p.hashes)
	}
	return p.set.Full()
}
