package change_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/change/disktest"
	"github.com/peerd/peerd/share/local"
	"github.com/peerd/peerd/share/sharetest"
	"github.com/peerd/peerd/transfer"
)

// rig is a share on a disk in memory.
type rig struct {
	*testing.T
	disk  *disktest.Mem
	e     *change.Editor
	clock *clock
	told  []change.Change
	limit change.Limits
	n     atomic.Int64
}

func newRig(t *testing.T, swaps bool) *rig {
	r := &rig{T: t, disk: disktest.NewMem(swaps), clock: newClock()}
	e, err := change.Open(t.Context(), r.disk, change.Options{
		Now: r.clock.Now, Changed: func(c change.Change) { r.told = append(r.told, c) }, Limits: func() change.Limits { return r.limit },
	})
	must(t, err)
	r.e = e
	return r
}

// eachRig runs a test with and without names that can be exchanged.
func eachRig(t *testing.T, test func(r *rig)) {
	for name, swaps := range map[string]bool{"exchange": true, "aside": false} {
		t.Run(name, func(t *testing.T) { test(newRig(t, swaps)) })
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) p(s string) share.Path { return sharetest.P(r, s) }

func (r *rig) stage(content string) string {
	name := fmt.Sprintf("up-%d", r.n.Add(1))
	must(r, r.disk.Stage(name, content, r.clock.Now()))
	return name
}

func (r *rig) put(path, content string, base change.Base, by change.By) change.Result {
	r.Helper()
	return r.e.Commit(r.Context(), []change.Put{{Staged: r.stage(content), Path: r.p(path), Base: base, Parents: true, By: by}})[0]
}

var anyBase = change.Base{Any: true}

func is(v transfer.Version) change.Base { return change.Base{Version: v} }

func (r *rig) ok(res change.Result) change.Result {
	r.Helper()
	must(r, res.Err)
	return res
}

func (r *rig) fails(res change.Result, kind peer.Kind) {
	r.Helper()
	if res.Err == nil || peer.KindOf(res.Err) != kind {
		r.Errorf("%+v, want kind %v", res, kind)
	}
}

func (r *rig) holds(want map[string]string) {
	r.Helper()
	if got := r.disk.Files(false); !maps.Equal(got, want) {
		r.Errorf("it holds %q, want %q", got, want)
	}
}

func (r *rig) version(path string, id change.VersionID) string {
	r.Helper()
	s, err := readVersion(r.Context(), r.e, r.p(path), id)
	must(r, err)
	return s
}

func (r *rig) versions(path string, below bool) (out []string) {
	r.Helper()
	for k, err := range r.e.Versions(r.Context(), r.p(path), below) {
		must(r, err)
		out = append(out, k.Path.String()+"="+r.version(k.Path.String(), k.ID))
	}
	return out
}

func TestPut(t *testing.T) {
	eachRig(t, func(r *rig) {
		if f := r.disk.Files(true); len(f) > 0 {
			r.Errorf("Open made %v", f)
		}
		one := r.ok(r.put("d/file", "one", change.Base{}, anna))
		if one.Kept != 0 || one.Before != (transfer.Version{}) || one.Entry.Size != 3 || one.Entry.Path != r.p("d/file") {
			r.Errorf("new: %+v", one)
		}
		two := r.ok(r.put("d/file", "two", is(one.Entry.Version), bob))
		if two.Kept == 0 || two.Before != one.Entry.Version || two.Conflict || r.version("d/file", two.Kept) != "one" {
			r.Errorf("replaced: %+v", two)
		}
		late := r.ok(r.put("d/file", "late", is(one.Entry.Version), anna))
		if !late.Conflict || late.Kept != 0 || !strings.HasPrefix(late.Entry.Name(), "file (conflict anna 2026-11-25 20.4") {
			r.Errorf("late: %+v", late)
		}
		same := r.ok(r.put("d/file", "two", is(one.Entry.Version), anna))
		if same.Conflict || same.Kept != 0 || same.Entry.Version != two.Entry.Version {
			r.Errorf("late with the same bytes: %+v", same)
		}
		r.fails(r.put("d", "x", anyBase, anna), peer.Conflict)
		r.fails(r.put("d/file/x", "x", anyBase, anna), peer.Conflict)
		r.fails(r.put("d/FILE", "x", change.Base{}, anna), peer.Conflict)
		r.fails(r.put("D/other", "x", change.Base{}, anna), peer.Conflict)
		r.fails(r.put("a:b", "x", change.Base{}, anna), peer.Usage)
		r.fails(r.e.Commit(r.Context(), []change.Put{{Staged: r.stage("x"), Path: r.p("no/x"), By: anna}})[0], peer.NotFound)
		r.fails(r.e.Commit(r.Context(), []change.Put{{Staged: "none", Path: r.p("x"), By: anna}})[0], peer.NotFound)
		r.holds(map[string]string{"d/": "", "d/file": "two", late.Entry.Path.String(): "late"})
		var verbs []string
		for _, c := range r.told {
			verbs = append(verbs, c.Verb+" "+c.Path.String())
		}
		if want := []string{"mkdir d", "put d/file", "put d/file", "put " + late.Entry.Path.String()}; !slices.Equal(verbs, want) {
			r.Errorf("told %q, want %q", verbs, want)
		}
		for k, err := range r.e.Versions(r.Context(), r.p("d/file"), false) {
			if must(r, err); k.By != bob || k.Verb != "put" || k.ID != two.Kept || k.Version != one.Entry.Version || k.Size != 3 {
				r.Errorf("the version is %+v", k)
			}
		}
	})
}

// TestOwnState: who puts a file again whose answer was lost replaces what it put itself, and nothing else.
func TestOwnState(t *testing.T) {
	eachRig(t, func(r *rig) {
		state := func(file string) func(int64, time.Time) string {
			if file == "" {
				return nil
			}
			return func(size int64, modTime time.Time) string {
				return fmt.Sprintf("%s-%d-%d", file, size, modTime.UnixNano())
			}
		}
		put := func(file, content string, base change.Base, by change.By) change.Result {
			name := fmt.Sprintf("none-%d", r.n.Add(1))
			now := r.clock.Now()
			if file != "" {
				name = state(file)(int64(len(content)), now) + "-X"
			}
			must(r, r.disk.Stage(name, content, now))
			return r.ok(r.e.Commit(r.Context(), []change.Put{{Staged: name, Path: r.p("f"), Base: base, By: by, State: state(file)}})[0])
		}
		one := put("a", "one", change.Base{}, anna)
		for _, content := range []string{"two", "three 3"} {
			if again := put("a", content, change.Base{}, anna); again.Conflict || again.Kept == 0 {
				t.Errorf("%q of the same file: %+v", content, again)
			}
		}
		if again := put("a", "four", is(one.Entry.Version), anna); again.Conflict {
			t.Errorf("upon one of them: %+v", again)
		}
		for name, c := range map[string]struct {
			file string
			by   change.By
			base change.Base
		}{
			"another file":        {"b", anna, change.Base{}},
			"none":                {"", anna, change.Base{}},
			"somebody else's":     {"a", bob, change.Base{}},
			"upon something else": {"a", anna, is(transfer.Version{9})},
		} {
			if other := put(c.file, name, c.base, c.by); !other.Conflict {
				t.Errorf("%s: %+v", name, other)
			}
		}
		bobs := put("b", "bob's", anyBase, bob)
		if late := put("a", "five", change.Base{}, anna); !late.Conflict {
			t.Errorf("over what somebody else put since: %+v", late)
		}
		put("a", "six", is(bobs.Entry.Version), anna)
		r.disk.Write("f", "by another program", r.clock.Now())
		if late := put("a", "seven", is(bobs.Entry.Version), anna); !late.Conflict {
			t.Errorf("over what a program of the owner wrote since: %+v", late)
		}
	})
}

// TestOwnStates: no more files are replaced so at once than may be before it is looked whether it is too much; the rest come later.
func TestOwnStates(t *testing.T) {
	eachRig(t, func(r *rig) {
		const files = 80
		put := func(text string) (done int) {
			var puts []change.Put
			for i := range files {
				state := func(int64, time.Time) string { return fmt.Sprintf("f%d-", i) }
				name := state(0, time.Time{}) + text
				must(r, r.disk.Stage(name, text, r.clock.Now()))
				puts = append(puts, change.Put{Staged: name, Path: r.p(fmt.Sprintf("f%d", i)), By: anna, State: state})
			}
			for _, res := range r.e.Commit(r.Context(), puts) {
				switch {
				case res.Err == nil && !res.Conflict:
					done++
				case peer.KindOf(res.Err) != peer.Busy:
					t.Errorf("%+v", res)
				}
			}
			return done
		}
		if n := put("one"); n != files {
			t.Errorf("%d of %d are new", n, files)
		}
		if n := put("another"); n != 32 {
			t.Errorf("%d were replaced", n)
		}
	})
}

// TestOwnStateRecovered: what a program of the owner wrote after a crash, before what was begun was finished, is nobody's state.
func TestOwnStateRecovered(t *testing.T) {
	state := func(size int64, modTime time.Time) string { return fmt.Sprintf("a-%d-%d", size, modTime.UnixNano()) }
	edited := 0
	for at := range 40 {
		r := newRig(t, true)
		stage := func(content string) change.Put {
			now := r.clock.Now()
			name := state(int64(len(content)), now)
			must(r, r.disk.Stage(name, content, now))
			return change.Put{Staged: name, Path: r.p("f"), By: anna, State: state}
		}
		one := stage("first")
		r.disk.CrashAfter(at)
		first := r.e.Commit(t.Context(), []change.Put{one})[0]
		if !r.disk.Crashed() {
			r.ok(first)
			break
		}
		r.disk.PowerOn(rand.New(rand.NewPCG(uint64(at), 0)))
		files := r.disk.Files(false)
		if _, there := files["f"]; !there {
			continue
		}
		r.disk.Write("f", "edited", r.clock.Now())
		e, err := change.Open(t.Context(), r.disk, change.Options{Now: r.clock.Now})
		must(t, err)
		r.e = e
		if res := r.ok(r.e.Commit(t.Context(), []change.Put{stage("second")})[0]); !res.Conflict {
			t.Errorf("crash at %d: what the owner wrote is replaced: %+v", at, res)
		}
		edited++
	}
	if edited == 0 {
		t.Error("no crash left the file there")
	}
}

// TestStale: what is of no use any more when it is its turn changes nothing.
func TestStale(t *testing.T) {
	eachRig(t, func(r *rig) {
		asked := 0
		stale := func() bool { asked++; return true }
		r.fails(r.e.Commit(r.Context(), []change.Put{{Staged: r.stage("x"), Path: r.p("d/f"), Base: anyBase, Parents: true, By: anna, Stale: stale}})[0], peer.Conflict)
		r.holds(map[string]string{})
		if asked == 0 || len(r.told) > 0 {
			t.Errorf("asked %d times, %v", asked, r.told)
		}
	})
}

func TestGone(t *testing.T) {
	r := newRig(t, true)
	one := r.ok(r.put("file", "one", change.Base{}, anna))
	r.ok(r.e.Move(r.Context(), r.p("file"), r.p("other"), is(one.Entry.Version), change.Base{}, bob))
	if res := r.ok(r.put("file", "two", is(one.Entry.Version), anna)); !res.Conflict {
		r.Errorf("put on what is gone: %+v", res)
	}
}

// TestFewSyncs makes a thousand small files, and removes ten thousand.
func TestFewSyncs(t *testing.T) {
	r := newRig(t, true)
	var puts []change.Put
	for i := range 5_000 {
		puts = append(puts, change.Put{Staged: r.stage("x"), Path: r.p(fmt.Sprintf("d%d/f%d", i%10, i)), Parents: true, By: anna})
	}
	before := r.disk.Syncs()
	for _, res := range r.e.Commit(r.Context(), puts[:1000]) {
		must(r, res.Err)
	}
	if n := r.disk.Syncs() - before; n > 4 {
		r.Errorf("1,000 files took %d syncs", n)
	}
	for _, res := range r.e.Commit(r.Context(), puts[1000:]) {
		must(r, res.Err)
	}
	before = r.disk.Syncs()
	n := 0
	for i := range 10 {
		for res := range r.e.Remove(r.Context(), r.p(fmt.Sprintf("d%d", i)), anyBase, true, anna) {
			must(r, res.Err)
			n++
		}
	}
	if s := r.disk.Syncs() - before; n != 5_010 || s > 44 {
		r.Errorf("%d removed in %d syncs", n, s)
	}
	r.holds(map[string]string{})
	if bytes, count, err := r.e.Usage(r.Context()); err != nil || bytes != 5_000 || count != 5_000 {
		r.Errorf("%d bytes in %d versions, %v", bytes, count, err)
	}
}

func TestRemove(t *testing.T) {
	eachRig(t, func(r *rig) {
		one := r.ok(r.put("d/e/file", "one", change.Base{}, anna))
		r.ok(r.put("d/other", "two", change.Base{}, anna))
		rm := func(path string, base change.Base, recursive bool) (all []change.Result) {
			return slices.Collect(r.e.Remove(r.Context(), r.p(path), base, recursive, bob))
		}
		r.fails(rm("d/e/file", change.Base{}, false)[0], peer.Conflict)
		r.fails(rm("d/e", anyBase, false)[0], peer.Conflict)
		r.fails(rm("none", anyBase, true)[0], peer.NotFound)
		r.fails(rm("", anyBase, true)[0], peer.Usage)
		res := r.ok(rm("d/e/file", is(one.Entry.Version), false)[0])
		if r.version("d/e/file", res.Kept) != "one" || res.Before != one.Entry.Version {
			r.Errorf("%+v", res)
		}
		var paths []string
		for _, res := range rm("d", anyBase, true) {
			paths = append(paths, r.ok(res).Entry.Path.String())
		}
		if want := []string{"d/e", "d/other", "d"}; !slices.Equal(paths, want) {
			r.Errorf("removed %q, want %q", paths, want)
		}
		r.holds(map[string]string{})
		if got := r.versions("", true); !slices.Equal(got, []string{"d/other=two", "d/e/file=one"}) {
			r.Errorf("versions %q", got)
		}
	})
}

func TestMove(t *testing.T) {
	eachRig(t, func(r *rig) {
		one := r.ok(r.put("d/a", "one", change.Base{}, anna))
		two := r.ok(r.put("d/b", "two", change.Base{}, anna))
		mv := func(from, to string, base, toBase change.Base) change.Result {
			return r.e.Move(r.Context(), r.p(from), r.p(to), base, toBase, bob)
		}
		r.fails(mv("d/a", "d/b", anyBase, change.Base{}), peer.Conflict)
		r.fails(mv("d/a", "d/b", change.Base{}, anyBase), peer.Conflict)
		r.fails(mv("d/a", "d/c", anyBase, is(one.Entry.Version)), peer.Conflict)
		r.fails(mv("d", "d/x", anyBase, anyBase), peer.Usage)
		r.fails(mv("d/a", "no/x", anyBase, anyBase), peer.NotFound)
		r.fails(mv("d/a", "d", anyBase, anyBase), peer.Conflict)
		r.fails(mv("d", "d", anyBase, anyBase), peer.Usage)
		r.fails(mv("d/a", "d/B", anyBase, anyBase), peer.Conflict)
		res := r.ok(mv("d/a", "d/b", is(one.Entry.Version), is(two.Entry.Version)))
		if r.version("d/b", res.Kept) != "two" {
			r.Errorf("%+v", res)
		}
		r.ok(mv("d/b", "d/B", anyBase, change.Base{}))
		r.ok(mv("d", "e", anyBase, change.Base{}))
		r.ok(r.e.Mkdir(r.Context(), r.p("f"), false, bob))
		r.fails(mv("e", "f", anyBase, anyBase), peer.Conflict)
		r.fails(r.e.Mkdir(r.Context(), r.p("f"), false, bob), peer.Conflict)
		r.fails(r.e.Mkdir(r.Context(), r.p("F"), true, bob), peer.Conflict)
		r.ok(r.e.Mkdir(r.Context(), r.p("f"), true, bob))
		r.holds(map[string]string{"e/": "", "e/B": "one", "f/": ""})
	})
}

func TestCopyAndRestore(t *testing.T) {
	eachRig(t, func(r *rig) {
		one := r.ok(r.put("a", "one", change.Base{}, anna))
		r.ok(r.e.Copy(r.Context(), r.p("a"), r.p("b"), change.Base{}, anna))
		if res := r.ok(r.put("a", "two", is(one.Entry.Version), bob)); r.version("a", res.Kept) != "one" {
			r.Errorf("%+v", res)
		} else {
			r.fails(r.e.Restore(r.Context(), r.p("a"), res.Kept, r.p("a"), change.Base{}, anna), peer.Conflict)
			back := r.ok(r.e.Restore(r.Context(), r.p("a"), res.Kept, r.p("a"), is(res.Entry.Version), anna))
			if r.version("a", back.Kept) != "two" || r.version("a", res.Kept) != "one" {
				r.Errorf("%+v", back)
			}
			r.ok(r.e.Restore(r.Context(), r.p("a"), back.Kept, r.p("new/place"), change.Base{}, anna))
			r.fails(r.e.Restore(r.Context(), r.p("a"), res.Kept+12345, r.p("x"), change.Base{}, anna), peer.NotFound)
		}
		r.fails(r.e.Copy(r.Context(), r.p("new"), r.p("c"), change.Base{}, anna), peer.Usage)
		r.fails(r.e.Copy(r.Context(), r.p("none"), r.p("c"), change.Base{}, anna), peer.NotFound)
		if res := r.ok(r.e.Copy(r.Context(), r.p("a"), r.p("new/place"), change.Base{}, bob)); !res.Conflict {
			r.Errorf("%+v", res)
		}
		for name := range r.disk.Files(true) {
			if strings.HasPrefix(name, ".peerd/tmp/copy") {
				r.Errorf("%s is left", name)
			}
		}
	})
}

// TestInterfere has the owner's own program change the path after every single operation of an overwrite: whatever was
// written is the current content or a version.
func TestInterfere(t *testing.T) {
	eachRig(t, func(r *rig) {
		for at := range 40 {
			path := fmt.Sprintf("f%d", at)
			r.ok(r.put(path, "old", change.Base{}, anna))
			start, own := r.disk.Ops(), fmt.Sprintf("the owner's %d", at)
			r.disk.Interfere(func(n int) {
				if n == start+1+at {
					r.disk.Write(path, own, r.clock.Now())
				}
			})
			res := r.put(path, "new", anyBase, bob)
			r.disk.Interfere(nil)
			var all []string
			for _, content := range r.disk.Files(true) {
				all = append(all, content)
			}
			written := slices.Contains(all, own)
			if at < r.disk.Ops()-start-1 && !written {
				r.Errorf("operation %d: %q is lost", at, own)
			}
			if res.Err == nil && !slices.Contains(all, "new") {
				r.Errorf("operation %d: what was acknowledged is lost", at)
			}
		}
	})
}

// TestWriters (3) has two and ten writers change the same paths, each from what it saw last.
func TestWriters(t *testing.T) {
	for _, writers := range []int{2, 10} {
		t.Run(fmt.Sprint(writers), func(t *testing.T) { testWriters(t, writers, 1000/writers) })
	}
}

func testWriters(t *testing.T, writers, rounds int) {
	d := disktest.NewMem(true)
	e, err := change.Open(t.Context(), d, change.Options{})
	must(t, err)
	var mu sync.Mutex
	acked := map[string]bool{}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 7))
			seen := map[string]transfer.Version{}
			by := change.By{Peer: anna.Peer, Name: peer.Name(fmt.Sprintf("w%d", w))}
			for i := range rounds {
				path := fmt.Sprintf("d/f%d", r.IntN(3))
				content := fmt.Sprintf("writer %d round %d", w, i)
				staged := fmt.Sprintf("w%d-%d", w, i)
				if err := d.Stage(staged, content, time.Now()); err != nil {
					t.Error(err)
					return
				}
				res := e.Commit(t.Context(), []change.Put{{Staged: staged, Path: sharetest.P(t, path), Base: is(seen[path]), Parents: true, By: by}})[0]
				if res.Err != nil {
					t.Error(res.Err)
					return
				}
				mu.Lock()
				acked[content] = true
				mu.Unlock()
				if !res.Conflict {
					seen[path] = res.Entry.Version
				} else {
					delete(seen, path)
				}
			}
		})
	}
	wg.Wait()
	exists := map[string]bool{}
	for name, content := range d.Files(true) {
		if !strings.HasPrefix(name, ".peerd/tmp/") && !strings.HasPrefix(name, ".peerd/versions/log") {
			exists[content] = true
		}
	}
	for content := range acked {
		if !exists[content] {
			t.Errorf("%q is lost", content)
		}
	}
	t.Logf("%d contents", len(acked))
}

