package watch

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/transfer"
)

// disk is a model of a share: path → version, and 'd' for a folder.
type disk map[string]byte

func (d disk) list(dir string) (items []item) {
	for _, p := range slices.Sorted(maps.Keys(d)) {
		i := strings.LastIndexByte(p, '/')
		if p[:max(i, 0)] != dir {
			continue
		}
		it := item{name: p[i+1:], kind: share.File, size: int64(d[p]), version: transfer.Version{d[p]}}
		if d[p] == 'd' {
			it.kind, it.size = share.Dir, 0
		}
		items = append(items, it)
	}
	return items
}

// lookAll compares every folder with the index until none is left to enter, and gives the changes.
func lookAll(t *testing.T, ix *index, d disk, at time.Time, busy func(share.Path) bool) (changes []change) {
	todo := slices.SortedFunc(maps.Keys(ix.folders), func(a, b share.Path) int { return strings.Compare(a.String(), b.String()) })
	for ix.enter = nil; len(todo) > 0; todo, ix.enter = append(todo[1:], ix.enter...), nil {
		if f := ix.folders[todo[0]]; f != nil {
			c := comparison{ix: ix, path: todo[0], folder: f, at: at, busy: busy}
			changes = append(changes, c.compare(d.list(todo[0].String())).changes...)
			ix.see(f)
		}
	}
	return changes
}

func idle(share.Path) bool { return false }

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name          string
		before, after disk
		want          string
	}{
		{"nothing", disk{"a": 1}, disk{"a": 1}, ""},
		{"new", disk{}, disk{"a": 1, "b": 'd', "b/c": 1}, "created a, created b, created b/c"},
		{"changed", disk{"a": 1, "b": 1, "c": 1}, disk{"a": 1, "b": 2, "c": 1}, "changed b"},
		{"removed", disk{"a": 'd', "a/b": 'd', "a/b/c": 1, "d": 1}, disk{"d": 1}, "removed a/b/c, removed a/b, removed a"},
		{"file becomes folder", disk{"a": 1}, disk{"a": 'd', "a/b": 1}, "removed a, created a, created a/b"},
		{"folder becomes file", disk{"a": 'd', "a/b": 1}, disk{"a": 1}, "removed a/b, removed a, created a"},
		{"a name that begins like a folder's", disk{"a": 'd', "a/b": 1, "a.x": 1}, disk{"a.x": 1}, "removed a/b, removed a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ix := newIndex()
			lookAll(t, ix, c.before, time.Now(), idle)
			var got []string
			for _, ch := range lookAll(t, ix, c.after, time.Now(), idle) {
				got = append(got, ch.Kind.String()+" "+ch.Entry.Path.String())
			}
			if s := strings.Join(got, ", "); s != c.want {
				t.Errorf("got %q, want %q", s, c.want)
			}
			check(t, ix, c.after)
		})
	}
}

// check compares the index and all that it counts with the truth.
func check(t *testing.T, ix *index, d disk) {
	t.Helper()
	files, bytes, folders, watched, unseen := 0, int64(0), 1, 0, 0
	for p, v := range d {
		e, ok := ix.get(path(t, p))
		if !ok || (e.Kind == share.Dir) != (v == 'd') || e.Kind == share.File && e.Version != (transfer.Version{v}) {
			t.Fatalf("%s is %+v, want %d", p, e, v)
		}
		if v == 'd' {
			folders++
		} else {
			files, bytes = files+1, bytes+int64(v)
		}
	}
	items := 0
	for _, f := range ix.folders {
		items += len(f.items)
		if f.watched {
			watched++
		}
		if !f.seen {
			unseen++
		}
		if !slices.IsSortedFunc(f.items, func(a, b item) int { return strings.Compare(a.name, b.name) }) {
			t.Fatalf("not sorted: %+v", f.items)
		}
	}
	if ix.files != files || ix.bytes != bytes || len(ix.folders) != folders || items != len(d) || ix.watched != watched || ix.unseen != unseen {
		t.Fatalf("counts %d files, %d bytes, %d folders, %d items, %d watched, %d unseen; want %d, %d, %d, %d, %d, %d",
			ix.files, ix.bytes, len(ix.folders), items, ix.watched, ix.unseen, files, bytes, folders, len(d), watched, unseen)
	}
}

