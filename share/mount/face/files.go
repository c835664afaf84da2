//go:build linux || darwin

package face

import (
	"context"
	"errors"
	"io"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/peerd/peerd/share/mount/known"
	"github.com/peerd/peerd/share/vfs"
)

// mode reads the flags of open(2).
func mode(flags uint32) vfs.Mode {
	access := flags & syscall.O_ACCMODE
	m := vfs.Mode{
		Read:     access != syscall.O_WRONLY,
		Write:    access == syscall.O_WRONLY || access == syscall.O_RDWR,
		Truncate: flags&syscall.O_TRUNC != 0,
	}
	m.Append = m.Write && flags&syscall.O_APPEND != 0
	return m
}

// opened gives a file to the kernel. Who opens it for writing counts as one who does already, which the handle's end takes back.
func (f *Face) opened(ctx context.Context, ino vfs.Ino, file *vfs.File, m vfs.Mode, out *fuse.OpenOut) fuse.Status {
	a := file.Attr()
	h := &handle{ino: ino, file: file, right: a.Right, atEnd: m.Append, writes: m.Write}
	if f.known.Stale(ino, a.Tag) {
		if err := f.pushes.Wait(ctx, ino); err != nil {
			f.release(h)
			return f.failed("open", ino, err)
		}
	}
	keep, direct := f.known.Opened(ino, h, a.Tag)
	if keep {
		out.OpenFlags |= fuse.FOPEN_KEEP_CACHE
	}
	if direct {
		out.OpenFlags |= fuse.FOPEN_DIRECT_IO
	}
	out.Fh = f.open.add(h)
	return fuse.OK
}

// Open opens a file, and empties it if that is asked for, in one step.
func (f *Face) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	c := newCall(cancel, in.Pid)
	defer c.end()
	ino, m := vfs.Ino(in.NodeId), mode(in.Flags)
	if m.Write || m.Truncate {
		m.Write = true
		if st := f.writable(c, ino); !st.Ok() {
			return st
		}
		if err := f.pushes.Write(c, ino); err != nil {
			return f.failed("open", ino, err)
		}
	}
	file, err := f.fs.Open(c, ino, m)
	if err != nil {
		if m.Write {
			f.pushes.Written(ino)
		}
		return f.failed("open", ino, err)
	}
	if st := f.opened(c, ino, file, m, out); !st.Ok() {
		return st
	}
	if !m.Write { // nothing is told by who closes what he only read; one that he made he closes as who wrote
		out.OpenFlags |= fuse.FOPEN_NOFLUSH
	}
	return fuse.OK
}

// Create makes a file and opens it. One that is there is opened, unless it must not be.
func (f *Face) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	c := newCall(cancel, in.Pid)
	defer c.end()
	m := mode(in.Flags)
	m.Exclusive, m.Exec = in.Flags&syscall.O_EXCL != 0, in.Mode&0o111 != 0
	file, m, st := f.create(c, in.NodeId, name, m, &out.EntryOut)
	if !st.Ok() {
		return st
	}
	ino := file.Attr().Ino
	if m.Write {
		if err := f.pushes.Write(c, ino); err != nil {
			_ = file.Close()
			f.known.Forget(ino, 1) // the kernel does not get to know it
			return f.failed("create", ino, err)
		}
	}
	if st = f.opened(c, ino, file, m, &out.OpenOut); !st.Ok() {
		f.known.Forget(ino, 1)
	}
	return st
}

// create makes a file, and tells the kernel of its name.
func (f *Face) create(c context.Context, id uint64, name string, m vfs.Mode, out *fuse.EntryOut) (*vfs.File, vfs.Mode, fuse.Status) {
	if len(name) > maxName {
		return nil, m, fuse.Status(syscall.ENAMETOOLONG)
	}
	turn := f.known.Now()
	parent, err := f.ino(c, id)
	if err != nil {
		return nil, m, f.failed("create", parent, err)
	}
	if st := f.writable(c, parent); !st.Ok() {
		return nil, m, st
	}
	at := known.Place{Parent: parent, Name: name}
	defer f.known.Begin(at)()
	file, err := f.fs.Create(c, parent, name, m)
	if err != nil {
		return nil, m, f.failed("create", parent, err)
	}
	f.entry(file.Attr(), at, turn, out)
	return file, m, fuse.OK
}

// Mknod makes an empty file. Nothing else can be made: a share holds files and folders.
func (f *Face) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	if kind := in.Mode & syscall.S_IFMT; kind != syscall.S_IFREG && kind != 0 {
		return fuse.EPERM
	}
	c := newCall(cancel, in.Pid)
	defer c.end()
	file, _, st := f.create(c, in.NodeId, name, vfs.Mode{Write: true, Exclusive: true, Exec: in.Mode&0o111 != 0}, out)
	if !st.Ok() {
		return st
	}
	err := file.Flush(c)
	if e := file.Close(); err == nil {
		err = e
	}
	if err != nil {
		return f.failed("create", vfs.Ino(out.NodeId), err)
	}
	return fuse.OK
}

// file gives an open file.
func (f *Face) file(fh uint64) (*handle, fuse.Status) {
	if h := f.open.get(fh); h != nil {
		return h, fuse.OK
	}
	return nil, fuse.EBADF
}

