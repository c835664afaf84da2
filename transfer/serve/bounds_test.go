package serve_test

import (
	"io"
	"log/slog"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
	"github.com/peerd/peerd/transfer/transfertest"
)

// pipe is a stream within a bubble of synctest, where minutes pass in no time.
type pipe struct{ net.Conn }

func (p pipe) CloseWrite() error { return nil }
func (p pipe) Reset() error      { return p.Close() }
func (p pipe) Peer() peer.ID     { return transfertest.Reader }
func (p pipe) Remote() peer.Addr { return nil }

// Whoever asks for nothing, too slowly, or does not take the answer, is let go of.
func TestSlowOnes(t *testing.T) {
	dir := t.TempDir()
	request, err := wire.AppendMsg(nil, &transferpb.GetRequest{File: file("f"), Whole: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, act := range map[string]func(net.Conn){
		"asks for nothing": func(net.Conn) {},
		"a byte each ten seconds": func(c net.Conn) {
			for _, b := range request {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(10 * time.Second)
			}
		},
		"takes no answer": func(c net.Conn) { _, _ = c.Write(request) },
		"takes a byte each ten seconds": func(c net.Conn) {
			_, _ = c.Write(request)
			b := make([]byte, 1)
			for {
				if _, err := c.Read(b); err != nil {
					return
				}
				time.Sleep(10 * time.Second)
			}
		},
	} {
		r := &rig{folder: &transfertest.Folder{Dir: dir}}
		r.write(t, "f", content(mib))
		for protocol, handler := range map[string]func(*serve.Service) peer.Handler{
			serve.GetProtocol:      func(s *serve.Service) peer.Handler { return s.Get },
			serve.ManifestProtocol: func(s *serve.Service) peer.Handler { return s.Manifest },
		} {
			synctest.Test(t, func(t *testing.T) {
				// Time in the bubble is not that of files; what lies in the future has long been settled.
				s := serve.New(serve.Options{Auth: r.folder, Manifests: &transfertest.Cache{}, Log: slog.New(slog.DiscardHandler)})
				here, there := net.Pipe()
				defer here.Close()
				ended := make(chan error, 1)
				begin := time.Now()
				go func() {
					err := handler(s)(t.Context(), pipe{there})
					there.Close()
					ended <- err
				}()
				acted := make(chan struct{})
				go func() {
					act(here)
					close(acted)
				}()
				err := <-ended
				if took := time.Since(begin); err == nil || took > 3*time.Minute {
					t.Errorf("%s, %s: %v after %v", name, protocol, err, took)
				}
				here.Close()
				<-acted
			})
		}
	}
}

// Streams that wait cost little memory each, and others are served beside them.
func TestManyStreams(t *testing.T) {
	r := newRig(t)
	r.write(t, "f", content(300_000))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const n = 300
	talks := make([]*talk, n)
	for i := range talks {
		talks[i] = r.talk(t, serve.GetProtocol)
		if _, body := talks[i].get(&transferpb.GetRequest{File: file("f"), Whole: true}); len(body) != 300_000 {
			t.Fatal("not served")
		}
	}
	runtime.GC()
	runtime.GC() // a pool keeps what it has for one more
	runtime.ReadMemStats(&after)
	// Both sides are here: 64 KiB and 16 KiB of them are the readers' buffers.
	if per := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n; per > 128<<10 {
		t.Errorf("%d KiB for each stream that waits", per>>10)
	}
	for _, c := range talks {
		c.s.Reset()
	}
}

// A reader that asks for very much and takes nothing keeps one answer waiting, no more.
func TestAsksAndTakesNothing(t *testing.T) {
	r := newRig(t)
	r.write(t, "f", content(mib))
	c := r.talk(t, serve.GetProtocol)
	q, err := wire.AppendMsg(nil, &transferpb.GetRequest{File: file("f"), Whole: true})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.s.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	sent := 0
	for sent < 10_000_000 {
		n, err := c.s.Write(q)
		sent += n
		if err != nil {
			break
		}
	}
	if n := r.folder.Read(); sent >= 10_000_000 || n > 16*mib {
		t.Errorf("%d bytes of requests were taken, %d bytes of answers made", sent, n)
	}
}

// FuzzRequests: whatever is asked, the answer is a row of true frames, and nothing stays open.
func FuzzRequests(f *testing.F) {
	dir := f.TempDir()
	(&rig{folder: &transfertest.Folder{Dir: dir}}).write(f, "f", content(3000))
	for _, q := range []*transferpb.GetRequest{
		{File: file("f"), Whole: true}, {File: file("f"), Version: make([]byte, 16), Piece: 1}, {File: file("../f")}, {},
		{File: &transferpb.File{Share: transfertest.Share[:], Path: nil, Grant: []byte(transfertest.Grant)}, Whole: true},
	} {
		b, err := wire.AppendMsg(nil, q)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(append(b, b...))
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		folder := &transfertest.Folder{Dir: dir}
		s := serve.New(serve.Options{Auth: folder, Manifests: &transfertest.Cache{}, Log: slog.New(slog.DiscardHandler)})
		out, in := io.Pipe()
		tape := transfertest.NewTape(b)
		tape.Out = in
		go func() {
			_ = s.Get(t.Context(), tape)
			in.Close()
		}()
		r := wire.NewReader(out)
		var reply transferpb.GetReply
		for r.ReadMsg(&reply, 8<<10) == nil {
			if n, err := io.CopyN(io.Discard, r, int64(reply.Length)); err != nil {
				t.Errorf("%d of %d bytes of an answer: %v", n, reply.Length, err)
			}
		}
		if n, _ := io.Copy(io.Discard, out); n > 0 {
			t.Errorf("%d bytes that are no answer", n)
		}
		_ = s.Manifest(t.Context(), transfertest.NewTape(b))
		waitFor(t, "files to be closed", func() bool { return folder.Open() == 0 })
	})
}
