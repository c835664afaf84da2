package transfer_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/peerd/peerd/transfer"
)

func setOf(size int, pieces ...int) transfer.Set {
	s := transfer.NewSet(size)
	for _, p := range pieces {
		s.Add(p)
	}
	return s
}

func TestSet(t *testing.T) {
	s := transfer.NewSet(130)
	if !s.Add(0) || !s.Add(64) || !s.Add(129) || s.Add(64) {
		t.Error("Add does not tell what is new")
	}
	for _, i := range []int{-1, 130, 191, 1 << 40} {
		if s.Add(i) || s.Has(i) || s.Remove(i) {
			t.Errorf("%d is no piece of this file, and was taken for one", i)
		}
	}
	if got := slices.Collect(s.All()); !slices.Equal(got, []int{0, 64, 129}) || s.Len() != 3 {
		t.Errorf("%v, %d", got, s.Len())
	}
	c := s.Clone()
	if !c.Remove(64) || c.Remove(64) || c.Has(64) || !s.Has(64) || c.Len() != 2 {
		t.Error("a clone is not a set of its own")
	}
	for range s.All() {
		break
	}
	for _, size := range []int{0, 1, 63, 64, 65, 130} {
		if f := transfer.FullSet(size); !f.Full() || f.Len() != size || f.Size() != size {
			t.Errorf("%d of %d pieces are all", f.Len(), size)
		}
	}
}

func TestSetNextIn(t *testing.T) {
	a, b, all := setOf(200, 3, 70, 140, 199), setOf(200, 3, 140, 141, 199), transfer.FullSet(200)
	for _, c := range []struct {
		from  int
		other transfer.Set
		want  int
	}{
		{-5, b, 3}, {0, b, 3}, {3, b, 3}, {4, b, 140}, {141, b, 199}, {199, b, 199}, {200, b, -1}, {1000, b, -1},
		{4, all, 70}, {0, transfer.NewSet(200), -1}, {0, transfer.NewSet(1), -1},
	} {
		if got := a.NextIn(c.from, &c.other); got != c.want {
			t.Errorf("from %d: %d, want %d", c.from, got, c.want)
		}
	}
	if one, two := a.NextIn(4), a.NextIn(4, &b, &all); one != 70 || two != 140 {
		t.Errorf("alone %d, of three %d", one, two)
	}
}

func TestSetBinary(t *testing.T) {
	odd := transfer.NewSet(65)
	for i := 1; i < 65; i += 2 {
		odd.Add(i)
	}
	for _, c := range []struct {
		set  transfer.Set
		want []byte
	}{
		{transfer.NewSet(0), []byte{0}},
		{transfer.NewSet(9), []byte{0}},
		{transfer.FullSet(9), []byte{0, 0, 9}},
		{transfer.FullSet(1), []byte{1, 1}},
		{transfer.FullSet(transfer.MaxPieces), []byte{0, 0, 0x80, 0x80, 4}},
		{setOf(40, 2, 3, 4), []byte{0, 2, 3}},
		{setOf(16, 0, 3, 9), []byte{1, 9, 2}},
		{odd, []byte{1, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0}},
	} {
		b, err := c.set.AppendBinary([]byte("x"))
		if err != nil || !bytes.Equal(b[1:], c.want) || b[0] != 'x' {
			t.Errorf("%v of %d: %x, %v, want %x", slices.Collect(c.set.All()), c.set.Size(), b, err, c.want)
			continue
		}
		back, err := transfer.ParseSet(b[1:], c.set.Size())
		if err != nil || !slices.Equal(slices.Collect(back.All()), slices.Collect(c.set.All())) || back.Len() != c.set.Len() {
			t.Errorf("%x: %v, %v", b[1:], slices.Collect(back.All()), err)
		}
	}
}

func TestParseSetRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		b      []byte
		pieces int
	}{
		"nothing":                   {nil, 9},
		"unknown form":              {[]byte{2, 0}, 9},
		"too long":                  {[]byte{1, 0xff, 1, 0}, 9},
		"too short":                 {[]byte{1, 0xff}, 9},
		"bits beyond the end":       {[]byte{1, 9, 6}, 10},
		"runs beyond the end":       {[]byte{0, 5, 5}, 9},
		"huge run":                  {[]byte{0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, 200},
		"half a run":                {[]byte{0, 5}, 9},
		"half a number":             {[]byte{0, 0x80}, 9},
		"runs that touch":           {[]byte{0, 1, 1, 0, 1}, 40},
		"an empty run":              {[]byte{0, 3, 0}, 40},
		"a number longer than need": {[]byte{0, 0x80, 0, 9}, 40},
		"bits where runs do":        {[]byte{1, 0xff, 1}, 9},
		"runs where bits do":        {[]byte{0, 0, 1, 2, 1}, 9},
		"more pieces than any file": {[]byte{0}, transfer.MaxPieces + 1},
		"less than no pieces":       {[]byte{0}, -1},
	} {
		if s, err := transfer.ParseSet(c.b, c.pieces); err == nil {
			t.Errorf("%s: %x is taken for %v", name, c.b, slices.Collect(s.All()))
		}
	}
}

// FuzzParseSet: what is read is bounded, and has the one form that it was read from.
func FuzzParseSet(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, size := range []int{1, 9, 64, 100, 3000, transfer.MaxPieces} {
		for _, share := range []float64{0, 0.01, 0.5, 0.99, 1} {
			s := transfer.NewSet(size)
			for i := range size {
				if rng.Float64() < share {
					s.Add(i)
				}
			}
			b, _ := s.AppendBinary(nil)
			f.Add(b, size)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, pieces int) {
		s, err := transfer.ParseSet(b, pieces)
		if err != nil {
			return
		}
		n := 0
		for p := range s.All() {
			if n++; p < 0 || p >= pieces || !s.Has(p) {
				t.Fatalf("piece %d of %d", p, pieces)
			}
		}
		if n != s.Len() || s.Size() != pieces {
			t.Errorf("%d pieces counted as %d of %d", n, s.Len(), s.Size())
		}
		if again, _ := s.AppendBinary(nil); !bytes.Equal(again, b) {
			t.Errorf("%x was read from %x", again, b)
		}
	})
}
