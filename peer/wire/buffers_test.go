package wire_test

import (
	"testing"

	"github.com/peerd/peerd/peer/wire"
)

// What needs little is not given much, and nobody who needs much is given little.
func TestBuffersFit(t *testing.T) {
	const small, large = 100, 1000
	lent := wire.NewBuffers(small, large)
	for range 3 {
		for n, want := range map[int]int{0: small, small: small, small + 1: large, large: large, 2 * large: large} {
			b := lent.Get(n)
			if len(*b) != want {
				t.Errorf("for %d bytes there were %d, want %d", n, len(*b), want)
			}
			*b = (*b)[:0]
			lent.Put(b)
		}
	}
}
