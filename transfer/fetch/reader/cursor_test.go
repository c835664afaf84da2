package reader

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/peerd/peerd/transfer"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

func places(t *testing.T, size int64) *cursors {
	t.Helper()
	l, err := transfer.LayoutOf(size)
	if err != nil {
		t.Fatal(err)
	}
	return &cursors{layout: l}
}

// ahead is how many pieces are read ahead of where the next read is.
func (c *cursors) aheadOf(off int64) int {
	d := c.near(off)
	if d == nil {
		return 0
	}
	from, to := c.pieces(d)
	return to - from
}

// Who reads in order is read ahead of, by ever more; whoever seeks begins anew.
func TestReadAheadGrows(t *testing.T) {
	c := places(t, 4<<30)
	var seen []int
	off, now := int64(0), time.Duration(0)
	for range 100 * 8 {
		c.note(now, off, 128*kib, mostAhead)
		off, now = off+128*kib, now+time.Millisecond
		if n := c.aheadOf(off); len(seen) == 0 || seen[len(seen)-1] != n {
			seen = append(seen, n)
		}
	}
	if last := seen[len(seen)-1]; seen[0] != 0 || last < mostAhead>>20 || last > mostAhead>>20+1 {
		t.Errorf("pieces ahead: %v", seen)
	}
	c.note(now, 3<<30, 128*kib, mostAhead)
	if n := c.aheadOf(3<<30 + 128*kib); n != 0 {
		t.Errorf("%d pieces ahead after a seek", n)
	}
	left := false
	for i := range int64(17) {
		left = c.note(now, 3<<30+i*128*kib, 128*kib, mostAhead) || left
	}
	if !left || c.ordered() != 1 {
		t.Errorf("%d places are read ahead of once the seek turned out to be one", c.ordered())
	}
}

// A slow reader has no more ahead than it needs.
func TestReadAheadOfSlowReader(t *testing.T) {
	c := places(t, 4<<30)
	off, now := int64(0), time.Duration(0)
	for range 2000 {
		c.note(now, off, 32*kib, mostAhead)
		off, now = off+32*kib, now+20*time.Millisecond
	}
	if n := c.aheadOf(off); n < 4 || n > 5 {
		t.Errorf("%d pieces ahead of a reader of 1.6 MB/s", n)
	}
}

// Reads by chance are not read ahead of, and don't keep another reader from it.
func TestReadAheadBesideRandomReads(t *testing.T) {
	c := places(t, 4<<30)
	rnd := rand.New(rand.NewPCG(1, 2))
	off, now := int64(0), time.Duration(0)
	for range 1000 {
		c.note(now, off, 128*kib, mostAhead)
		off, now = off+128*kib, now+time.Millisecond
		for range 20 {
			c.note(now, rnd.Int64N(4<<30), 4*kib, mostAhead)
		}
		if n := c.ordered(); n > 1 {
			t.Fatalf("%d places are read ahead of", n)
		}
	}
	if c.aheadOf(off) < mostAhead>>20 || len(c.all) > mostPlaces {
		t.Errorf("%d pieces ahead, %d places", c.aheadOf(off), len(c.all))
	}
}

// Two readers in order are both read ahead of; a kernel may ask out of order.
func TestReadAheadOfTwo(t *testing.T) {
	c := places(t, 4<<30)
	now := time.Duration(0)
	for i := range int64(100) {
		for _, base := range []int64{0, 2 << 30} {
			at := base + i*256*kib
			c.note(now, at+128*kib, 128*kib, mostAhead)
			c.note(now, at, 128*kib, mostAhead)
			now += time.Millisecond
		}
	}
	if c.ordered() != 2 || c.aheadOf(25*mib) < 4 || c.aheadOf(2<<30+25*mib) < 4 {
		t.Errorf("%d places", c.ordered())
	}
	if c.note(now+time.Minute, 3<<30, 1, mostAhead); c.ordered() != 0 {
		t.Error("places that nobody reads at are kept")
	}
}

// Whatever is read, what is read ahead lies in the file and within bounds.
func TestReadAheadBounds(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		size := 1 + rnd.Int64N(1<<rnd.IntN(42))
		c := places(t, size)
		now, off := time.Duration(0), int64(0)
		for range 300 {
			share := rnd.Int64N(64 * mib)
			n := 1 + rnd.Int64N(2*mib)
			if rnd.IntN(10) == 0 {
				off = rnd.Int64N(size)
			}
			c.note(now, off, n, share)
			off = min(off+n, size)
			now += time.Duration(rnd.IntN(100)) * time.Millisecond
			for _, d := range c.all {
				from, to := c.pieces(d)
				if from < 0 || to < from || to > c.layout.Pieces() || d.window > max(mostAhead, int64(2)<<c.layout.Bits) {
					t.Fatalf("seed %d: %d to %d of %d pieces, %d bytes", seed, from, to, c.layout.Pieces(), d.window)
				}
			}
			if len(c.all) > mostPlaces {
				t.Fatalf("seed %d: %d places", seed, len(c.all))
			}
		}
	}
}

// Who asks for much at once from the beginning of a file on is read ahead of from then on; who asks for little there, or for much
// elsewhere, is not yet.
func TestReadAheadFromFirstRead(t *testing.T) {
	for _, x := range []struct {
		off, n, share int64
		want          int
	}{{0, mib, mostAhead, 4}, {0, mib, 2 * mib, 2}, {0, much - 1, mostAhead, 0}, {8 * mib, mib, mostAhead, 0}} {
		c := places(t, 4<<30)
		c.note(0, x.off, x.n, x.share)
		if got := c.aheadOf(x.off + x.n); got != x.want {
			t.Errorf("%d pieces are ahead of a first read of %d bytes at %d, of at most %d, not %d", got, x.n, x.off, x.share, x.want)
		}
	}
}
