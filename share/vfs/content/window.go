package content

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"

	"github.com/peerd/peerd/share/vfs/journal"
	"github.com/peerd/peerd/transfer"
)

// Window is bytes of a content that were written here, for who fetches them while more is written behind them.
type Window struct {
	Size    int64
	Version transfer.Version // no other bytes have it

	c    *Content
	from int64
	file *journal.Staged
	rest uint64 // of Content.rewritten
}

// Grown is how many bytes were written here, from the start on, without a gap.
func (c *Content) Grown() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if in, end := c.written.Next(0); in {
		return end
	}
	return 0
}

// Window gives bytes from ≤ i < from+size of those that Grown tells of.
func (c *Content) Window(from, size int64) *Window {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shown = max(c.shown, from+size)
	w := &Window{Size: size, c: c, from: from, file: c.staged, rest: c.rewritten}
	b := c.salt[:len(c.salt):len(c.salt)]
	for _, n := range []uint64{uint64(from), uint64(size), c.rewritten} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	sum := sha256.Sum256(b)
	copy(w.Version[:], sum[:])
	return w
}

// rewriteLocked takes note that bytes from a place on are about to change.
func (c *Content) rewriteLocked(from int64) {
	if from < c.shown {
		c.rewritten++
	}
}

// Intact reports whether nothing that any window showed was written anew since this one was given.
func (w *Window) Intact() bool {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	return w.c.rewritten == w.rest && !w.c.dropped
}

// ReadAt reads by the rules of [io.ReaderAt].
func (w *Window) ReadAt(b []byte, off int64) (int, error) {
	if off >= w.Size {
		return 0, io.EOF
	}
	short := b[:min(int64(len(b)), w.Size-off)]
	n, err := w.file.ReadAt(short, w.from+off)
	if errors.Is(err, io.EOF) { // it was cut, which Intact tells
		err = io.ErrUnexpectedEOF
	}
	if err == nil && n < len(b) {
		err = io.EOF
	}
	return n, err
}
