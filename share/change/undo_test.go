package change_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/change/disk"
)

func (r *rig) undo(who change.By, since time.Time) (conflicts int) {
	r.Helper()
	for res, err := range r.e.Undo(r.Context(), who.Peer, since, change.By{}) {
		must(r, err)
		if res.Conflict || peer.KindOf(res.Err) == peer.Conflict {
			r.Logf("conflict: %+v", res)
			conflicts++
		} else if res.Err != nil {
			r.Error(res.Err)
		}
	}
	return conflicts
}

func (r *rig) mv(from, to string, by change.By) {
	r.Helper()
	r.ok(r.e.Move(r.Context(), r.p(from), r.p(to), anyBase, anyBase, by))
}

func (r *rig) rm(path string, by change.By) {
	r.Helper()
	for res := range r.e.Remove(r.Context(), r.p(path), anyBase, true, by) {
		r.ok(res)
	}
}

// touch makes a file executable, and moves the time of a file or folder.
func (r *rig) touch(path string, by change.By) change.Result {
	r.Helper()
	when, set := r.clock.Now(), disk.Set{}
	set.ModTime = &when
	if _, file := r.disk.Files(false)[path]; file {
		set.Exec = new(true)
	}
	return r.ok(r.e.Touch(r.Context(), r.p(path), anyBase, set, by))
}

// TestUndo (6) undoes what one peer did, in ways that get into each other's way.
func TestUndo(t *testing.T) {
	for name, do := range map[string]func(r *rig){
		"overwritten":           func(r *rig) { r.put("a", "x", anyBase, bob); r.put("a", "y", anyBase, bob) },
		"removed":               func(r *rig) { r.rm("d", bob) },
		"removed and new":       func(r *rig) { r.rm("a", bob); r.put("a", "x", anyBase, bob) },
		"created":               func(r *rig) { r.put("n/e/w", "x", anyBase, bob); r.put("n/f", "x", anyBase, bob) },
		"created and gone":      func(r *rig) { r.put("new", "x", anyBase, bob); r.rm("new", bob) },
		"moved":                 func(r *rig) { r.mv("a", "d/z", bob) },
		"moved over":            func(r *rig) { r.mv("a", "b", bob) },
		"moved twice":           func(r *rig) { r.mv("a", "m", bob); r.mv("m", "d/m", bob) },
		"moved there and back":  func(r *rig) { r.mv("a", "m", bob); r.mv("m", "a", bob) },
		"swapped":               func(r *rig) { r.mv("a", "t", bob); r.mv("b", "a", bob); r.mv("t", "b", bob) },
		"shifted":               func(r *rig) { r.mv("b", "c", bob); r.mv("a", "b", bob); r.put("a", "new", anyBase, bob) },
		"encrypted in place":    func(r *rig) { r.put("a", "x", anyBase, bob); r.mv("a", "a.locked", bob) },
		"encrypted beside":      func(r *rig) { r.put("a.locked", "x", anyBase, bob); r.rm("a", bob) },
		"folder moved":          func(r *rig) { r.mv("d", "g", bob) },
		"folder moved, inside":  func(r *rig) { r.put("d/x", "1", anyBase, bob); r.mv("d", "g", bob); r.put("g/x", "2", anyBase, bob) },
		"folder replaced":       func(r *rig) { r.mv("d", "g", bob); r.put("d/x", "other", anyBase, bob) },
		"folders swapped":       func(r *rig) { r.mv("d", "t", bob); r.mv("empty", "d", bob); r.mv("t", "empty", bob) },
		"touched":               func(r *rig) { r.touch("a", bob); r.touch("d/e", bob) },
		"overwritten, touched":  func(r *rig) { r.put("a", "x", anyBase, bob); r.touch("a", bob) },
		"touched, overwritten":  func(r *rig) { r.touch("a", bob); r.put("a", "x", anyBase, bob) },
		"created, touched":      func(r *rig) { r.put("new", "x", anyBase, bob); r.touch("new", bob) },
		"moved, touched":        func(r *rig) { r.mv("a", "m", bob); r.touch("m", bob); r.mv("m", "n", bob) },
		"moved over, touched":   func(r *rig) { r.mv("a", "b", bob); r.touch("b", bob) },
		"touched, removed":      func(r *rig) { r.touch("a", bob); r.rm("a", bob) },
		"folder touched, moved": func(r *rig) { r.touch("d", bob); r.touch("d/x", bob); r.mv("d", "g", bob); r.touch("g/x", bob) },
		"copied":                func(r *rig) { r.ok(r.e.Copy(r.Context(), r.p("a"), r.p("copy"), change.Base{}, bob)) },
		"made":                  func(r *rig) { r.ok(r.e.Mkdir(r.Context(), r.p("n/e/w"), true, bob)) },
	} {
		t.Run(name, func(t *testing.T) {
			eachRig(t, func(r *rig) {
				for _, path := range []string{"a", "b", "d/x", "d/e/y"} {
					r.ok(r.put(path, "old "+path, change.Base{}, anna))
				}
				r.ok(r.e.Mkdir(r.Context(), r.p("empty"), false, anna))
				r.put("a", "before", anyBase, bob) // earlier than since
				want := r.disk.Files(false)
				since := r.clock.Now()
				do(r)
				did := r.disk.Files(false)
				if n := r.undo(bob, since); n > 0 {
					r.Errorf("%d conflicts", n)
				}
				r.holds(want)
				all := r.disk.Files(true)
				for path, content := range did {
					if !slices.Contains(slices.Collect(maps.Values(all)), content) {
						r.Errorf("what was at %s is lost", path)
					}
				}
			})
		})
	}
}

