package content

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/peerd/peerd/share/vfs/journal"
)

// Frozen is a content that is whole, as it was at one moment, for who fetches it.
type Frozen struct {
	State
	c    *Content
	file *journal.Staged
	own  bool // file is a copy
	off  atomic.Bool
}

// Abort makes it one that is not intact any more: who fetches it gives up.
func (f *Frozen) Abort() { f.off.Store(true) }

// Freeze gives the content as it is now, which is whole. Of one that may be written meanwhile a copy is made, if it is not large;
// else who reads is told when it was written.
func (c *Content) Freeze(copyUpTo int64) (*Frozen, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if _, err := c.stage(); err != nil {
		return nil, err
	}
	f := &Frozen{State: c.State(), c: c, file: c.staged}
	if f.Size > copyUpTo {
		return f, nil
	}
	file, err := c.journal.Snapshot(c.staged, f.Size)
	if err != nil {
		return nil, err
	}
	f.file, f.own = file, true
	return f, nil
}

// Intact reports whether the bytes are still those that were frozen.
func (f *Frozen) Intact() bool { return !f.off.Load() && (f.own || f.c.State().Bytes == f.Bytes) }

// Same reports whether the bytes are those of a base, as far as it gives them.
func (f *Frozen) Same(ctx context.Context, base Base) bool {
	mine, theirs := make([]byte, f.Size), make([]byte, f.Size)
	if n, err := f.ReadAt(mine, 0); int64(n) < f.Size && err != nil {
		return false
	}
	n, _ := base.ReadAt(ctx, theirs, 0)
	return int64(n) == f.Size && bytes.Equal(mine, theirs)
}

// ReadAt reads by the rules of [io.ReaderAt].
func (f *Frozen) ReadAt(b []byte, off int64) (int, error) {
	if off >= f.Size {
		return 0, io.EOF
	}
	short := b[:min(int64(len(b)), f.Size-off)]
	n, err := f.file.ReadAt(short, off)
	if errors.Is(err, io.EOF) { // it ends in a hole
		clear(short[n:])
		n, err = len(short), nil
	}
	if err == nil && n < len(b) {
		err = io.EOF
	}
	return n, err
}

// Close gives it up.
func (f *Frozen) Close() {
	if f.own {
		f.file.Remove()
	}
}
