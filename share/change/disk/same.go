package disk

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/peerd/peerd/share"
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

// SameFiles reports whether two files hold the same bytes, the second while it is the version that e has.
func SameFiles(ctx context.Context, in Folder, name string, other Folder, otherName string, e share.Entry) bool {
	a, err := in.Open(name)
	if err != nil {
		return false
	}
	defer a.Close()
	b, err := other.Open(otherName)
	if err != nil {
		return false
	}
	defer b.Close()
	if !Same(ctx, a, b, e.Size) {
		return false
	}
	now, err := b.Entry()
	return err == nil && now.Version == e.Version
}

func full(r io.ReaderAt, b []byte, off int64) bool {
	n, err := r.ReadAt(b, off)
	return n == len(b) && (err == nil || errors.Is(err, io.EOF))
}
