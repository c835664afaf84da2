package change_test

import (
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/change/disk"
	"github.com/peerd/peerd/transfer"
)

func TestTouch(t *testing.T) {
	r := newRig(t, true)
	r.ok(r.put("d/a", "content", change.Base{}, anna))
	when := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	r.told = nil
	res := r.ok(r.e.Touch(r.Context(), r.p("d/a"), anyBase, disk.Set{ModTime: &when}, bob))
	if !res.Entry.ModTime.Equal(when) || res.Entry.Exec || res.Entry.Path != r.p("d/a") || res.Before == res.Entry.Version || res.Kept != 0 {
		t.Errorf("its time: %+v", res)
	}
	if len(r.told) != 1 || r.told[0].Verb != "touch" || r.told[0].By != bob || r.told[0].Before.Kind != share.File || r.told[0].After != res.Entry {
		t.Errorf("told of %+v", r.told)
	}
	was := res.Entry.Version
	if res = r.ok(r.e.Touch(r.Context(), r.p("d/a"), is(was), disk.Set{Exec: new(true)}, bob)); !res.Entry.Exec || !res.Entry.ModTime.Equal(when) {
		t.Errorf("to be run: %+v", res)
	}
	syncs := r.disk.Syncs()
	if res = r.ok(r.e.Touch(r.Context(), r.p("d/a"), anyBase, disk.Set{ModTime: &when, Exec: new(true)}, bob)); r.disk.Syncs() != syncs || len(r.told) != 2 || !res.Entry.Exec {
		t.Errorf("what is so already: %+v, %d", res, len(r.told))
	}
	if res = r.ok(r.e.Touch(r.Context(), r.p("d"), anyBase, disk.Set{ModTime: &when}, bob)); !res.Entry.ModTime.Equal(when) || res.Entry.Kind != share.Dir {
		t.Errorf("a folder: %+v", res)
	}
	if got := r.disk.Files(false)["d/a"]; got != "content" {
		t.Errorf("it holds %q", got)
	}
	for what, tc := range map[string]struct {
		path string
		base change.Base
		set  disk.Set
		want peer.Kind
	}{
		"another version":     {"d/a", is(was), disk.Set{ModTime: &when}, peer.Conflict},
		"nothing is expected": {"d/a", change.Base{}, disk.Set{ModTime: &when}, peer.Conflict},
		"nothing is there":    {"d/b", anyBase, disk.Set{ModTime: &when}, peer.NotFound},
		"a version of it":     {"d/b", is(transfer.Version{1}), disk.Set{ModTime: &when}, peer.NotFound},
		"the share":           {"", anyBase, disk.Set{ModTime: &when}, peer.Usage},
		"a folder to be run":  {"d", anyBase, disk.Set{Exec: new(true)}, peer.Usage},
	} {
		if res := r.e.Touch(r.Context(), r.p(tc.path), tc.base, tc.set, bob); peer.KindOf(res.Err) != tc.want {
			t.Errorf("%s: %v", what, res.Err)
		}
	}
}

// TestExec: whether a file may be run comes with a put, stays if that says nothing, and is what the owner allows.
func TestExec(t *testing.T) {
	r := newRig(t, true)
	put := func(path, content string, exec *bool) change.Result {
		return r.ok(r.e.Commit(t.Context(), []change.Put{{Staged: r.stage(content), Path: r.p(path), Base: anyBase, Exec: exec, By: bob}})[0])
	}
	for i, tc := range []struct {
		exec *bool
		want bool
	}{{nil, false}, {new(true), true}, {nil, true}, {new(false), false}, {new(true), true}} {
		if res := put("a", string(rune('a'+i)), tc.exec); res.Entry.Exec != tc.want {
			t.Errorf("%d: %+v", i, res)
		}
	}
	if res := put("new", "x", new(true)); !res.Entry.Exec {
		t.Errorf("a new one: %+v", res)
	}
	mtime := r.clock.Now()
	same := func(exec *bool) change.Result {
		must(t, r.disk.Stage("same", "same", mtime))
		return r.ok(r.e.Commit(t.Context(), []change.Put{{Staged: "same", Path: r.p("same"), Base: anyBase, Exec: exec, By: bob}})[0])
	}
	first := same(new(true))
	if res := same(nil); res.Entry.Version != first.Entry.Version {
		t.Error("the same bytes were put once more")
	}
	if res := same(new(false)); res.Entry.Exec {
		t.Errorf("the same bytes, not to be run: %+v", res)
	}
	r.limit.NoExec = true
	if res := put("a", "never", new(true)); !res.Entry.Exec {
		t.Errorf("what could be run before: %+v", res)
	}
	if res := put("b", "never", new(true)); res.Entry.Exec {
		t.Errorf("of an owner who wants none: %+v", res)
	}
	if res := r.e.Touch(t.Context(), r.p("b"), anyBase, disk.Set{Exec: new(true)}, bob); peer.KindOf(res.Err) != peer.Usage {
		t.Errorf("a touch of an owner who wants none: %v", res.Err)
	}
	r.ok(r.e.Touch(t.Context(), r.p("a"), anyBase, disk.Set{Exec: new(false)}, bob))
}

func TestSpace(t *testing.T) {
	r := newRig(t, true)
	r.disk.SetTotal(1000)
	r.disk.SetFree(400)
	for _, tc := range []struct {
		limit       change.Limits
		total, free int64
	}{
		{change.Limits{}, 1000, 350},
		{change.Limits{Reserve: -1}, 1000, 400},
		{change.Limits{Reserve: 500}, 1000, 0},
		{change.Limits{MaxBytes: 300, Bytes: 100, Reserve: -1}, 300, 200},
		{change.Limits{MaxBytes: 300, Bytes: 100, Reserve: 300}, 200, 100},
		{change.Limits{MaxBytes: 300, Bytes: 301, Reserve: -1}, 301, 0},
		{change.Limits{MaxBytes: 1 << 50, Bytes: 100}, 450, 350},
	} {
		r.limit = tc.limit
		if total, free, err := r.e.Space(t.Context()); total != tc.total || free != tc.free || err != nil {
			t.Errorf("%+v: %d, %d, %v; want %d, %d", tc.limit, total, free, err, tc.total, tc.free)
		}
	}
}
