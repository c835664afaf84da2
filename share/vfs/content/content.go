// Package content is the bytes of a file while they are read and written here: those of a version at its owner, with those
// that were written over them, which lie in a staging file. It knows no name and no share.
package content

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/peerd/peerd/share/vfs/extent"
	"github.com/peerd/peerd/share/vfs/journal"
)

// ErrFull says that no more may be staged.
var ErrFull = errors.New("too much waits already")

// Budget bounds the bytes that are staged. It is safe for concurrent use.
type Budget struct {
	Limit int64

	mu   sync.Mutex
	used int64
}

func (b *Budget) take(n int64, force bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > 0 && b.used+n > b.Limit && !force {
		return ErrFull
	}
	b.used += n
	return nil
}

// Used is how many bytes are staged.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Base reads the version that a content was made of.
type Base interface {
	ReadAt(ctx context.Context, b []byte, off int64) (int, error)
}

// State is a content at one moment.
type State struct {
	Size    int64
	ModTime time.Time
	Exec    bool
	Gen     uint64 // grows with each change
	Bytes   uint64 // Gen of the last change of the bytes
	Written time.Time
	Tag     string // of the bytes, if they are none that an owner has given a version; else ""
}

// Content is the bytes of one file. It is safe for concurrent use; who reads a range while it is written may see either.
type Content struct {
	journal *journal.Journal
	budget  *Budget

	writing sync.Mutex // held while the staging file is changed, which waits for no network

	mu       sync.Mutex
	base     Base
	baseSize int64
	baseEnd  int64 // bytes below show those of base where nothing was written
	staged   *journal.Staged
	written  extent.Set
	st       State
	salt     [8]byte // makes tags that no other content has
	dropped  bool

	shown     int64  // end of the last Window
	rewritten uint64 // how often something below shown was written anew
}

// New makes the content of a version, or with a nil base an empty file.
func New(j *journal.Journal, b *Budget, base Base, st State, salt [8]byte) *Content {
	c := &Content{journal: j, budget: b, base: base, st: st, salt: salt}
	if base != nil {
		c.baseSize, c.baseEnd = st.Size, st.Size
	}
	return c
}

// Restore makes the content of what waited in the journal, as changed. Where nothing of a base shows, the staging file says how
// large it is: what was written after the journal was may be there, as on any disk.
func Restore(j *journal.Journal, b *Budget, base Base, it journal.Item, salt [8]byte) *Content {
	c := New(j, b, nil, State{Size: it.Size, ModTime: it.ModTime, Exec: it.Exec, Gen: 1, Bytes: 1}, salt)
	c.base, c.baseSize, c.baseEnd = base, it.BaseSize, it.BaseEnd
	c.staged, c.written = j.Staged(it.ID), it.Written
	if size, err := c.staged.Size(); err == nil && it.BaseEnd == 0 {
		c.st.Size, c.written = size, extent.Set(nil).Add(extent.Range{To: size})
	}
	c.staged.Rest()
	_ = b.take(c.written.Len(), true)
	return c
}

// State is what the content is now.
func (c *Content) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.st
	if st.Bytes > 0 {
		var b [16]byte
		copy(b[:], c.salt[:])
		binary.BigEndian.PutUint64(b[8:], st.Bytes)
		st.Tag = "w" + base64.RawURLEncoding.EncodeToString(b[:])
	}
	return st
}

// ID is that of the staging file; 0 if there is none.
func (c *Content) ID() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.staged == nil {
		return 0
	}
	return c.staged.ID
}

// Item is what the journal has to know of the content.
func (c *Content) Item() journal.Item {
	c.mu.Lock()
	defer c.mu.Unlock()
	it := journal.Item{Size: c.st.Size, ModTime: c.st.ModTime, Exec: c.st.Exec, BaseSize: c.baseSize, BaseEnd: c.baseEnd, Written: c.written}
	if c.staged != nil {
		it.ID = c.staged.ID
	}
	if len(c.written.Holes(c.baseEnd)) == 0 { // nothing of the base shows
		it.BaseSize, it.BaseEnd, it.Written = 0, 0, nil
		if c.st.Size > 0 {
			it.Written = extent.Set{{From: 0, To: c.st.Size}}
		}
	} else {
		it.Written = append(extent.Set(nil), c.written...)
	}
	return it
}

// ReadAt reads by the rules of [io.ReaderAt].
func (c *Content) ReadAt(ctx context.Context, b []byte, off int64) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = c.run(ctx, b[n:], off+int64(n))
		n += m
	}
	return n, err
}

// Lend gives up to n bytes from off on where they lie in memory, as a [Lender] does, where none of them was written here and the
// base lends them.
func (c *Content) Lend(ctx context.Context, n, off int64) (parts [][]byte, done func(), err error) {
	c.mu.Lock()
	l, ok := c.base.(Lender)
	in, end := c.written.Next(off)
	n = min(n, c.st.Size-off)
	ok = ok && !in && n > 0 && n <= min(end, c.baseEnd)-off
	c.mu.Unlock()
	if !ok {
		return nil, nil, nil
	}
	return l.Lend(ctx, n, off)
}

// run reads some bytes that lie at one place.
func (c *Content) run(ctx context.Context, b []byte, off int64) (int, error) {
	c.mu.Lock()
	size, base, baseEnd, staged := c.st.Size, c.base, c.baseEnd, c.staged
	in, end := c.written.Next(off)
	c.mu.Unlock()
	if off >= size {
		return 0, io.EOF
	}
	if !in && off < baseEnd {
		b = b[:min(int64(len(b)), end-off, baseEnd-off)]
		n, err := base.ReadAt(ctx, b, off)
		switch {
		case n == len(b):
			return n, nil
		case errors.Is(err, io.EOF) || err == nil:
			err = io.ErrUnexpectedEOF
		}
		return n, err
	}
	b = b[:min(int64(len(b)), end-off, size-off)]
	if !in {
		clear(b)
		return len(b), nil
	}
	n, err := staged.ReadAt(b, off)
	if errors.Is(err, io.EOF) { // it was cut meanwhile
		clear(b[n:])
		return len(b), nil
	}
	return n, err
}

