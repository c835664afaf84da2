package transfertest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/peerd/peerd/peer"
)

// Crowd is a network of several sources, each a [Net] of its own. It is a [peer.Opener] for [Reader]. The zero Crowd is
// empty.
type Crowd struct {
	mu   sync.Mutex
	nets map[peer.ID]*Net
}

// Add starts a source, until the test ends.
func (c *Crowd) Add(t testing.TB, id peer.ID, handlers map[string]peer.Handler) *Net {
	t.Helper()
	n := newNet(t, id, handlers)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nets == nil {
		c.nets = make(map[peer.ID]*Net)
	}
	c.nets[id] = n
	return n
}

// Open opens a stream of [Reader] to a source.
func (c *Crowd) Open(ctx context.Context, id peer.ID, protocol string, lane int) (peer.Stream, error) {
	return c.As(Reader).Open(ctx, id, protocol, lane)
}

// As is the network as another reader has it.
func (c *Crowd) As(from peer.ID) peer.Opener { return view{c, from} }

type view struct {
	*Crowd
	from peer.ID
}

// Open opens a stream to a source.
func (v view) Open(ctx context.Context, id peer.ID, protocol string, _ int) (peer.Stream, error) {
	v.mu.Lock()
	n := v.nets[id]
	v.mu.Unlock()
	if n == nil {
		return nil, &peer.Error{Op: "open", Path: "//" + string(id), Kind: peer.Unreachable, Err: errors.New("nobody knows where it is")}
	}
	return n.open(ctx, v.from, id, protocol)
}
