package vfs

import (
	"context"
	"io"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/vfs/content"
	"github.com/peerd/peerd/share/watch"
)

// Upload is a whole new content of a file, which takes its name only at Commit. It is for one goroutine.
type Upload struct {
	fs   *FS
	p    place
	name string
	c    *content.Content
	off  int64
	done bool
	sent bool // whatever its name is
}

// Upload begins one. Where a folder has the name it fails.
func (f *FS) Upload(ctx context.Context, parent Ino, name string) (*Upload, error) {
	p, err := f.creating(ctx, "write", parent, name)
	if err != nil {
		return nil, err
	}
	switch n, err := f.lookup(ctx, p, name); {
	case err == nil && n.Dir:
		return nil, fail("write", p.child(name), ErrIsDir)
	case err != nil && peer.KindOf(err) != peer.NotFound:
		return nil, err
	case err != nil:
		if err := f.free(ctx, "write", p, name, nil); err != nil {
			return nil, err
		}
	}
	u := &Upload{fs: f, p: p, name: name, c: content.New(f.journal, &f.budget, nil, content.State{}, salt())}
	if err := u.c.Create(time.Now()); err != nil {
		return nil, onDisk("write", p.child(name), err)
	}
	f.Hold(p.n.Ino) // the folder is found again at the end, however long that takes
	return u, nil
}

// Write adds bytes.
func (u *Upload) Write(b []byte) (int, error) {
	n, err := u.c.WriteAt(b, u.off, false, time.Now())
	u.off += int64(n)
	return n, onDisk("write", u.p.child(u.name), err)
}

// Commit gives the content its name, and has it delivered as [File.Flush] does. The zero modTime is now.
func (u *Upload) Commit(ctx context.Context, modTime time.Time) (Attr, error) {
	f := u.fs
	if u.done {
		return Attr{}, fail("write", u.p.child(u.name), ErrClosed)
	}
	p, err := f.creating(ctx, "write", u.p.n.Ino, u.name)
	if err != nil {
		return Attr{}, err
	}
	if !modTime.IsZero() {
		u.c.Set(&modTime, nil)
	}
	at := join(p.path, u.name)
	release, err := f.settle(ctx, p.pt, at)
	if err != nil {
		return Attr{}, err
	}
	b := &body{pt: p.pt, c: u.c, outcome: make(chan struct{}), since: time.Now()}
	f.mu.Lock()
	n, replaced := p.n.Child(u.name), false
	b.overlay = !u.sent && keepsLocked(u.name, n)
	switch {
	case n != nil && n.Dir:
		f.mu.Unlock()
		release()
		return Attr{}, fail("write", p.child(u.name), ErrIsDir)
	case n == nil:
		n, _ = f.tree.Add(p.n, u.name, false)
		f.tellName(n, p.n, u.name)
	default:
		b.base = n.Version
		st := u.c.State()
		exec := n.Exec
		old, written := n.Local.(*body)
		if written {
			b.base, exec = old.base, old.c.State().Exec
		}
		if exec != st.Exec {
			u.c.Set(nil, &exec)
		}
		if written {
			if replaced, err = f.replaceLocked(b, p, u.name, old); err != nil {
				f.mu.Unlock()
				release()
				return Attr{}, err
			}
			old.gone = true
			old.endAhead()
			f.unqueueLocked(old)
			f.restBodyLocked(old)
		}
		f.tellLocked(Change{What: Content, Ino: n.Ino})
	}
	b.n, n.Local, u.done = n, b, true
	if n.Changed(); replaced {
		b.flushed = b.c.State().Gen
		f.queueLocked(b, at, f.afterLocked(b))
	}
	f.mu.Unlock()
	release()
	f.Forget(p.n.Ino, 1)
	if err := f.flush(ctx, b, false); err != nil {
		return Attr{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if b.opens == 0 {
		b.c.Rest()
	}
	return f.attrLocked(n, p.pt, time.Now()), nil
}

// Abort drops it, unless it was committed.
func (u *Upload) Abort() {
	if !u.done {
		u.done = true
		u.c.Drop()
		u.fs.Forget(u.p.n.Ino, 1)
	}
}

// Copy copies a file over what is there: at its owner where both are in one share.
func (f *FS) Copy(ctx context.Context, from, to Ino, name string) error {
	p, err := f.place(from)
	if err != nil {
		return err
	}
	q, err := f.creating(ctx, "copy", to, name)
	if err != nil {
		return err
	}
	if p.n.Dir {
		return fail("copy", p.String(), ErrIsDir)
	}
	if err := f.may(ctx, "copy", p, false); err != nil {
		return err
	}
	if _, err := f.Attr(ctx, from); err != nil {
		return err
	}
	target, err := f.lookup(ctx, q, name)
	switch {
	case err == nil && target.Dir:
		return fail("copy", q.child(name), ErrIsDir)
	case err == nil && target == p.n:
		return nil
	case err != nil && peer.KindOf(err) != peer.NotFound:
		return err
	case err != nil:
		if err := f.free(ctx, "copy", q, name, nil); err != nil {
			return err
		}
	}
	f.mu.Lock()
	there := p.pt == q.pt && p.n.Local == nil && p.n.Known && (err != nil || target.Local == nil)
	base := change.Base{}
	if err == nil {
		base.Version = target.Version
	}
	f.mu.Unlock()
	if there {
		return f.copyThere(ctx, p, q, name, base)
	}
	return f.copyHere(ctx, p, q, name)
}

func (f *FS) copyThere(ctx context.Context, p, q place, name string, base change.Base) error {
	r, err := f.here(ctx, "copy", q, name)
	if err != nil {
		return err
	}
	at, err := q.path.Join(name)
	if err != nil {
		return err
	}
	long, end := context.WithTimeout(ctx, longPatience)
	defer end()
	f.mu.Lock()
	q.pt.expectLocked(at.String())
	f.mu.Unlock()
	c, err := r.Copy(long, p.path, at, base)
	err = f.answered(ctx, p.pt, "copy", q.child(name), err)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil || c.Conflict {
		f.doneLocked(q.pt, at.String(), expected{})
		if err == nil {
			f.conflicts++
			f.saidLocked(q.pt, q.n, c.Entry)
		}
		return err
	}
	f.saidLocked(q.pt, q.n, c.Entry)
	f.doneLocked(q.pt, at.String(), expected{kind: watch.Changed, version: c.Entry.Version})
	return nil
}

func (f *FS) copyHere(ctx context.Context, p, q place, name string) error {
	h, err := f.open(ctx, p, Mode{Read: true})
	if err != nil {
		return err
	}
	defer h.Close()
	u, err := f.Upload(ctx, q.n.Ino, name)
	if err != nil {
		return err
	}
	defer u.Abort()
	u.sent = !h.b.overlay // what an owner has, or will have, is not to be lost where it is moved by copying
	b := make([]byte, 1<<20)
	for off := int64(0); ; {
		n, err := h.ReadAt(ctx, b, off)
		if _, err := u.Write(b[:n]); err != nil {
			return err
		}
		off += int64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	a := h.Attr()
	u.c.Set(nil, &a.Exec)
	_, err = u.Commit(ctx, a.ModTime)
	return err
}
