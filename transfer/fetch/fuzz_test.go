package fetch_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
	"github.com/peerd/peerd/transfer/transfertest"
)

// replay fetches "f" from a source that says what the tapes say, and gives what Tree and Read made of it. Nobody panics or
// hangs, whatever it is.
func replay(t *testing.T, tapes transfertest.Tapes, size int64) (dst string, rep *report, out []byte) {
	src := fetch.Source{Opener: tapes, Peer: transfertest.Source, Share: transfertest.Share, Grant: transfertest.GiveGrant}
	o := fetch.Options{Lanes: 1, Patience: time.Nanosecond, Log: quiet}
	dst, rep = t.TempDir(), newReport()
	d := openDir(t, dst)
	f := fetch.New(t.Context(), src, o)
	item := fetch.Item{Path: []string{"f"}, Dest: []string{"f"}, Size: size}
	_ = f.Tree(t.Context(), seq([]fetch.Item{item}), d, false, rep)
	f.Close()

	f = fetch.New(t.Context(), src, o)
	defer f.Close()
	var buf bytes.Buffer
	if f.Read(t.Context(), item.Path, size, 0, -1, &buf) != nil {
		return dst, rep, nil
	}
	return dst, rep, buf.Bytes()
}

func frames(t testing.TB, messages ...*transferpb.ManifestReply) (out []byte) {
	t.Helper()
	for _, m := range messages {
		var err error
		if out, err = wire.AppendMsg(out, m); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// FuzzManifestReplies: nothing that a source says of a manifest makes a file, unless pieces that match it are given.
func FuzzManifestReplies(f *testing.F) {
	b := content(2*mib+1, 1)
	root, h := manifest.Whole(b), manifest.Whole(b[:5])
	end := &transferpb.ManifestReply{What: &transferpb.ManifestReply_Root{Root: root[:]}}
	f.Add(frames(f, state(2*mib+1, make([]byte, 16)), hashes(h[:]), hashes(h[:]), hashes(h[:]), end))
	f.Add(frames(f, state(1<<62, make([]byte, 16)), end))
	f.Add(frames(f, state(-1, nil), end))
	f.Add(frames(f, state(5, make([]byte, 16)), end))
	f.Add(frames(f, hashes(h[:]), state(2*mib+1, make([]byte, 16))))
	f.Add([]byte{0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, tape []byte) {
		dst, rep, out := replay(t, transfertest.Tapes{serve.ManifestProtocol: tape}, 2*mib+1)
		if _, err := os.Lstat(filepath.Join(dst, "f")); err == nil || len(rep.done) > 0 || len(out) > 0 {
			t.Error("a file was made of nothing")
		}
	})
}

// FuzzGetReplies: what takes a small file's name has the root that was reported.
func FuzzGetReplies(f *testing.F) {
	for _, b := range [][]byte{nil, []byte("hello"), content(5000, 1)} {
		root := manifest.Whole(b)
		reply := &transferpb.GetReply{Length: uint64(len(b)), State: &transferpb.State{Size: int64(len(b))}, Root: root[:]}
		head, err := wire.AppendMsg(nil, reply)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(append(head, b...))
		f.Add(append(append([]byte(nil), head...), append(b, "more than that"...)...))
		f.Add(head[:len(head)/2])
	}
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, tape []byte) {
		dst, rep, out := replay(t, transfertest.Tapes{serve.GetProtocol: tape}, 5)
		root, done := rep.done["f"]
		got, err := os.ReadFile(filepath.Join(dst, "f"))
		switch {
		case done != (err == nil):
			t.Errorf("reported %v, and the file: %v", done, err)
		case done && (manifest.Whole(got) != root || !bytes.Contains(tape, got)):
			t.Error("the file has another root")
		case out != nil && !bytes.Contains(tape, out):
			t.Error("read what was not sent")
		}
	})
}

// FuzzPieces: a large file whose manifest is true is made of true pieces or not at all.
func FuzzPieces(f *testing.F) {
	b := make([]byte, mib+3) // zeros, which a short input can't name by luck: the pieces' lengths are in its headers
	l := &transfertest.Liar{Content: b}
	m, err := l.ManifestTape()
	if err != nil {
		f.Fatal(err)
	}
	head, err := wire.AppendMsg(nil, &transferpb.GetReply{Length: transfer.MinPiece})
	if err != nil {
		f.Fatal(err)
	}
	tail, err := wire.AppendMsg(nil, &transferpb.GetReply{Length: 3})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(head, tail)
	f.Add(tail, head)
	f.Add([]byte{0}, []byte{0})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var tape []byte
		for range mib / transfer.MinPiece {
			tape = append(append(tape, first...), b[:transfer.MinPiece]...)
		}
		tape = append(append(tape, second...), 0, 0, 0)
		dst, rep, out := replay(t, transfertest.Tapes{serve.ManifestProtocol: m, serve.GetProtocol: tape}, int64(len(b)))
		got, err := os.ReadFile(filepath.Join(dst, "f"))
		if _, done := rep.done["f"]; done != (err == nil) || (done && !bytes.Equal(got, b)) || (out != nil && !bytes.Equal(out, b)) {
			t.Error("not the file")
		}
	})
}
