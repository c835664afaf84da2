package serve_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/local"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/servetest"
	transferserve "github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
)

// fetched asks the peer of an upload for a file of it, on the protocols that give bytes; both answer alike.
func fetched(t *testing.T, from, to *host.Host, id, token []byte, path ...string) error {
	t.Helper()
	f := &transferpb.File{Share: id, Path: path, Grant: token}
	var got [2]error
	for i, protocol := range []string{transferserve.ManifestProtocol, transferserve.GetProtocol} {
		st, err := from.Open(context.Background(), to.ID(), protocol, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer st.Reset()
		if err := st.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		in := wire.NewReader(st)
		if i == 0 {
			var r transferpb.ManifestReply
			if err := errors.Join(wire.WriteMsg(st, &transferpb.ManifestRequest{File: f}), in.ReadMsg(&r, wire.MaxMsg)); err != nil {
				t.Fatal(err)
			}
			got[i] = refusal(r.GetError(), r.GetState() != nil)
			continue
		}
		var r transferpb.GetReply
		if err := errors.Join(wire.WriteMsg(st, &transferpb.GetRequest{File: f, Whole: true}), in.ReadMsg(&r, wire.MaxMsg)); err != nil {
			t.Fatal(err)
		}
		got[i] = refusal(r.GetError(), r.Length > 0)
	}
	if peer.KindOf(got[0]) != peer.KindOf(got[1]) {
		t.Errorf("a manifest %v, bytes %v", got[0], got[1])
	}
	return got[1]
}

// TestUploadsAreForTheirOwner is the table of who gets what of an upload: the owner that it is for alone, with the token, as long
// as it runs.
func TestUploadsAreForTheirOwner(t *testing.T) {
	w := servetest.New(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "f"), []byte("what is put"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	files, err := local.New(dir, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	uploads := w.Uploads(w.Anna)
	begin := func() *serve.Upload {
		up := uploads.Begin(w.Owner.ID(), "f")
		for _, n := range []uint64{7, 8} {
			up.Add(n, func(ctx context.Context) (share.OpenFile, error) { return files.Open(ctx, servetest.Path(t, "f")) })
		}
		return up
	}
	up, other := begin(), begin()
	defer other.Close()
	if up.ID == other.ID || bytes.Equal(up.Token, other.Token) {
		t.Error("two uploads are one")
	}
	wrong := bytes.Clone(up.Token)
	wrong[31] ^= 1
	for _, tc := range []struct {
		name  string
		from  *host.Host
		id    []byte
		token []byte
		file  []string
		kind  peer.Kind // of the refusal; Other for none
	}{
		{"the owner", w.Owner, up.ID[:], up.Token, []string{"7"}, peer.Other},
		{"another peer", w.Berta, up.ID[:], up.Token, []string{"7"}, peer.Denied},
		{"no token", w.Owner, up.ID[:], nil, []string{"7"}, peer.Denied},
		{"a wrong token", w.Owner, up.ID[:], wrong, []string{"7"}, peer.Denied},
		{"a part of the token", w.Owner, up.ID[:], up.Token[:31], []string{"7"}, peer.Denied},
		{"the token of another upload", w.Owner, up.ID[:], other.Token, []string{"7"}, peer.Denied},
		{"no such upload", w.Owner, make([]byte, 16), up.Token, []string{"7"}, peer.Denied},
		{"no such file", w.Owner, up.ID[:], up.Token, []string{"9"}, peer.NotFound},
		{"no number", w.Owner, up.ID[:], up.Token, []string{"f"}, peer.NotFound},
		{"a path", w.Owner, up.ID[:], up.Token, []string{"7", "f"}, peer.NotFound},
		{"another way to write a number", w.Owner, up.ID[:], up.Token, []string{"07"}, peer.NotFound},
	} {
		err := fetched(t, tc.from, w.Anna, tc.id, tc.token, tc.file...)
		if peer.KindOf(err) != tc.kind || (err == nil) != (tc.kind == peer.Other) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.kind)
		}
	}
	up.Drop(7)
	if err := fetched(t, w.Owner, w.Anna, up.ID[:], up.Token, "7"); peer.KindOf(err) != peer.NotFound {
		t.Errorf("a file that was taken back: %v", err)
	}
	if err := fetched(t, w.Owner, w.Anna, up.ID[:], up.Token, "8"); err != nil {
		t.Errorf("the other file: %v", err)
	}
	pass, err := uploads.Enter(up.Token, w.Owner.ID(), up.ID)
	if err != nil || pass.Check() != nil {
		t.Fatalf("%v, %v", err, pass.Check())
	}
	up.Close()
	up.Add(9, nil)
	if err := fetched(t, w.Owner, w.Anna, up.ID[:], up.Token, "8"); peer.KindOf(err) != peer.Denied {
		t.Errorf("after its end: %v", err)
	}
	if err := pass.Check(); peer.KindOf(err) != peer.Denied {
		t.Errorf("a stream that was let in before, after its end: %v", err)
	}
	// Not as what was never put: the owner takes the whole put for broken off.
	for _, name := range []string{"8", "9"} {
		if _, err := pass.Open(t.Context(), []string{name}, [16]byte{}); peer.KindOf(err) != peer.Denied {
			t.Errorf("file %s, opened after the end: %v", name, err)
		}
	}
	again := begin()
	defer again.Close()
	if again.ID != up.ID || bytes.Equal(again.Token, up.Token) {
		t.Error("an upload that is begun again has another ID, or the same token")
	}
}
