package fetch

import (
	"context"
	"io"

	"github.com/peerd/peerd/transfer"
)

// Into brings a file of several pieces, and of that size, to w, each piece verified before it is written. What came of one that
// fails stays there. A file of another size is one that changed, an error of kind [peer.Conflict].
func (f *Fetcher) Into(ctx context.Context, path []string, size int64, w io.WriterAt) error {
	ms, err := f.openManifest(ctx, path)
	if err != nil {
		return err
	}
	defer ms.close()
	if ms.layout.Size != size || ms.layout.Pieces() == 1 {
		return f.src.Changed(path)
	}
	l, end := f.pull(ms, writer{w}, noGrowing{})
	defer end()
	err = ms.each(ctx, func(i int, want transfer.Hash) error {
		select {
		case <-l.Done(): // an earlier piece failed
			return l.Err()
		default:
		}
		l.Known(i, want)
		return nil
	})
	if err != nil {
		return err
	}
	return l.Wait(ctx)
}

// writer is a sink that keeps no account.
type writer struct{ io.WriterAt }

// Here needs no doing.
func (writer) Here(int) {}
