package remote_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/local"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/servetest"
	"github.com/peerd/peerd/transfer"
)

// writer is a peer with the full right to docs, and files of its own to put there.
type writer struct {
	t       *testing.T
	w       *servetest.World
	host    *host.Host
	client  *remote.Client
	fs      *remote.FS
	uploads *serve.Uploads
	dir     string
	files   *local.FS
}

func newWriter(t *testing.T, w *servetest.World, h *host.Host) *writer {
	t.Helper()
	w.Offers.Change("docs", func(o *serve.Offer) { o.Open = share.Full })
	c := client(t, w, h, t.TempDir())
	a, err := c.Access(t.Context(), w.Owner.ID(), "docs")
	if err != nil || a.Right != share.Full {
		t.Fatal(a, err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	files, err := local.New(dir, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &writer{t: t, w: w, host: h, client: c, fs: c.FS(a, "//owner/docs"), uploads: w.Uploads(h), dir: dir, files: files}
}

// local makes a file to put.
func (wr *writer) local(name string, bytes []byte) {
	wr.t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(wr.dir, name)), 0o700); err != nil {
		wr.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(wr.dir, name), bytes, 0o600); err != nil {
		wr.t.Fatal(err)
	}
}

// item is a local file as it is put at the same path.
func (wr *writer) item(number uint64, name string, base change.Base) remote.PutItem {
	wr.t.Helper()
	p := servetest.Path(wr.t, name)
	e, err := wr.files.Stat(wr.t.Context(), p)
	if err != nil {
		wr.t.Fatal(err)
	}
	return remote.PutItem{Number: number, Path: p, Size: e.Size, ModTime: e.ModTime, Base: base, Dir: e.Kind == share.Dir,
		Open: func(ctx context.Context) (share.OpenFile, error) { return wr.files.Open(ctx, p) }}
}

// report keeps what a put tells.
type report struct {
	mu         sync.Mutex
	done       map[uint64]remote.Changed
	bytes, had int64
	sums       func(bytes int64) // may be nil
}

func (r *report) Put(n uint64, c remote.Changed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, twice := r.done[n]; twice {
		panic("told twice")
	}
	r.done[n] = c
}

func (r *report) Sums(bytes, had int64) {
	r.mu.Lock()
	r.bytes, r.had = bytes, had
	r.mu.Unlock()
	if r.sums != nil {
		r.sums(bytes)
	}
}

// put puts items, under a name that finds what came before.
func (wr *writer) put(ctx context.Context, name string, items ...remote.PutItem) (*report, error) {
	r := &report{done: make(map[uint64]remote.Changed)}
	return r, wr.putTo(ctx, name, r, each(items...))
}

func (wr *writer) putTo(ctx context.Context, name string, r *report, items iter.Seq2[remote.PutItem, error]) error {
	up := wr.uploads.Begin(wr.w.Owner.ID(), name)
	defer up.Close()
	return wr.fs.Put(ctx, up, items, r)
}

func each(items ...remote.PutItem) iter.Seq2[remote.PutItem, error] {
	return func(yield func(remote.PutItem, error) bool) {
		for _, it := range items {
			if !yield(it, nil) {
				return
			}
		}
	}
}

// there is what lies at a path of docs, on the owner's disk.
func (wr *writer) there(name string) string {
	wr.t.Helper()
	docs, _ := wr.w.Offers.Named("docs")
	b, err := os.ReadFile(filepath.Join(wr.w.Dir(docs.ID), filepath.FromSlash(name)))
	if err != nil {
		wr.t.Error(err)
	}
	return string(b)
}

// fill is bytes that compress to nothing else.
func fill(seed, n int) []byte {
	b := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// TestPut: small, large and empty files, folders that are empty, in one put; each is told of once, and lies there.
func TestPut(t *testing.T) {
	w := servetest.New(t)
	wr := newWriter(t, w, w.Anna)
	want := map[string]string{"empty": "", "deep/er/file": "x", "big": string(fill(1, 9<<20+3)), "big2": string(fill(2, 3<<20))}
	for i := range 300 {
		want[fmt.Sprintf("many/%d/%d", i%7, i)] = strings.Repeat("y", i)
	}
	var items []remote.PutItem
	sum := int64(0)
	for name, text := range want {
		wr.local(name, []byte(text))
		items = append(items, wr.item(uint64(len(items)+1), name, change.Base{}))
		sum += int64(len(text))
	}
	if err := os.MkdirAll(filepath.Join(wr.dir, "hollow", "inner"), 0o700); err != nil {
		t.Fatal(err)
	}
	items = append(items, wr.item(9000, "hollow/inner", change.Base{}))
	r, err := wr.put(t.Context(), "a", items...)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.done) != len(items) {
		t.Errorf("%d of %d are told of", len(r.done), len(items))
	}
	for n, c := range r.done {
		if c.Err != nil || c.Conflict || c.Removed {
			t.Errorf("%d: %+v", n, c)
		}
	}
	for name, text := range want {
		if wr.there(name) != text {
			t.Errorf("%s holds other bytes", name)
		}
		e, err := wr.fs.Stat(t.Context(), servetest.Path(t, name))
		if l, lerr := wr.files.Stat(t.Context(), servetest.Path(t, name)); err != nil || lerr != nil || !e.ModTime.Equal(l.ModTime) {
			t.Errorf("%s: %v, its time is not the file's", name, err)
		}
	}
	if e, err := wr.fs.Stat(t.Context(), servetest.Path(t, "hollow/inner")); err != nil || e.Kind != share.Dir {
		t.Errorf("the empty folder: %+v, %v", e, err)
	}
	docs, _ := w.Offers.Named("docs")
	if left, _ := os.ReadDir(filepath.Join(w.Dir(docs.ID), share.Reserved, "tmp")); len(left) > 0 {
		t.Errorf("%d files stay in staging, as %s", len(left), left[0].Name())
	}
}

// TestPutConflict: what was put for a file that moved on lies beside it; what is no file is not replaced; others go on.
func TestPutConflict(t *testing.T) {
	w := servetest.New(t)
	wr := newWriter(t, w, w.Anna)
	wr.local("small", []byte("mine"))
	wr.local("new", []byte("new"))
	wr.local("taken", []byte("t"))
	if err := wr.fs.Mkdir(t.Context(), servetest.Path(t, "taken"), false); err != nil {
		t.Fatal(err)
	}
	now, err := wr.fs.Stat(t.Context(), servetest.Path(t, "small"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := wr.put(t.Context(), "a", wr.item(1, "small", change.Base{Version: transfer.Version{1}}), wr.item(2, "new", change.Base{}), wr.item(3, "taken", change.Base{}))
	if err != nil {
		t.Fatal(err)
	}
	beside := r.done[1].Entry.Path
	if c := r.done[1]; c.Err != nil || !c.Conflict || beside.Base() == "small" || !strings.Contains(beside.Base(), "conflict anna") {
		t.Errorf("a stale base: %+v", c)
	}
	if wr.there("small") != strings.Repeat("x", servetest.SmallSize) || wr.there(beside.String()) != "mine" {
		t.Error("what was there is not there, or the newcomer is not beside it")
	}
	if c := r.done[2]; c.Err != nil || c.Conflict || wr.there("new") != "new" {
		t.Errorf("the file beside: %+v", c)
	}
	if c := r.done[3]; peer.KindOf(c.Err) != peer.Conflict {
		t.Errorf("a folder in the way: %+v", c)
	}
	r, err = wr.put(t.Context(), "a", wr.item(1, "small", change.Base{Version: now.Version}))
	if c := r.done[1]; err != nil || c.Err != nil || c.Conflict || c.Kept == "" || wr.there("small") != "mine" {
		t.Errorf("the right base: %+v, %v", c, err)
	}
}

// TestPutResumes: what came of a large file before the put broke off is not fetched again.
func TestPutResumes(t *testing.T) {
	w := servetest.New(t)
	ledger := w.Audit()
	wr := newWriter(t, w, w.Anna)
	const size = 48 << 20
	wr.local("big", fill(3, size))
	it := wr.item(7, "big", change.Base{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := &report{done: make(map[uint64]remote.Changed), sums: func(bytes int64) {
		if bytes > 0 {
			cancel()
		}
	}}
	half := it
	half.Open = func(c context.Context) (share.OpenFile, error) {
		f, err := it.Open(c)
		return halved{f, ctx, size / 2}, err
	}
	if err := wr.putTo(ctx, "a", r, each(half)); err == nil {
		t.Fatal("all of it came before it could be broken off")
	}
	// The owner may still be about to let the first go: then the second has a place of its own, and begins anew.
	wait(t, func() bool { return !w.Changing() })
	if e := ledger.Wait(t, audit.KindCancelled, 1)[0]; e.Result != peer.Unreachable.String() || e.Bytes <= 0 {
		t.Errorf("given up: %+v", e)
	}
	again, err := wr.put(t.Context(), "a", it)
	if err != nil || again.done[7].Err != nil {
		t.Fatal(err, again.done[7].Err)
	}
	if again.had == 0 {
		t.Errorf("nothing of the %d bytes that came is found again", r.bytes)
	}
	if wr.there("big") != string(fill(3, size)) {
		t.Error("it holds other bytes")
	}
	ledger.Wait(t, audit.KindCancelled, 1)
}

// halved is a file of which what is behind its half is not read before ctx ends.
type halved struct {
	share.OpenFile
	ctx  context.Context
	half int64
}

func (h halved) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > h.half {
		<-h.ctx.Done() // and then is as before: that it can't be read is not why the put ends
	}
	return h.OpenFile.ReadAt(b, off)
}

// TestPutUnheard: who never heard that a file was put, wrote on, and puts it again, has no conflict with itself; another put has.
func TestPutUnheard(t *testing.T) {
	w := servetest.New(t)
	wr := newWriter(t, w, w.Anna)
	for i, c := range []struct {
		put      string
		number   uint64
		conflict bool
	}{{"a", 7, false}, {"a", 7, false}, {"a", 8, true}, {"b", 7, true}, {"a", 7, false}} {
		text := strings.Repeat("x", i+1)
		wr.local("f", []byte(text))
		r, err := wr.put(t.Context(), c.put, wr.item(c.number, "f", change.Base{}))
		if got := r.done[c.number]; err != nil || got.Err != nil || got.Conflict != c.conflict {
			t.Errorf("put %d: %+v, %v", i, got, err)
		}
		if !c.conflict && wr.there("f") != text {
			t.Errorf("put %d is not there", i)
		}
	}
}

// TestPutLate: what came of an earlier state does not take its place any more once a later one was put.
func TestPutLate(t *testing.T) {
	w := servetest.New(t)
	wr := newWriter(t, w, w.Anna)
	up := wr.uploads.Begin(w.Owner.ID(), "a")
	defer up.Close()
	busy, released := make(chan struct{}), make(chan struct{})
	w.Told(func(c change.Change) {
		if c.Path.Base() == "other" {
			close(busy)
			<-released
		}
	})
	var puts sync.WaitGroup
	wr.local("other", nil)
	other := wr.item(1, "other", change.Base{})
	puts.Go(func() {
		if r, err := wr.put(t.Context(), "b", other); err != nil || r.done[1].Err != nil {
			t.Error(err, r.done[1].Err)
		}
	})
	<-busy // nothing takes its place until it is released
	states := map[string]*report{}
	for _, text := range []string{"early", "even later"} {
		came := make(chan struct{})
		all := sync.OnceFunc(func() { close(came) })
		r := &report{done: make(map[uint64]remote.Changed), sums: func(bytes int64) {
			if bytes == int64(len(text)) {
				all()
			}
		}}
		states[text] = r
		wr.local("f", []byte(text))
		it := wr.item(7, "f", change.Base{})
		puts.Go(func() {
			if err := wr.fs.Put(t.Context(), up, each(it), r); err != nil {
				t.Error(err)
			}
		})
		<-came
	}
	close(released)
	puts.Wait()
	if err := states["early"].done[7].Err; peer.KindOf(err) != peer.Conflict {
		t.Errorf("the earlier state ends with %v", err)
	}
	if c := states["even later"].done[7]; c.Err != nil || c.Conflict || wr.there("f") != "even later" {
		t.Errorf("there is %q, and %+v", wr.there("f"), c)
	}
}

// TestPutTwiceAtOnce: the same files put twice at the same time, by the same peer, are there once, and both puts end well.
func TestPutTwiceAtOnce(t *testing.T) {
	w := servetest.New(t)
	wr := newWriter(t, w, w.Anna)
	var items []remote.PutItem
	for i := range 20 {
		name := fmt.Sprintf("f%d", i)
		wr.local(name, fill(i, 1000+i*200_000))
		items = append(items, wr.item(uint64(i+1), name, change.Base{}))
	}
	var puts sync.WaitGroup
	for range 3 {
		puts.Go(func() {
			r, err := wr.put(t.Context(), "a", items...)
			if err != nil || len(r.done) != len(items) {
				t.Errorf("%d of %d, %v", len(r.done), len(items), err)
			}
			for n, c := range r.done {
				if c.Err != nil || c.Conflict {
					t.Errorf("%d: %+v", n, c)
				}
			}
		})
	}
	puts.Wait()
	for i := range items {
		if wr.there(fmt.Sprintf("f%d", i)) != string(fill(i, 1000+i*200_000)) {
			t.Errorf("f%d holds other bytes", i)
		}
	}
}

// TestRightEndsWhilePutting: a right that ends in the midst of a put ends it, as what it is; nothing more is put.
func TestRightEndsWhilePutting(t *testing.T) {
	for name, end := range map[string]func(*servetest.World){
		"new epoch": func(w *servetest.World) {
			w.Offers.Change("docs", func(o *serve.Offer) { o.Epochs.Full++; o.Open = share.Read })
		},
		"suspended": func(w *servetest.World) {
			w.Offers.Change("docs", func(o *serve.Offer) {
				o.Standing = func(peer.ID) serve.Standing { return serve.Standing{Suspended: true} }
			})
		},
		"share ended": func(w *servetest.World) { w.Offers.Change("docs", func(o *serve.Offer) { o.ID[0] ^= 1 }) },
	} {
		t.Run(name, func(t *testing.T) {
			w := servetest.New(t)
			wr := newWriter(t, w, w.Anna)
			wr.local("first", []byte("1"))
			wr.local("second", []byte("2"))
			docs, _ := w.Offers.Named("docs")
			r := &report{done: make(map[uint64]remote.Changed)}
			begin := time.Now()
			err := wr.putTo(t.Context(), "a", r, func(yield func(remote.PutItem, error) bool) {
				if !yield(wr.item(1, "first", change.Base{}), nil) {
					return
				}
				wait(t, func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.done) == 1 })
				end(w)
				begin = time.Now()
				<-time.After(time.Second) // the owner waits for the next file, and says what happened all the same
				yield(wr.item(2, "second", change.Base{}), nil)
			})
			if peer.KindOf(err) != peer.Denied {
				t.Errorf("it ends with %v after %v", err, time.Since(begin))
			}
			if _, err := os.Stat(filepath.Join(w.Dir(docs.ID), "second")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a file was put after the end: %v", err)
			}
		})
	}
}

// TestPutOutlivesGrants: a put that lasts longer than a grant goes on; a new request with the old grant does not.
func TestPutOutlivesGrants(t *testing.T) {
	w := servetest.New(t)
	wr := newWriter(t, w, w.Anna)
	wr.local("first", []byte("1"))
	wr.local("second", []byte("2"))
	r := &report{done: make(map[uint64]remote.Changed)}
	err := wr.putTo(t.Context(), "a", r, func(yield func(remote.PutItem, error) bool) {
		if !yield(wr.item(1, "first", change.Base{}), nil) {
			return
		}
		wait(t, func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.done) == 1 })
		w.Pass(time.Hour)
		w.Gate.Recheck()
		yield(wr.item(2, "second", change.Base{}), nil)
	})
	if err != nil || r.done[2].Err != nil || wr.there("second") != "2" {
		t.Errorf("%v, %+v", err, r.done[2])
	}
}

