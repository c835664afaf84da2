package owners

import (
	"slices"
	"testing"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/discovery/discoverytest"
	"github.com/peerd/peerd/peer"
)

// TestNames: who had a name first keeps it, and a newcomer of the same name is called by its ID.
func TestNames(t *testing.T) {
	id := discoverytest.ID
	p := func(n int, name string) discovery.Peer { return discovery.Peer{ID: id(n), Name: peer.Name(name)} }
	long := func(n int) string { return id(n).String() }
	for _, tc := range []struct {
		what string
		pins map[int]string
		see  [][]discovery.Peer
		want []string
	}{
		{"two names", nil, [][]discovery.Peer{{p(1, "anna"), p(2, "berta")}}, []string{"anna", "berta"}},
		{"one name twice", nil, [][]discovery.Peer{{p(1, "anna")}, {p(1, "anna"), p(2, "anna")}}, []string{long(2), "anna"}},
		{"in other letters", nil, [][]discovery.Peer{{p(1, "anna")}, {p(1, "anna"), p(2, "ANNA")}}, []string{long(2), "anna"}},
		{"the first is gone", nil, [][]discovery.Peer{{p(1, "anna")}, {p(2, "anna")}}, []string{"anna"}},
		{"the first is gone and in use", map[int]string{1: "anna"}, [][]discovery.Peer{{p(2, "anna")}}, []string{long(2), "anna"}},
		{"a new name", nil, [][]discovery.Peer{{p(1, "anna")}, {p(1, "berta")}}, []string{"berta"}},
		{"a new name of one in use", map[int]string{1: "anna"}, [][]discovery.Peer{{p(1, "berta")}}, []string{"anna"}},
		{"the ID of another", nil, [][]discovery.Peer{{p(1, long(2))}}, []string{long(1)}},
		{"no folder's name", nil, [][]discovery.Peer{{p(1, ".."), p(2, "."), p(3, "")}}, sorted(long(1), long(2), long(3))},
		{"the ID falls back to the name", nil, [][]discovery.Peer{{p(1, "anna")}, {p(1, "anna"), p(2, "anna")}, {p(2, "anna")}}, []string{"anna"}},
	} {
		n := newNames()
		for i, name := range tc.pins {
			n.pin(id(i), name)
		}
		for _, here := range tc.see {
			n.see(here)
		}
		if got := n.all(); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.what, got, tc.want)
		}
		for _, name := range n.all() {
			who, ok := n.id(name)
			if !ok || n.of(who) != name {
				t.Errorf("%s: %q is %v, who is %q", tc.what, name, who, n.of(who))
			}
			if again, ok := n.id(who.String()); !ok || again != who {
				t.Errorf("%s: %q is not found by its ID", tc.what, name)
			}
		}
	}
}

func sorted(s ...string) []string {
	slices.Sort(s)
	return s
}
