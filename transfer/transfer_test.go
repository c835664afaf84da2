package transfer_test

import (
	"math"
	"testing"

	"github.com/peerd/peerd/transfer"
)

func TestLayout(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		size   int64
		bits   uint
		pieces int
		last   int64 // length of the last piece
	}{
		{0, 20, 1, 0},
		{1, 20, 1, 1},
		{transfer.SmallFile - 1, 20, 1, transfer.SmallFile - 1},
		{transfer.SmallFile, 20, 1, transfer.SmallFile},
		{transfer.SmallFile + 1, 16, 17, 1},
		{20*transfer.MinPiece + 7, 16, 21, 7},
		{32 << 20, 16, 512, transfer.MinPiece},
		{32<<20 + 1, 17, 257, 1},
		{64 << 20, 17, 512, 2 * transfer.MinPiece},
		{64<<20 + 1, 18, 257, 1},
		{256 << 20, 19, 512, 8 * transfer.MinPiece},
		{256<<20 + 1, 20, 257, 1},
		{gib, 20, 1024, transfer.UsualPiece},
		{64 * gib, 20, transfer.MaxPieces, transfer.UsualPiece},
		{64*gib + 1, 21, transfer.MaxPieces/2 + 1, 1},
		{128 * gib, 21, transfer.MaxPieces, 2 * transfer.UsualPiece},
		{transfer.MaxFile, 30, transfer.MaxPieces, gib},
	} {
		l, err := transfer.LayoutOf(c.size)
		if err != nil {
			t.Errorf("%d: %v", c.size, err)
			continue
		}
		n := l.Pieces()
		if l.Bits != c.bits || n != c.pieces || l.Length(n-1) != c.last {
			t.Errorf("%d bytes: %d pieces of 2^%d, the last of %d; want %d of 2^%d, %d", c.size, n, l.Bits, l.Length(n-1), c.pieces, c.bits, c.last)
		}
		if l.Offset(n-1)+l.Length(n-1) != c.size {
			t.Errorf("%d bytes: the last piece ends at %d", c.size, l.Offset(n-1)+l.Length(n-1))
		}
	}
	for _, size := range []int64{-1, math.MinInt64, transfer.MaxFile + 1, 1 << 62, math.MaxInt64} {
		if _, err := transfer.LayoutOf(size); err == nil {
			t.Errorf("a file of %d bytes has a layout", size)
		}
	}
}

// FuzzLayout: pieces lie one after the other and make up the file.
func FuzzLayout(f *testing.F) {
	f.Add(int64(0))
	f.Add(int64(transfer.MinPiece + 1))
	f.Add(int64(transfer.MaxFile))
	f.Fuzz(func(t *testing.T, size int64) {
		l, err := transfer.LayoutOf(size)
		if err != nil {
			if size >= 0 && size <= transfer.MaxFile {
				t.Error(err)
			}
			return
		}
		n := l.Pieces()
		if n < 1 || n > transfer.MaxPieces {
			t.Fatalf("%d pieces", n)
		}
		for _, i := range []int{0, n / 2, n - 1} {
			length := l.Length(i)
			if length < 0 || length > 1<<l.Bits || (i < n-1 && length != 1<<l.Bits) || (length == 0 && size > 0) {
				t.Errorf("piece %d of %d has %d bytes", i, n, length)
			}
		}
		if l.Offset(n-1)+l.Length(n-1) != size {
			t.Error("the pieces are not the file")
		}
	})
}

func TestHash(t *testing.T) {
	var h transfer.Hash
	if !h.IsZero() {
		t.Error("the zero hash is not zero")
	}
	h[0], h[31] = 0xab, 1
	if want := "ab00000000000000000000000000000000000000000000000000000000000001"; h.String() != want || h.IsZero() {
		t.Error(h)
	}
	if s := (transfer.ShareID{1, 15: 0xff}).String(); s != "010000000000000000000000000000ff" {
		t.Error(s)
	}
}
