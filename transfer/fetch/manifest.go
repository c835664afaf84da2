package fetch

import (
	"context"
	"errors"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch/lane"
	"github.com/peerd/peerd/transfer/fetch/pull"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
)

// manifestStream is a file's manifest as it arrives.
type manifestStream struct {
	f      *Fetcher
	path   []string
	state  transfer.State
	layout transfer.Layout
	got    []transfer.Hash
	root   transfer.Hash // once each is done
	manifestConn
}

// manifestConn is one try to read a manifest.
type manifestConn struct {
	stream peer.Stream
	in     *wire.Reader
	stop   func() bool
}

func (c *manifestConn) close() {
	c.stop()
	c.stream.Reset()
}

// openManifest asks for a manifest.
func (f *Fetcher) openManifest(ctx context.Context, path []string) (*manifestStream, error) {
	ms := &manifestStream{f: f, path: path}
	var err error
	ms.manifestConn, ms.state, err = f.askManifest(ctx, path)
	if err != nil {
		return nil, err
	}
	ms.layout, err = transfer.LayoutOf(ms.state.Size)
	if err != nil {
		ms.close()
		return nil, ms.lie(err.Error())
	}
	return ms, nil
}

// askManifest asks for a manifest, again and again while the peer is away, and reads its first message.
func (f *Fetcher) askManifest(ctx context.Context, path []string) (manifestConn, transfer.State, error) {
	since := time.Now()
	for wait := 100 * time.Millisecond; ; {
		c, st, err := f.tryManifest(ctx, path)
		if err == nil || lane.Final(err) || peer.KindOf(err) == peer.Conflict || time.Since(since) > f.opts.Patience {
			return c, st, err
		}
		if f.opts.Waiting != nil {
			f.opts.Waiting(err)
		}
		if err := pull.Pause(ctx, &wait); err != nil {
			return c, st, err
		}
	}
}

func (f *Fetcher) tryManifest(ctx context.Context, path []string) (c manifestConn, st transfer.State, err error) {
	grant, err := f.src.Grant(ctx)
	if err != nil {
		return c, st, err
	}
	c.stream, err = f.src.Opener.Open(ctx, f.src.Peer, serve.ManifestProtocol, 0)
	if err != nil {
		return c, st, err
	}
	c.stop = context.AfterFunc(ctx, func() { c.stream.Reset() })
	c.in = wire.NewReader(lane.Alive(c.stream))
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	req := &transferpb.ManifestRequest{File: &transferpb.File{Share: f.src.Share[:], Path: path, Grant: grant}}
	if err := c.stream.SetWriteDeadline(time.Now().Add(lane.Stall)); err != nil {
		return c, st, err
	}
	if err := wire.WriteMsg(c.stream, req); err != nil {
		return c, st, err
	}
	if err := c.stream.CloseWrite(); err != nil {
		return c, st, err
	}
	var first transferpb.ManifestReply
	if err := lane.Read(c.in, &first, lane.MaxManifest, f.src.Label); err != nil {
		return c, st, err
	}
	if first.GetState() == nil {
		return c, st, f.src.Refusal(first.GetError(), path)
	}
	s := first.GetState()
	st = transfer.State{Size: s.Size, ModTime: time.Unix(0, s.ModTime)}
	if copy(st.Version[:], s.Version) != len(s.Version) || len(s.Version) != len(st.Version) {
		return c, st, f.src.Refusal(nil, path)
	}
	return c, st, nil
}

// lie is the error of a manifest that can't be true.
func (m *manifestStream) lie(what string) error { return m.f.src.Lie(m.path, errors.New(what)) }

// each calls do with every piece's hash in order, as they arrive, and at the end proves them all against the root. A file
// of one piece has no hashes, so do is never called for it. A stream that breaks is opened again, until no new hash came for
// [Options.Patience].
func (m *manifestStream) each(ctx context.Context, do func(i int, h transfer.Hash) error) error {
	at := 0 // hashes read from this stream; those of an earlier one are in got already
	known, since := 0, time.Now()
	for wait := 100 * time.Millisecond; ; {
		var r transferpb.ManifestReply
		if err := lane.Read(m.in, &r, lane.MaxManifest, m.f.src.Label); err != nil {
			if len(m.got) > known {
				known, since, wait = len(m.got), time.Now(), 100*time.Millisecond
			}
			if lane.Final(err) || time.Since(since) > m.f.opts.Patience {
				return err
			}
			if err := pull.Pause(ctx, &wait); err != nil {
				return err
			}
			if err := m.again(ctx); err != nil {
				return err
			}
			at = 0
			continue
		}
		if r.GetError() != nil {
			return m.f.src.Refusal(r.GetError(), m.path)
		}
		if len(r.GetRoot()) == transfer.HashSize {
			return m.prove(at, transfer.Hash(r.GetRoot()))
		}
		hashes, err := manifest.Hashes(r.GetHashes())
		if err != nil || len(hashes) == 0 || at+len(hashes) > m.layout.Pieces() || m.layout.Pieces() == 1 {
			return m.lie("it has the wrong number of hashes")
		}
		for _, h := range hashes {
			if at == len(m.got) {
				m.got = append(m.got, h)
				if err := do(at, h); err != nil {
					return err
				}
			} else if m.got[at] != h {
				return m.lie("it differs from what was said before")
			}
			at++
		}
	}
}

// prove checks the hashes of the first n pieces, which must be all, against the root, and against what the owner said to those
// who read here and there.
func (m *manifestStream) prove(n int, root transfer.Hash) error {
	if err := manifest.Verify(transfer.Manifest{Layout: m.layout, Root: root, Pieces: m.got[:n]}); err != nil {
		return m.lie(err.Error())
	}
	m.root = root
	if n == 0 {
		return nil
	}
	known := m.f.opts.Memory.Known(m.f.file(m).ID(), m.layout)
	err := known.Learn(0, m.got)
	if err == nil {
		err = known.Root(root)
	}
	if err != nil {
		return m.lie(err.Error())
	}
	return nil
}

// stillThere tells that the owner has another version of a file now, or none, in an error; nil where it has that version.
func (f *Fetcher) stillThere(ctx context.Context, path []string, v transfer.Version) error {
	c, now, err := f.tryManifest(ctx, path)
	switch {
	case err == nil:
		c.close()
		if now.Version != v {
			return f.src.Changed(path)
		}
	case lane.Final(err) || peer.KindOf(err) == peer.Conflict:
		return err
	}
	return nil
}

// again opens the stream anew, to the same version of the file.
func (m *manifestStream) again(ctx context.Context) error {
	m.close()
	c, st, err := m.f.askManifest(ctx, m.path)
	if err != nil {
		m.stop = func() bool { return true } // the old stream is closed already
		return err
	}
	m.manifestConn = c
	if st.Version != m.state.Version {
		return m.f.src.Changed(m.path)
	}
	return nil
}
