package lan

import (
	"strings"
	"sync"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
)

// maxClashes is how many clashes are remembered, so that they are told once; beyond, all are forgotten.
const maxClashes = 1024

// names are what peers that proved their IDs call themselves, and who has the same name as another. What is heard by multicast
// does not count: anybody can say there what he likes of anybody.
type names struct {
	self peer.Name
	id   peer.ID
	tell func(id, other peer.ID)

	mu   sync.Mutex
	of   map[peer.ID]string // in the form in which names are compared; at most [discovery.MaxPeers]
	told map[[2]peer.ID]bool
}

// says takes in what a peer calls itself, and tells of one other that has the name: of each two once.
func (n *names) says(id peer.ID, name peer.Name) {
	other, clash := n.enter(id, strings.ToLower(string(name)))
	if clash {
		n.tell(id, other)
	}
}

func (n *names) enter(id peer.ID, name string) (other peer.ID, clash bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.of == nil {
		n.of, n.told = make(map[peer.ID]string), make(map[[2]peer.ID]bool)
	}
	was, known := n.of[id]
	if name == "" || was == name || !known && len(n.of) >= discovery.MaxPeers {
		return "", false
	}
	n.of[id] = name
	if strings.ToLower(string(n.self)) == name && id != n.id {
		other = n.id
	}
	for o, has := range n.of {
		if has == name && o != id && other == "" {
			other = o
		}
	}
	pair := [2]peer.ID{min(id, other), max(id, other)}
	if other == "" || n.told[pair] {
		return "", false
	}
	if len(n.told) >= maxClashes {
		clear(n.told)
	}
	n.told[pair] = true
	return other, true
}

// forget drops peers that are not here any more.
func (n *names) forget(gone func(peer.ID) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id := range n.of {
		if gone(id) {
			delete(n.of, id)
		}
	}
}
