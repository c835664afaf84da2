package vfs

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs/content"
	"github.com/peerd/peerd/share/vfs/tree"
)

// File is an open file. It is safe for concurrent use.
type File struct {
	fs   *FS
	mode Mode
	b    *body
	done bool // guarded by FS.mu
}

// Open opens a file.
func (f *FS) Open(ctx context.Context, ino Ino, mode Mode) (*File, error) {
	p, err := f.place(ino)
	if err != nil {
		return nil, err
	}
	return f.open(ctx, p, mode)
}

func (f *FS) open(ctx context.Context, p place, mode Mode) (*File, error) {
	if p.n.Dir {
		return nil, fail("open", p.String(), ErrIsDir)
	}
	if err := f.may(ctx, "open", p, mode.Write); err != nil {
		return nil, err
	}
	if _, err := f.Attr(ctx, p.n.Ino); err != nil {
		return nil, err
	}
	f.mu.Lock()
	b := f.bodyLocked(p)
	f.openedLocked(b, mode)
	f.mu.Unlock()
	h := &File{fs: f, mode: mode, b: b}
	if mode.Truncate && mode.Write {
		if _, err := h.SetAttr(ctx, Set{Size: new(int64)}); err != nil {
			_ = h.Close()
			return nil, err
		}
	}
	return h, nil
}

// may says why something in a share can't be looked at, or with write changed.
func (f *FS) may(ctx context.Context, op string, p place, write bool) error {
	if p.pt == nil {
		return fail(op, p.String(), ErrLocal)
	}
	r, err := f.enter(ctx, op, p.pt)
	if err == nil && write && r.Right() < share.Full {
		f.askRight(p.pt)
		err = fail(op, p.String(), ErrReadOnly)
	}
	return err
}

// bodyLocked gives the bytes of a file as they are now.
func (f *FS) bodyLocked(p place) *body {
	n := p.n
	if b, ok := n.Local.(*body); ok {
		return b
	}
	tag := tagLocked(n)
	for _, b := range f.clean[n.Ino] {
		if b.tag == tag {
			return b
		}
	}
	b := &body{pt: p.pt, n: n, base: n.Version, tag: tag, outcome: make(chan struct{}), since: time.Now(), overlay: keepsLocked(n.Name(), n)}
	b.src = f.sourceLocked(p.pt, n, n.Facts, tag)
	st := content.State{Size: n.Size, ModTime: time.Unix(0, n.ModTime), Exec: n.Exec}
	b.c = content.New(f.journal, &f.budget, b.src, st, salt())
	f.clean[n.Ino] = append(f.clean[n.Ino], b)
	return b
}

func (f *FS) openedLocked(b *body, mode Mode) {
	b.opens++
	b.n.Opens++
	if mode.Write {
		if r := b.pt.remote; b.writers == 0 && r != nil && b.share != (share.ID{}) {
			b.anew, b.opened = b.share != r.ID(), b.c.State().Bytes
		}
		if b.writers++; b.writers == 1 && !b.overlay {
			var ctx context.Context
			ctx, b.lock = context.WithCancel(f.base)
			n, pt := b.n, b.pt
			f.taskLocked(func() { f.showLock(ctx, n, pt) })
		}
	}
}

// WorkOn tells others that somebody here works on a file, as it is told of one that is open for writing, until ctx ends. Nobody is
// kept from anything by it.
func (f *FS) WorkOn(ctx context.Context, ino Ino) {
	f.Hold(ino)
	defer f.Forget(ino, 1)
	if p, err := f.place(ino); err == nil && p.pt != nil {
		f.showLock(ctx, p.n, p.pt)
	}
}

// showLock tells others that somebody here works on a file, if that lasts for long enough.
func (f *FS) showLock(ctx context.Context, n *tree.Node, pt *point) {
	const after = 2 * time.Second
	t := time.NewTimer(after)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return
	case <-t.C:
	}
	for ctx.Err() == nil {
		f.mu.Lock()
		p, err := f.placeLocked(n)
		there := n.Known
		f.mu.Unlock()
		if r, e := f.enter(ctx, "lock", pt); err == nil && e == nil && there {
			for range r.Lock(ctx, p.path) {
			}
		}
		pause := 10 * time.Second
		if !there { // it is on its way to its owner
			pause = time.Second
		}
		t.Reset(pause)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
}

