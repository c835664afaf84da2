package recent

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
)

func id(n byte) transfer.FileID { return transfer.FileID{n} }

func TestPieces(t *testing.T) {
	c := New(4 << 20)
	put := func(n int) {
		b := c.Buffer(1 << 20)
		b[0] = byte(n)
		c.Put(id(1), n, b).Release()
	}
	for n := range 4 {
		put(n)
	}
	c.Get(id(1), 0).Release() // so that 1 was not used for the longest time
	held := c.Get(id(1), 1)
	c.Get(id(1), 0).Release()
	put(4)
	put(5)
	for n, want := range []bool{true, true, false, false, true, true} {
		if got := c.Has(id(1), n); got != want {
			t.Errorf("piece %d is here: %t", n, got)
		}
	}
	if c.Has(id(2), 0) || c.Get(id(2), 0) != nil {
		t.Error("a piece of another file")
	}
	for n := 6; n < 40; n++ {
		put(n)
	}
	if c.Bytes() > 4<<20 || held.Data[0] != 1 {
		t.Errorf("%d bytes are kept, and what is held is %d", c.Bytes(), held.Data[0])
	}
	held.Release()
	if p := c.Put(id(1), 39, c.Buffer(1<<20)); p.Data[0] != 39 {
		t.Error("a second copy took the place of the first")
	}
	c.Put(id(3), 0, make([]byte, 100<<20)).Release() // larger than all, and kept alone
	if !c.Has(id(3), 0) || c.Has(id(1), 39) {
		t.Error("a large piece is not kept")
	}
}

// Of what was passed little is kept, unless somebody uses it again.
func TestPassed(t *testing.T) {
	c := New(128 << 20)
	for n := range 8 {
		c.Put(id(1), n, c.Buffer(1<<20)).Release()
	}
	for n := range 3 {
		c.Passed(id(1), n)
		c.Passed(id(1), n)
	}
	c.Get(id(1), 1).Release()
	c.Passed(id(1), 3)
	c.Passed(id(1), 4)
	c.Passed(id(2), 5)
	for n, want := range []bool{false, true, false, true, true, true, true, true} {
		if got := c.Has(id(1), n); got != want {
			t.Errorf("piece %d is here: %t", n, got)
		}
	}
	if n := c.Bytes(); n != 6<<20 {
		t.Errorf("%d bytes are kept", n)
	}
	for n := 8; n < 131; n++ {
		c.Put(id(1), n, c.Buffer(1<<20)).Release()
	}
	if n := c.Bytes(); n != 128<<20 || c.Has(id(1), 3) || !c.Has(id(1), 4) {
		t.Errorf("%d bytes are kept", n)
	}
}

// What is held is never given to somebody else to write to.
func TestHeldPiecesStay(t *testing.T) {
	c := New(8 << 16)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			for range 500 {
				n := rnd.IntN(40)
				p := c.Get(id(9), n)
				if p == nil {
					b := c.Buffer(1 << 16)
					b[0], b[len(b)-1] = byte(n), byte(n)
					p = c.Put(id(9), n, b)
				}
				if p.Data[0] != byte(n) || p.Data[len(p.Data)-1] != byte(n) {
					t.Errorf("piece %d holds %d", n, p.Data[0])
				}
				p.Release()
			}
		})
	}
	wg.Wait()
}

func TestAhead(t *testing.T) {
	c := New(4 << 20)
	if !c.Ahead(64 << 20) { // one at least
		t.Error("nothing may be read ahead")
	}
	c.Landed(64 << 20)
	n := 0
	for c.Ahead(1 << 20) {
		n++
	}
	c.Readers(2)
	if n != 2 || c.Share() != 1<<20 {
		t.Errorf("%d pieces ahead, %d bytes for each of two", n, c.Share())
	}
}

