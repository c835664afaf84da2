package serve

import "testing"

// What needs little is not given much, and nobody who needs much is given little.
func TestBuffersFit(t *testing.T) {
	var lent buffers
	for range 3 {
		for n, want := range map[int]int{0: pieceBuffer, pieceBuffer: pieceBuffer, pieceBuffer + 1: sendBuffer, sendBuffer: sendBuffer, 2 * sendBuffer: sendBuffer} {
			b := lent.get(n)
			if cap(*b) != want {
				t.Errorf("for %d bytes there were %d, want %d", n, cap(*b), want)
			}
			lent.put(b)
		}
	}
}

// A small buffer does not stay for a burst that needs more, and what is in one is not lost.
func TestBorrowsMore(t *testing.T) {
	g := &getter{bufs: new(buffers)}
	step := func(what string, want int) {
		t.Helper()
		if cap(g.out) != want {
			t.Errorf("%s: a buffer of %d bytes, want %d", what, cap(g.out), want)
		}
	}
	g.borrow(maxHeader)
	step("a refusal", pieceBuffer)
	g.borrow(sendBuffer)
	step("then much", sendBuffer)
	g.borrow(pieceBuffer)
	step("then a piece", sendBuffer)
	g.borrow(1 << 20)
	step("then more than is lent", sendBuffer)
	g.giveBack()
	g.borrow(pieceBuffer)
	step("a piece", pieceBuffer)
	g.out = append(g.out, 1)
	g.borrow(sendBuffer)
	step("then much, with something to send", pieceBuffer)
	if len(g.out) != 1 {
		t.Error("what was to be sent is lost")
	}
}