// Create makes a file and opens it; what is there is opened, unless mode is Exclusive.
func (f *FS) Create(ctx context.Context, parent Ino, name string, mode Mode) (*File, error) {
	p, err := f.creating(ctx, "create", parent, name)
	if err != nil {
		return nil, err
	}
	for {
		n, err := f.lookup(ctx, p, name)
		switch {
		case err == nil && mode.Exclusive:
			return nil, fail("create", p.child(name), ErrExists)
		case err == nil:
			q, err := f.place(n.Ino)
			if err != nil {
				continue // it went meanwhile
			}
			return f.open(ctx, q, mode)
		case peer.KindOf(err) != peer.NotFound:
			return nil, err
		}
		if err := f.free(ctx, "create", p, name, nil); err != nil {
			return nil, err
		}
		b := &body{pt: p.pt, outcome: make(chan struct{}), since: time.Now(), overlay: kept(name)}
		b.c = content.New(f.journal, &f.budget, nil, content.State{Exec: mode.Exec}, salt())
		if err := b.c.Create(time.Now()); err != nil {
			return nil, onDisk("create", p.child(name), err)
		}
		f.mu.Lock()
		if p.n.Child(name) != nil {
			f.mu.Unlock()
			b.c.Drop()
			continue
		}
		n, _ = f.tree.Add(p.n, name, false)
		b.n, n.Local = n, b
		f.openedLocked(b, mode)
		f.tellName(n, p.n, name)
		f.mu.Unlock()
		return &File{fs: f, mode: mode, b: b}, nil
	}
}

// creating gives the folder that a name is about to be made in.
func (f *FS) creating(ctx context.Context, op string, parent Ino, name string) (place, error) {
	p, err := f.place(parent)
	switch {
	case err != nil:
		return p, err
	case !p.n.Dir:
		return p, fail(op, p.String(), ErrNotDir)
	}
	if err := f.may(ctx, op, p, true); err != nil {
		return p, err
	}
	if len(name) > share.MaxComponent {
		return p, fail(op, p.String(), ErrTooLong)
	}
	if share.CheckCreate(name) != nil {
		return p, fail(op, p.child(name), ErrName)
	}
	if _, err := p.path.Join(name); err != nil {
		return p, fail(op, p.child(name), ErrTooLong)
	}
	return p, nil
}

// path is how the file is called in messages.
func (h *File) path() string {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if p, err := h.fs.placeLocked(h.b.n); err == nil {
		return p.String()
	}
	return h.b.pt.label()
}

// ReadAt reads by the rules of [io.ReaderAt].
func (h *File) ReadAt(ctx context.Context, b []byte, off int64) (n int, err error) {
	err = h.read(ctx, func(ctx context.Context) error {
		n, err = h.b.c.ReadAt(ctx, b, off)
		return err
	})
	return n, err
}

// Lend gives up to n bytes from off on as ReadAt reads them, but where they lie in memory, in order. They are not written to, and
// stay as they are until done is called, once. Where there are no parts and no error, they are to be read.
func (h *File) Lend(ctx context.Context, n, off int64) (parts [][]byte, done func(), err error) {
	err = h.read(ctx, func(ctx context.Context) error {
		parts, done, err = h.b.c.Lend(ctx, n, off)
		return err
	})
	return parts, done, err
}

// read has something read, for as long as it is worth while to wait.
func (h *File) read(ctx context.Context, do func(context.Context) error) error {
	r, err := h.fs.enter(ctx, "read", h.b.pt)
	if err != nil && !known(err) {
		return err
	}
	patience := readPatience
	if r == nil || r.Away() || h.b.vainly(time.Now()) { // what is in a cache is had at once
		patience = 50 * time.Millisecond
	}
	short := &limited{Context: ctx, patience: patience}
	defer short.end()
	err = do(short)
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		if patience == readPatience && errors.Is(short.Err(), context.DeadlineExceeded) {
			h.b.vain.Store(time.Now().Add(silence).UnixNano())
		}
		err = h.fs.answered(ctx, h.b.pt, "read", h.path(), err)
		if k := peer.KindOf(err); k == peer.Conflict || k == peer.NotFound {
			h.fs.outdated(h.b)
		}
	}
	return err
}

// outdated has a file asked about anew of which the owner does not have the version any more that is known here. Where the owner tells of
// changes, that one is on its way.
func (f *FS) outdated(b *body) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := b.n
	if n.Parent() == nil || n.Seen == 0 || tagLocked(n) != b.tag || b.pt.toldLocked(n, time.Now()) {
		return
	}
	n.Epoch, n.Seen = 0, 0
	n.Parent().Folder().Seen = 0
	f.tellLocked(Change{What: Content, Ino: n.Ino})
}

// WriteAt writes; off is not looked at with Append.
func (h *File) WriteAt(ctx context.Context, b []byte, off int64) (int, error) {
	if err := h.mayWrite(ctx, "write"); err != nil {
		return 0, err
	}
	n, err := h.b.c.WriteAt(b, off, h.mode.Append, time.Now())
	h.fs.mu.Lock()
	h.fs.dirtiedLocked(h.b)
	h.fs.aheadLocked(h.b)
	if e := h.fs.amendLocked(h.b, false); err == nil {
		err = e
	}
	h.fs.mu.Unlock()
	if err != nil {
		err = onDisk("write", h.path(), err)
	}
	return n, err
}

// amendLocked has the journal know which parts were written of a file that waits already and still shows parts of its base: a
// crash would mix them with what was written before. So it does when the file was cut: what is shorter for no reason is not delivered.
func (f *FS) amendLocked(b *body, cut bool) error {
	const few = 128 // a record says all of them
	_, waits := b.pt.bodies[b.c.ID()]
	waits = waits || b.overlay && b.flushed != 0
	if cut = cut && waits; b.gone || !cut && (!b.parts || b.c.Ranges() > few) {
		return nil
	}
	p, err := f.placeLocked(b.n)
	if err != nil {
		return nil
	}
	return f.recordLocked(b, p)
}