// What the owner says of a file can't change: not a hash, nor the root, nor that they add up.
func TestKnown(t *testing.T) {
	l, _ := transfer.LayoutOf(4 << 16 * 8)
	var hashes []transfer.Hash
	for i := range l.Pieces() {
		hashes = append(hashes, transfer.Hash{byte(i + 1)})
	}
	root := manifest.Root(hashes)
	half := len(hashes) / 2
	for name, test := range map[string]struct {
		say  func(k *Known) error
		fine bool
	}{
		"all":                      {func(k *Known) error { return errors.Join(k.Learn(half, hashes[half:]), k.Learn(0, hashes)) }, true},
		"all and the root":         {func(k *Known) error { return errors.Join(k.Root(root), k.Learn(0, hashes), k.Root(root)) }, true},
		"another hash":             {func(k *Known) error { return errors.Join(k.Learn(0, hashes[:1]), k.Learn(0, hashes[1:2])) }, false},
		"another root":             {func(k *Known) error { return errors.Join(k.Root(root), k.Root(transfer.Hash{7})) }, false},
		"a wrong root after all":   {func(k *Known) error { return errors.Join(k.Learn(0, hashes), k.Root(transfer.Hash{7})) }, false},
		"a wrong root before all":  {func(k *Known) error { return errors.Join(k.Root(transfer.Hash{7}), k.Learn(0, hashes)) }, false},
		"too many":                 {func(k *Known) error { return k.Learn(1, hashes) }, false},
		"before the first":         {func(k *Known) error { return k.Learn(-1, hashes) }, false},
		"a wrong root, and a half": {func(k *Known) error { return errors.Join(k.Root(transfer.Hash{7}), k.Learn(0, hashes[:half])) }, true},
	} {
		c := New(0)
		k := c.Known(id(1), l)
		if err := test.say(k); (err == nil) != test.fine {
			t.Errorf("%s: %v", name, err)
		}
		if c.Known(id(1), l) != k {
			t.Errorf("%s: it is not kept", name)
		}
		if m, ok := k.Manifest(); ok && test.fine && (m.Root != root || manifest.Verify(m) != nil) {
			t.Errorf("%s: root %v", name, m.Root)
		}
	}
}

func TestKnownIsBounded(t *testing.T) {
	c := New(0)
	l, _ := transfer.LayoutOf(64 << 30)
	for n := range 100 {
		_ = c.Known(id(byte(n)), l).Learn(5, make([]transfer.Hash, 1))
	}
	if len(c.files)*l.Pieces() > maxKept || c.kept > maxKept {
		t.Errorf("%d files, %d hashes", len(c.files), c.kept)
	}
	k := c.Known(id(99), l)
	if _, more := k.Hash(5); more != nil || k.Gap(5, 9) != 6 || k.Gap(6, 9) != 6 {
		t.Error("what was asked for last is forgotten")
	}
	_, more := k.Hash(6)
	_ = k.Learn(6, make([]transfer.Hash, 1))
	select {
	case <-more:
	default:
		t.Error("nobody is told of a new hash")
	}
	if c.Forget(id(99)); c.Known(id(99), l) == k {
		t.Error("it is not forgotten")
	}
}

// Buffers that are cut from one slab don't overlap, not even by their capacities.
func TestBuffersLieApart(t *testing.T) {
	c := New(0)
	c.Prepare()
	c.Prepare()
	if n := len(c.slab.ready); n != atHand/slabSize {
		t.Errorf("%d slabs are at hand", n)
	}
	var all [][]byte
	for i := range 200 {
		b := c.Buffer(1 + i*7919%(1<<20))
		b = b[:cap(b)]
		b[0], b[len(b)/2], b[len(b)-1] = byte(i), byte(i), byte(i)
		all = append(all, b)
	}
	for i, b := range all {
		if n := byte(i); b[0] != n || b[len(b)/2] != n || b[len(b)-1] != n {
			t.Fatalf("buffer %d was written to as %d, %d, %d", i, b[0], b[len(b)/2], b[len(b)-1])
		}
	}
}
