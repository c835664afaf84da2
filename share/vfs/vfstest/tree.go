package vfstest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/vfs/vfstest/filestest"
)

// What the suite asks of a face. It has a package of its own, which nobody else need name.
type (
	Info    = filestest.Info    // see there
	Files   = filestest.Files   // see there
	Handles = filestest.Handles // see there
	Handle  = filestest.Handle  // see there
)

// Run puts a face through what programs do. make gives an empty folder; what can be held open is tested as that too.
func Run(t *testing.T, make func(t *testing.T) Files) { filestest.Run(t, make) }

// Tree shows a folder of a tree as [Handles].
type Tree struct {
	FS   *vfs.FS
	Root []string // peer, share, components
	Ctx  context.Context
}

var _ Handles = Tree{}

// told gives an error of the tree the meaning that package os has for it.
func told(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, vfs.ErrExists), errors.Is(err, vfs.ErrAlike), errors.Is(err, vfs.ErrNotEmpty):
		return errors.Join(fs.ErrExist, err)
	case peer.KindOf(err) == peer.NotFound:
		return errors.Join(fs.ErrNotExist, err)
	case peer.KindOf(err) == peer.Denied:
		return errors.Join(fs.ErrPermission, err)
	}
	return err
}

func (t Tree) walk(name string) (vfs.Attr, error) {
	p := t.Root
	if name != "" {
		p = append(p[:len(p):len(p)], strings.Split(name, "/")...)
	}
	a, err := t.FS.Walk(t.Ctx, p...)
	return a, told(err)
}

func (t Tree) parent(name string) (vfs.Ino, string, error) {
	a, err := t.walk(parent(name))
	return a.Ino, path.Base(name), err
}

func info(name string, a vfs.Attr) Info {
	return Info{Name: name, Dir: a.Dir, Size: a.Size, ModTime: a.ModTime}
}

// Stat is of [Files].
func (t Tree) Stat(name string) (Info, error) {
	a, err := t.walk(name)
	return info(path.Base(name), a), err
}

// List is of [Files].
func (t Tree) List(name string) (is []Info, err error) {
	a, err := t.walk(name)
	if err != nil {
		return nil, err
	}
	es, err := t.FS.List(t.Ctx, a.Ino)
	for _, e := range es {
		is = append(is, info(e.Name, e.Attr))
	}
	return is, told(err)
}

// Mkdir is of [Files].
func (t Tree) Mkdir(name string) error {
	p, base, err := t.parent(name)
	if err == nil {
		_, err = t.FS.Mkdir(t.Ctx, p, base)
	}
	return told(err)
}

// Remove is of [Files].
func (t Tree) Remove(name string) error {
	p, base, err := t.parent(name)
	if err != nil {
		return err
	}
	a, err := t.FS.Lookup(t.Ctx, p, base)
	if err == nil {
		err = t.FS.Remove(t.Ctx, p, base, a.Dir)
	}
	return told(err)
}

// Rename is of [Files].
func (t Tree) Rename(from, to string) error {
	p, name, err := t.parent(from)
	if err != nil {
		return err
	}
	q, newName, err := t.parent(to)
	if err == nil {
		err = t.FS.Rename(t.Ctx, p, name, q, newName, false)
	}
	return told(err)
}

// ReadFile is of [Files].
func (t Tree) ReadFile(name string) ([]byte, error) {
	a, err := t.walk(name)
	if err != nil {
		return nil, err
	}
	return t.ReadRange(name, 0, int(a.Size))
}

// ReadRange is of [Files].
func (t Tree) ReadRange(name string, off int64, n int) ([]byte, error) {
	f, err := t.Open(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, n)
	n, err = f.ReadAt(b, off)
	if err == io.EOF {
		err = nil
	}
	return b[:n], err
}

// WriteFile is of [Files].
func (t Tree) WriteFile(name string, data []byte) error {
	return t.write(name, data, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
}

// WriteNew is of [Files].
func (t Tree) WriteNew(name string, data []byte) error {
	return t.write(name, data, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
}

func (t Tree) write(name string, data []byte, flag int) error {
	f, err := t.Open(name, flag)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// SetTime is of [Files].
func (t Tree) SetTime(name string, modTime time.Time) error {
	return t.set(name, vfs.Set{ModTime: &modTime})
}

// Truncate is of [Handles].
func (t Tree) Truncate(name string, size int64) error { return t.set(name, vfs.Set{Size: &size}) }

// SetExec is of [Handles].
func (t Tree) SetExec(name string, exec bool) error { return t.set(name, vfs.Set{Exec: &exec}) }

func (t Tree) set(name string, s vfs.Set) error {
	a, err := t.walk(name)
	if err == nil {
		_, err = t.FS.SetAttr(t.Ctx, a.Ino, s)
	}
	return told(err)
}

// Exec is of [Handles].
func (t Tree) Exec(name string) (bool, error) {
	a, err := t.walk(name)
	return a.Exec, err
}

// Open is of [Handles].
func (t Tree) Open(name string, flag int) (Handle, error) {
	mode := vfs.Mode{
		Read: flag&(os.O_RDWR|os.O_WRONLY) != os.O_WRONLY, Write: flag&(os.O_RDWR|os.O_WRONLY) != 0,
		Append: flag&os.O_APPEND != 0, Truncate: flag&os.O_TRUNC != 0, Exclusive: flag&os.O_EXCL != 0,
	}
	var f *vfs.File
	if flag&os.O_CREATE != 0 {
		p, base, err := t.parent(name)
		if err != nil {
			return nil, err
		}
		if f, err = t.FS.Create(t.Ctx, p, base, mode); err != nil {
			return nil, told(err)
		}
	} else {
		a, err := t.walk(name)
		if err != nil {
			return nil, err
		}
		if f, err = t.FS.Open(t.Ctx, a.Ino, mode); err != nil {
			return nil, told(err)
		}
	}
	return &treeFile{f: f, ctx: t.Ctx}, nil
}

// treeFile is an open file as a program has it.
type treeFile struct {
	f   *vfs.File
	ctx context.Context

	mu     sync.Mutex
	at     int64
	closed bool
}

func (f *treeFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.f.ReadAt(f.ctx, b, off)
	if err == io.EOF {
		return n, err
	}
	return n, told(err)
}

func (f *treeFile) WriteAt(b []byte, off int64) (int, error) {
	n, err := f.f.WriteAt(f.ctx, b, off)
	return n, told(err)
}

func (f *treeFile) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.WriteAt(b, f.at)
	f.at += int64(n)
	return n, err
}

func (f *treeFile) Truncate(size int64) error {
	_, err := f.f.SetAttr(f.ctx, vfs.Set{Size: &size})
	return told(err)
}

// Flush is what a kernel does at each close of a descriptor.
func (f *treeFile) Flush() error { return told(f.f.Flush(f.ctx)) }

func (f *treeFile) Sync() error { return told(f.f.Sync(f.ctx)) }

func (f *treeFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.closed = true
	return told(errors.Join(f.f.Flush(f.ctx), f.f.Close()))
}

// Running gives a tree of a world that runs until the test ends, after all that was registered to be cleaned up later.
func Running(t testing.TB, w vfs.World) *vfs.FS {
	t.Helper()
	f, err := vfs.New(w, vfs.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}
