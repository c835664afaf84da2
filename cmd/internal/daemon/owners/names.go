package owners

import (
	"maps"
	"slices"
	"strings"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
)

// names are those under which peers stand in the tree: what a peer calls itself, or its ID where another one has that name.
// Who had a name first keeps it, so that no newcomer takes the place of somebody whose files are in use.
type names struct {
	byName map[string]peer.ID // by the name with its letters folded
	byID   map[peer.ID]string
	pinned map[peer.ID]bool // in use, be they here or not
}

func newNames() *names {
	return &names{byName: make(map[string]peer.ID), byID: make(map[peer.ID]string), pinned: make(map[peer.ID]bool)}
}

// see takes in who is here.
func (n *names) see(here []discovery.Peer) {
	present := make(map[peer.ID]bool, len(here))
	for _, p := range here {
		present[p.ID] = true
	}
	for id := range n.byID {
		if !present[id] && !n.pinned[id] {
			n.drop(id)
		}
	}
	for _, p := range here {
		if have := n.byID[p.ID]; have != "" && (n.pinned[p.ID] || have == string(p.Name)) {
			continue
		}
		n.give(p.ID, string(p.Name))
	}
}

// pin has a peer keep a name.
func (n *names) pin(id peer.ID, name string) {
	n.pinned[id] = true
	if n.byID[id] == "" {
		n.give(id, name)
	}
}

// give has a peer have a name, or its ID if the name is another's, or none that a folder could have.
func (n *names) give(id peer.ID, name string) {
	owner, taken := n.byName[fold(name)]
	if taken && owner != id || !usable(name) {
		name = id.String()
	}
	n.drop(id)
	n.byName[fold(name)], n.byID[id] = id, name
}

// usable reports whether a name can stand in the tree. One that is an ID is nobody's but that peer's.
func usable(name string) bool {
	_, err := peer.ParseID(name)
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00") && err != nil
}

func (n *names) drop(id peer.ID) {
	if name, ok := n.byID[id]; ok {
		delete(n.byName, fold(name))
		delete(n.byID, id)
	}
}

// id gives the peer of a name, or of an ID if it is known.
func (n *names) id(name string) (peer.ID, bool) {
	if id, ok := n.byName[fold(name)]; ok && n.byID[id] == name {
		return id, true
	}
	id, err := peer.ParseID(name)
	return id, err == nil && n.byID[id] != ""
}

// of is the name of a peer, or "".
func (n *names) of(id peer.ID) string { return n.byID[id] }

// all are the names, sorted.
func (n *names) all() []string { return slices.Sorted(maps.Values(n.byID)) }

func fold(name string) string { return strings.ToLower(name) }