// wait waits until something is so.
func wait(t *testing.T, so func() bool) {
	t.Helper()
	for begin := time.Now(); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > 30*time.Second {
			t.Error("it does not happen")
			return
		}
	}
}

// TestItemsFail: an error of the files that are put ends the put, and is what it ends with.
func TestItemsFail(t *testing.T) {
	w := servetest.New(t)
	wr := newWriter(t, w, w.Anna)
	wr.local("f", []byte("1"))
	broken := errors.New("the disk is broken")
	r := &report{done: make(map[uint64]remote.Changed)}
	err := wr.putTo(t.Context(), "a", r, func(yield func(remote.PutItem, error) bool) {
		if yield(wr.item(1, "f", change.Base{}), nil) {
			yield(remote.PutItem{}, broken)
		}
	})
	if !errors.Is(err, broken) {
		t.Error(err)
	}
}

// TestChanges: every change goes there and back, and versions of what was replaced or removed can be put back.
func TestChanges(t *testing.T) {
	w := servetest.New(t)
	wr := newWriter(t, w, w.Anna)
	ctx, fs := t.Context(), wr.fs
	path := func(s string) share.Path { return servetest.Path(t, s) }
	any, none := change.Base{Any: true}, change.Base{}
	for what, err := range map[string]error{
		"a folder in none":  fs.Mkdir(ctx, path("a/b/c"), false),
		"what is there":     fs.Mkdir(ctx, path("small"), false),
		"a name for nobody": fs.Mkdir(ctx, path("con"), false),
	} {
		if err == nil {
			t.Errorf("mkdir of %s", what)
		}
	}
	for range 2 {
		if err := fs.Mkdir(ctx, path("a/b/c"), true); err != nil {
			t.Fatal(err)
		}
	}
	c, err := fs.Copy(ctx, path("small"), path("a/copy"), none)
	if err != nil || c.Entry.Path != path("a/copy") || wr.there("a/copy") != wr.there("small") {
		t.Errorf("copy: %+v, %v", c, err)
	}
	if c, err = fs.Copy(ctx, path("small"), path("a/copy"), change.Base{Version: transfer.Version{1}}); err != nil || c.Conflict {
		t.Errorf("a copy of what is there already: %+v, %v", c, err)
	}
	if c, err = fs.Copy(ctx, path("large"), path("a/copy"), none); err != nil || !c.Conflict || c.Entry.Path.Dir() != path("a") {
		t.Errorf("a copy over what is there: %+v, %v", c, err)
	}
	if c, err = fs.Move(ctx, path("a/copy"), path("a/b/moved"), any, none); err != nil || c.Entry.Path != path("a/b/moved") {
		t.Errorf("move: %+v, %v", c, err)
	}
	if _, err = fs.Move(ctx, path("a/b/moved"), path("large"), any, none); peer.KindOf(err) != peer.Conflict {
		t.Errorf("a move over what is there: %v", err)
	}
	if _, err = fs.Move(ctx, path("gone"), path("x"), any, none); peer.KindOf(err) != peer.NotFound || !strings.HasPrefix(err.Error(), "//owner/docs/gone") {
		t.Errorf("a move of nothing: %v", err)
	}
	if c, err = fs.Move(ctx, path("a/b/moved"), path("large"), any, any); err != nil || c.Kept == "" {
		t.Errorf("a move that replaces: %+v, %v", c, err)
	}
	var gone []string
	for c, err := range fs.Remove(ctx, path("a"), any, true) {
		if err != nil || c.Err != nil || !c.Removed {
			t.Errorf("remove: %+v, %v", c, err)
		}
		gone = append(gone, c.Entry.Path.String())
	}
	if len(gone) != 4 || gone[3] != "a" {
		t.Errorf("removed %q", gone)
	}
	for c, err := range fs.Remove(ctx, path("a"), any, true) {
		if err := errors.Join(c.Err, err); peer.KindOf(err) != peer.NotFound {
			t.Errorf("it is removed again: %v", err)
		}
	}
	for c, err := range fs.Remove(ctx, path("small"), change.Base{Version: transfer.Version{1}}, false) {
		if peer.KindOf(errors.Join(c.Err, err)) != peer.Conflict {
			t.Errorf("removed on a stale base: %+v, %v", c, err)
		}
	}
	wr.versions(ctx)
}

