package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/rate"
	"github.com/peerd/peerd/transfer/transferpb"
)

type wireMessage = proto.Message

// getter answers one stream of [transferpb.GetRequest]s, in order.
type getter struct {
	*session
	ctx     context.Context // of the stream
	limiter *rate.Limiter
	slots   *rate.Slots
	bufs    *wire.Buffers
	buf     *[]byte // what out is made of, while there are requests
	out     []byte  // answers not yet sent
	class   rate.Class

	// The file that pieces were last asked of stays open, so that a reader keeps its version while the name goes to another.
	file    File
	owner   peer.ID // of its share
	of      transfer.ShareID
	path    []string
	version transfer.Version // that was asked for
	bad     error            // reading it failed in the midst of an answer, which could no longer tell
}

// Get is the handler of [GetProtocol].
func (s *Service) Get(ctx context.Context, st peer.Stream) error {
	c, ctx := s.session(ctx, st)
	g := &getter{session: c, ctx: ctx, limiter: s.limiter, slots: s.slots, bufs: s.bufs, class: rate.Interactive}
	defer func() {
		c.guard.Close()
		g.giveBack()
		g.closeFile()
	}()
	var req transferpb.GetRequest
	for {
		if g.in.Buffered() == 0 {
			if err := g.flush(); err != nil {
				return err
			}
			g.giveBack()
		}
		if err := g.next(&req); err != nil {
			if errors.Is(err, io.EOF) {
				return g.flush()
			}
			return err
		}
		if err := g.answer(ctx, &req); err != nil {
			return err
		}
	}
}

// answer sends one reply. Its own error ends the stream; what the other side may know of goes into the reply.
func (g *getter) answer(ctx context.Context, req *transferpb.GetRequest) error {
	if err := g.admit(req.File); err != nil {
		return g.refuse(err)
	}
	if req.Whole {
		return g.whole(ctx, req.File.Path)
	}
	return g.piece(ctx, req)
}

func (g *getter) refuse(err error) error {
	if g.ctx.Err() != nil {
		return g.ctx.Err() // this peer goes away, which says nothing of the file
	}
	return g.header(&transferpb.GetReply{Error: wire.FromError(err)})
}

func (g *getter) header(r *transferpb.GetReply) error {
	if err := g.room(wire.FrameSize(r)); err != nil {
		return err
	}
	var err error
	g.out, err = wire.AppendMsg(g.out, r)
	return err
}

// room makes sure that n more bytes fit.
func (g *getter) room(n int) error {
	g.borrow(n)
	if cap(g.out)-len(g.out) >= n {
		return nil
	}
	if err := g.flush(); err != nil {
		return err
	}
	g.borrow(n)
	g.out = slices.Grow(g.out, n)
	return nil
}

// borrow has a buffer for n bytes, or the largest that is lent, unless something is in the present one.
func (g *getter) borrow(n int) {
	if len(g.out) > 0 || g.buf != nil && cap(g.out) >= min(n, sendBuffer) {
		return
	}
	g.giveBack()
	g.buf = g.bufs.Get(n)
	g.out = (*g.buf)[:0]
}

// sent tells a file that wants to know how many of its bytes are sent.
func sent(f File, n int64) {
	if c, ok := f.(interface{ Sent(n int64) }); ok {
		c.Sent(n)
	}
}

// giveBack lets another stream have the buffer, since many streams are idle.
func (g *getter) giveBack() {
	if g.buf != nil {
		*g.buf = g.out[:0]
		g.bufs.Put(g.buf)
		g.buf, g.out = nil, nil
	}
}

func (g *getter) flush() error {
	if len(g.out) == 0 {
		return nil
	}
	for b := g.out; len(b) > 0; {
		n := min(g.limiter.Chunk(), len(b))
		if err := g.limiter.Wait(g.ctx, g.stream.Peer(), n, g.class); err != nil {
			return err
		}
		if err := g.stream.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return err
		}
		if _, err := g.stream.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	g.out = g.out[:0]
	return nil
}

// body sends n bytes of the file from off on. What can't be read comes after the header and can't be told any more: zeros
// take its place, which the receiver finds wrong and asks again for. A right that ends meanwhile can't be told either, and
// ends the stream.
func (g *getter) body(f File, off, n int64) error {
	sent(f, n)
	for n > 0 {
		if cap(g.out)-len(g.out) < int(min(n, manifest.Step)) {
			if err := g.flush(); err != nil {
				return err
			}
			if err := g.pass.Check(); err != nil {
				return err
			}
		}
		b := g.out[len(g.out) : len(g.out)+int(min(n, int64(cap(g.out)-len(g.out)), manifest.Step))]
		got := 0
		if g.bad == nil {
			if got, g.bad = f.ReadAt(b, off); got == len(b) {
				g.bad = nil
			}
		}
		clear(b[got:])
		g.out = g.out[:len(g.out)+len(b)]
		off, n = off+int64(len(b)), n-int64(len(b))
	}
	return nil
}

