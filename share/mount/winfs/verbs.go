//go:build windows

package winfs

import (
	"context"
	"time"

	"github.com/winfsp/cgofuse/fuse"

	"github.com/peerd/peerd/share/vfs"
)

// none is the number of a file that is not open.
const none = ^uint64(0)

// Getattr tells what a path is.
func (f *face) Getattr(path string, st *fuse.Stat_t, fh uint64) int {
	if h := f.file(fh); h != nil {
		f.fill(h.Attr(), st)
		return 0
	}
	return f.do(func(ctx context.Context) error {
		a, err := f.at(ctx, path)
		if err == nil {
			f.fill(a, st)
		}
		return err
	})
}

// Statfs tells of the room that there is.
func (f *face) Statfs(path string, st *fuse.Statfs_t) int {
	return f.do(func(ctx context.Context) error {
		const block = 4096
		*st = fuse.Statfs_t{Bsize: block, Frsize: block, Namemax: 255}
		a, err := f.at(ctx, path)
		if err != nil {
			return err
		}
		if s, err := f.fs.Space(ctx, a.Ino); err == nil {
			st.Blocks, st.Bfree = uint64(max(s.Total, 0))/block, uint64(max(s.Free, 0))/block
			st.Bavail = st.Bfree
		}
		return nil
	})
}

// Opendir opens a folder.
func (f *face) Opendir(path string) (int, uint64) {
	return f.do(func(ctx context.Context) error {
		a, err := f.at(ctx, path)
		if err == nil && !a.Dir {
			err = vfs.ErrNotDir
		}
		return err
	}), none
}

// Readdir lists a folder.
func (f *face) Readdir(path string, fill func(string, *fuse.Stat_t, int64) bool, _ int64, _ uint64) int {
	return f.do(func(ctx context.Context) error {
		a, err := f.at(ctx, path)
		if err != nil {
			return err
		}
		entries, err := f.fs.List(ctx, a.Ino)
		if err != nil {
			return err
		}
		var st fuse.Stat_t
		f.fill(a, &st)
		fill(".", &st, 0)
		fill("..", nil, 0)
		for _, e := range entries {
			f.fill(e.Attr, &st)
			if !fill(e.Name, &st, 0) {
				break
			}
		}
		return nil
	})
}

func mode(flags int) vfs.Mode {
	access := flags & fuse.O_ACCMODE
	return vfs.Mode{
		Read: access != fuse.O_WRONLY, Write: access != fuse.O_RDONLY, Append: flags&fuse.O_APPEND != 0 && access != fuse.O_RDONLY,
		Truncate: flags&fuse.O_TRUNC != 0, Exclusive: flags&fuse.O_EXCL != 0,
	}
}

// Open opens a file.
func (f *face) Open(path string, flags int) (code int, fh uint64) {
	fh = none
	code = f.do(func(ctx context.Context) error {
		m := mode(flags)
		m.Exclusive = false
		if m.Write && f.o.ReadOnly {
			return vfs.ErrReadOnly
		}
		a, err := f.at(ctx, path)
		if err != nil {
			return err
		}
		h, err := f.fs.Open(ctx, a.Ino, m)
		if err == nil {
			fh = f.add(h)
		}
		return err
	})
	return code, fh
}

// Create makes a file and opens it.
func (f *face) Create(path string, flags int, _ uint32) (code int, fh uint64) {
	fh = none
	code = f.do(func(ctx context.Context) error {
		parent, name, err := f.change(ctx, path)
		if err != nil {
			return err
		}
		m := mode(flags)
		m.Read, m.Write = true, true
		h, err := f.fs.Create(ctx, parent, name, m)
		if err == nil {
			fh = f.add(h)
		}
		return err
	})
	return code, fh
}