// versions looks at the versions that TestChanges left.
func (wr *writer) versions(ctx context.Context) {
	t := wr.t
	path := func(s string) share.Path { return servetest.Path(t, s) }
	var all []remote.Kept
	for k, err := range wr.fs.Versions(ctx, share.Path{}, true) {
		if err != nil {
			t.Fatal(err)
		}
		if k.Peer != wr.host.ID().String() || k.Name != "anna" {
			t.Errorf("a version by %s %q", k.Peer, k.Name)
		}
		all = append(all, k)
	}
	i := slices.IndexFunc(all, func(k remote.Kept) bool { return k.Entry.Path == path("large") })
	if i < 0 || all[i].Verb != "mv" || all[i].Entry.Size != servetest.LargeSize {
		t.Fatalf("%+v", all)
	}
	n := 0
	for k, err := range wr.fs.Versions(ctx, path("large"), false) {
		if n++; err != nil || k.ID != all[i].ID {
			t.Errorf("of one path: %+v, %v", k, err)
		}
	}
	if n != 1 {
		t.Errorf("%d versions", n)
	}
	if _, err := wr.fs.Restore(ctx, path("large"), all[i].ID, path("large"), change.Base{}); peer.KindOf(err) != peer.Conflict {
		t.Errorf("restored over what is there: %v", err)
	}
	if _, err := wr.fs.Restore(ctx, path("large"), "nonsense", path("x"), change.Base{}); err == nil {
		t.Error("a version that can't be was restored")
	}
	c, err := wr.fs.Restore(ctx, path("large"), all[i].ID, path("new/place"), change.Base{})
	if err != nil || c.Entry.Path != path("new/place") || len(wr.there("new/place")) != servetest.LargeSize {
		t.Errorf("restored elsewhere: %+v, %v", c, err)
	}
	c, err = wr.fs.Restore(ctx, path("large"), all[i].ID, path("large"), change.Base{Any: true})
	if err != nil || c.Kept == "" || len(wr.there("large")) != servetest.LargeSize {
		t.Errorf("restored: %+v, %v", c, err)
	}
}
