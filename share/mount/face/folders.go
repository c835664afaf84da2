//go:build linux || darwin

package face

import (
	"context"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/peerd/peerd/share/mount/known"
	"github.com/peerd/peerd/share/vfs"
)

// watched is how fresh a folder must be at least for the kernel to keep its listing: an event tells then when it changes.
const watched = 2 * time.Second

// OpenDir opens a folder. Nothing is listed before it is read: the kernel may have the listing.
func (f *Face) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	c := newCall(cancel, in.Pid)
	defer c.end()
	ino, err := f.ino(c, in.NodeId)
	if err != nil {
		return f.failed("open", ino, err)
	}
	a, err := f.fs.Attr(c, ino)
	if err != nil {
		return f.failed("open", ino, err)
	}
	if !a.Dir {
		return fuse.ENOTDIR
	}
	live := a.Fresh > watched
	if live {
		out.OpenFlags |= fuse.FOPEN_CACHE_DIR
	}
	if f.known.Listing(ino, live) {
		out.OpenFlags |= fuse.FOPEN_KEEP_CACHE
	}
	out.Fh = f.open.add(&handle{ino: ino})
	return fuse.OK
}

// ReleaseDir closes a folder.
func (f *Face) ReleaseDir(in *fuse.ReleaseIn) { f.open.remove(in.Fh) }

// FsyncDir has nothing to do: who changes a name gets an answer when that lasts.
func (f *Face) FsyncDir(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.OK }

// ReadDir lists a folder, without what its entries are.
func (f *Face) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.list(cancel, in, func(e fuse.DirEntry, _ *vfs.Entry, _ known.Place, _ uint64) bool { return out.AddDirEntry(e) })
}

// ReadDirPlus lists a folder, and what its entries are, which the kernel knows from then on.
func (f *Face) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.list(cancel, in, func(d fuse.DirEntry, e *vfs.Entry, at known.Place, turn uint64) bool {
		to := out.AddDirLookupEntry(d)
		if to != nil && e != nil {
			f.entry(e.Attr, at, turn, to)
		}
		return to != nil
	})
}

// list gives the entries from an offset on, as long as they fit. An entry's offset is its place in the listing, which was made
// when the folder was read from its beginning; so it stays what it was while the folder changes.
func (f *Face) list(cancel <-chan struct{}, in *fuse.ReadIn, add func(fuse.DirEntry, *vfs.Entry, known.Place, uint64) bool) fuse.Status {
	h := f.open.get(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	c := newCall(cancel, in.Pid)
	defer c.end()
	entries, turn, err := f.listing(c, h, in.Offset == 0)
	if err != nil {
		return f.failed("list", h.ino, err)
	}
	for i := in.Offset; i < uint64(len(entries)+2); i++ {
		d := fuse.DirEntry{Off: i + 1, Mode: syscall.S_IFDIR, Ino: uint64(h.ino)}
		var e *vfs.Entry
		switch i {
		case 0:
			d.Name = "."
		case 1:
			d.Name, d.Ino = "..", fuse.FUSE_UNKNOWN_INO
		default:
			e = &entries[i-2]
			d.Name, d.Ino = e.Name, uint64(e.Ino)
			if !e.Dir {
				d.Mode = syscall.S_IFREG
			}
		}
		if !add(d, e, known.Place{Parent: h.ino, Name: d.Name}, turn) {
			break
		}
	}
	return fuse.OK
}

// listing gives what a folder holds, and the turn in which that was true: now, or when it was read first.
func (f *Face) listing(ctx context.Context, h *handle, anew bool) ([]vfs.Entry, uint64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.read && !anew {
		return h.entries, h.turn, nil
	}
	turn := f.known.Now()
	entries, err := f.fs.List(ctx, h.ino)
	if err != nil {
		return nil, 0, err
	}
	h.entries, h.read, h.turn = entries, true, turn
	return entries, turn, nil
}