// Read reads into b, which is the kernel's to take once this returns.
func (f *Face) Read(cancel <-chan struct{}, in *fuse.ReadIn, b []byte) (fuse.ReadResult, fuse.Status) {
	h, st := f.file(in.Fh)
	if !st.Ok() {
		return nil, st
	}
	c := newCall(cancel, in.Pid)
	defer c.end()
	reads := &h.reads
	if h.writes {
		reads = nil
	}
	defer f.pushes.Read(h.ino, in.Fh, reads, in.Offset, uint64(in.Size))()
	if in.Size >= lentFrom {
		parts, done, err := h.file.Lend(c, int64(in.Size), int64(in.Offset))
		if err != nil {
			return nil, f.failed("read", h.ino, err)
		}
		if len(parts) > 0 {
			return &lent{parts, done}, fuse.OK
		}
	}
	b = b[:min(uint64(len(b)), uint64(in.Size))]
	n, err := h.file.ReadAt(c, b, int64(in.Offset))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, f.failed("read", h.ino, err)
	}
	return fuse.ReadResultData(b[:n]), fuse.OK
}

// lentFrom is how many bytes are given to the kernel where they lie in memory: to copy fewer costs less than to keep account.
const lentFrom = 64 << 10

// lent is bytes that the kernel takes from where they lie.
type lent struct {
	parts [][]byte
	done  func()
}

// Slices are the bytes.
func (l *lent) Slices() ([][]byte, fuse.Status) { return l.parts, fuse.OK }

// Size is how many they are.
func (l *lent) Size() (n int) {
	for _, p := range l.parts {
		n += len(p)
	}
	return n
}

// Bytes gives the bytes in one.
func (l *lent) Bytes(b []byte) ([]byte, fuse.Status) {
	b = b[:0]
	for _, p := range l.parts {
		b = append(b, p...)
	}
	return b, fuse.OK
}

// Done gives them back.
func (l *lent) Done() { l.done() }

// Write writes. What a program writes at the end of a file goes to where the end is now, which may be elsewhere than the kernel
// believes; what the kernel writes of memory goes to where it was.
func (f *Face) Write(cancel <-chan struct{}, in *fuse.WriteIn, b []byte) (uint32, fuse.Status) {
	h, st := f.file(in.Fh)
	if !st.Ok() {
		return 0, st
	}
	if f.o.ReadOnly {
		return 0, fuse.EROFS
	}
	c := newCall(cancel, in.Pid)
	defer c.end()
	file, err := h.file, error(nil)
	if in.WriteFlags&fuse.WRITE_CACHE != 0 {
		if file, err = h.anywhere(c, f.fs); err != nil {
			return 0, f.failed("write", h.ino, err)
		}
	}
	before := h.Tag()
	n, err := file.WriteAt(c, b, int64(in.Offset))
	if err != nil {
		return 0, f.failed("write", h.ino, err)
	}
	f.known.Wrote(h.ino, before, h.Tag())
	if h.atEnd && file == h.file && file.Attr().Size != int64(in.Offset)+int64(n) {
		f.known.Wrote(h.ino, h.Tag(), "") // the kernel took the end for another place, and has these bytes there
		f.notify.content(h.ino)
	}
	return uint32(n), fuse.OK
}

// Flush is told at each close(2), which gets its status. Who is told to stop while it waits for the peer need not wait: what
// was written is kept, and brought on.
func (f *Face) Flush(cancel <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	h, st := f.file(in.Fh)
	if !st.Ok() {
		return st
	}
	c := newCall(cancel, in.Pid)
	defer c.end()
	if err := h.file.Flush(c); err != nil && !errors.Is(err, context.Canceled) {
		return f.failed("close", h.ino, err)
	}
	return fuse.OK
}

// Fsync makes what was written last on this disk.
func (f *Face) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	h, st := f.file(in.Fh)
	if !st.Ok() {
		return st
	}
	c := newCall(cancel, in.Pid)
	defer c.end()
	if err := h.file.Sync(c); err != nil {
		return f.failed("sync", h.ino, err)
	}
	return fuse.OK
}

// Release is told when a file is closed for the last time.
func (f *Face) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	if h := f.open.remove(in.Fh); h != nil {
		f.release(h)
	}
}

func (f *Face) release(h *handle) {
	f.known.Closed(h.ino, h)
	if h.writes {
		f.pushes.Written(h.ino)
	}
	for _, file := range []*vfs.File{h.plain, h.file} {
		if file != nil {
			if err := file.Close(); err != nil {
				f.failed("close", h.ino, err)
			}
		}
	}
}

// Fallocate makes a file longer, as its plain form does. No room is set aside for it.
func (f *Face) Fallocate(cancel <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	if in.Mode != 0 {
		return fuse.Status(syscall.EOPNOTSUPP)
	}
	h, st := f.file(in.Fh)
	if !st.Ok() {
		return st
	}
	c := newCall(cancel, in.Pid)
	defer c.end()
	if st := f.changeable(c, h.ino, h); !st.Ok() {
		return st
	}
	if end := int64(in.Offset + in.Length); end > h.file.Attr().Size {
		before := h.Tag()
		if _, err := h.file.SetAttr(c, vfs.Set{Size: &end}); err != nil {
			return f.failed("fallocate", h.ino, err)
		}
		f.known.Wrote(h.ino, before, h.Tag())
	}
	return fuse.OK
}
