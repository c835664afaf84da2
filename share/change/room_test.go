package change_test

import (
	"strings"
	"testing"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/change"
)

// TestLimits (T29) runs into the quota, the reserve and the room for versions: each says so, and nothing is lost.
func TestLimits(t *testing.T) {
	full := func(r *rig, what string, err error) {
		r.Helper()
		if peer.KindOf(err) != peer.Full {
			r.Errorf("%s: %v", what, err)
		}
	}
	r := newRig(t, true)
	one := r.ok(r.put("a", "0123456789", change.Base{}, anna))
	r.limit = change.Limits{MaxBytes: 25, Bytes: 10}
	must(t, r.e.Room(t.Context(), 15, 0))
	full(r, "beyond the quota", r.e.Room(t.Context(), 16, 0))
	two := r.ok(r.put("a", "abcdefghij", is(one.Entry.Version), anna)) // its version counts from now on
	full(r, "beyond the quota, with a version", r.put("a", "xxxxxxxxxx", is(two.Entry.Version), anna).Err)
	for name := range r.disk.Files(true) {
		if strings.HasPrefix(name, ".peerd/tmp/up-") {
			r.Errorf("what there was no room for takes room: %s", name)
		}
	}

	r.limit = change.Limits{}
	r.disk.SetFree(1<<30 + 5)
	must(t, r.e.Room(t.Context(), 5, 0))
	full(r, "into the reserve", r.e.Room(t.Context(), 6, 0))
	must(t, r.e.Room(t.Context(), 6, 1))
	r.disk.SetFree(1)
	full(r, "a put without the reserve", r.put("b", "x", change.Base{}, anna).Err)
	r.limit.Reserve = -1
	r.ok(r.put("b", "x", change.Base{}, anna))

	d := newRig(t, true)
	d.limit.Retention.Percent = 1
	old := d.ok(d.put("a", "old", change.Base{}, anna))
	d.disk.SetTotal(500) // versions may take 5 bytes
	d.ok(d.put("a", "newer", is(old.Entry.Version), bob))
	full(d, "a version without room, of today", d.put("a", "newest", anyBase, bob).Err)
	d.holds(map[string]string{"a": "newer"})
	d.clock.now = d.clock.now.AddDate(0, 0, 2)
	d.ok(d.put("a", "newest", anyBase, bob))
	if got := d.versions("a", false); len(got) != 1 || got[0] != "a=newer" {
		t.Errorf("versions %q", got)
	}
}
