package serve_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
	"github.com/peerd/peerd/transfer/transfertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const mib = 1 << 20

func content(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

// rig is a folder, its service, and a network to it.
type rig struct {
	*transfertest.Net
	folder  *transfertest.Folder
	cache   *transfertest.Cache
	service *serve.Service
}

func newRig(t testing.TB) *rig {
	r := &rig{folder: &transfertest.Folder{Dir: t.TempDir()}, cache: &transfertest.Cache{}}
	r.service = serve.New(serve.Options{Auth: r.folder, Manifests: r.cache, Log: slog.New(slog.DiscardHandler)})
	r.Net = transfertest.NewNet(t, map[string]peer.Handler{serve.ManifestProtocol: r.service.Manifest, serve.GetProtocol: r.service.Get})
	return r
}

func (r *rig) write(t testing.TB, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.folder.Dir, name), b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// talk is one stream to the service, by hand.
type talk struct {
	t  testing.TB
	s  peer.Stream
	in *wire.Reader
}

func (r *rig) talk(t testing.TB, protocol string) *talk {
	t.Helper()
	s, err := r.Open(t.Context(), transfertest.Source, protocol, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Reset() })
	if err := s.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &talk{t: t, s: s, in: wire.NewReader(s)}
}

func file(name string) *transferpb.File {
	return &transferpb.File{Share: transfertest.Share[:], Path: []string{name}, Grant: []byte(transfertest.Grant)}
}

func (c *talk) get(q *transferpb.GetRequest) (*transferpb.GetReply, []byte) {
	c.t.Helper()
	if err := wire.WriteMsg(c.s, q); err != nil {
		c.t.Fatal(err)
	}
	return c.answer()
}

func (c *talk) answer() (*transferpb.GetReply, []byte) {
	c.t.Helper()
	var r transferpb.GetReply
	if err := c.in.ReadMsg(&r, 8<<10); err != nil {
		c.t.Fatal(err)
	}
	body := make([]byte, r.Length)
	if _, err := io.ReadFull(c.in, body); err != nil {
		c.t.Fatal(err)
	}
	return &r, body
}

// state asks for the manifest of a file, and reads its first message.
func (c *talk) state(name string) *transferpb.State {
	c.t.Helper()
	if err := wire.WriteMsg(c.s, &transferpb.ManifestRequest{File: file(name)}); err != nil {
		c.t.Fatal(err)
	}
	return c.reply().GetState()
}

func (c *talk) reply() *transferpb.ManifestReply {
	c.t.Helper()
	var r transferpb.ManifestReply
	if err := c.in.ReadMsg(&r, 64<<10); err != nil {
		c.t.Fatal(err)
	}
	return &r
}

// rest reads a manifest to its end.
func (c *talk) rest() (pieces int, root []byte, err error) {
	c.t.Helper()
	for {
		switch r := c.reply(); {
		case r.GetError() != nil:
			return pieces, nil, wire.ToError(r.GetError())
		case r.GetRoot() != nil:
			return pieces, r.GetRoot(), nil
		default:
			pieces += len(r.GetHashes()) / transfer.HashSize
		}
	}
}