// mayWrite says why the file can't be written.
func (h *File) mayWrite(ctx context.Context, op string) error {
	if !h.mode.Write {
		return fail(op, h.path(), ErrReadOnly)
	}
	r, err := h.fs.enter(ctx, op, h.b.pt)
	switch {
	case err != nil && !known(err):
		return err
	case r != nil && r.Right() < share.Full:
		h.fs.askRight(h.b.pt)
		return fail(op, h.path(), ErrReadOnly)
	}
	return nil
}

// dirtiedLocked says that a file shows what was written here.
func (f *FS) dirtiedLocked(b *body) {
	f.clean[b.n.Ino] = slices.DeleteFunc(f.clean[b.n.Ino], func(x *body) bool { return x == b })
	if len(f.clean[b.n.Ino]) == 0 {
		delete(f.clean, b.n.Ino)
	}
	if b.n.Local == nil && !b.gone && b.n.Parent() != nil && b.dirty() {
		b.n.Local = b
	}
	if b.empty { // who writes to it will close it
		b.empty = false
		if it, waits := b.pt.queue.Get(b.c.ID()); waits && b.writers > 0 {
			b.pt.queue.Set(it.ID, it.Path, later())
		}
	}
	b.n.Changed()
}

// Attr tells of the file as who has it open sees it.
func (h *File) Attr() Attr {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	a := h.fs.attrLocked(h.b.n, h.b.pt, time.Now())
	h.b.show(&a)
	return a
}

// SetAttr sets size, times and mode.
func (h *File) SetAttr(ctx context.Context, s Set) (Attr, error) {
	if s.Size != nil {
		if err := h.mayWrite(ctx, "truncate"); err != nil {
			return Attr{}, err
		}
		if *s.Size < 0 {
			return Attr{}, fail("truncate", h.path(), ErrName)
		}
		if st := h.b.c.State(); st.Size != *s.Size || st.Gen == 0 {
			if err := h.b.c.Truncate(*s.Size, time.Now()); err != nil {
				return Attr{}, onDisk("truncate", h.path(), err)
			}
		}
	}
	h.fs.mu.Lock()
	h.fs.dirtiedLocked(h.b)
	err := error(nil)
	if s.Size != nil {
		err = h.fs.amendLocked(h.b, true)
	}
	h.fs.mu.Unlock()
	if err != nil {
		return Attr{}, onDisk("truncate", h.path(), err)
	}
	if err := h.fs.setFacts(ctx, h.b, s); err != nil {
		return Attr{}, err
	}
	return h.Attr(), nil
}

// Sync makes what was written last on this disk, and sends it on its way.
func (h *File) Sync(ctx context.Context) error {
	before := h.b.c.State().Bytes
	err := h.b.c.Sync()
	if err == nil {
		if err := h.fs.flush(ctx, h.b, true); err != nil {
			return err
		}
		if h.b.c.State().Bytes != before { // the journal may know what was written meanwhile
			err = h.b.c.Sync()
		}
	}
	if err == nil {
		err = h.fs.journal.Sync(h.b.c.ID())
	}
	return onDisk("sync", h.path(), err)
}

// Flush is told at each close of a descriptor: what was written will be delivered, whatever happens here. An error says that the
// owner refused it; it is kept and tried again.
func (h *File) Flush(ctx context.Context) error {
	if !h.mode.Write {
		return nil
	}
	return h.fs.flush(ctx, h.b, false)
}

// Close is the last that is done with a File.
func (h *File) Close() error {
	f, b := h.fs, h.b
	f.mu.Lock()
	if h.done {
		f.mu.Unlock()
		return fail("close", b.pt.label(), ErrClosed)
	}
	h.done = true
	if h.mode.Write {
		if b.writers--; b.writers == 0 && b.lock != nil {
			b.lock()
			b.lock = nil
		}
		b.grow()
	}
	f.mu.Unlock()
	err := f.journalled(b)
	f.mu.Lock()
	defer f.mu.Unlock()
	b.opens--
	b.n.Opens--
	f.restBodyLocked(b)
	f.tree.Forget(b.n)
	return err
}

// restBodyLocked gives up what nobody needs of a file's bytes.
func (f *FS) restBodyLocked(b *body) {
	if b.opens > 0 || b.sending != 0 {
		return
	}
	f.clean[b.n.Ino] = slices.DeleteFunc(f.clean[b.n.Ino], func(x *body) bool { return x == b })
	if len(f.clean[b.n.Ino]) == 0 {
		delete(f.clean, b.n.Ino)
	}
	if b.dirty() && !b.gone || b.overlay && !b.gone {
		b.c.Rest()
		return
	}
	if b.n.Local == b {
		b.n.Local = nil
	}
	f.releaseLocked(b.src)
	b.src = nil
	b.endAhead()
	b.c.Drop()
}
