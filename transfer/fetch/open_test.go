package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch"
	"github.com/peerd/peerd/transfer/fetch/recent"
	"github.com/peerd/peerd/transfer/transfertest"
)

// state is what the source says of a file of its folder.
func (r *rig) state(t testing.TB, name string) transfer.State {
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
	return st
}

// open opens a file of the folder by a Fetcher that outlives nothing.
func (r *rig) open(t testing.TB, name string, o fetch.Options) *fetch.File {
	t.Helper()
	return openAs(t, start(t, r.Net, o), name, r.state(t, name))
}

func openAs(t testing.TB, f *fetch.Fetcher, name string, st transfer.State) *fetch.File {
	t.Helper()
	h, err := f.Open([]string{name}, st)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// soon is a context for a read that should give something.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// reads fails the test unless a read gives what io.ReaderAt would of truth.
func reads(t testing.TB, h *fetch.File, truth []byte, off, n int) {
	t.Helper()
	b := make([]byte, n)
	got, err := h.ReadAt(soon(t), b, int64(off))
	want := truth[min(off, len(truth)):min(off+n, len(truth))]
	var wantErr error
	if len(want) < n {
		wantErr = io.EOF
	}
	if got != len(want) || err != wantErr || !bytes.Equal(b[:got], want) || bytes.Count(b[got:], []byte{0}) != n-got {
		t.Fatalf("%d bytes at %d: %d, %v, want %d, %v", n, off, got, err, len(want), wantErr)
	}
	parts, done, err := h.Lend(soon(t), int64(n), int64(off))
	if err != nil || (parts != nil) != (len(want) == n && n <= 8*mib) {
		t.Fatalf("%d bytes at %d: %d parts are lent, %v", n, off, len(parts), err)
	}
	if parts != nil {
		if !bytes.Equal(bytes.Join(parts, nil), want) {
			t.Fatalf("%d bytes at %d: others are lent", n, off)
		}
		done()
	}
}

// What is lent stays as it is, however much is read meanwhile, until it is given back.
func TestOpenLends(t *testing.T) {
	r := newRig(t)
	truth := content(24*mib, 5)
	r.write(t, "f", truth)
	h := r.open(t, "f", fetch.Options{Memory: recent.New(2 * mib)})
	parts, done, err := h.Lend(soon(t), mib, 100)
	if err != nil || len(parts) < 2 {
		t.Fatal(len(parts), err)
	}
	for range 2 {
		for off := 0; off < len(truth); off += mib {
			reads(t, h, truth, off, mib)
		}
	}
	if !bytes.Equal(bytes.Join(parts, nil), truth[100:100+mib]) {
		t.Error("what is lent was written to")
	}
	done()
	if parts, _, err := h.Lend(soon(t), 16*mib, 0); parts != nil || err != nil {
		t.Error("very much is lent", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if parts, _, err := h.Lend(ended, mib, 0); parts != nil || !errors.Is(err, context.Canceled) {
		t.Error("it is lent to somebody who went", err)
	}
}

// Of a file that is larger than what is kept little stays that a reader has passed, whatever the order in which a kernel asks.
func TestOpenKeepsLittle(t *testing.T) {
	r := newRig(t)
	truth := content(24*mib, 6)
	r.write(t, "f", truth)
	memory := recent.New(16 * mib)
	h := r.open(t, "f", fetch.Options{Memory: memory})
	b := make([]byte, mib)
	for at := 0; at < len(truth)/mib; at += 6 {
		for _, i := range []int{0, 1, 2, 4, 3, 5} {
			if _, err := h.ReadAt(soon(t), b, int64(at+i)*mib); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := memory.Bytes(); n > 4*mib {
		t.Errorf("%d bytes are kept", n)
	}
}

func TestOpenReadsLikeReaderAt(t *testing.T) {
	for _, size := range []int{0, 1, 1000, mib - 1, mib, mib + 1, 5*mib + 17, 16 * mib} {
		r := newRig(t)
		truth := content(size, uint64(size))
		r.write(t, "f", truth)
		h := r.open(t, "f", fetch.Options{})
		if h.Version() != r.state(t, "f").Version {
			t.Error("another version")
		}
		edges := []int{0, 1, size / 2, size - 1, size, size + 1, mib - 1, mib, 2 * mib, 256<<10 + 1, 64 << 10}
		for _, off := range edges {
			if off < 0 {
				continue
			}
			for _, n := range []int{1, 4096, 64<<10 + 1, mib} {
				reads(t, h, truth, off, n)
			}
		}
		reads(t, h, truth, 0, size+5)
		if _, err := h.ReadAt(soon(t), make([]byte, 1), -1); err == nil {
			t.Error("a byte before the first")
		}
	}
}

// Readers at different places, in order and by chance, are all served, and hardly a piece comes twice.
func TestOpenManyReaders(t *testing.T) {
	r := newRig(t)
	truth := content(24*mib+5, 1)
	r.write(t, "f", truth)
	h := r.open(t, "f", fetch.Options{})
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(n), 1))
			size := 1 + rnd.IntN(200_000)
			for off := 0; off < len(truth) && n < 3; off += size {
				reads(t, h, truth, off, size)
			}
			for range 200 {
				reads(t, h, truth, rnd.IntN(len(truth)), 4096)
			}
		})
	}
	wg.Wait()
	if got := r.Received(); got > 32*mib {
		t.Errorf("%d bytes came for %d", got, len(truth))
	}
}

