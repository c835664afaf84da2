package fetch_test

import (
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch"
	"github.com/peerd/peerd/transfer/fetch/pull"
	"github.com/peerd/peerd/transfer/fetch/recent"
	"github.com/peerd/peerd/transfer/seed"
	"github.com/peerd/peerd/transfer/store"
	"github.com/peerd/peerd/transfer/transfertest"
)

// state is what the owner says of the file.
func (c *crowd) state() transfer.State {
	return transfer.State{Size: int64(len(c.data)), Version: c.file.Version}
}

// open opens the file.
func (c *crowd) open(t *testing.T, o fetch.Options) *fetch.File {
	t.Helper()
	return openAs(t, c.fetcher(t, transfertest.Reader, o), theName, c.state())
}

// readAll reads the whole file in order.
func readAll(t *testing.T, h *fetch.File, truth []byte) {
	t.Helper()
	for off := 0; off < len(truth); off += 128 << 10 {
		reads(t, h, truth, off, min(128<<10, len(truth)-off))
	}
}

// All sources give, and those that lie are asked no more: no byte of theirs is ever given.
func TestOpenOfCrowd(t *testing.T) {
	c := newCrowd(t, 16*mib+5)
	c.seed(t, "one", c.data, everything)
	c.seed(t, "two", c.data, func(i int) bool { return i%2 == 0 })
	liar, _ := c.seed(t, "liar", content(len(c.data), 4), everything)
	l := newLedger()
	h := c.open(t, fetch.Options{Progress: l})
	var wg sync.WaitGroup
	wg.Go(func() {
		rnd := rand.New(rand.NewPCG(1, 1))
		for range 50 {
			reads(t, h, c.data, rnd.IntN(len(c.data)-4096), 4096)
		}
	})
	readAll(t, h, c.data)
	wg.Wait()
	if len(l.got) != 3 || l.had > 0 {
		t.Errorf("%d sources gave, %d bytes were here", len(l.got), l.had)
	}
	if id := peerID("liar"); l.got[id] > 0 || l.bad[id] >= 3 && !l.banned[id] {
		t.Errorf("of the liar %d bytes, %d pieces asked for, banned %v", l.got[id], liar.asked.Load(), l.banned[id])
	}
}

// The owner goes: others give what is left, as long as the owner said its hash. When it is back there is no more to do.
func TestOpenOwnerGoes(t *testing.T) {
	c := newCrowd(t, 16*mib+5)
	if err := c.fetch(t, transfertest.Reader, t.TempDir(), fetch.Options{}); err != nil { // the owner knows its manifest by now
		t.Fatal(err)
	}
	c.seed(t, "one", c.data, func(i int) bool { return i != c.all-1 })
	l := newLedger()
	h := c.open(t, fetch.Options{Progress: l, Patience: time.Hour})
	gives := func() bool { return l.gave(peerID("one")) }
	off := 0
	for ; off < 4*mib || off < 9*mib && !gives(); off += 128 << 10 {
		reads(t, h, c.data, off, 128<<10)
	}
	c.owner.Cut()
	before := l.some()
	for ; off < 15*mib; off += 128 << 10 {
		reads(t, h, c.data, off, 128<<10)
	}
	if n := l.some() - before; n < mib {
		t.Errorf("%d bytes came after the owner went", n)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		reads(t, h, c.data, len(c.data)-10, 10) // nobody else has it
	}()
	select {
	case <-ended:
		t.Error("it came from nowhere")
	case <-time.After(100 * time.Millisecond):
	}
	c.owner.Restore()
	<-ended
}

// The file changes at the owner: what others have of the old version is read still, as long as its hashes are known.
func TestOpenChangedWithOthers(t *testing.T) {
	c := newCrowd(t, 16*mib+5)
	if err := c.fetch(t, transfertest.Reader, t.TempDir(), fetch.Options{}); err != nil {
		t.Fatal(err)
	}
	c.seed(t, "one", c.data, func(i int) bool { return i < c.all/2 })
	l := newLedger()
	gives := func() bool { return l.gave(peerID("one")) }
	ctx := soon(t)
	hook := func(piece int) { // the other has joined by the time that the file changes
		for piece >= mib/transfer.MinPiece && !gives() && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
	}
	c.at.hook.Store(&hook)
	h := c.open(t, fetch.Options{Progress: l, Shelf: nil})
	for off := 0; off < 2*mib; off += 128 << 10 {
		reads(t, h, c.data, off, 128<<10)
	}
	st := c.state()
	c.at.version.Store(new(transfer.Version([]byte("the next version"))))
	for off := 2 * mib; off < 7*mib; off += 128 << 10 {
		reads(t, h, c.data, off, 128<<10)
	}
	_, err := h.ReadAt(soon(t), make([]byte, 10), st.Size-10)
	kindIs(t, err, peer.Conflict)
	reads(t, h, c.data, 0, 100)
}

