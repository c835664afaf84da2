package lan

import (
	"slices"
	"testing"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/discovery/discoverytest"
	"github.com/peerd/peerd/peer"
)

func TestNames(t *testing.T) {
	var told [][2]peer.ID
	id := discoverytest.ID
	n := &names{self: "Owner", id: id(0), tell: func(who, other peer.ID) { told = append(told, [2]peer.ID{who, other}) }}
	expect := func(what string, want ...[2]peer.ID) {
		t.Helper()
		if !slices.Equal(told, want) {
			t.Errorf("%s: told %v", what, told)
		}
		told = nil
	}
	n.says(id(1), "anna")
	n.says(id(1), "anna")
	n.says(id(2), "berta")
	n.says(id(2), "")
	expect("different names")
	n.says(id(3), "ANNA")
	n.says(id(3), "anna")
	n.says(id(1), "anna")
	expect("a name of another", [2]peer.ID{id(3), id(1)})
	n.says(id(3), "carl")
	n.says(id(3), "anna")
	n.forget(func(who peer.ID) bool { return who == id(3) })
	n.says(id(3), "anna")
	expect("the same again")
	n.says(id(2), "owner")
	expect("this peer's name", [2]peer.ID{id(2), id(0)})
	n.says(id(0), "owner")
	expect("this peer itself")
	n.forget(func(who peer.ID) bool { return who == id(1) || who == id(3) })
	n.says(id(4), "anna")
	expect("a name of who is gone")
	for i := range 2 * discovery.MaxPeers {
		n.says(id(10+i), "many")
	}
	if len(n.of) > discovery.MaxPeers || len(n.told) > maxClashes || len(told) > discovery.MaxPeers {
		t.Errorf("%d names, %d clashes, of which %d are told", len(n.of), len(n.told), len(told))
	}
}
