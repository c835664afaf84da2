package edit

import (
	"testing"
)

// TestLaterState: a state of a file is stale once a later one of the same file came, be that done with or not, and so is no state of
// another.
func TestLaterState(t *testing.T) {
	n := names{taken: make(map[stagedName]bool), files: make(map[stagedName]*states)}
	begin := func(file, state string) *item {
		it := &item{file: stagedName{text: file}, state: file + state}
		it.name = n.take(stagedName{text: it.state})
		n.use(it)
		return it
	}
	early, other := begin("a-", "1"), begin("b-", "1")
	if n.stale(early) || n.stale(other) {
		t.Error("the only one is stale")
	}
	later, again := begin("a-", "2"), begin("a-", "2")
	if later.name == again.name {
		t.Error("two have one name")
	}
	for it, want := range map[*item]bool{early: true, other: false, later: false, again: false} {
		if n.stale(it) != want {
			t.Errorf("%v is stale: %v", it.name, !want)
		}
	}
	n.release(later)
	n.release(again)
	if !n.stale(early) {
		t.Error("once a later one is done, an earlier one may take its place")
	}
	n.release(early)
	n.release(other)
	if len(n.taken) > 0 || len(n.files) > 0 {
		t.Errorf("%v and %v stay", n.taken, n.files)
	}
}