// What was read once is read again without the owner, also by another run, of all that the cache on disk has.
func TestOpenFromShelf(t *testing.T) {
	c := newCrowd(t, 16*mib+5)
	cacheDir, shelfDir := t.TempDir(), t.TempDir()
	for _, first := range []bool{true, false} {
		cache, err := store.OpenCache(cacheDir, 64*mib, quiet)
		if err != nil {
			t.Fatal(err)
		}
		shelf, err := seed.Open(shelfDir, cache, quiet)
		if err != nil {
			t.Fatal(err)
		}
		l := newLedger()
		f := c.fetcher(t, transfertest.Reader, fetch.Options{Progress: l, Shelf: shelf})
		h := openAs(t, f, theName, c.state())
		readAll(t, h, c.data)
		h.Close()
		f.Close()
		if first != (l.had == 0) || l.sum() != int64(len(c.data)) {
			t.Errorf("first %v: %d bytes were here of %d", first, l.had, l.sum())
		}
		cache.Close()
		c.owner.Cut()
	}
}

// All of a file that is read here and there is on the shelf once nobody reads it, or when it is closed.
func TestOpenShelvesAtRest(t *testing.T) {
	for _, closed := range []bool{false, true} {
		c := newCrowd(t, 4*mib+5)
		cache, err := store.OpenCache(t.TempDir(), 64*mib, quiet)
		if err != nil {
			t.Fatal(err)
		}
		shelf, err := seed.Open(t.TempDir(), cache, quiet)
		if err != nil {
			t.Fatal(err)
		}
		h := openAs(t, c.fetcher(t, transfertest.Reader, fetch.Options{Shelf: shelf}), theName, c.state())
		kept := func() bool {
			bytes, _, _ := cache.Usage()
			return bytes >= int64(len(c.data))
		}
		rnd := rand.New(rand.NewPCG(1, 1))
		for range 40 {
			reads(t, h, c.data, rnd.IntN(len(c.data)-4096), 4096)
		}
		readAll(t, h, c.data)
		if closed {
			h.Close()
			if !kept() {
				t.Error("a file that was closed is not all on the shelf")
			}
			continue
		}
		for ctx := soon(t); !kept(); time.Sleep(time.Millisecond) {
			if ctx.Err() != nil {
				t.Fatal("not all of the file is on the shelf")
			}
		}
	}
}

// A piece in the cache that is not what its hash says is not given.
func TestOpenDamagedShelf(t *testing.T) {
	c := newCrowd(t, 4*mib+5)
	l := newLedger()
	h := c.open(t, fetch.Options{Progress: l, Shelf: damaged{}})
	readAll(t, h, c.data)
	if l.had > 0 {
		t.Errorf("%d damaged bytes were taken", l.had)
	}
}

// damaged is a shelf whose pieces are all wrong.
type damaged struct{}

func (damaged) Piece(_ transfer.File, l transfer.Layout, i int, _ transfer.Hash, buf []byte) ([]byte, bool) {
	clear(buf)
	return buf[:l.Length(i)], true
}
func (damaged) Keep(transfer.Hash, []byte)                                     {}
func (damaged) Secret(transfer.File, []byte)                                   {}
func (damaged) Manifest(transfer.File) (transfer.Manifest, bool)               { return transfer.Manifest{}, false }
func (damaged) Begin(transfer.File, transfer.Layout, io.ReaderAt) pull.Growing { return alone{} }

type alone struct{}

func (alone) Add(int)                          {}
func (alone) Finish(transfer.Manifest, string) {}
func (alone) Close()                           {}

// Whatever an owner said to those who read here and there must be true of the whole file.
func TestOpenSaysAnotherThingLater(t *testing.T) {
	version := []byte("one version only")
	var nets []*transfertest.Net
	for seed := range uint64(2) {
		l := &transfertest.Liar{Content: content(5*mib, seed)}
		l.Manifest = func(m replies) replies { m[0].GetState().Version = version; return m }
		nets = append(nets, transfertest.NewNet(t, l.Handlers()))
	}
	memory := recent.New(0)
	h := openAs(t, start(t, nets[0], fetch.Options{Memory: memory}), "f", transfer.State{Size: 5 * mib, Version: transfer.Version(version)})
	reads(t, h, content(5*mib, 0), 3*mib, 10)
	item := fetch.Item{Path: []string{"f"}, Dest: []string{"f"}, Size: 5 * mib}
	for i, want := range []bool{true, false} {
		rep, err := fetchTree(t, nets[i], []fetch.Item{item}, t.TempDir(), false, fetch.Options{Memory: memory})
		if err != nil {
			t.Fatal(err)
		}
		if err := rep.failed["f"]; want && err != nil {
			t.Error(err)
		} else if !want {
			kindIs(t, err, peer.Integrity)
		}
	}
}