// TestReal runs the engine on a real folder.
func TestReal(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	d, err := local.NewDisk(dir, local.Options{})
	must(t, err)
	e, err := change.Open(t.Context(), d, change.Options{})
	must(t, err)
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Errorf("Open made %v, %v", names, err)
	}
	stage := func(name, content string, mode os.FileMode) string {
		staging, release, err := e.Staging()
		must(t, err)
		defer release()
		must(t, os.WriteFile(filepath.Join(staging, name), []byte(content), mode))
		must(t, os.Chmod(filepath.Join(staging, name), mode))
		return name
	}
	put := func(path, staged string) change.Result {
		t.Helper()
		res := e.Commit(t.Context(), []change.Put{{Staged: staged, Path: sharetest.P(t, path), Base: anyBase, Parents: true, By: anna}})[0]
		must(t, res.Err)
		return res
	}
	mode := func(path string) os.FileMode {
		fi, err := os.Lstat(filepath.Join(dir, path))
		must(t, err)
		return fi.Mode()
	}
	put("d/new", stage("1", "new", 0o4777))
	if m := mode("d/new"); m != 0o644 {
		t.Errorf("a new file has mode %v", m)
	}
	must(t, os.Chmod(filepath.Join(dir, "d/new"), 0o750))
	res := put("d/new", stage("2", "newer", 0o644))
	if m := mode("d/new"); m != 0o750 {
		t.Errorf("a replaced file has mode %v", m)
	}
	if got, err := readVersion(t.Context(), e, sharetest.P(t, "d/new"), res.Kept); err != nil || got != "new" {
		t.Errorf("the version holds %q, %v", got, err)
	}
	must(t, e.Copy(t.Context(), sharetest.P(t, "d/new"), sharetest.P(t, "d/copy"), change.Base{}, anna).Err)
	must(t, e.Restore(t.Context(), sharetest.P(t, "d/new"), res.Kept, sharetest.P(t, "d/new"), anyBase, anna).Err)
	must(t, os.Symlink("/etc", filepath.Join(dir, "link")))
	for res := range e.Remove(t.Context(), sharetest.P(t, "link"), anyBase, true, anna) {
		if peer.KindOf(res.Err) != peer.NotFound {
			t.Errorf("a link: %+v", res)
		}
	}
	stat, err := local.New(dir, local.Options{})
	must(t, err)
	entry, err := stat.Stat(t.Context(), sharetest.P(t, "d/new"))
	must(t, err)
	if res := e.Move(t.Context(), sharetest.P(t, "d/new"), sharetest.P(t, "d/moved"), is(entry.Version), change.Base{}, anna); res.Err != nil {
		t.Errorf("versions of local.FS and of the engine differ: %v", res.Err)
	}
	again, err := change.Open(t.Context(), d, change.Options{})
	must(t, err)
	n := 0
	for _, err := range again.Versions(context.Background(), share.Path{}, true) {
		must(t, err)
		n++
	}
	if n != 2 {
		t.Errorf("%d versions", n)
	}
}
