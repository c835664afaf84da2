package serve_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
	"github.com/peerd/peerd/transfer/transfertest"
)

// some asks for some hashes, and reads the answer.
func (c *talk) some(name string, v []byte, first, count uint32) (hashes, root []byte, err error) {
	c.t.Helper()
	if err := wire.WriteMsg(c.s, &transferpb.ManifestRequest{File: file(name), First: first, Count: count, Version: v}); err != nil {
		c.t.Fatal(err)
	}
	for stated := false; ; {
		switch r := c.reply().What.(type) {
		case *transferpb.ManifestReply_Error:
			return hashes, nil, wire.ToError(r.Error)
		case *transferpb.ManifestReply_Root:
			return hashes, r.Root, nil
		case *transferpb.ManifestReply_State:
			if stated || len(hashes) > 0 {
				c.t.Fatal("the state comes first, and once")
			}
			stated = true
		case *transferpb.ManifestReply_Hashes:
			if !stated || len(r.Hashes) == 0 {
				c.t.Fatal("hashes before the state, or none")
			}
			hashes = append(hashes, r.Hashes...)
		}
	}
}

// versionOf is the version of a file.
func (r *rig) versionOf(t testing.TB, name string) []byte {
	t.Helper()
	p, err := r.folder.Enter([]byte(transfertest.Grant), transfertest.Reader, transfertest.Share)
	if err != nil {
		t.Fatal(err)
	}
	f, err := p.Open(t.Context(), []string{name}, transfer.Version{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.State()
	if err != nil {
		t.Fatal(err)
	}
	return st.Version[:]
}

func manifestOf(t testing.TB, b []byte) (transfer.Manifest, []byte) {
	t.Helper()
	l, err := transfer.LayoutOf(int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Build(bytes.NewReader(b), l, func(int, transfer.Hash) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	var raw []byte
	for _, h := range m.Pieces {
		raw = append(raw, h[:]...)
	}
	return m, raw
}

// Hashes of some pieces cost the reading of those pieces; what was computed once is known, and all of it makes a manifest.
func TestRange(t *testing.T) {
	r := newRig(t)
	b := content(20*mib + 5)
	r.write(t, "f", b)
	m, all := manifestOf(t, b)
	const size = transfer.HashSize
	v := r.versionOf(t, "f")
	c := r.talk(t, serve.ManifestProtocol)
	began := r.folder.Read()
	hashes, root, err := c.some("f", v, 300, 1)
	if err != nil || !bytes.Equal(hashes, all[300*size:301*size]) || len(root) > 0 {
		t.Fatalf("%d bytes of hashes, root %x, %v", len(hashes), root, err)
	}
	if n := r.folder.Read() - began; n != m.Length(300) {
		t.Errorf("%d bytes were read for one hash", n)
	}
	hashes, _, err = c.some("f", v, 299, 10)
	if n := r.folder.Read() - began; err != nil || !bytes.Equal(hashes, all[299*size:309*size]) || n != 10*m.Length(0) {
		t.Errorf("%d bytes of hashes for %d read, %v", len(hashes), n, err)
	}
	// Those after come without being read for, if they are known.
	hashes, _, err = c.some("f", v, 299, 1)
	if n := r.folder.Read() - began; err != nil || !bytes.Equal(hashes, all[299*size:309*size]) || n != 10*m.Length(0) {
		t.Errorf("%d bytes of hashes for %d read, %v", len(hashes), n, err)
	}
	hashes, root, err = c.some("f", v, 0, serve.MaxRange)
	if err != nil || !bytes.Equal(hashes, all) || !bytes.Equal(root, m.Root[:]) || r.cache.Puts() != 1 {
		t.Errorf("all: %d bytes of hashes, root %x, %v, %d manifests", len(hashes), root, err, r.cache.Puts())
	}
	if n := r.folder.Read() - began; n != int64(len(b)) {
		t.Errorf("%d bytes were read for a file of %d", n, len(b))
	}
	// Another service has it from the cache.
	again := serve.New(serve.Options{Auth: r.folder, Manifests: r.cache, Log: slog.New(slog.DiscardHandler)})
	r.Handle(map[string]peer.Handler{serve.ManifestProtocol: again.Manifest})
	hashes, root, err = r.talk(t, serve.ManifestProtocol).some("f", v, 319, 5)
	if n := r.folder.Read() - began; err != nil || !bytes.Equal(hashes, all[319*size:]) || !bytes.Equal(root, m.Root[:]) || n != int64(len(b)) {
		t.Errorf("from the cache: %d bytes of hashes, root %x, %v", len(hashes), root, err)
	}
}

func TestRangeRefuses(t *testing.T) {
	r := newRig(t)
	r.write(t, "small", content(5000))
	r.write(t, "large", content(2*mib+5))
	small, large := r.versionOf(t, "small"), r.versionOf(t, "large")
	c := r.talk(t, serve.ManifestProtocol)
	for _, q := range []struct {
		name         string
		file         string
		version      []byte
		first, count uint32
		kind         peer.Kind
	}{
		{"the hash of a small file", "small", small, 0, 1, peer.Usage},
		{"a piece too far", "large", large, 33, 1, peer.Usage},
		{"a piece far too far", "large", large, 1 << 31, 1, peer.Usage},
		{"too many", "large", large, 0, serve.MaxRange + 1, peer.Usage},
		{"far too many", "large", large, 1, 1<<32 - 1, peer.Usage},
		{"no version", "large", nil, 0, 1, peer.Usage},
		{"half a version", "large", large[:8], 0, 1, peer.Usage},
		{"another version", "large", small, 0, 1, peer.Conflict},
		{"no such file", "none", large, 0, 1, peer.NotFound},
	} {
		if hashes, _, err := c.some(q.file, q.version, q.first, q.count); err == nil || peer.KindOf(err) != q.kind || len(hashes) > 0 {
			t.Errorf("%s: %d bytes of hashes, %v", q.name, len(hashes), err)
		}
	}
	if hashes, _, err := c.some("large", large, 32, serve.MaxRange); err != nil || len(hashes) != transfer.HashSize {
		t.Errorf("the last piece, and beyond: %d bytes of hashes, %v", len(hashes), err)
	}
	r.folder.Deny()
	if _, _, err := c.some("large", large, 0, 1); peer.KindOf(err) != peer.Denied {
		t.Errorf("after the right was taken: %v", err)
	}
	c.s.Reset()
	waitFor(t, "files to be closed", func() bool { return r.folder.Open() == 0 })
}

// Hashes of bytes that are not those of the version are never given, nor kept.
func TestRangeOfChangedFile(t *testing.T) {
	r := newRig(t)
	b := content(4 * mib)
	r.write(t, "f", b)
	v := r.versionOf(t, "f")
	var once atomic.Bool
	r.folder.BeforeRead = func(_ string, off int64) error {
		if off >= mib && once.CompareAndSwap(false, true) {
			f, err := os.OpenFile(filepath.Join(r.folder.Dir, "f"), os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			if _, err := f.WriteAt([]byte("changed"), off); err != nil {
				return err
			}
			return os.Chtimes(f.Name(), time.Time{}, time.Unix(77, 0))
		}
		return nil
	}
	c := r.talk(t, serve.ManifestProtocol)
	hashes, _, err := c.some("f", v, 20, 4)
	if peer.KindOf(err) != peer.Conflict || len(hashes) > 0 {
		t.Errorf("%d bytes of hashes, %v", len(hashes), err)
	}
	if _, _, err := c.some("f", v, 20, 1); peer.KindOf(err) != peer.Conflict {
		t.Errorf("and then: %v", err)
	}
}
