//go:build linux || darwin

package face

import (
	"cmp"
	"context"
	"slices"
	"sort"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/peerd/peerd/share/mount/known"
	"github.com/peerd/peerd/share/vfs"
)

// OpenDir has the kernel open folders by itself from now on, where it can: that saves two requests per folder, and what it once read of one
// it keeps until it is told to drop it.
func (f *Face) OpenDir(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status {
	if f.unasked {
		return fuse.ENOSYS
	}
	return fuse.OK
}

// ReleaseDir closes a folder, of which nothing was opened.
func (f *Face) ReleaseDir(*fuse.ReleaseIn) {}

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

// The places of a folder's own name and its parent's in a listing. An entry's is behind them, by its node: so it has the same
// place in every listing, and none is told of twice or left out since others come or go meanwhile.
const (
	itself = 1 + iota
	above
)

// list gives the entries behind a place, as long as they fit. The kernel knows that it has all when there is none.
func (f *Face) list(cancel <-chan struct{}, in *fuse.ReadIn, add func(fuse.DirEntry, *vfs.Entry, known.Place, uint64) bool) fuse.Status {
	c := newCall(cancel, in.Pid)
	defer c.end()
	ino, err := f.ino(c, in.NodeId)
	if err != nil {
		return f.unlisted(ino, err)
	}
	l, err := f.listings.get(ino, in.Offset == 0, func() (*listing, error) { return f.listing(c, ino) })
	if err != nil {
		return f.unlisted(ino, err)
	}
	given, room := 0, true
	give := func(d fuse.DirEntry, e *vfs.Entry) {
		if room = room && add(d, e, known.Place{Parent: ino, Name: d.Name}, l.turn); room {
			given++
		}
	}
	if in.Offset < itself {
		give(fuse.DirEntry{Name: ".", Off: itself, Mode: syscall.S_IFDIR, Ino: uint64(ino)}, nil)
	}
	if in.Offset < above {
		give(fuse.DirEntry{Name: "..", Off: above, Mode: syscall.S_IFDIR, Ino: fuse.FUSE_UNKNOWN_INO}, nil)
	}
	for entries := l.behind(in.Offset); room && len(entries) > 0; entries = entries[1:] {
		e := &entries[0]
		d := fuse.DirEntry{Name: e.Name, Off: uint64(e.Ino) + above, Mode: syscall.S_IFREG, Ino: uint64(e.Ino)}
		if e.Dir {
			d.Mode = syscall.S_IFDIR
		}
		give(d, e)
	}
	end := given == 0
	if f.known.Listed(ino, l.turn, l.told, end) {
		f.notify.listing(ino)
	}
	if end {
		f.listings.drop(ino)
	}
	return fuse.OK
}

// unlisted says why a folder can't be listed, and that never with ENOENT, which C libraries take for the end of a folder, see readdir(3): one
// that is not there any more would look empty, and a program that copies it would remove all from the copy.
func (f *Face) unlisted(ino vfs.Ino, err error) fuse.Status {
	st := f.failed("list", ino, err)
	if st == fuse.ENOENT {
		st = fuse.Status(syscall.ESTALE)
	}
	return st
}

// listing makes the listing of a folder.
func (f *Face) listing(ctx context.Context, ino vfs.Ino) (*listing, error) {
	l := &listing{turn: f.known.Now()}
	var err error
	if l.entries, err = f.fs.List(ctx, ino); err != nil {
		return nil, err
	}
	l.told = f.fs.Told(ino)
	byNode := func(a, b vfs.Entry) int { return cmp.Compare(a.Ino, b.Ino) }
	if !slices.IsSortedFunc(l.entries, byNode) {
		l.entries = slices.SortedFunc(slices.Values(l.entries), byNode)
	}
	return l, nil
}

// listing is what a folder held in a turn.
type listing struct {
	entries []vfs.Entry // sorted by their nodes; not to be changed
	turn    uint64
	told    bool // events tell of what changed since
}

// behind gives the entries behind a place.
func (l *listing) behind(place uint64) []vfs.Entry {
	i := sort.Search(len(l.entries), func(i int) bool { return uint64(l.entries[i].Ino)+above > place })
	return l.entries[i:]
}

// maxListings is how many folders may be read at once without making a listing anew for each part.
const maxListings = 64

// listings are those that are being read. The zero listings are none.
type listings struct {
	mu   sync.Mutex
	all  map[vfs.Ino]*listing
	used []vfs.Ino // oldest first
}

// get gives the listing of a folder that is being read, which is made if there is none, or it shall be anew.
func (ls *listings) get(ino vfs.Ino, anew bool, list func() (*listing, error)) (*listing, error) {
	ls.mu.Lock()
	l := ls.all[ino]
	ls.mu.Unlock()
	if l != nil && !anew {
		return l, nil
	}
	l, err := list()
	if err != nil {
		return nil, err
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.dropLocked(ino)
	if len(ls.used) == maxListings {
		ls.dropLocked(ls.used[0])
	}
	if ls.all == nil {
		ls.all = map[vfs.Ino]*listing{}
	}
	ls.all[ino] = l
	ls.used = append(ls.used, ino)
	return l, nil
}

// drop forgets a listing that was read to its end.
func (ls *listings) drop(ino vfs.Ino) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.dropLocked(ino)
}

func (ls *listings) dropLocked(ino vfs.Ino) {
	if _, ok := ls.all[ino]; ok {
		delete(ls.all, ino)
		ls.used = slices.DeleteFunc(ls.used, func(x vfs.Ino) bool { return x == ino })
	}
}
