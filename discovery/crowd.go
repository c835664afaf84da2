package discovery

import (
	"container/heap"
	"slices"

	"github.com/peerd/peerd/peer"
)

// Crowd keeps count of peers of which there is only hearsay, and of who told of them: a source, such as an IP address. Anybody
// can make up peers, but has few addresses to tell of them, and an honest computer tells of one peer. So where there is no more
// room, whoever comes from a source with few takes the place of the youngest from the source with most: a flood displaces
// itself. The zero Crowd is not ready; it is not safe for several goroutines.
type Crowd struct {
	members map[peer.ID]*source
	sources map[string]*source
	largest sourceHeap
}

// source is who told of peers.
type source struct {
	name  string
	peers []peer.ID // the youngest last
	place int       // in the heap
}

// NewCrowd starts an empty one.
func NewCrowd() *Crowd { return &Crowd{members: map[peer.ID]*source{}, sources: map[string]*source{}} }

// Add takes in a peer that a source tells of. A member moves to that source if that tells of fewer, so that nobody can make
// the peers of others count for a flood.
func (c *Crowd) Add(id peer.ID, from string) {
	if was := c.members[id]; was != nil {
		if c.held(from)+1 >= len(was.peers) {
			return
		}
		c.Remove(id)
	}
	s := c.sources[from]
	if s == nil {
		s = &source{name: from}
		c.sources[from] = s
		heap.Push(&c.largest, s)
	}
	s.peers = append(s.peers, id)
	c.members[id] = s
	heap.Fix(&c.largest, s.place)
}

// Remove takes a peer out, if it is there.
func (c *Crowd) Remove(id peer.ID) {
	s := c.members[id]
	if s == nil {
		return
	}
	delete(c.members, id)
	last := len(s.peers) - 1
	for i := last; i >= 0; i-- { // in a flood it is the last that goes
		if s.peers[i] == id {
			s.peers = slices.Delete(s.peers, i, i+1)
			break
		}
	}
	if last == 0 {
		heap.Remove(&c.largest, s.place)
		delete(c.sources, s.name)
		return
	}
	heap.Fix(&c.largest, s.place)
}

// Yields gives the member whose place a newcomer from a source may take: not if its source would then have as many as the
// one that had most.
func (c *Crowd) Yields(from string) (peer.ID, bool) {
	id, ok := c.Least()
	if !ok || len(c.largest[0].peers) <= c.held(from)+1 {
		return "", false
	}
	return id, true
}

// Least gives the member that is least worth its place: the youngest from the source that tells of most.
func (c *Crowd) Least() (peer.ID, bool) {
	if len(c.largest) == 0 {
		return "", false
	}
	s := c.largest[0]
	return s.peers[len(s.peers)-1], true
}

func (c *Crowd) held(from string) int {
	if s := c.sources[from]; s != nil {
		return len(s.peers)
	}
	return 0
}

// sourceHeap has the source that tells of most at 0, so that a flood costs a few steps for each of its peers.
type sourceHeap []*source

func (h sourceHeap) Len() int           { return len(h) }
func (h sourceHeap) Less(i, j int) bool { return len(h[i].peers) > len(h[j].peers) }
func (h sourceHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push is for container/heap.
func (h *sourceHeap) Push(x any) {
	s := x.(*source)
	s.place = len(*h)
	*h = append(*h, s)
}

// Pop is for container/heap.
func (h *sourceHeap) Pop() any {
	old := *h
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return s
}
