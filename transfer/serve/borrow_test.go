package serve

import (
	"testing"

	"github.com/peerd/peerd/peer/wire"
)

// A small buffer does not stay for a burst that needs more, and what is in one is not lost.
func TestBorrowsMore(t *testing.T) {
	g := &getter{bufs: wire.NewBuffers(pieceBuffer, sendBuffer)}
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
