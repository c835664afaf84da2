package local

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/peerd/peerd/share/local/tree"
)

// settle waits until a file has not changed for so long that its next change shows, see [File.Settled], and tells of it.
func settle(ctx context.Context, f *os.File) (tree.Status, error) {
	for {
		st, err := tree.OfFile(f)
		if err != nil {
			return tree.Status{}, err
		}
		if !racy(st.LastChange(), time.Now()) {
			return st, nil
		}
		select {
		case <-ctx.Done():
			return st, ctx.Err()
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// copyPart is after how many bytes a copy looks whether it is still wanted.
const copyPart = 64 << 20

// copyFile copies all of a settled file, by the system where it can (copy_file_range(2), which shares the bytes on some file
// systems), and fails if the file changes meanwhile.
func copyFile(ctx context.Context, dst, src *os.File, st tree.Status) error {
	for left := st.Size; left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.CopyN(dst, src, min(left, copyPart))
		if err == io.EOF {
			return tree.ErrMoved
		}
		if err != nil {
			return err
		}
		left -= n
	}
	now, err := tree.OfFile(src)
	if err == nil && now.Version() != st.Version() {
		err = tree.ErrMoved
	}
	return err
}
