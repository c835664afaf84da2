package manifest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	zeebo "github.com/zeebo/blake3"

	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
)

func content(n int) []byte {
	b := make([]byte, n)
	rnd := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	_, _ = rnd.Read(b)
	return b
}

// The root of a cut file is the plain BLAKE3 hash, whatever the size: the tree is cut where BLAKE3 cuts it.
func TestRootIsPlainBLAKE3(t *testing.T) {
	const k, m = 1 << 10, 1 << 20
	for _, n := range []int{0, 1, k - 1, k, k + 1, 16 * k, m - 1, m, m + 1, m + k, m + 16*k + 1, 2*m - 1, 2 * m, 2*m + 1,
		2*m + 256*k, 2*m + 256*k + 1, 3 * m, 3*m + 700*k + 13, 5*m + 1, 8 * m, 9*m - 17*k} {
		b := content(n)
		l, err := transfer.LayoutOf(int64(n))
		if err != nil {
			t.Fatal(err)
		}
		var seen []transfer.Hash
		got, err := manifest.Build(bytes.NewReader(b), l, func(i int, h transfer.Hash) error {
			if i != len(seen) {
				t.Errorf("size %d: piece %d came as number %d", n, i, len(seen))
			}
			seen = append(seen, h)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := transfer.Hash(zeebo.Sum256(b)); got.Root != want {
			t.Errorf("size %d: root %v, want %v", n, got.Root, want)
		}
		if fmt.Sprint(seen) != fmt.Sprint(got.Pieces) {
			t.Errorf("size %d: the hashes told differ from those kept", n)
		}
		if err := manifest.Verify(got); err != nil {
			t.Errorf("size %d: %v", n, err)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	b := content(3<<20 + 5)
	l, _ := transfer.LayoutOf(int64(len(b)))
	good, err := manifest.Build(bytes.NewReader(b), l, func(int, transfer.Hash) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*transfer.Manifest){
		"a flipped bit in a piece": func(m *transfer.Manifest) { m.Pieces[1][7] ^= 1 },
		"two pieces swapped":       func(m *transfer.Manifest) { m.Pieces[0], m.Pieces[1] = m.Pieces[1], m.Pieces[0] },
		"a piece left out":         func(m *transfer.Manifest) { m.Pieces = m.Pieces[:3] },
		"a piece too many":         func(m *transfer.Manifest) { m.Pieces = append(m.Pieces, m.Pieces[0]) },
		"another root":             func(m *transfer.Manifest) { m.Root[0] ^= 1 },
	} {
		bad := good
		bad.Pieces = append([]transfer.Hash(nil), good.Pieces...)
		spoil(&bad)
		if err := manifest.Verify(bad); !errors.Is(err, manifest.ErrRoot) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestShortFile(t *testing.T) {
	for _, n := range []int64{10, 3 << 20} {
		l, _ := transfer.LayoutOf(n)
		_, err := manifest.Build(bytes.NewReader(content(int(n)-1)), l, func(int, transfer.Hash) error { return nil })
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("a file shorter than %d: %v", n, err)
		}
	}
}

func TestLayoutLimits(t *testing.T) {
	for _, n := range []int64{-1, 1 << 62, transfer.MaxFile + 1} {
		if _, err := transfer.LayoutOf(n); err == nil {
			t.Errorf("a size of %d is accepted", n)
		}
	}
	l, err := transfer.LayoutOf(transfer.MaxFile)
	if err != nil || l.Pieces() > transfer.MaxPieces {
		t.Errorf("%d pieces, %v", l.Pieces(), err)
	}
}

// FuzzDecode: whatever is accepted encodes to the very same bytes, and proves itself.
func FuzzDecode(f *testing.F) {
	for _, n := range []int{0, 5, 2<<20 + 1} {
		l, _ := transfer.LayoutOf(int64(n))
		m, err := manifest.Build(bytes.NewReader(content(n)), l, func(int, transfer.Hash) error { return nil })
		if err != nil {
			f.Fatal(err)
		}
		f.Add(manifest.Encode(m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := manifest.Decode(b)
		if err != nil {
			return
		}
		if !bytes.Equal(manifest.Encode(m), b) {
			t.Error("another encoding of the same manifest")
		}
		if manifest.Verify(m) != nil {
			t.Error("decoded, but does not verify")
		}
	})
}

func BenchmarkPiece(b *testing.B) {
	data := content(1 << 20)
	l, _ := transfer.LayoutOf(2 << 20)
	var h manifest.Hasher
	buf := make([]byte, manifest.Step)
	b.SetBytes(1 << 20)
	for b.Loop() {
		if _, err := manifest.Piece(&h, bytes.NewReader(data), l, 0, buf); err != nil {
			b.Fatal(err)
		}
	}
}