func TestRequests(t *testing.T) {
	r := newRig(t)
	small, large := content(5000), content(2*mib+5)
	r.write(t, "small", small)
	r.write(t, "large", large)
	m := r.talk(t, serve.ManifestProtocol)
	st := m.state("large")
	if n, root, err := m.rest(); err != nil || n != 33 || !bytes.Equal(root, hash(large)) {
		t.Errorf("%d pieces, root %x, %v", n, root, err)
	}
	if m.state("small") == nil {
		t.Error("the stream ended after one request")
	}
	if n, root, err := m.rest(); err != nil || n != 0 || !bytes.Equal(root, hash(small)) {
		t.Errorf("%d pieces, root %x, %v", n, root, err)
	}
	c := r.talk(t, serve.GetProtocol)
	nothing := file("small")
	nothing.Grant = nil
	wrong := file("small")
	wrong.Grant = []byte("let me in")
	other := file("small")
	other.Share, other.Grant = make([]byte, 16), nil
	short := file("small")
	short.Share = short.Share[:15]
	piece := func(f *transferpb.File, v []byte, i uint32) *transferpb.GetRequest {
		return &transferpb.GetRequest{File: f, Version: v, Piece: i}
	}
	// In this order: what a wrong grant opened must not stay open for the next request.
	for _, q := range []struct {
		name string
		req  *transferpb.GetRequest
		kind peer.Kind
		body []byte
	}{
		{"no file", &transferpb.GetRequest{Whole: true}, peer.Usage, nil},
		{"no grant", &transferpb.GetRequest{File: nothing, Whole: true}, peer.Denied, nil},
		{"a wrong grant", &transferpb.GetRequest{File: wrong, Whole: true}, peer.Denied, nil},
		{"no grant after a wrong one", &transferpb.GetRequest{File: nothing, Whole: true}, peer.Denied, nil},
		{"half a share", &transferpb.GetRequest{File: short, Whole: true}, peer.Usage, nil},
		{"a small file", &transferpb.GetRequest{File: file("small"), Whole: true}, 0, small},
		{"again, by the same grant", &transferpb.GetRequest{File: nothing, Whole: true}, 0, small},
		{"another share by the same grant", &transferpb.GetRequest{File: other, Whole: true}, peer.Denied, nil},
		{"a large file as a small one", &transferpb.GetRequest{File: file("large"), Whole: true}, peer.Conflict, nil},
		{"a piece", piece(file("large"), st.Version, 1), 0, large[transfer.MinPiece : 2*transfer.MinPiece]},
		{"the last piece", piece(file("large"), st.Version, 32), 0, large[2*mib:]},
		{"a piece too far", piece(file("large"), st.Version, 33), peer.Usage, nil},
		{"a piece far too far", piece(file("large"), st.Version, 1<<31), peer.Usage, nil},
		{"another version", piece(file("large"), make([]byte, 16), 0), peer.Conflict, nil},
		{"no version", piece(file("large"), nil, 0), peer.Conflict, nil},
		{"no such file", &transferpb.GetRequest{File: file("none"), Whole: true}, peer.NotFound, nil},
		{"a piece of no such file", piece(file("none"), st.Version, 0), peer.NotFound, nil},
	} {
		reply, body := c.get(q.req)
		err := wire.ToError(reply.Error)
		if (err == nil) != (q.body != nil) || (err != nil && (peer.KindOf(err) != q.kind || reply.Length > 0)) || !bytes.Equal(body, q.body) {
			t.Errorf("%s: %v, %d bytes; want kind %v, %d bytes", q.name, err, len(body), q.kind, len(q.body))
		}
	}
	r.folder.Deny()
	reply, _ := c.get(piece(nothing, st.Version, 0))
	if peer.KindOf(wire.ToError(reply.Error)) != peer.Denied {
		t.Errorf("after the right was taken: %v", reply.Error)
	}
}

func hash(b []byte) []byte {
	h := manifest.Whole(b)
	return h[:]
}

// A manifest that several wait for is computed once, and all hear of it as it grows.
func TestManifestBuiltOnce(t *testing.T) {
	r := newRig(t)
	b := content(20 * mib)
	r.write(t, "f", b)
	var open sync.WaitGroup
	open.Add(5)
	r.folder.BeforeRead = func(_ string, off int64) error {
		if off >= 10*mib {
			open.Wait() // until all have asked
		}
		return nil
	}
	var done sync.WaitGroup
	for range 5 {
		c := r.talk(t, serve.ManifestProtocol)
		done.Go(func() {
			if c.state("f") == nil || len(c.reply().GetHashes()) == 0 {
				t.Error("no state, or no hash before the last is known")
			}
			open.Done()
			if _, root, err := c.rest(); err != nil || !bytes.Equal(root, hash(b)) {
				t.Errorf("root %x, %v", root, err)
			}
		})
	}
	done.Wait()
	if n := r.folder.Read(); n != int64(len(b)) || r.cache.Puts() != 1 {
		t.Errorf("%d bytes were read for %d, %d manifests computed", n, len(b), r.cache.Puts())
	}
	waitFor(t, "files to be closed", func() bool { return r.folder.Open() == 0 })
}

// A manifest that nobody waits for any more is not computed to its end.
func TestManifestNobodyWaits(t *testing.T) {
	r := newRig(t)
	r.write(t, "f", content(64*mib))
	var gate atomic.Pointer[chan struct{}]
	closed := make(chan struct{})
	gate.Store(&closed)
	r.folder.BeforeRead = func(_ string, off int64) error {
		if off == 4*mib {
			<-*gate.Load()
		}
		return nil
	}
	one, two := r.talk(t, serve.ManifestProtocol), r.talk(t, serve.ManifestProtocol)
	one.state("f")
	two.state("f")
	one.s.Reset()
	two.s.Reset()
	close(closed)
	waitFor(t, "the file to be closed", func() bool { return r.folder.Open() == 0 })
	if n := r.folder.Read(); n > 32*mib || r.cache.Puts() != 0 {
		t.Errorf("%d bytes were read for nobody", n)
	}
	// Who comes after gets one of his own.
	c := r.talk(t, serve.ManifestProtocol)
	c.state("f")
	if _, _, err := c.rest(); err != nil {
		t.Error(err)
	}
}

