package registry

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
)

// TestStanding takes one device through all that can be said of it. Nobody's epoch rises by it.
func TestStanding(t *testing.T) {
	dir := state(t)
	r := reopen(t, dir)
	s := add(t, r, Share{Name: "s"})
	anna, ben := somebody(t), somebody(t)
	for _, step := range []struct {
		what string
		do   func() error
		kind peer.Kind // of the error; 0 for none
		want Standing
	}{
		{"nothing", func() error { return nil }, 0, Standing{}},
		{"undeny", func() error { return second(r.Undeny(s.ID, anna, start)) }, peer.NotFound, Standing{}},
		{"resume", func() error { return second(r.Resume(s.ID, anna, start)) }, peer.NotFound, Standing{}},
		{"allow full", func() error { return second(r.Allow(s.ID, anna, share.Full, start)) }, 0, Standing{Allowed: share.Full}},
		{"allow read", func() error { return second(r.Allow(s.ID, anna, share.Read, start)) }, 0, Standing{Allowed: share.Read}},
		{"allow none", func() error { return second(r.Allow(s.ID, anna, share.None, start)) }, peer.Usage, Standing{Allowed: share.Read}},
		{"suspend", func() error { return r.Suspend(s.ID, anna, start) }, 0, Standing{Allowed: share.Read, Suspended: true}},
		{"deny", func() error { return second(r.Deny(s.ID, anna, start)) }, 0, Standing{Denied: true, Suspended: true}},
		{"again", func() error { return second(r.Deny(s.ID, anna, start.Add(time.Hour))) }, 0, Standing{Denied: true, Suspended: true}},
		{"another", func() error { return second(r.Deny(s.ID, ben, start)) }, 0, Standing{Denied: true, Suspended: true}},
		{"resume", func() error { return second(r.Resume(s.ID, anna, start)) }, 0, Standing{Denied: true}},
		{"undeny", func() error { return second(r.Undeny(s.ID, anna, start)) }, 0, Standing{}},
		{"deny", func() error { return second(r.Deny(s.ID, anna, start)) }, 0, Standing{Denied: true}},
		{"allow", func() error { return second(r.Allow(s.ID, anna, share.Full, start)) }, 0, Standing{Allowed: share.Full}},
	} {
		if err := step.do(); step.kind != 0 || err != nil {
			wantKindOrNone(t, step.what, err, step.kind)
		}
		for _, r := range []*Registry{r, reopen(t, dir)} {
			got, err := r.ByID(s.ID)
			must(t, err)
			if got.Standing(anna) != step.want || got.Epochs != s.Epochs {
				t.Errorf("%s: %+v, epochs %v, want %+v, %v", step.what, got.Standing(anna), got.Epochs, step.want, s.Epochs)
			}
			if since, ok := got.Denied[anna]; ok && !since.Equal(start) {
				t.Errorf("%s: denied since %v", step.what, since)
			}
		}
	}
	wantKind(t, "allow in nothing", second(r.Allow(NewID(), anna, share.Read, start)), peer.NotFound)
	wantKind(t, "allow nobody", second(r.Allow(s.ID, "nobody", share.Read, start)), peer.Usage)
	wantKind(t, "suspend nobody", r.Suspend(s.ID, "", start), peer.Usage)
}

func wantKindOrNone(t *testing.T, what string, err error, kind peer.Kind) {
	t.Helper()
	if kind == 0 {
		t.Errorf("%s: %v", what, err)
		return
	}
	wantKind(t, what, err, kind)
}

// TestManyPeers names as many as there may be, and one more.
func TestManyPeers(t *testing.T) {
	r := reopen(t, state(t))
	many := make(map[peer.ID]time.Time)
	for range MaxPeers {
		many[somebody(t)] = start
	}
	s := add(t, r, Share{Name: "s", Ephemeral: true, Denied: many})
	wantKind(t, "one more", second(r.Deny(s.ID, somebody(t), start)), peer.Usage)
	for who := range many {
		must(t, second(r.Undeny(s.ID, who, start)))
		break
	}
	must(t, second(r.Deny(s.ID, somebody(t), start)))
}

func TestBlock(t *testing.T) {
	dir := state(t)
	r := reopen(t, dir)
	anna, ben := somebody(t), somebody(t)
	var told []string
	stop := r.OnBlock(func(who peer.ID, blocked bool) {
		told = append(told, fmt.Sprint(who == anna, blocked, r.IsBlocked(who)))
	})
	wantKind(t, "unblock", r.Unblock(anna), peer.NotFound)
	wantKind(t, "nobody", r.Block("nobody", "", start), peer.Usage)
	must(t, r.Block(anna, "anna", start))
	must(t, r.Block(ben, "", start))
	must(t, r.Block(anna, "other", start.Add(time.Hour)))
	want := map[peer.ID]Block{anna: {"anna", start}, ben: {"", start}}
	for _, r := range []*Registry{r, reopen(t, dir)} {
		if got := r.Blocked(); !reflect.DeepEqual(got, want) || !r.IsBlocked(anna) || r.IsBlocked(somebody(t)) {
			t.Errorf("blocked are %v, want %v", got, want)
		}
		clear(r.Blocked()) // nobody's business
	}
	add(t, r, Share{Name: "s"}) // keeps them
	must(t, r.Unblock(anna))
	stop()
	must(t, r.Block(anna, "", start))
	must(t, r.Unblock(anna))
	delete(want, anna)
	for _, r := range []*Registry{r, reopen(t, dir)} {
		if got := r.Blocked(); !reflect.DeepEqual(got, want) {
			t.Errorf("blocked are %v, want %v", got, want)
		}
	}
	if got, want := fmt.Sprint(told), "[true true true false true true true true true true false false]"; got != want {
		t.Errorf("told %s, want %s", got, want)
	}
	path := filepath.Join(dir, fileName)
	must(t, os.Rename(path, path+".good"))
	must(t, os.MkdirAll(filepath.Join(path, "in the way"), 0o755))
	wantKind(t, "where nothing can be saved", r.Block(anna, "", start), peer.Other)
	if r.IsBlocked(anna) {
		t.Error("blocked until the next start")
	}
}

func TestTooManyBlocked(t *testing.T) {
	r := reopen(t, state(t))
	must(t, r.Block(somebody(t), "", start))
	all := r.Blocked()
	for len(all) < MaxBlocked {
		all[somebody(t)] = Block{Since: start}
	}
	r.blocked = maps.Clone(all)
	wantKind(t, "one more", r.Block(somebody(t), "", start), peer.Usage)
}
