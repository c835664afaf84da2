package fetch

import (
	"context"
	"io"

	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch/small"
)

// Open gives a version of a file to be read at any place. Nothing is asked of the owner yet: that it has another version by now is
// told by the first read of what is not here. It is of use until Close, and until the Fetcher's [Fetcher.Ended].
func (f *Fetcher) Open(path []string, st transfer.State) (*File, error) {
	if st.Size > transfer.SmallFile {
		f.owner.Connect() // while it is learned what to ask for
	}
	return f.files.Open(path, st)
}

// Ended is closed when nothing can be fetched any more; then another Fetcher may have more luck, where Err does not forbid it.
func (f *Fetcher) Ended() <-chan struct{} { return f.ctx.Done() }

// Err is why nothing can be fetched any more, or nil.
func (f *Fetcher) Err() error { return context.Cause(f.ctx) }

// Read writes bytes from up to before to of a file to w, in order, each piece verified before a byte of it is written. A
// negative to means the end. size is what the listing says, to choose the quicker way.
func (f *Fetcher) Read(ctx context.Context, path []string, size, from, to int64, w io.Writer) error {
	if size <= transfer.SmallFile {
		return small.Get(ctx, f.src, f.owner, path, size, func(data []byte, _ transfer.State, _ transfer.Hash) error {
			end := int64(len(data))
			if to >= 0 {
				end = min(end, to)
			}
			if from >= end {
				return nil
			}
			_, err := w.Write(data[from:end])
			if err == nil {
				f.opts.Progress.Got(f.src.Peer, f.src.Path(path), int64(len(data)))
			}
			return err
		})
	}
	c, st, err := f.askManifest(ctx, path)
	if err != nil {
		return err
	}
	c.close()
	h, err := f.files.Open(path, st)
	if err != nil {
		return err
	}
	defer h.Close()
	if st.Size <= transfer.SmallFile {
		return f.src.Changed(path)
	}
	if to < 0 {
		to = st.Size
	}
	return h.Copy(ctx, w, from, to)
}
