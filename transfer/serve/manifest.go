package serve

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/transferpb"
)

// Manifests keeps manifests of own files, over restarts.
type Manifests interface {
	Get(id transfer.FileID) (transfer.Manifest, bool)
	Put(id transfer.FileID, m transfer.Manifest)
}

// maxHashes is how many hashes go into one message: 32 KiB.
const maxHashes = 1024

// Manifest is the handler of [ManifestProtocol]. Hashes are sent as they are computed, so the first byte of a file never
// waits for its last to be hashed.
func (s *Service) Manifest(ctx context.Context, st peer.Stream) error {
	c, ctx := s.session(ctx, st)
	defer c.guard.Close()
	r := &ranger{session: c, builder: s.builder}
	defer r.close()
	var req transferpb.ManifestRequest
	for {
		if err := c.next(&req); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		err := c.admit(req.File)
		switch {
		case err != nil:
		case req.Count > 0:
			err = r.answer(ctx, &req)
		default:
			err = s.manifest(ctx, c, req.File.Path)
		}
		if err != nil {
			if errors.Is(err, errSend) || ctx.Err() != nil {
				return err
			}
			if err := c.send(&transferpb.ManifestReply{What: &transferpb.ManifestReply_Error{Error: wire.FromError(err)}}); err != nil {
				return err
			}
		}
	}
}

// errSend marks errors of the stream itself, which can't be told to the other side.
var errSend = errors.New("send")

func (c *session) send(m wireMessage) error {
	if err := c.stream.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return errors.Join(errSend, err)
	}
	if err := wire.WriteMsg(c.stream, m); err != nil {
		return errors.Join(errSend, err)
	}
	return nil
}

func (s *Service) manifest(ctx context.Context, c *session, path []string) error {
	f, err := c.ours(ctx, path, transfer.Version{})
	if err != nil {
		return err
	}
	st, err := f.State()
	if err != nil {
		f.Close()
		return err
	}
	layout, err := transfer.LayoutOf(st.Size)
	if err != nil {
		f.Close()
		return err
	}
	b := s.builder.follow(f, c.id(path, st.Version), st, layout)
	defer b.leave()
	if err := c.send(&transferpb.ManifestReply{What: &transferpb.ManifestReply_State{State: statePB(st)}}); err != nil {
		return err
	}
	for sent := 0; ; {
		hashes, root, err := b.wait(ctx, sent)
		if err != nil {
			return err
		}
		if err := c.pass.Check(); err != nil {
			return err
		}
		for len(hashes) > 0 {
			n := min(len(hashes), maxHashes)
			raw := make([]byte, 0, n*transfer.HashSize)
			for _, h := range hashes[:n] {
				raw = append(raw, h[:]...)
			}
			if err := c.send(&transferpb.ManifestReply{What: &transferpb.ManifestReply_Hashes{Hashes: raw}}); err != nil {
				return err
			}
			hashes, sent = hashes[n:], sent+n
		}
		if !root.IsZero() {
			return c.send(&transferpb.ManifestReply{What: &transferpb.ManifestReply_Root{Root: root[:]}})
		}
	}
}

// ours opens a file to be hashed. What was fetched from another peer is not: its owner alone says its hashes, and chose its
// version, which may be that of any other file.
func (c *session) ours(ctx context.Context, path []string, v transfer.Version) (File, error) {
	f, err := c.pass.Open(ctx, path, v)
	if err != nil {
		return nil, err
	}
	if _, ok := f.(Partial); ok {
		f.Close()
		return nil, usage("read manifest", errors.New("the owner of the file alone tells its hashes"))
	}
	return f, nil
}

// id is what the hashes of a file are known by: whoever makes another file of the same version, of whatever share or name, says
// nothing of this one.
func (c *session) id(path []string, v transfer.Version) transfer.FileID {
	return transfer.File{Owner: c.pass.Owner(), Share: c.share, Path: path, Version: v}.ID()
}

