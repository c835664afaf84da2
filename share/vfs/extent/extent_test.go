package extent

import (
	"math/rand/v2"
	"testing"
)

// TestAgainstBits compares sets with one bit per byte.
func TestAgainstBits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		var s Set
		var bits [64]bool
		for range 20 {
			if from := r.Int64N(60); r.IntN(4) == 0 {
				s = s.Cut(from)
				clear(bits[from:])
			} else {
				to := from + r.Int64N(64-from)
				s = s.Add(Range{from, to})
				for i := from; i < to; i++ {
					bits[i] = true
				}
			}
			check(t, s, bits)
		}
	}
}

func check(t *testing.T, s Set, bits [64]bool) {
	t.Helper()
	var n int64
	for i, want := range bits {
		in, end := s.Next(int64(i))
		if in != want || end <= int64(i) {
			t.Fatalf("%v: at %d %v until %d", s, i, in, end)
		}
		for j := i; j < min(int(min(end, 64)), 64); j++ {
			if bits[j] != want {
				t.Fatalf("%v: from %d to %d all are said to be %v", s, i, end, want)
			}
		}
		if want {
			n++
		}
	}
	for i := range s {
		if s[i].From >= s[i].To || i > 0 && s[i-1].To >= s[i].From {
			t.Fatalf("%v is out of order", s)
		}
	}
	var holes int64
	for _, h := range s.Holes(64) {
		holes += h.To - h.From
		if bits[h.From] || bits[h.To-1] {
			t.Fatalf("%v: %v is no hole", s, h)
		}
	}
	if s.Len() != n || holes != 64-n {
		t.Fatalf("%v: %d bytes, %d in holes; want %d of 64", s, s.Len(), holes, n)
	}
}