// A file that is read here and there again and again is all brought, each piece once.
func TestOpenBringsAll(t *testing.T) {
	r := newRig(t)
	truth := content(20*mib, 1)
	r.write(t, "f", truth)
	h := r.open(t, "f", fetch.Options{})
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 40 {
		reads(t, h, truth, rnd.IntN(len(truth)-4096), 4096)
	}
	b := make([]byte, len(truth))
	for ctx := soon(t); ; time.Sleep(time.Millisecond) {
		if _, here := h.Here(b, 0); here {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("not all of it came")
		}
	}
	if !bytes.Equal(b, truth) {
		t.Error("other bytes were read")
	}
	if n := r.Received(); n > int64(len(truth))*9/8 {
		t.Errorf("%d bytes came for %d", n, len(truth))
	}
}

// Of a file that is read here and there little more is fetched, and hashed, than was asked for.
func TestOpenFetchesLittle(t *testing.T) {
	r := newRig(t)
	truth := content(60*mib, 1)
	r.write(t, "f", truth)
	h := r.open(t, "f", fetch.Options{})
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 10 {
		reads(t, h, truth, rnd.IntN(len(truth)-4096), 4096)
	}
	piece := int64(1) << transfer.PieceBits(60*mib)
	if n := r.Received(); n > 21*piece {
		t.Errorf("%d bytes came for ten reads", n)
	}
	if n := r.folder.Read(); n > 42*piece { // hashed, and sent
		t.Errorf("%d bytes were read at the owner for ten reads", n)
	}
}

// What was read stays readable while the owner is away; what was not is an error at the deadline, and comes when the owner is
// back, by the same File.
func TestOpenOwnerAway(t *testing.T) {
	for _, size := range []int{1000, 20 * mib} {
		r := newRig(t)
		truth := content(size, 1)
		r.write(t, "f", truth)
		r.write(t, "other", truth)
		f := start(t, r.Net, fetch.Options{Patience: time.Hour})
		h, other := openAs(t, f, "f", r.state(t, "f")), openAs(t, f, "other", r.state(t, "other"))
		reads(t, h, truth, 100, 100)
		r.Cut()
		reads(t, h, truth, 90, 200)
		again := openAs(t, f, "f", r.state(t, "f"))
		reads(t, again, truth, 90, 200)
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			_, err := other.ReadAt(ctx, make([]byte, 10), int64(size/2))
			cancel()
			kindIs(t, err, peer.Unreachable)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		if _, err := other.ReadAt(ctx, make([]byte, 10), int64(size/2)); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		r.Restore()
		reads(t, other, truth, size/2, 10)
		reads(t, h, truth, 0, size)
	}
}

