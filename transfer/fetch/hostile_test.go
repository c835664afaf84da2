package fetch_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/peer/wire/wirepb"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/transferpb"
	"github.com/peerd/peerd/transfer/transfertest"
)

type (
	replies = []*transferpb.ManifestReply
	query   = *transferpb.GetRequest
	answer  = *transferpb.GetReply
)

func hashes(b []byte) *transferpb.ManifestReply {
	return &transferpb.ManifestReply{What: &transferpb.ManifestReply_Hashes{Hashes: b}}
}

func state(size int64, version []byte) *transferpb.ManifestReply {
	return &transferpb.ManifestReply{What: &transferpb.ManifestReply_State{State: &transferpb.State{Size: size, Version: version}}}
}

// garbage writes bytes until nobody takes them.
func garbage(b []byte) peer.Handler {
	return func(_ context.Context, s peer.Stream) error {
		for {
			if _, err := s.Write(b); err != nil {
				return nil
			}
		}
	}
}

// largeLies are what a source may do to a file of several pieces.
var largeLies = map[string]func(*transfertest.Liar){
	"a byte flipped in a piece": func(l *transfertest.Liar) {
		l.Get = func(q query, r answer, b []byte) (answer, []byte) {
			if q.Piece == 2 {
				b[12345] ^= 1
			}
			return r, b
		}
	},
	"every piece wrong": func(l *transfertest.Liar) {
		l.Get = func(_ query, r answer, b []byte) (answer, []byte) { return r, make([]byte, len(b)) }
	},
	"a short piece": func(l *transfertest.Liar) {
		l.Get = func(q query, r answer, b []byte) (answer, []byte) {
			if q.Piece == 1 {
				r.Length, b = 100, b[:100]
			}
			return r, b
		}
	},
	"a long piece": func(l *transfertest.Liar) {
		l.Get = func(_ query, r answer, b []byte) (answer, []byte) {
			r.Length++
			return r, append(b, 0)
		}
	},
	"a piece of 2^62 bytes": func(l *transfertest.Liar) {
		l.Get = func(_ query, r answer, b []byte) (answer, []byte) { r.Length = 1 << 62; return r, b }
	},
	"an error with a body": func(l *transfertest.Liar) {
		l.Get = func(_ query, r answer, b []byte) (answer, []byte) {
			r.Error = &wirepb.Error{Kind: uint32(peer.NotFound), Text: "and yet it moves"}
			return r, b
		}
	},
	"another root": func(l *transfertest.Liar) {
		l.Manifest = func(m replies) replies { m[len(m)-1].GetRoot()[0] ^= 1; return m }
	},
	"hashes that don't add up": func(l *transfertest.Liar) {
		l.Manifest = func(m replies) replies { m[2].GetHashes()[7] ^= 1; return m }
	},
	"too few hashes": func(l *transfertest.Liar) {
		l.Manifest = func(m replies) replies { return append(m[:2], m[len(m)-1]) }
	},
	"too many hashes": func(l *transfertest.Liar) {
		l.Manifest = func(m replies) replies { return append(m[:len(m)-1], m[1], m[len(m)-1]) }
	},
	"half a hash": func(l *transfertest.Liar) {
		l.Manifest = func(m replies) replies { return append(m[:1], hashes(make([]byte, 16))) }
	},
	"hashes without end, none of them": func(l *transfertest.Liar) {
		l.Manifest = func(m replies) replies { return append(m[:1], hashes(nil)) }
	},
	"a root of 5 bytes": func(l *transfertest.Liar) {
		l.Manifest = func(m replies) replies {
			return append(m[:len(m)-1], &transferpb.ManifestReply{What: &transferpb.ManifestReply_Root{Root: make([]byte, 5)}})
		}
	},
	"2^62 bytes":     func(l *transfertest.Liar) { l.Manifest = claim(1 << 62) },
	"negative bytes": func(l *transfertest.Liar) { l.Manifest = claim(-1) },
	"a version of wrong length": func(l *transfertest.Liar) {
		l.Manifest = func(m replies) replies { m[0].GetState().Version = make([]byte, 17); return m }
	},
	"no version": func(l *transfertest.Liar) {
		l.Manifest = func(m replies) replies { m[0].GetState().Version = nil; return m }
	},
	"no state": func(l *transfertest.Liar) { l.Manifest = func(m replies) replies { return m[1:] } },
	"an empty message": func(l *transfertest.Liar) {
		l.Manifest = func(replies) replies { return replies{{}} }
	},
	"a manifest of garbage": func(l *transfertest.Liar) { l.RawManifest = garbage(bytes.Repeat([]byte{40, 0xff}, 5000)) },
	"a manifest with an endless frame": func(l *transfertest.Liar) {
		l.RawManifest = garbage(append(binary.AppendUvarint(nil, 1<<21), make([]byte, 9999)...))
	},
	"an endless manifest": func(l *transfertest.Liar) {
		frame, _ := wire.AppendMsg(nil, hashes(make([]byte, 1024*transfer.HashSize)))
		begin, _ := wire.AppendMsg(nil, state(transfer.MaxFile, make([]byte, 16)))
		l.RawManifest = func(ctx context.Context, s peer.Stream) error {
			_, _ = s.Write(begin)
			return garbage(frame)(ctx, s)
		}
	},
	"pieces of garbage":              func(l *transfertest.Liar) { l.RawGet = garbage(bytes.Repeat([]byte{40, 0xff}, 5000)) },
	"a piece with an endless header": func(l *transfertest.Liar) { l.RawGet = garbage(bytes.Repeat([]byte{0xff}, 10000)) },
}