// Read reads.
func (f *face) Read(_ string, b []byte, off int64, fh uint64) (n int) {
	h := f.file(fh)
	if h == nil {
		return -fuse.EBADF
	}
	code := f.do(func(ctx context.Context) (err error) {
		n, err = readAll(h.ReadAt(ctx, b, off))
		return err
	})
	if code != 0 {
		return code
	}
	return n
}

// Write writes.
func (f *face) Write(_ string, b []byte, off int64, fh uint64) (n int) {
	h := f.file(fh)
	if h == nil {
		return -fuse.EBADF
	}
	code := f.do(func(ctx context.Context) (err error) {
		n, err = h.WriteAt(ctx, b, off)
		return err
	})
	if code != 0 {
		return code
	}
	return n
}

// Flush is told when a program closes a file.
func (f *face) Flush(_ string, fh uint64) int {
	h := f.file(fh)
	if h == nil {
		return 0
	}
	return f.do(h.Flush)
}

// Fsync makes what was written last on this disk.
func (f *face) Fsync(_ string, _ bool, fh uint64) int {
	h := f.file(fh)
	if h == nil {
		return 0
	}
	return f.do(h.Sync)
}

// Release is told when a file is closed for the last time.
func (f *face) Release(_ string, fh uint64) int {
	f.mu.Lock()
	h := f.open[fh]
	delete(f.open, fh)
	f.mu.Unlock()
	if h == nil {
		return 0
	}
	return f.do(func(context.Context) error { return h.Close() })
}

// set sets size, times or mode of an open file, or of what is at a path.
func (f *face) set(path string, fh uint64, s vfs.Set) int {
	return f.do(func(ctx context.Context) error {
		if f.o.ReadOnly {
			return vfs.ErrReadOnly
		}
		if h := f.file(fh); h != nil {
			_, err := h.SetAttr(ctx, s)
			return err
		}
		a, err := f.at(ctx, path)
		if err == nil {
			_, err = f.fs.SetAttr(ctx, a.Ino, s)
		}
		return err
	})
}

// Truncate sets a file's size.
func (f *face) Truncate(path string, size int64, fh uint64) int {
	return f.set(path, fh, vfs.Set{Size: &size})
}

// Utimens sets when a file was changed; when it was read is kept by nobody.
func (f *face) Utimens(path string, ts []fuse.Timespec) int {
	t := time.Now()
	if len(ts) > 1 {
		t = ts[1].Time()
	}
	if !vfs.Keeps(t) {
		return -fuse.EINVAL
	}
	return f.set(path, none, vfs.Set{ModTime: &t})
}

// Chmod changes nothing: what may be done is the right's to say.
func (f *face) Chmod(string, uint32) int { return 0 }

// Chown changes nothing either.
func (f *face) Chown(string, uint32, uint32) int { return 0 }

// Mkdir makes a folder.
func (f *face) Mkdir(path string, _ uint32) int {
	return f.do(func(ctx context.Context) error {
		parent, name, err := f.change(ctx, path)
		if err == nil {
			_, err = f.fs.Mkdir(ctx, parent, name)
		}
		return err
	})
}

// Unlink removes a file.
func (f *face) Unlink(path string) int { return f.remove(path, false) }

// Rmdir removes an empty folder.
func (f *face) Rmdir(path string) int { return f.remove(path, true) }

func (f *face) remove(path string, dir bool) int {
	return f.do(func(ctx context.Context) error {
		parent, name, err := f.change(ctx, path)
		if err == nil {
			err = f.fs.Remove(ctx, parent, name, dir)
		}
		return err
	})
}

// Rename moves a file or folder. WinFsp looks itself whether something must not be replaced.
func (f *face) Rename(from, to string) int {
	return f.do(func(ctx context.Context) error {
		a, name, err := f.change(ctx, from)
		if err != nil {
			return err
		}
		b, newName, err := f.change(ctx, to)
		if err == nil {
			err = f.fs.Rename(ctx, a, name, b, newName, false)
		}
		return err
	})
}