func TestOpenChanged(t *testing.T) {
	for _, size := range []int{1000, 20 * mib} {
		r := newRig(t)
		truth := content(size, 1)
		r.write(t, "f", truth)
		st := r.state(t, "f")
		f := start(t, r.Net, fetch.Options{})
		h := openAs(t, f, "f", st)
		reads(t, h, truth, 0, 10)
		if err := os.Rename(filepath.Join(r.folder.Dir, "f"), filepath.Join(r.folder.Dir, "old")); err != nil {
			t.Fatal(err)
		}
		r.write(t, "f", content(size, 2))
		reads(t, h, truth, 5, 10) // what is here is read still
		if size > mib {
			_, err := h.ReadAt(soon(t), make([]byte, 10), int64(size-10))
			kindIs(t, err, peer.Conflict)
		}
		late := openAs(t, start(t, r.Net, fetch.Options{}), "f", st)
		_, err := late.ReadAt(soon(t), make([]byte, 10), int64(size/2))
		kindIs(t, err, peer.Conflict)
		now := openAs(t, f, "f", r.state(t, "f"))
		reads(t, now, content(size, 2), 0, size)
	}
}

func TestOpenOverBreaks(t *testing.T) {
	r := newRig(t)
	truth := content(30*mib+1, 1)
	r.write(t, "f", truth)
	h := r.open(t, "f", fetch.Options{})
	breaks := 0
	var kill func()
	kill = func() {
		if r.Kill(); breaks < 4 {
			breaks++
			r.At(5*mib, kill)
		}
	}
	r.At(3*mib, kill)
	for off := 0; off < len(truth); off += 300_000 {
		reads(t, h, truth, off, 300_000)
	}
	if breaks != 4 {
		t.Errorf("%d breaks", breaks)
	}
}

// Close ends reads that wait.
func TestOpenClose(t *testing.T) {
	r := newRig(t)
	r.write(t, "f", content(20*mib, 1))
	hold := make(chan struct{})
	r.folder.BeforeRead = func(string, int64) error { <-hold; return nil }
	h := r.open(t, "f", fetch.Options{})
	ended := make(chan error, 1)
	go func() {
		_, err := h.ReadAt(t.Context(), make([]byte, 10), 5*mib)
		ended <- err
	}()
	time.AfterFunc(30*time.Millisecond, func() { h.Close() })
	if err := <-ended; err == nil {
		t.Error("a read of a closed file gives something")
	}
	close(hold)
	if _, err := h.ReadAt(t.Context(), make([]byte, 10), 0); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read after close: %v", err)
	}
	h.Close()
}

// A source that lies is found out, whatever it lies about.
func TestOpenHostile(t *testing.T) {
	for name, lie := range largeLies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &transfertest.Liar{Content: content(5*mib+77, 1)}
			lie(l)
			n := transfertest.NewNet(t, l.Handlers())
			h := openAs(t, start(t, n, fetch.Options{}), "f", l.State())
			var err error
			for off := int64(0); off < int64(len(l.Content)) && err == nil; off += 100_000 {
				b := make([]byte, min(100_000, int64(len(l.Content))-off))
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				_, err = h.ReadAt(ctx, b, off)
				cancel()
				if err == nil && !bytes.Equal(b, l.Content[off:off+int64(len(b))]) {
					t.Fatal("wrong bytes were given")
				}
			}
			switch kind := peer.KindOf(err); {
			case err == nil:
				t.Error("it was believed")
			case kind != peer.Integrity && kind != peer.Conflict && kind != peer.Other:
				t.Errorf("%v: %v", kind, err)
			}
		})
	}
}