// builder computes manifests, each once however many wait for it, as many pieces at a time as there are cores: those that
// wait take turns.
type builder struct {
	cache Manifests
	slots chan struct{}

	mu     sync.Mutex
	active map[transfer.FileID]*building
	parts  map[transfer.FileID]*part
	kept   int    // hashes that there is room for in parts
	turns  uint64 // how often a part was asked for
}

func newBuilder(cache Manifests) *builder {
	return &builder{
		cache:  cache,
		slots:  make(chan struct{}, runtime.GOMAXPROCS(0)),
		active: make(map[transfer.FileID]*building),
		parts:  make(map[transfer.FileID]*part),
	}
}

// building is a manifest that grows. It ends when it is whole, when it fails, or when nobody waits for it any more.
type building struct {
	owner   *builder
	id      transfer.FileID
	version transfer.Version
	layout  transfer.Layout
	cancel  context.CancelFunc

	mu      sync.Mutex
	waiters int
	hashes  []transfer.Hash
	root    transfer.Hash
	err     error
	grown   chan struct{} // closed and made anew when something above changes
}

// follow gives the manifest of f, which it closes in time.
func (b *builder) follow(f File, id transfer.FileID, st transfer.State, l transfer.Layout) *building {
	if m, ok := b.cache.Get(id); ok && m.Layout == l {
		f.Close()
		return &building{hashes: m.Pieces, root: m.Root, waiters: 1, grown: make(chan struct{})}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if g := b.active[id]; g != nil && g.layout == l {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.waiters > 0 {
			f.Close()
			g.waiters++
			return g
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	g := &building{owner: b, id: id, version: st.Version, layout: l, cancel: cancel, waiters: 1, grown: make(chan struct{})}
	b.active[id] = g
	go g.run(ctx, f)
	return g
}

func (g *building) run(ctx context.Context, f File) {
	defer f.Close()
	m, err := g.build(ctx, f)
	if err == nil {
		g.owner.cache.Put(g.id, m)
	}
	g.owner.mu.Lock()
	if g.owner.active[g.id] == g {
		delete(g.owner.active, g.id)
	}
	if err == nil {
		g.owner.forget(g.id) // it is in the cache now
	}
	g.owner.mu.Unlock()
	g.update(func() { g.root, g.err = m.Root, err })
}

func (g *building) build(ctx context.Context, f File) (transfer.Manifest, error) {
	slots := g.owner.slots
	if err := turn(ctx, slots); err != nil {
		return transfer.Manifest{}, err
	}
	mine := true
	m, err := manifest.Build(f, g.layout, func(_ int, h transfer.Hash) error {
		g.update(func() { g.hashes = append(g.hashes, h) })
		<-slots // others wait, who must hear something before they think that we are gone
		err := turn(ctx, slots)
		mine = err == nil
		return err
	})
	if mine {
		<-slots
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errChanged("hash file")
	}
	if err != nil {
		return transfer.Manifest{}, err
	}
	if st, err := f.State(); err != nil {
		return transfer.Manifest{}, err
	} else if st.Version != g.version {
		return transfer.Manifest{}, errChanged("hash file")
	}
	return m, nil
}

// turn waits for one of the slots.
func turn(ctx context.Context, slots chan<- struct{}) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *building) update(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
	close(g.grown)
	g.grown = make(chan struct{})
}

// wait gives the hashes beyond the first have as soon as there are any, or the root once it is known; then all hashes
// were given.
func (g *building) wait(ctx context.Context, have int) ([]transfer.Hash, transfer.Hash, error) {
	for {
		g.mu.Lock()
		hashes, root, err, grown := g.hashes[have:], g.root, g.err, g.grown
		g.mu.Unlock()
		if err != nil || len(hashes) > 0 || !root.IsZero() {
			return hashes, root, err
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return nil, transfer.Hash{}, ctx.Err()
		}
	}
}

func (g *building) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiters--; g.waiters == 0 && g.cancel != nil {
		g.cancel()
	}
}