func claim(size int64) func(replies) replies {
	return func(m replies) replies { m[0].GetState().Size = size; return m }
}

// smallLies are what a source may do to a file of one piece.
var smallLies = map[string]func(*transfertest.Liar){
	"a byte flipped": func(l *transfertest.Liar) {
		l.Get = func(_ query, r answer, b []byte) (answer, []byte) {
			b = bytes.Clone(b)
			b[7] ^= 1
			return r, b
		}
	},
	"another root": func(l *transfertest.Liar) {
		l.Get = func(_ query, r answer, b []byte) (answer, []byte) { r.Root[0] ^= 1; return r, b }
	},
	"no root": func(l *transfertest.Liar) {
		l.Get = func(_ query, r answer, b []byte) (answer, []byte) { r.Root = nil; return r, b }
	},
	"no state": func(l *transfertest.Liar) {
		l.Get = func(_ query, r answer, b []byte) (answer, []byte) { r.State = nil; return r, b }
	},
	"another size in the state": func(l *transfertest.Liar) {
		l.Get = func(_ query, r answer, b []byte) (answer, []byte) { r.State.Size = -5; return r, b }
	},
	"too long": func(l *transfertest.Liar) {
		l.Get = func(_ query, r answer, _ []byte) (answer, []byte) {
			r.Length = mib + 1
			return r, make([]byte, mib+1)
		}
	},
	"2^62 bytes": func(l *transfertest.Liar) {
		l.Get = func(_ query, r answer, b []byte) (answer, []byte) { r.Length = 1 << 62; return r, b }
	},
	"an error with a body": largeLies["an error with a body"],
	"garbage":              largeLies["pieces of garbage"],
	"an endless header":    largeLies["a piece with an endless header"],
	"a header too long": func(l *transfertest.Liar) {
		l.Get = func(_ query, r answer, b []byte) (answer, []byte) {
			r.Error = &wirepb.Error{Text: string(bytes.Repeat([]byte("x"), 9<<10))}
			return r, nil
		}
	},
}

// A source that lies is found out within seconds: the error says so, nothing has the file's name, and memory is not what the
// source would like it to be.
func TestHostileSources(t *testing.T) {
	for what, lies := range map[string]map[string]func(*transfertest.Liar){"large": largeLies, "small": smallLies} {
		size := 1000
		if what == "large" {
			size = 5*mib + 77
		}
		for name, lie := range lies {
			t.Run(what+" "+name, func(t *testing.T) {
				l := &transfertest.Liar{Content: content(size, 1)}
				lie(l)
				n := transfertest.NewNet(t, l.Handlers())
				hostile(t, n, int64(size), func(dst string) error {
					item := fetch.Item{Path: []string{"f"}, Dest: []string{"f"}, Size: int64(size)}
					rep, err := fetchTree(t, n, []fetch.Item{item}, dst, false, fetch.Options{})
					if err == nil {
						err = rep.failed["f"]
					}
					return err
				})
			})
			t.Run("read "+what+" "+name, func(t *testing.T) {
				l := &transfertest.Liar{Content: content(size, 1)}
				lie(l)
				n := transfertest.NewNet(t, l.Handlers())
				hostile(t, n, int64(size), func(string) error {
					f := start(t, n, fetch.Options{Lanes: 1})
					defer f.Close()
					out := against{want: l.Content}
					err := f.Read(t.Context(), []string{"f"}, int64(size), 0, -1, &out)
					if out.bad {
						t.Errorf("among %d bytes are some that the file does not have there", out.n)
					}
					return err
				})
			})
		}
	}
}

