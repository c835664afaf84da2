package seed

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/serve"
)

// Open opens a file for somebody who may read it.
func (s *Shelf) Open(f transfer.File) (serve.Partial, error) {
	o, err := s.open(f)
	if err != nil {
		return nil, err
	}
	return o, nil
}

func (s *Shelf) open(f transfer.File) (*opened, error) {
	s.mu.Lock()
	have := s.files[f.ID()]
	if have != nil {
		have.used = time.Now()
	}
	s.mu.Unlock()
	if have == nil {
		return nil, errNone()
	}
	o := &opened{shelf: s, file: have, piece: -1}
	if have.growing == nil {
		var ok bool
		if o.manifest, ok = s.manifests.Get(have.ID()); !ok || o.manifest.Layout != have.layout {
			s.drop(have)
			return nil, errNone()
		}
	}
	if have.name != "" {
		var err error
		if o.whole, err = s.openWhole(have); err != nil {
			return nil, errNone()
		}
	}
	return o, nil
}

func errNone() error {
	return &peer.Error{Op: "open", Kind: peer.NotFound, Err: errors.New("nothing of this file is here")}
}

// opened is a file that is given on. It is for one goroutine at a time.
type opened struct {
	shelf    *Shelf
	file     *file
	manifest transfer.Manifest // of a file that does not grow
	whole    *os.File          // nil where the file grows, or is in the cache

	hasher manifest.Hasher
	piece  int // the one in buf, verified, or -1
	buf    []byte
}

// settle puts in place of a file that grows no more what became of it, so that those who ask for it meanwhile can go on.
func (o *opened) settle() {
	if g := o.file.growing; g == nil || !g.over() {
		return
	}
	if now, err := o.shelf.open(o.file.File); err == nil && now.file != o.file {
		*o = *now
	}
}

// State tells of the file as its owner did.
func (o *opened) State() (transfer.State, error) {
	return transfer.State{Size: o.file.layout.Size, ModTime: o.file.mod, Version: o.file.Version}, nil
}

// Pieces are those that are here.
func (o *opened) Pieces() (transfer.Set, <-chan struct{}) {
	o.settle()
	if g := o.file.growing; g != nil {
		return g.set()
	}
	if o.file.name != "" {
		return transfer.FullSet(o.file.layout.Pieces()), nil
	}
	set := transfer.NewSet(o.file.layout.Pieces())
	for i, h := range o.manifest.Pieces {
		if o.shelf.cache.Has(h, int(o.file.layout.Length(i))) {
			set.Add(i)
		}
	}
	return set, nil
}

// Lacks reports whether piece i is not here, or not right any more: what somebody else did to the file must not be
// given on, as who gets it would take us for a liar. The piece is read here, since a file that grows, and one that a
// reader is done with, may be gone the next moment.
func (o *opened) Lacks(i int) bool {
	o.settle()
	g, l := o.file.growing, o.file.layout
	if g != nil && !g.has(i) {
		return true
	}
	if o.piece == i {
		return false
	}
	if l.Length(i) > transfer.SmallFile {
		return g == nil && o.lacksLong(i)
	}
	o.piece = -1
	b := o.bytes(l.Length(i))
	if !o.read(b, i) || (g == nil && o.hasher.Subtree(b, l.Offset(i)) != o.manifest.Pieces[i]) {
		if o.whole != nil {
			o.shelf.drop(o.file)
		}
		return true
	}
	o.piece = i
	return false
}

// bytes is memory for n bytes of a piece. Everybody who fetches a file has it opened: none has more than its pieces take.
func (o *opened) bytes(n int64) []byte {
	if int64(len(o.buf)) < n {
		o.buf = make([]byte, n)
	}
	return o.buf[:n]
}

// read reads piece i, from wherever it is, and reports whether all of it was there.
func (o *opened) read(b []byte, i int) bool {
	off := o.file.layout.Offset(i)
	switch {
	case o.file.growing != nil:
		n, _ := o.file.growing.from.ReadAt(b, off)
		return n == len(b)
	case o.whole != nil:
		n, _ := o.whole.ReadAt(b, off)
		return n == len(b)
	}
	got, ok := o.shelf.cache.Get(o.manifest.Pieces[i], o.buf)
	return ok && copy(b, got) == len(b)
}

// lacksLong looks at a piece that is too long to be held in memory.
func (o *opened) lacksLong(i int) bool {
	if o.whole == nil {
		return true
	}
	got, err := manifest.Piece(&o.hasher, o.whole, o.file.layout, i, o.bytes(manifest.Step))
	if err != nil || got != o.manifest.Pieces[i] {
		o.shelf.drop(o.file)
		return true
	}
	return false
}

// ReadAt gives bytes of a piece that is not lacking.
func (o *opened) ReadAt(b []byte, off int64) (int, error) {
	l := o.file.layout
	if o.piece >= 0 && off>>l.Bits == int64(o.piece) {
		n := copy(b, o.buf[off-l.Offset(o.piece):l.Length(o.piece)])
		if n < len(b) {
			return n, io.ErrUnexpectedEOF
		}
		return n, nil
	}
	switch {
	case o.file.growing != nil:
		return o.file.growing.from.ReadAt(b, off)
	case o.whole == nil:
		return 0, fmt.Errorf("piece %d is not here", off>>l.Bits)
	}
	return o.whole.ReadAt(b, off)
}

// Close gives the file back.
func (o *opened) Close() error {
	if o.whole == nil {
		return nil
	}
	return o.whole.Close()
}