// stage makes the staging file. The caller holds writing.
func (c *Content) stage() (*journal.Staged, error) {
	c.mu.Lock()
	s, dropped := c.staged, c.dropped
	c.mu.Unlock()
	switch {
	case dropped:
		return nil, errors.New("the file is closed")
	case s != nil:
		return s, nil
	}
	s, err := c.journal.Create()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.staged = s
	return s, nil
}

// Create makes an empty content one that was changed: a file that is not there yet.
func (c *Content) Create(now time.Time) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if _, err := c.stage(); err != nil {
		return err
	}
	c.changed(now, func() {})
	return nil
}

func (c *Content) changed(now time.Time, how func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	how()
	c.st.Gen++
	c.st.Bytes, c.st.ModTime, c.st.Written = c.st.Gen, now, now
}

// WriteAt writes at a place, or with appending at the end.
func (c *Content) WriteAt(b []byte, off int64, appending bool, now time.Time) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	s, err := c.stage()
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	if appending {
		off = c.st.Size
	}
	c.rewriteLocked(off)
	r := extent.Range{From: off, To: off + int64(len(b))}
	err = c.budget.take(c.written.Missing(r), false)
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := s.WriteAt(b, off)
	c.mu.Lock()
	_ = c.budget.take(-c.written.Missing(extent.Range{From: off + int64(n), To: r.To}), true)
	c.mu.Unlock()
	if n > 0 {
		c.changed(now, func() {
			c.written = c.written.Add(extent.Range{From: off, To: off + int64(n)})
			c.st.Size = max(c.st.Size, off+int64(n))
		})
	}
	return n, err
}

// Truncate sets the size.
func (c *Content) Truncate(size int64, now time.Time) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	s, err := c.stage()
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.rewriteLocked(size)
	c.mu.Unlock()
	if err := s.Truncate(size); err != nil {
		return err
	}
	c.changed(now, func() {
		before := c.written.Len()
		c.written = c.written.Cut(size)
		c.baseEnd = min(c.baseEnd, size)
		c.st.Size = size
		_ = c.budget.take(c.written.Len()-before, true)
	})
	return nil
}

// Set sets time and mode.
func (c *Content) Set(modTime *time.Time, exec *bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if modTime != nil {
		c.st.ModTime = *modTime
	}
	if exec != nil {
		c.st.Exec = *exec
	}
	c.st.Gen++
}

// Ranges is how many parts were written.
func (c *Content) Ranges() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.written)
}

// Whole reports whether nothing of the base shows any more.
func (c *Content) Whole() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wholeLocked()
}

func (c *Content) wholeLocked() bool {
	if c.baseEnd == 0 {
		return true
	}
	in, end := c.written.Next(0)
	return in && end >= c.baseEnd
}

// Fill fetches all of the base that shows, so that the staging file is all there is.
func (c *Content) Fill(ctx context.Context) error {
	const step = 1 << 20
	var b []byte
	for {
		c.mu.Lock()
		holes := c.written.Holes(c.baseEnd)
		base := c.base
		c.mu.Unlock()
		if len(holes) == 0 {
			return c.Keep()
		}
		if b == nil {
			b = make([]byte, step)
		}
		h := holes[0]
		h.To = min(h.To, h.From+step)
		n, err := base.ReadAt(ctx, b[:h.To-h.From], h.From)
		if int64(n) < h.To-h.From {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if err := c.fill(b, h); err != nil {
			return err
		}
	}
}

// fill puts bytes of the base where nothing was written meanwhile.
func (c *Content) fill(b []byte, h extent.Range) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	s, err := c.stage()
	if err != nil {
		return err
	}
	c.mu.Lock()
	end := min(h.To, c.baseEnd)
	var parts []extent.Range
	for at := h.From; at < end; {
		in, to := c.written.Next(at)
		to = min(to, end)
		if !in {
			parts = append(parts, extent.Range{From: at, To: to})
		}
		at = to
	}
	c.mu.Unlock()
	for _, p := range parts {
		if _, err := s.WriteAt(b[p.From-h.From:p.To-h.From], p.From); err != nil {
			return err
		}
		c.mu.Lock()
		c.written = c.written.Add(p)
		c.mu.Unlock()
		_ = c.budget.take(p.To-p.From, true)
	}
	return nil
}

// Keep makes sure that there is a staging file of the right size.
func (c *Content) Keep() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	s, err := c.stage()
	if err != nil {
		return err
	}
	c.mu.Lock()
	size := c.st.Size
	c.mu.Unlock()
	return s.Truncate(size)
}

// Sync makes what was written last on this disk.
func (c *Content) Sync() error {
	c.mu.Lock()
	s := c.staged
	c.mu.Unlock()
	if s != nil {
		return s.Sync()
	}
	return nil
}

// Rest shuts the staging file until it is used again.
func (c *Content) Rest() {
	c.mu.Lock()
	s := c.staged
	c.mu.Unlock()
	if s != nil {
		s.Rest()
	}
}

// Drop removes the staging file. Nothing can be written any more.
func (c *Content) Drop() {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.staged != nil && !c.dropped {
		c.staged.Remove()
		_ = c.budget.take(-c.written.Len(), true)
	}
	c.dropped = true
}
