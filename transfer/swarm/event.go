package swarm

import (
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
)

// Event is something that happened. What names a piece beyond the file, or a source that is not joined, changes nothing,
// but for Got and Bad: their bytes count even when their source has left meanwhile.
type Event interface{ apply(*Swarm) }

// The events.
type (
	// Joined says that a source can be asked from now on. An Origin has all pieces; of any other Has and HasSet tell.
	// Index and Of are an origin's hint if it gave one already: see Place.
	Joined struct {
		Source    peer.ID
		Origin    bool
		Index, Of int
	}
	// Has adds pieces to those that a source has.
	Has struct {
		Source peer.ID
		Pieces []int
	}
	// HasSet adds a set of pieces, maybe all, to those that a source has. The set is only read, and not kept.
	HasSet struct {
		Source peer.ID
		Set    transfer.Set
	}
	// Place is an origin's hint that this fetcher is number Index, from 0, of Of that fetch the file now. The newest
	// counts; Of below 2, or an Index that is none, takes it back. A swarm for Reading pays it no heed.
	Place struct {
		Source    peer.ID
		Index, Of int
	}
	// Known says that a piece's hash is known; no piece is asked for before.
	Known struct{ Piece int }
	// Here says that a piece is on disk already.
	Here struct{ Piece int }
	// Gone says, when Reading, that a piece is here no more.
	Gone struct{ Piece int }
	// Want says, when Reading, which pieces are waited for, or soon will be: those of the first span first, of each the lowest
	// first. What is owed of others is cancelled. Nothing is wanted in the beginning.
	Want struct{ Spans []Span }
	// Got says that a source gave a piece and its hash was right.
	Got struct {
		Source peer.ID
		Piece  int
	}
	// Bad says that a source gave a piece and its hash was wrong.
	Bad struct {
		Source peer.ID
		Piece  int
	}
	// Refused says that a source has a piece no more. It is not asked for it until it says again that it has it.
	Refused struct {
		Source peer.ID
		Piece  int
	}
	// Left says that a source can't be asked any more. It owes nothing then, and may join again.
	Left struct{ Source peer.ID }
	// Tick says that time passed; see NextTick.
	Tick struct{}
)

// Span is the pieces from From up to before To.
type Span struct{ From, To int }

// Action is something to do now, in the order given.
type Action interface{ action() }

// The actions.
type (
	// Ask asks a source for a piece.
	Ask struct {
		Source peer.ID
		Piece  int
	}
	// Cancel takes an Ask back: the piece is here, or no longer of use. Should it come nevertheless, Got may tell.
	Cancel struct {
		Source peer.ID
		Piece  int
	}
	// Drop parts from a source, which owes nothing from then on. One that was Slow may join again.
	Drop struct {
		Source peer.ID
		Why    Why
	}
	// Done says, once, that every piece is here. When Reading, some may be gone later.
	Done struct{}
)

func (Ask) action()    {}
func (Cancel) action() {}
func (Drop) action()   {}
func (Done) action()   {}

// Why is the reason for a Drop.
type Why uint8

// The reasons.
const (
	Slow  Why = iota // silent while others deliver
	Lying            // three pieces had wrong hashes: it is never asked again
)

func (w Why) String() string {
	if w == Lying {
		return "lying"
	}
	return "slow"
}

// Stats is what a source did so far.
type Stats struct {
	Source peer.ID
	Joined bool
	Banned bool          // it lied
	Bytes  int64         // of pieces that it gave and that were right, twice what came twice
	Bad    int           // pieces that it gave and that were wrong
	Owed   int           // pieces that it owes now
	Rate   float64       // bytes a second, lately; 0 before its first piece
	Delay  time.Duration // from Ask to Got, lately; 0 before its first piece
}
