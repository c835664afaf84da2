package content

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/vfs/journal"
)

// base is bytes that can be read.
type base []byte

func (b base) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	return bytes.NewReader(b).ReadAt(p, off)
}

func (base) Close() error { return nil }

// Lend lends what is all there, in two parts.
func (b base) Lend(_ context.Context, n, off int64) ([][]byte, func(), error) {
	if off+n > int64(len(b)) {
		return nil, nil, nil
	}
	return [][]byte{b[off : off+n/2], b[off+n/2 : off+n]}, func() {}, nil
}

// lends fails the test if something else is lent than what is there, and tells how much is.
func lends(t *testing.T, c *Content, want []byte, n, off int64) int {
	t.Helper()
	parts, _, err := c.Lend(t.Context(), n, off)
	lent := bytes.Join(parts, nil)
	if err != nil || parts != nil && !bytes.Equal(lent, want[off:min(off+n, int64(len(want)))]) {
		t.Fatalf("%d bytes at %d: others are lent, %v", n, off, err)
	}
	return len(lent)
}

func opened(t *testing.T) *journal.Journal {
	t.Helper()
	j, _, err := journal.Open(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func all(t *testing.T, c *Content) []byte {
	t.Helper()
	b := make([]byte, c.State().Size+10)
	n, err := c.ReadAt(t.Context(), b, 0)
	if err != io.EOF {
		t.Fatalf("%d bytes, %v", n, err)
	}
	return b[:n]
}

// TestAgainstBytes does random things to a content that was made of a base, and to plain bytes, and compares.
func TestAgainstBytes(t *testing.T) {
	j := opened(t)
	lent := 0
	defer func() {
		if lent == 0 {
			t.Error("nothing was ever lent")
		}
	}()
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 3))
		want := make([]byte, r.IntN(5000))
		for i := range want {
			want[i] = byte(r.Uint32())
		}
		budget := &Budget{Limit: 1 << 20}
		c := New(j, budget, base(bytes.Clone(want)), State{Size: int64(len(want))}, [8]byte{1})
		tag := c.State().Tag
		for range 40 {
			off, n := r.IntN(6000), r.IntN(1000)
			before := bytes.Clone(want)
			switch r.IntN(6) {
			case 0, 1, 2:
				data := bytes.Repeat([]byte{byte(r.Uint32())}, n)
				appending := r.IntN(4) == 0
				if m, err := c.WriteAt(data, int64(off), appending, time.Now()); err != nil || m != n {
					t.Fatal(m, err)
				}
				if appending {
					off = len(want)
				}
				if n > 0 {
					want = append(want, make([]byte, max(0, off+n-len(want)))...)
					copy(want[off:], data)
				}
			case 3:
				if err := c.Truncate(int64(off), time.Now()); err != nil {
					t.Fatal(err)
				}
				want = append(want, make([]byte, max(0, off-len(want)))...)[:off:off]
			case 4:
				if r.IntN(4) == 0 {
					if err := c.Fill(t.Context()); err != nil || !c.Whole() {
						t.Fatal(err)
					}
				}
			case 5:
				if c.ID() == 0 {
					break
				}
				it := c.Item() // as after a crash
				restored := Restore(j, &Budget{Limit: 1 << 20}, c.base, it, [8]byte{2})
				if got := all(t, restored); !bytes.Equal(got, want) {
					t.Fatalf("seed %d: restored it has %d bytes, want %d", seed, len(got), len(want))
				}
				restored.Rest()
			}
			if got := all(t, c); !bytes.Equal(got, want) {
				t.Fatalf("seed %d: %d bytes, want %d", seed, len(got), len(want))
			}
			lent += lends(t, c, want, int64(n), int64(off))
			if now := c.State().Tag; now == tag && !bytes.Equal(before, want) {
				t.Fatalf("seed %d: other bytes, and the tag is still %q", seed, tag)
			} else {
				tag = now
			}
		}
		if err := c.Fill(t.Context()); err != nil {
			t.Fatal(err)
		}
		f, err := c.Freeze(int64(seed%2) << 20)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want)+1)
		if n, err := f.ReadAt(got, 0); n != len(want) || err != io.EOF || !bytes.Equal(got[:n], want) {
			t.Fatalf("seed %d: frozen it has %d bytes, %v", seed, n, err)
		}
		if _, err := c.WriteAt([]byte("x"), 0, false, time.Now()); err != nil {
			t.Fatal(err)
		}
		if f.Intact() != (f.own) {
			t.Errorf("seed %d: intact %v, a copy %v", seed, f.Intact(), f.own)
		}
		f.Close()
		if c.Drop(); budget.Used() != 0 {
			t.Fatalf("seed %d: %d bytes are staged, and nothing is", seed, budget.Used())
		}
	}
}

// TestFillWhileWriting fetches the base while it is written over.
func TestFillWhileWriting(t *testing.T) {
	old := bytes.Repeat([]byte{'a'}, 5<<20)
	c := New(opened(t), &Budget{Limit: 1 << 30}, base(old), State{Size: int64(len(old))}, [8]byte{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for off := 0; off < len(old); off += 64 << 10 {
			if _, err := c.WriteAt([]byte("written"), int64(off), false, time.Now()); err != nil {
				t.Error(err)
			}
		}
	})
	if err := c.Fill(t.Context()); err != nil {
		t.Fatal(err)
	}
	writing.Wait()
	for off := 0; off < len(old); off += 64 << 10 {
		copy(old[off:], "written")
	}
	if got := all(t, c); !bytes.Equal(got, old) {
		t.Error("what was written is not there")
	}
}

func TestSourceOpensAgain(t *testing.T) {
	opens := 0
	s := NewSource(func(context.Context) (Reader, error) {
		if opens++; opens == 1 {
			return gone{}, nil
		}
		return base("bytes"), nil
	})
	b := make([]byte, 5)
	if n, err := s.ReadAt(t.Context(), b, 0); n != 5 || err != nil || opens != 2 {
		t.Errorf("%d, %v, opened %d times", n, err, opens)
	}
	if parts, _, err := s.Lend(t.Context(), 4, 1); err != nil || string(bytes.Join(parts, nil)) != "ytes" {
		t.Errorf("%q, %v", parts, err)
	}
	s = NewSource(func(context.Context) (Reader, error) { return struct{ Reader }{base("bytes")}, nil })
	if parts, _, err := s.Lend(t.Context(), 4, 1); parts != nil || err != nil {
		t.Errorf("%q is lent by who lends nothing, %v", parts, err)
	}
	s = NewSource(func(ctx context.Context) (Reader, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.ReadAt(ctx, b, 0); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// gone is a file that has another name by now.
type gone struct{}

func (gone) ReadAt(context.Context, []byte, int64) (int, error) {
	return 0, &peer.Error{Kind: peer.NotFound}
}

func (gone) Close() error { return nil }
