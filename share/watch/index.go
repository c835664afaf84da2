package watch

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/transfer"
)

// item is an entry without its path, 56 bytes and the name.
type item struct {
	name    string
	version transfer.Version
	size    int64
	sec     int64 // of the time of modification
	nsec    int32
	kind    share.EntryKind
	exec    bool
}

func itemOf(e share.Entry) item {
	return item{
		name: e.Name(), version: e.Version, size: e.Size, kind: e.Kind, exec: e.Exec,
		sec: e.ModTime.Unix(), nsec: int32(e.ModTime.Nanosecond()),
	}
}

func (it item) modTime() time.Time { return time.Unix(it.sec, int64(it.nsec)) }

func (it item) entry(p share.Path) share.Entry {
	return share.Entry{Path: p, Kind: it.kind, Size: it.size, ModTime: it.modTime(), Version: it.version, Exec: it.exec}
}

// folder is what is known of one folder.
type folder struct {
	items   []item          // sorted by name
	waiting map[string]wait // files that differ from items and may still be written to
	changed int64           // when something in it last changed, in Unix seconds
	rest    time.Time       // it is not looked at again before
	seen    bool            // it was looked at, so items says something
	watched bool
}

func (f *folder) find(name string) (int, bool) {
	return slices.BinarySearchFunc(f.items, name, func(it item, name string) int { return cmp.Compare(it.name, name) })
}

// index is what a share holds, as far as it was noticed.
type index struct {
	folders map[share.Path]*folder // the root is always one
	files   int
	bytes   int64
	unseen  int // folders that were not looked at yet
	watched int
	enter   []share.Path // folders to look at now: they are new here, or their own attributes changed
	stale   []share.Path // folders that were watched and are not there any more
}

func newIndex() *index {
	ix := &index{folders: map[share.Path]*folder{}}
	ix.add(share.Path{}, 0)
	return ix
}

func (ix *index) add(p share.Path, changed int64) {
	ix.folders[p] = &folder{changed: changed}
	ix.unseen++
	ix.enter = append(ix.enter, p)
}

func (ix *index) see(f *folder) {
	if !f.seen {
		f.seen = true
		ix.unseen--
	}
}

// unwatch takes down that a folder's watch, if it has one, is of no use any more.
func (ix *index) unwatch(p share.Path, f *folder) {
	if f.watched {
		f.watched = false
		ix.watched--
		ix.stale = append(ix.stale, p)
	}
}

// count takes an item into the totals, or with -1 out of them.
func (ix *index) count(it item, sign int) {
	if it.kind == share.File {
		ix.files += sign
		ix.bytes += int64(sign) * it.size
	}
}

// get is what is known of a path.
func (ix *index) get(p share.Path) (share.Entry, bool) {
	if p.IsRoot() {
		return share.Entry{Kind: share.Dir}, true
	}
	f := ix.folders[p.Dir()]
	if f == nil {
		return share.Entry{}, false
	}
	i, ok := f.find(p.Base())
	if !ok {
		return share.Entry{}, false
	}
	return f.items[i].entry(p), true
}

// tell is given what else a change of the index means.
type tell func(Kind, share.Entry)

func silent(Kind, share.Entry) {}

// below is a tell that is silent of p itself.
func below(p share.Path, also tell) tell {
	return func(kind Kind, e share.Entry) {
		if e.Path != p {
			also(kind, e)
		}
	}
}

// put sets what is known of a path. Folders on the way that are not known are made, and what is of another kind there is forgotten.
func (ix *index) put(e share.Entry, tell tell) {
	if e.Path.IsRoot() {
		return
	}
	dir := e.Path.Dir()
	f := ix.folders[dir]
	if f == nil {
		above := share.Entry{Path: dir, Kind: share.Dir, ModTime: e.ModTime}
		ix.put(above, tell)
		tell(Created, above)
		f = ix.folders[dir]
	}
	it := itemOf(e)
	it.name = strings.Clone(it.name) // else it keeps the whole path in memory
	i, known := f.find(it.name)
	switch {
	case known && f.items[i].kind != it.kind:
		ix.drop(e.Path, tell)
		f.items = slices.Insert(f.items, i, it)
	case known:
		ix.count(f.items[i], -1)
		f.items[i] = it
	default:
		f.items = slices.Insert(f.items, i, it)
	}
	ix.count(it, 1)
	if it.kind == share.Dir && ix.folders[e.Path] == nil {
		ix.add(e.Path, it.sec)
	}
	delete(f.waiting, it.name)
}

// drop forgets a path and all below, and tells of each, of children before their parents.
func (ix *index) drop(p share.Path, tell tell) {
	f := ix.folders[p.Dir()]
	if f == nil || p.IsRoot() {
		return
	}
	if i, ok := f.find(p.Base()); ok {
		it := f.items[i]
		f.items = slices.Delete(f.items, i, i+1)
		ix.forget(p, it, tell)
	}
}

// forget is drop for an item that its folder does not hold any more.
func (ix *index) forget(p share.Path, it item, tell tell) {
	ix.count(it, -1)
	f := ix.folders[p]
	if f != nil {
		for _, sub := range f.items {
			if q, err := p.Join(sub.name); err == nil {
				ix.forget(q, sub, tell)
			}
		}
		ix.see(f)
		ix.unwatch(p, f)
		delete(ix.folders, p)
	}
	tell(Removed, it.entry(p))
}

// move renames from to e.Path, with all below. What is there is forgotten without a word, what was below it (gone before) is told.
func (ix *index) move(from share.Path, e share.Entry, tell tell) {
	if _, inside := e.Path.Below(from); inside { // nothing moves there, so only a case may have changed
		ix.put(e, tell)
		return
	}
	ix.drop(e.Path, below(e.Path, tell))
	if e.Kind != share.Dir || ix.folders[from] == nil {
		ix.drop(from, below(from, tell))
		ix.put(e, tell)
		return
	}
	ix.put(e, tell) // an empty folder, which the old one replaces
	ix.see(ix.folders[e.Path])
	above := ix.folders[from.Dir()]
	if i, ok := above.find(from.Base()); ok {
		above.items = slices.Delete(above.items, i, i+1)
	}
	ix.rename(from, e.Path)
}

func (ix *index) rename(from, to share.Path) {
	f := ix.folders[from]
	ix.unwatch(from, f)
	delete(ix.folders, from)
	ix.folders[to] = f
	ix.enter = append(ix.enter, to)
	keep := f.items[:0]
	for _, it := range f.items {
		a, aerr := from.Join(it.name)
		b, berr := to.Join(it.name)
		if aerr != nil || berr != nil { // too deep or too long to be told of now
			ix.forget(a, it, silent)
			continue
		}
		keep = append(keep, it)
		if it.kind == share.Dir {
			ix.rename(a, b)
		}
	}
	f.items = keep
}
