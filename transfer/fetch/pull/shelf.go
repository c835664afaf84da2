package pull

import (
	"context"
	"io"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/tracker"
)

// Sources is what it takes to have sources besides the owner. The zero Sources has none.
type Sources struct {
	// Check says until when the grant that another peer shows makes it a source of the share. Without it only the owner is
	// asked.
	Check func(sealed []byte, holder peer.ID) (until time.Time, err error)
	// Meet is told where a source may be reached; may be nil.
	Meet func(id peer.ID, addrs []peer.Addr)
	// Find gives sources of the share that nobody named, once the secret of its topics is known; may be nil.
	Find func(ctx context.Context, secret []byte, found func(peer.ID))
	// Askers gives those who fetch a file from this peer themselves and give it on, and a channel that is closed when that may
	// have changed; may be nil.
	Askers func(f transfer.File) ([]tracker.Source, <-chan struct{})
	// Addrs is where this peer may be reached itself; nil if it gives nothing on.
	Addrs func() []peer.Addr
}

// Shelf keeps what was fetched, to be given on and to be had again.
type Shelf interface {
	// Piece gives piece i of a file, of any origin, that has this hash. It is not verified. buf holds it, if it is large
	// enough.
	Piece(f transfer.File, l transfer.Layout, i int, want transfer.Hash, buf []byte) ([]byte, bool)
	// Manifest gives the manifest of a file that was whole here, as its owner said it then.
	Manifest(f transfer.File) (transfer.Manifest, bool)
	// Keep keeps a verified piece for another time.
	Keep(want transfer.Hash, data []byte)
	// Begin gives on a file that grows in r, from now until the Growing ends.
	Begin(f transfer.File, l transfer.Layout, r io.ReaderAt) Growing
	// Secret keeps the secret of the share's topics.
	Secret(f transfer.File, secret []byte)
}

// Growing is a file of which pieces arrive. One of Finish and Close ends it.
type Growing interface {
	// Add says that piece i is there, verified.
	Add(i int)
	// Finish says that the file is whole: by the name of a local file, or, where that is empty, with its pieces kept.
	Finish(m transfer.Manifest, name string)
	// Close gives it up; after Finish it does nothing.
	Close()
}

// Sink is where the bytes of a file go.
type Sink interface {
	// WriteAt takes bytes that are verified, or, of a piece longer than manifest.Step, will be.
	WriteAt(b []byte, off int64) (int, error)
	// Here is told of each piece that is there and verified, from any goroutine.
	Here(i int)
}

// Taker is a [Sink] that takes verified pieces of at most transfer.UsualPiece bytes without a copy.
type Taker interface {
	// Buffer gives n bytes for a piece to be read into, with anything in them.
	Buffer(n int) []byte
	// Take takes a piece that is verified, in the buffer that it was read into.
	Take(i int, b []byte)
	// Recycle takes a buffer back that is of no use.
	Recycle(b []byte)
}
