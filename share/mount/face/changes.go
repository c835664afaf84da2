//go:build linux || darwin

package face

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/peerd/peerd/share/mount/known"
	"github.com/peerd/peerd/share/vfs"
)

// SetAttr sets size, time of change, and whether a file may be run. The other bits of a mode are what the right says, the owner
// is who mounted it, and no peer keeps when a file was read: to set those is no error where it changes nothing, or nothing that
// anybody would miss.
func (f *Face) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	c := newCall(cancel, in.Pid)
	defer c.end()
	ino, err := f.ino(c, in.NodeId)
	if err != nil {
		return f.failed("set", ino, err)
	}
	var h *handle
	if fh, ok := in.GetFh(); ok {
		h, _ = f.file(fh)
	}
	if st := f.changeable(c, ino, h); !st.Ok() {
		return st
	}
	if uid, ok := in.GetUID(); ok && uid != f.owner.Uid {
		return fuse.EPERM
	}
	if gid, ok := in.GetGID(); ok && gid != f.owner.Gid {
		return fuse.EPERM
	}
	if t, ok := in.GetMTime(); ok && !vfs.Keeps(t) {
		return fuse.EINVAL
	}
	if _, ok := in.GetSize(); ok {
		if err := f.pushes.Write(c, ino); err != nil {
			return f.failed("set", ino, err)
		}
		defer f.pushes.Written(ino)
	}
	a, err := f.setting(c, ino, h, in)
	if err != nil {
		return f.failed("set", ino, err)
	}
	f.attr(a, out)
	return fuse.OK
}

// setting sets what is wanted of what is open as h, or of a node.
func (f *Face) setting(ctx context.Context, ino vfs.Ino, h *handle, in *fuse.SetAttrIn) (vfs.Attr, error) {
	if h != nil {
		a := f.opening(h)
		if set := wanted(in, a); set != (vfs.Set{}) {
			if _, err := h.file.SetAttr(ctx, set); err != nil {
				return a, err
			}
			f.known.Wrote(ino, a.Tag, h.Tag())
		}
		return f.opening(h), nil
	}
	a, err := f.fs.Attr(ctx, ino)
	if err != nil {
		return a, err
	}
	if set := wanted(in, a); set != (vfs.Set{}) {
		before := a.Tag
		if a, err = f.fs.SetAttr(ctx, ino, set); err == nil {
			f.known.Wrote(ino, before, a.Tag)
		}
	}
	return a, err
}

// wanted is what a request asks for that a peer keeps, and is not so already.
func wanted(in *fuse.SetAttrIn, a vfs.Attr) (set vfs.Set) {
	if size, ok := in.GetSize(); ok {
		n := int64(size)
		set.Size = &n
	}
	if t, ok := in.GetMTime(); ok {
		set.ModTime = &t
	}
	if m, ok := in.GetMode(); ok && !a.Dir {
		if exec := m&0o111 != 0; exec != a.Exec {
			set.Exec = &exec
		}
	}
	return set
}

// Mkdir makes a folder.
func (f *Face) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	if len(name) > maxName {
		return fuse.Status(syscall.ENAMETOOLONG)
	}
	c := newCall(cancel, in.Pid)
	defer c.end()
	turn := f.known.Now()
	parent, err := f.ino(c, in.NodeId)
	if err != nil {
		return f.failed("mkdir", parent, err)
	}
	if st := f.writable(c, parent); !st.Ok() {
		return st
	}
	at := known.Place{Parent: parent, Name: name}
	defer f.known.Begin(at)()
	a, err := f.fs.Mkdir(c, parent, name)
	if err != nil {
		return f.failed("mkdir", parent, err)
	}
	f.entry(a, at, turn, out)
	return fuse.OK
}

// Unlink removes a file.
func (f *Face) Unlink(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return f.remove(cancel, in, name, false)
}

// Rmdir removes a folder that is empty.
func (f *Face) Rmdir(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return f.remove(cancel, in, name, true)
}

func (f *Face) remove(cancel <-chan struct{}, in *fuse.InHeader, name string, dir bool) fuse.Status {
	c := newCall(cancel, in.Pid)
	defer c.end()
	parent, err := f.ino(c, in.NodeId)
	if err != nil {
		return f.failed("remove", parent, err)
	}
	if st := f.writable(c, parent); !st.Ok() {
		return st
	}
	at := known.Place{Parent: parent, Name: name}
	defer f.known.Begin(at)()
	if err := f.fs.Remove(c, parent, name, dir); err != nil {
		return f.failed("remove", parent, err)
	}
	f.known.Removed(at)
	return fuse.OK
}

// Rename moves a file or folder. Two can't change places.
func (f *Face) Rename(cancel <-chan struct{}, in *fuse.RenameIn, name, newName string) fuse.Status {
	if len(newName) > maxName {
		return fuse.Status(syscall.ENAMETOOLONG)
	}
	if in.Flags&^renameNoReplace != 0 {
		return fuse.EINVAL
	}
	c := newCall(cancel, in.Pid)
	defer c.end()
	from, err := f.ino(c, in.NodeId)
	if err != nil {
		return f.failed("rename", from, err)
	}
	to, err := f.ino(c, in.Newdir)
	if err != nil {
		return f.failed("rename", to, err)
	}
	for _, ino := range []vfs.Ino{from, to} {
		if st := f.writable(c, ino); !st.Ok() {
			return st
		}
	}
	a, b := known.Place{Parent: from, Name: name}, known.Place{Parent: to, Name: newName}
	defer f.known.Begin(a, b)()
	if err := f.fs.Rename(c, from, name, to, newName, in.Flags&renameNoReplace != 0); err != nil {
		return f.failed("rename", from, err)
	}
	f.known.Moved(a, b)
	f.notify.name(b) // it may have gone beside what somebody else put there meanwhile
	return fuse.OK
}

// Link refuses: a file has one name.
func (f *Face) Link(<-chan struct{}, *fuse.LinkIn, string, *fuse.EntryOut) fuse.Status {
	return fuse.EPERM
}

// Symlink refuses: a share holds no links.
func (f *Face) Symlink(<-chan struct{}, *fuse.InHeader, string, string, *fuse.EntryOut) fuse.Status {
	return fuse.EPERM
}

// Readlink refuses: nothing is a link.
func (f *Face) Readlink(<-chan struct{}, *fuse.InHeader) ([]byte, fuse.Status) {
	return nil, fuse.EINVAL
}

// Ioctl knows none.
func (f *Face) Ioctl(<-chan struct{}, *fuse.IoctlIn, []byte, *fuse.IoctlOut, []byte) fuse.Status {
	return fuse.Status(syscall.ENOTTY)
}