// Manifests that are computed at the same time take turns: none waits for another's end.
func TestManifestsTakeTurns(t *testing.T) {
	r := newRig(t)
	const n, size = 20, 12
	for i := range n {
		r.write(t, string(rune('a'+i)), content(size*mib))
	}
	var asked, done sync.WaitGroup
	asked.Add(n)
	var begun atomic.Int32
	r.folder.BeforeRead = func(name string, off int64) error {
		switch off {
		case 0:
			asked.Wait()
			begun.Add(1)
		case (size - 1) * mib:
			if k := begun.Load(); k < n {
				t.Errorf("%s comes to its end while only %d of %d have begun", name, k, n)
			}
		}
		return nil
	}
	for i := range n {
		c := r.talk(t, serve.ManifestProtocol)
		done.Go(func() {
			c.state(string(rune('a' + i)))
			asked.Done()
			if _, _, err := c.rest(); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
}

// A right that is taken away ends a manifest under way.
func TestManifestDenied(t *testing.T) {
	r := newRig(t)
	r.write(t, "f", content(8*mib))
	r.folder.BeforeRead = func(_ string, off int64) error {
		if off == 2*mib {
			r.folder.Deny()
		}
		return nil
	}
	c := r.talk(t, serve.ManifestProtocol)
	c.state("f")
	if _, _, err := c.rest(); peer.KindOf(err) != peer.Denied {
		t.Error(err)
	}
}

// A file that is changed while it is hashed, or gets shorter, has no manifest then.
func TestManifestOfChanging(t *testing.T) {
	for name, change := range map[string]func(string) error{
		"cut": func(name string) error { return os.Truncate(name, mib) },
		"one byte": func(name string) error {
			f, err := os.OpenFile(name, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte{1}, 0)
			return errors.Join(err, f.Close())
		},
	} {
		r := newRig(t)
		r.write(t, "f", content(8*mib))
		var once sync.Once
		r.folder.BeforeRead = func(_ string, off int64) (err error) {
			if off == 3*mib {
				once.Do(func() { err = change(filepath.Join(r.folder.Dir, "f")) })
			}
			return err
		}
		c := r.talk(t, serve.ManifestProtocol)
		c.state("f")
		if _, _, err := c.rest(); peer.KindOf(err) != peer.Conflict {
			t.Errorf("%s: %v", name, err)
		}
		if r.cache.Puts() != 0 {
			t.Errorf("%s: a manifest was kept", name)
		}
	}
}

// A small file that changes while it is read comes with the state of the bytes that come, or not at all.
func TestWholeOfChanging(t *testing.T) {
	for _, c := range []struct {
		changes int32
		kind    peer.Kind
	}{{1, 0}, {2, 0}, {100, peer.Conflict}} {
		r := newRig(t)
		r.write(t, "f", content(5000))
		var n atomic.Int32
		r.folder.BeforeRead = func(string, int64) error {
			if n.Add(1) <= c.changes {
				r.write(t, "f", content(5001))
			}
			return nil
		}
		reply, body := r.talk(t, serve.GetProtocol).get(&transferpb.GetRequest{File: file("f"), Whole: true})
		err := wire.ToError(reply.Error)
		switch {
		case c.kind != 0:
			if peer.KindOf(err) != c.kind {
				t.Errorf("%d changes: %v", c.changes, err)
			}
		case err != nil || !bytes.Equal(body, content(5001)) || reply.State.Size != 5001:
			t.Errorf("%d changes: %v, %d bytes, %v", c.changes, err, len(body), reply.State)
		default:
			info, err := os.Stat(filepath.Join(r.folder.Dir, "f"))
			if err != nil || info.ModTime().UnixNano() != reply.State.ModTime {
				t.Errorf("%d changes: %v, the time of an older state", c.changes, err)
			}
		}
	}
}

func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for tick := time.NewTicker(2 * time.Millisecond); !done(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("waited in vain for ", what)
		}
	}
}
