package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/zeebo/blake3"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
)

// Partial is a file that is being fetched. It has no journal: which of its pieces are there is found out by hashing them,
// which is quick, and right after any crash.
type Partial struct {
	dir    *Dir
	in     *folder
	name   string
	temp   string
	full   string
	lock   *os.File // keeps others from using the same file, until it has its name
	layout transfer.Layout
	meta   Meta
	before []extent

	use    sync.RWMutex // held to write, and exclusively to close: what comes late fails, and has ended when Close returns
	file   *os.File
	closed bool
}

// extent is a run of bytes that may hold data.
type extent struct{ from, to int64 }

// Partial opens the partial file for p, with what an earlier try left in it. key tells one origin from another, so that
// trying again finds the same file. While that is in use by somebody else, it is another one.
func (d *Dir) Partial(p []string, key string, l transfer.Layout, m Meta) (*Partial, error) {
	in, err := d.folder(p)
	if err != nil {
		return nil, fail("open", d.Name(p[:len(p)-1]), err)
	}
	pt := &Partial{dir: d, in: in, name: p[len(p)-1], full: d.Name(p), layout: l, meta: m}
	if err := pt.open(partialName(key)); err != nil {
		pt.Close()
		return nil, fail("write", pt.full, err)
	}
	return pt, nil
}

// partialName is how the partial file of a key is called.
func partialName(key string) string {
	sum := blake3.Sum256([]byte(key))
	return fmt.Sprintf("%s%x", tempPrefix, sum[:8])
}

// Begin makes a file that bytes are brought to before it is known what they are the beginning of; see [Dir.Adopt].
func (d *Dir) Begin(p []string) (*os.File, error) {
	in, err := d.folder(p)
	if err != nil {
		return nil, fail("open", d.Name(p[:len(p)-1]), err)
	}
	defer d.release(in)
	f, err := in.root.OpenFile(p[len(p)-1], os.O_RDWR|os.O_CREATE|os.O_EXCL, Meta{}.mode())
	return f, fail("write", d.Name(p), err)
}

// Adopt makes a file that Begin made the partial file of a key for p, in whose folder it is, unless there is one: that has what
// is right.
func (d *Dir) Adopt(p []string, key, begun string) error {
	in, err := d.folder(p)
	if err != nil {
		return fail("open", d.Name(p[:len(p)-1]), err)
	}
	defer d.release(in)
	temp := partialName(key)
	if _, err = in.root.Lstat(temp); errors.Is(err, fs.ErrNotExist) {
		err = in.root.Rename(begun, temp)
	}
	return fail("open", d.Name(p), err)
}

// Drop removes a file that Begin made, if it is there.
func (d *Dir) Drop(p []string) error {
	in, err := d.folder(p)
	if err != nil {
		return fail("open", d.Name(p[:len(p)-1]), err)
	}
	defer d.release(in)
	if err := in.root.Remove(p[len(p)-1]); !errors.Is(err, fs.ErrNotExist) {
		return fail("remove", d.Name(p), err)
	}
	return nil
}

func (p *Partial) open(temp string) error {
	var err error
	if p.temp, p.lock, err = claim(p.in.root, temp, p.meta.mode()); err != nil {
		return err
	}
	// A file of its own to write to, as closing it may tell of an error while the lock must stay.
	if p.file, err = p.in.root.OpenFile(p.temp, os.O_RDWR, 0); err != nil {
		return err
	}
	fi, err := p.file.Stat()
	if err != nil {
		return err
	}
	if old := fi.Mode(); old&0o100 != 0 != p.meta.Exec {
		if err := p.file.Chmod(p.meta.like(old)); err != nil {
			return err
		}
	}
	p.before = dataExtents(p.file, min(fi.Size(), p.layout.Size))
	if err := checkSpace(p.file, fi, p.layout.Size); err != nil {
		if fi.Size() == 0 {
			err = errors.Join(err, p.in.root.Remove(p.temp))
		}
		return err
	}
	return p.file.Truncate(p.layout.Size)
}

// Has reports whether piece i is here already, from an earlier try.
func (p *Partial) Has(h *manifest.Hasher, i int, want transfer.Hash, buf []byte) bool {
	from := p.layout.Offset(i)
	to := from + p.layout.Length(i)
	for _, e := range p.before {
		if e.from <= from && to <= e.to {
			got, err := manifest.Piece(h, p.file, p.layout, i, buf)
			return err == nil && got == want
		}
	}
	return false
}

// CopyFrom takes piece i from another file, if that has it at the same place.
func (p *Partial) CopyFrom(h *manifest.Hasher, old io.ReaderAt, i int, want transfer.Hash, buf []byte) bool {
	got, err := manifest.Piece(h, old, p.layout, i, buf)
	if err != nil || got != want {
		return false
	}
	src := io.NewSectionReader(old, p.layout.Offset(i), p.layout.Length(i))
	if _, err := io.CopyBuffer(io.NewOffsetWriter(p.file, p.layout.Offset(i)), src, buf); err != nil {
		return false
	}
	got, err = manifest.Piece(h, p.file, p.layout, i, buf)
	return err == nil && got == want
}

// WriteAt writes bytes of the file. After Close it fails.
func (p *Partial) WriteAt(b []byte, off int64) (int, error) {
	p.use.RLock()
	defer p.use.RUnlock()
	n, err := p.file.WriteAt(b, off)
	return n, fail("write", p.full, err)
}

// ReadAt reads bytes of the file, of which those of verified pieces are right. After Close and Promote it fails.
func (p *Partial) ReadAt(b []byte, off int64) (int, error) {
	p.use.RLock()
	defer p.use.RUnlock()
	return p.file.ReadAt(b, off)
}

// Promote gives the file, all of whose pieces are verified, its name. Without replace, whatever has that name stays and
// the error is a [peer.Conflict].
func (p *Partial) Promote(replace bool) error {
	p.use.Lock()
	defer p.use.Unlock()
	err := p.file.Close()
	if !renamesOpen {
		p.lock.Close()
	}
	if err == nil {
		err = promote(p.in.root, p.temp, p.name, p.meta, replace)
	}
	return fail("write", p.full, err)
}

// Close keeps what is here for another try.
func (p *Partial) Close() {
	p.use.Lock()
	defer p.use.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	if p.file != nil {
		p.file.Close() // what was written is judged by its hash alone
	}
	if p.lock != nil {
		p.lock.Close()
	}
	p.dir.release(p.in)
}

// Discard removes what is here.
func (p *Partial) Discard() error {
	defer p.Close()
	return p.in.root.Remove(p.temp)
}

// checkSpace refuses a file that can't fit, before its first byte.
func checkSpace(f *os.File, fi fs.FileInfo, size int64) error {
	free, ok := freeSpace(f)
	if need := size - allocated(fi); ok && need > free {
		return &peer.Error{Kind: peer.Other, Err: fmt.Errorf("it needs %d bytes more, and %d are free", need, free), Hint: "make room and run it again"}
	}
	return nil
}