func TestUndoOthers(t *testing.T) {
	r := newRig(t, true)
	for _, path := range []string{"a", "b", "c", "d"} {
		r.ok(r.put(path, "old "+path, change.Base{}, anna))
	}
	since := r.clock.Now()
	r.put("a", "bob's", anyBase, bob)
	r.put("a", "anna's", anyBase, anna)
	r.put("b", "bob's", anyBase, bob)
	r.put("new", "bob's", anyBase, bob)
	r.disk.Write("new", "the owner's own", r.clock.Now())
	r.put("c", "anna's", anyBase, anna)
	r.mv("d", "e", bob)
	r.put("e", "anna's", anyBase, anna)
	if n := r.undo(bob, since); n != 3 {
		r.Errorf("%d conflicts", n)
	}
	files := r.disk.Files(false)
	for path, want := range map[string]string{"a": "anna's", "b": "old b", "c": "anna's", "new": "the owner's own",
		"d": "old d", "e": "anna's"} {
		if files[path] != want {
			r.Errorf("%s holds %q", path, files[path])
		}
		delete(files, path)
	}
	if got := slices.Collect(maps.Values(files)); !slices.Equal(got, []string{"old a"}) {
		r.Errorf("beside them are %q", files)
	}
}

// TestUndoRandom undoes random work of one peer in a share where nobody else works meanwhile.
func TestUndoRandom(t *testing.T) {
	for seed := range uint64(400) {
		r := newRig(t, seed%2 == 0)
		rnd := rand.New(rand.NewPCG(seed, 3))
		files := []string{"a", "b", "c", "d/a", "d/b", "e/f/a"}
		for _, path := range files {
			r.ok(r.put(path, "old "+path, change.Base{}, anna))
		}
		want := r.disk.Files(false)
		since := r.clock.Now()
		var did []string
		for i := range 12 {
			all := slices.Sorted(maps.Keys(r.disk.Files(false)))
			if len(all) == 0 {
				break
			}
			from := all[rnd.IntN(len(all))]
			switch rnd.IntN(7) {
			case 6:
				did = append(did, "touch "+from)
				r.touch(strings.TrimSuffix(from, "/"), bob)
			case 0, 1:
				to := files[rnd.IntN(len(files))]
				did = append(did, "put "+to)
				r.put(to, fmt.Sprintf("bob's %d", i), anyBase, bob)
			case 2:
				did = append(did, "rm "+from)
				r.rm(from, bob)
			case 3, 4:
				to := []string{"a", "b", "n", "d", "d/n", "e", "e/f/n", "m"}[rnd.IntN(8)]
				if res := r.e.Move(r.Context(), r.p(from), r.p(to), anyBase, anyBase, bob); res.Err == nil {
					did = append(did, "mv "+from+" "+to)
				}
			case 5:
				did = append(did, "mkdir")
				r.e.Mkdir(r.Context(), r.p([]string{"d", "n", "m/n"}[rnd.IntN(3)]), true, bob)
			}
		}
		n := r.undo(bob, since)
		if got := r.disk.Files(false); n > 0 || !maps.Equal(got, want) {
			r.Fatalf("seed %d: %d conflicts, it holds %q after %q", seed, n, got, did)
		}
	}
}