// hostile runs one fetch from a source that lies.
func hostile(t *testing.T, n *transfertest.Net, size int64, run func(dst string) error) {
	t.Helper()
	peak := watchMemory(t)
	begin := time.Now()
	dst := t.TempDir()
	err := run(dst)
	switch kind := peer.KindOf(err); {
	case err == nil:
		t.Error("it was believed")
	case kind != peer.Integrity && kind != peer.Other:
		t.Errorf("%v: %v", kind, err)
	case err.Error() == "":
		t.Error("the error says nothing")
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %v to find out", took)
	}
	if p := peak(); p > 64*mib {
		t.Errorf("%d MiB of memory", p/mib)
	}
	if _, err := os.Lstat(filepath.Join(dst, "f")); err == nil {
		t.Error("something has the file's name")
	}
}

// watchMemory gives the most that the heap grew by until it is asked.
func watchMemory(t testing.TB) (peak func() uint64) {
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var most atomic.Uint64
	stop, done := make(chan struct{}), make(chan struct{})
	look := func() {
		runtime.ReadMemStats(&now)
		if now.HeapInuse > before.HeapInuse {
			most.Store(max(most.Load(), now.HeapInuse-before.HeapInuse))
		}
	}
	go func() {
		defer close(done)
		for {
			look()
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return func() uint64 {
		close(stop)
		<-done
		look()
		return most.Load()
	}
}

// One file that can't be had does not keep the others from arriving.
func TestLieStopsNothingElse(t *testing.T) {
	l := &transfertest.Liar{Content: content(4*mib, 1)}
	l.Get = func(q query, r answer, b []byte) (answer, []byte) {
		if q.File.Path[0] == "bad" && q.Piece == 1 {
			b[0] ^= 1
		}
		return r, b
	}
	n := transfertest.NewNet(t, l.Handlers())
	var items []fetch.Item
	for _, name := range []string{"a", "bad", "b", "c"} {
		items = append(items, fetch.Item{Path: []string{name}, Dest: []string{name}, Size: 4 * mib})
	}
	dst := t.TempDir()
	rep, err := fetchTree(t, n, items, dst, false, fetch.Options{})
	if err != nil || len(rep.failed) != 1 {
		t.Fatal(err, rep.failed)
	}
	kindIs(t, rep.failed["bad"], peer.Integrity)
	for _, name := range []string{"a", "b", "c"} {
		holds(t, filepath.Join(dst, name), l.Content)
	}
}

// A short piece fails its file, and not after minutes, though other files go on all the time.
func TestShortPieceBetweenOthers(t *testing.T) {
	l := &transfertest.Liar{Content: content(4*mib, 1)}
	l.Get = func(q query, r answer, b []byte) (answer, []byte) {
		if q.File.Path[0] == "bad" && q.Piece == 1 {
			r.Length, b = 5, b[:5]
		}
		return r, b
	}
	n := transfertest.NewNet(t, l.Handlers())
	var items []fetch.Item
	for _, name := range []string{"a", "bad", "b", "c", "d", "e"} {
		items = append(items, fetch.Item{Path: []string{name}, Dest: []string{name}, Size: 4 * mib})
	}
	dst := t.TempDir()
	begin := time.Now()
	rep, err := fetchTree(t, n, items, dst, false, fetch.Options{})
	if err != nil || len(rep.failed) != 1 || time.Since(begin) > 10*time.Second {
		t.Fatal(err, rep.failed, time.Since(begin))
	}
	kindIs(t, rep.failed["bad"], peer.Integrity)
}

// A source that begins to tell a manifest, and breaks off each time, is given up; so is one that says another thing later.
func TestManifestBreaksOff(t *testing.T) {
	l := &transfertest.Liar{Content: content(3*mib, 1)}
	l.Manifest = func(m replies) replies { return m[:2] }
	n := transfertest.NewNet(t, l.Handlers())
	item := fetch.Item{Path: []string{"f"}, Dest: []string{"f"}, Size: 3 * mib}
	rep, err := fetchTree(t, n, []fetch.Item{item}, t.TempDir(), false, fetch.Options{Patience: 700 * time.Millisecond})
	if err == nil && rep.failed["f"] == nil {
		t.Fatal("it was believed")
	}
	if n.Opened() > 30 {
		t.Errorf("%d streams were opened", n.Opened())
	}

	l = &transfertest.Liar{Content: content(3*mib, 1)}
	var asked atomic.Int32
	l.Manifest = func(m replies) replies {
		if asked.Add(1) == 1 {
			m[1] = hashes(manifestHash(content(mib, 9)))
		}
		return m[:2]
	}
	n = transfertest.NewNet(t, l.Handlers())
	rep, err = fetchTree(t, n, []fetch.Item{item}, t.TempDir(), false, fetch.Options{})
	if err == nil {
		err = rep.failed["f"]
	}
	kindIs(t, err, peer.Integrity)
}

func manifestHash(b []byte) []byte {
	h := manifest.Whole(b)
	return h[:]
}
