package disk

import (
	"bytes"
	"context"
	"errors"
	"io"
)

// Same reports whether two files of a size hold the same bytes. It does not where they can't be read, or ctx ends.
func Same(ctx context.Context, a, b io.ReaderAt, size int64) bool {
	const piece = 256 << 10
	x, y := make([]byte, min(size, piece)), make([]byte, min(size, piece))
	for off := int64(0); off < size; off += piece {
		n := min(piece, size-off)
		if ctx.Err() != nil || !full(a, x[:n], off) || !full(b, y[:n], off) || !bytes.Equal(x[:n], y[:n]) {
			return false
		}
	}
	return true
}

func full(r io.ReaderAt, b []byte, off int64) bool {
	n, err := r.ReadAt(b, off)
	return n == len(b) && (err == nil || errors.Is(err, io.EOF))
}