// piece answers with one piece of the version that is asked for. The version is looked at before the bytes are read: if
// they change after, the receiver sees that their hash is wrong, asks again, and is told.
func (g *getter) piece(ctx context.Context, req *transferpb.GetRequest) error {
	if len(req.Version) != len(g.version) {
		return g.refuse(errChanged("read piece"))
	}
	if !g.opened(req) {
		g.closeFile()
		f, err := g.pass.Open(ctx, req.File.Path, transfer.Version(req.Version))
		if err != nil {
			return g.refuse(err)
		}
		g.file, g.path, g.version = f, slices.Clone(req.File.Path), transfer.Version(req.Version)
		g.owner, g.of = g.pass.Owner(), g.share
	}
	st, err := g.file.State()
	if err != nil {
		return g.refuse(err)
	}
	if st.Version != g.version {
		g.closeFile()
		return g.refuse(errChanged("read piece"))
	}
	if err := g.bad; err != nil {
		g.closeFile()
		if errors.Is(err, io.EOF) {
			err = errChanged("read piece")
		}
		return g.refuse(err)
	}
	l, err := transfer.LayoutOf(st.Size)
	if err == nil && int64(req.Piece) >= int64(l.Pieces()) {
		err = fmt.Errorf("piece %d of %d", req.Piece, l.Pieces())
	}
	if err != nil {
		return g.refuse(&peer.Error{Op: "read piece", Kind: peer.Usage, Err: err})
	}
	i := int(req.Piece)
	if p, ok := g.file.(Partial); ok && p.Lacks(i) {
		return g.refuse(errLacks())
	}
	return g.inTurn(l.Length(i), func() error {
		// The right may have been taken while others had their turn.
		if err := g.pass.Check(); err != nil {
			return g.refuse(err)
		}
		g.borrow(int(min(l.Length(i), manifest.Step)) + maxHeader)
		if err := g.header(&transferpb.GetReply{Length: uint64(l.Length(i))}); err != nil {
			return err
		}
		return g.body(g.file, l.Offset(i), l.Length(i))
	})
}

// opened reports whether the file of a request is the one that is open. A right to another share does not reach it.
func (g *getter) opened(req *transferpb.GetRequest) bool {
	return g.file != nil && g.owner == g.pass.Owner() && g.of == g.share &&
		g.version == transfer.Version(req.Version) && slices.Equal(g.path, req.File.Path)
}

// inTurn waits for a turn to send n bytes of a piece, and sends all of them before it gives the turn to another. What is
// answered already does not wait with it.
func (g *getter) inTurn(n int64, send func() error) error {
	if err := g.flush(); err != nil {
		return err
	}
	turn, err := g.slots.Enter(g.ctx, g.stream.Peer(), n)
	if err != nil {
		return err
	}
	defer g.slots.Leave(turn)
	g.class = rate.Bulk
	defer func() { g.class = rate.Interactive }()
	if err := send(); err != nil {
		return err
	}
	return g.flush()
}

// errLacks is the answer of a source that has another part of the file.
func errLacks() error {
	return &peer.Error{Op: "read piece", Kind: peer.NotFound, Err: errors.New("this piece is not here")}
}

// wholeTries is how often a small file is read again that changes as it is read.
const wholeTries = 3

// whole answers with all of a small file, of one version.
func (g *getter) whole(ctx context.Context, path []string) error {
	for range wholeTries {
		done, err := g.tryWhole(ctx, path)
		if done || err != nil {
			return err
		}
	}
	return g.refuse(errChanged("read file"))
}

func (g *getter) tryWhole(ctx context.Context, path []string) (done bool, err error) {
	f, err := g.pass.Open(ctx, path, transfer.Version{})
	if err != nil {
		return true, g.refuse(err)
	}
	defer f.Close()
	before, err := f.State()
	if err != nil {
		return true, g.refuse(err)
	}
	if before.Size > transfer.SmallFile {
		return true, g.refuse(&peer.Error{Op: "read file", Kind: peer.Conflict, Err: errors.New("the file has grown beyond one piece"), Hint: "run it again"})
	}
	g.borrow(sendBuffer) // there are likely more of them
	reply := &transferpb.GetReply{Length: uint64(before.Size), State: statePB(before), Root: make([]byte, transfer.HashSize)}
	head := wire.FrameSize(reply)
	if err := g.room(head + int(before.Size)); err != nil {
		return true, err
	}
	start := len(g.out)
	b := g.out[start+head : start+head+int(before.Size)]
	if n, err := f.ReadAt(b, 0); n < len(b) {
		if err != nil && !errors.Is(err, io.EOF) {
			return true, g.refuse(err)
		}
		return false, nil
	}
	after, err := f.State()
	if err != nil {
		return true, g.refuse(err)
	}
	if after.Version != before.Version {
		return false, nil
	}
	root := manifest.Whole(b)
	reply.Root = root[:]
	if g.out, err = wire.AppendMsg(g.out, reply); err != nil {
		return true, err
	}
	g.out = g.out[:len(g.out)+len(b)]
	sent(f, before.Size)
	return true, nil
}

func (g *getter) closeFile() {
	if g.file != nil {
		g.file.Close()
		g.file, g.path, g.bad = nil, nil, nil
	}
}