// TestQuiet follows a file that is written to.
func TestQuiet(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	name := func(version byte, mtime time.Duration) []item {
		at := start.Add(mtime)
		return []item{{name: "log", kind: share.File, version: transfer.Version{version}, sec: at.Unix(), nsec: int32(at.Nanosecond())}}
	}
	type look struct {
		at    time.Duration // since start
		seen  []item
		again time.Duration // since start, 0 for not
		tells string
	}
	const ms = time.Millisecond
	growing := []look{{0, name(1, 0), 200 * ms, ""}}
	for i := range 24 {
		at := time.Duration(i+1) * 200 * ms
		growing = append(growing, look{at, name(byte(i+2), at), min(at+200*ms, 5000*ms), ""})
	}
	for name, looks := range map[string][]look{
		"an old file that was moved here": {{0, name(1, -time.Hour), 0, "created"}},
		"written once":                    {{0, name(1, 0), 200 * ms, ""}, {200 * ms, name(1, 0), 0, "created"}},
		"looked at sooner":                {{0, name(1, 0), 200 * ms, ""}, {100 * ms, name(1, 0), 200 * ms, ""}, {200 * ms, name(1, 0), 0, "created"}},
		"gone before it was quiet":        {{0, name(1, 0), 200 * ms, ""}, {200 * ms, nil, 0, ""}},
		"written all the time": append(slices.Clone(growing),
			look{5000 * ms, name(99, 5000*ms), 0, "created"}, look{5100 * ms, name(100, 5100*ms), 5300 * ms, ""},
			look{5300 * ms, name(100, 5100*ms), 0, "changed"}),
		"with a time in the future": {{0, name(1, time.Hour), 200 * ms, ""}, {200 * ms, name(1, time.Hour), 0, "created"}},
	} {
		t.Run(name, func(t *testing.T) {
			ix := newIndex()
			for _, l := range looks {
				c := comparison{ix: ix, folder: ix.folders[share.Path{}], at: start.Add(l.at), busy: idle}
				out := c.compare(l.seen)
				told := ""
				for _, ch := range out.changes {
					told += ch.Kind.String()
				}
				again := time.Duration(0)
				if !out.again.IsZero() {
					again = out.again.Sub(start)
				}
				if told != l.tells || again != l.again {
					t.Errorf("at %v: told %q, again at %v; want %q, %v", l.at, told, again, l.tells, l.again)
				}
			}
			if n := len(ix.folders[share.Path{}].waiting); n != 0 {
				t.Errorf("%d still wait", n)
			}
		})
	}
}

// FuzzIndex notes and finds changes in any order, and compares the index, and a follower, with the truth.
func FuzzIndex(f *testing.F) {
	f.Add([]byte{0, 1, 1, 2, 2, 9, 3, 4, 5, 0, 17, 33, 4, 5, 6, 7, 8, 8, 8})
	f.Add([]byte("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		w := New(nil, "/", NewFeed(1<<16), Options{})
		w.state.Ready = true
		d := disk{}
		held := map[share.Path]share.Entry{}
		cursor := w.feed.Now()
		for i := 0; i+2 < min(len(ops), 300); i += 3 {
			edit(t, w, d, ops[i], name(ops[i+1]), name(ops[i+2]))
		}
		for _, c := range lookAll(t, w.ix, d, time.Now(), idle) {
			w.feed.Publish(c.Event)
		}
		check(t, w.ix, d)
		for ; cursor.Seq < w.feed.Now().Seq; cursor.Seq++ {
			if err := apply(held, w.feed.ring[cursor.Seq]); err != nil {
				t.Fatal(err)
			}
		}
		if len(held) != len(d) {
			t.Fatalf("a follower holds %v, want %v", held, d)
		}
		for p, v := range d {
			if e := held[path(t, p)]; (e.Kind == share.Dir) != (v == 'd') {
				t.Fatalf("a follower holds %+v at %s", e, p)
			}
		}
	})
}

// name is one of 64 paths, up to three deep.
func name(b byte) string {
	s := fmt.Sprint(b & 3)
	for b >>= 2; b&3 != 0; b >>= 2 {
		s += "/" + fmt.Sprint(b&3)
	}
	return s
}

// edit does one thing to the disk, if it can be done there, which is noted or found, now or later.
func edit(t *testing.T, w *Watcher, d disk, op byte, a, b string) {
	within := func(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }
	dirOf := func(p string) string { return p[:max(0, strings.LastIndexByte(p, '/'))] }
	entry := func(p string) share.Entry {
		e := share.Entry{Path: path(t, p), Kind: share.Dir, ModTime: time.Unix(0, 0), Version: transfer.Version{d[p]}}
		if d[p] != 'd' {
			e.Kind, e.Size = share.File, int64(d[p])
		}
		return e
	}
	note := op&8 != 0
	if up := dirOf(a); up != "" && d[up] != 'd' {
		return
	}
	switch op & 7 {
	case 0, 1, 2: // put
		if d[a] != 'd' {
			d[a] = 1 + op>>4
			if note {
				w.Note(Event{By: "p", Kind: Changed, Entry: entry(a)})
			}
		}
	case 3, 4: // mkdir
		if d[a] == 0 {
			d[a] = 'd'
			if note {
				w.Note(Event{By: "p", Kind: Created, Entry: entry(a)})
			}
		}
	case 5: // rm -r
		if d[a] != 0 {
			e := entry(a)
			maps.DeleteFunc(d, func(p string, _ byte) bool { return within(p, a) })
			if note {
				w.Note(Event{By: "p", Kind: Removed, Entry: e})
			}
		}
	case 6: // mv
		up := dirOf(b)
		if d[a] == 0 || within(b, a) || within(a, b) || up != "" && d[up] != 'd' || d[b] == 'd' || d[a] == 'd' && d[b] != 0 {
			return
		}
		for p, v := range maps.Clone(d) {
			if within(p, a) {
				delete(d, p)
				d[b+p[len(a):]] = v
			}
		}
		if _, known := w.ix.get(path(t, a)); note && known {
			w.Note(Event{By: "p", Kind: Moved, Entry: entry(b), From: path(t, a)})
		}
	case 7: // the disk is looked at
		for _, c := range lookAll(t, w.ix, d, time.Now(), idle) {
			w.feed.Publish(c.Event)
		}
	}
}
