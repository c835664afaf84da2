package host

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/transport"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host/limit"
)

// MaxLanes is how many connections a peer may have dialled to another at a time; lanes are numbered from 0.
const MaxLanes = limit.MaxLanes

// inboundLane is the lane of a connection that the other side dialled.
const inboundLane = -1

// link is one open connection.
type link struct {
	conn   network.Conn
	lane   int             // or inboundLane
	ctx    context.Context // ends with the connection
	cancel context.CancelFunc
	quiet  time.Duration // without streams so far, as closeIdle counts
	alone  time.Time     // until then no other lane is dialled
}

// connected enters a connection that the swarm took; no stream of it was accepted yet.
func (h *Host) connected(_ network.Network, c network.Conn) {
	l := &link{conn: c, lane: inboundLane}
	l.ctx, l.cancel = context.WithCancel(h.ctx)
	var own *fedConn
	if c.As(&own) {
		l.lane = own.lane
	}
	id := c.RemotePeer()
	h.mu.Lock()
	h.links[id] = append(h.links[id], l)
	callbacks := slices.Clone(h.onConnect)
	h.mu.Unlock()
	if own != nil {
		own.taken <- l
	}
	if !h.gate.Trusts(id) { // it was blocked while it came in, when [Host.Disconnect] could not see it yet
		h.spawn(func() { c.Close() })
	}
	h.log.Debug("connected", "peer", id, "addr", c.RemoteMultiaddr(), "lane", l.lane)
	for _, f := range callbacks {
		f(id, c.RemoteMultiaddr(), l.lane == inboundLane)
	}
}

// disconnected forgets a connection, and with the last one all that was kept for the peer's sake.
func (h *Host) disconnected(_ network.Network, c network.Conn) {
	id := c.RemotePeer()
	h.mu.Lock()
	links := h.links[id]
	if i := slices.IndexFunc(links, func(l *link) bool { return l.conn == c }); i >= 0 {
		links[i].cancel()
		h.links[id] = slices.Delete(links, i, i+1)
	}
	last := len(h.links[id]) == 0
	if last {
		delete(h.links, id)
		h.store.RemovePeer(id)
	}
	callbacks := slices.Clone(h.onDisconnect)
	h.mu.Unlock()
	h.log.Debug("disconnected", "peer", id, "addr", c.RemoteMultiaddr(), "last", last)
	if !last {
		return
	}
	for _, f := range callbacks {
		f(id)
	}
}

// linkOf finds an open connection for a lane: the lane's own, and for lane 0 else the oldest that the other side dialled,
// which is likely its lane 0. h.mu is held.
func (h *Host) linkOf(key laneKey) *link {
	var inbound *link
	for _, l := range h.links[key.id] {
		switch {
		case l.conn.IsClosed():
		case l.lane == key.lane:
			return l
		case l.lane == inboundLane && inbound == nil:
			inbound = l
		}
	}
	if key.lane == 0 {
		return inbound
	}
	return nil
}

func (h *Host) linkOfConn(c network.Conn) *link {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.links[c.RemotePeer()] {
		if l.conn == c {
			return l
		}
	}
	return nil
}

// closeIdle closes connections without streams until the host closes. Those that the other side dialled get twice the
// time, so that it is the one to close them and does not open a stream meanwhile.
func (h *Host) closeIdle() {
	step := h.cfg.IdleTimeout / 4
	tick := time.NewTicker(step)
	defer tick.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-tick.C:
		}
		for _, l := range h.idle(step) {
			l.conn.Close()
		}
	}
}

func (h *Host) idle(step time.Duration) []*link {
	h.mu.Lock()
	defer h.mu.Unlock()
	var idle []*link
	for _, links := range h.links {
		for _, l := range links {
			if l.conn.Stat().NumStreams > 0 || h.kept[l.conn.RemotePeer()] > 0 {
				l.quiet = 0
				continue
			}
			limit := h.cfg.IdleTimeout
			if l.lane == inboundLane {
				limit *= 2
			}
			if l.quiet += step; l.quiet > limit {
				idle = append(idle, l)
			}
		}
	}
	return idle
}

// Keep has the connections to a peer stay open while they are idle, until Keep is called with false as often as with true.
func (h *Host) Keep(id peer.ID, keep bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if keep {
		h.kept[id]++
	} else if h.kept[id]--; h.kept[id] <= 0 {
		delete(h.kept, id)
	}
}

// Connected reports whether any connection to the peer is open.
func (h *Host) Connected(id peer.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.links[id], func(l *link) bool { return !l.conn.IsClosed() })
}

// Disconnect closes all connections to a peer; their streams fail on both sides.
func (h *Host) Disconnect(id peer.ID) {
	h.mu.Lock()
	links := slices.Clone(h.links[id])
	h.mu.Unlock()
	for _, l := range links {
		l.conn.Close()
	}
}

// OnConnect has f told of every connection: whose, from or to where, and whether the other side dialled. No stream of the
// connection is served before f returns, so it must be quick.
func (h *Host) OnConnect(f func(id peer.ID, addr peer.Addr, inbound bool)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onConnect = append(h.onConnect, f)
}

// OnDisconnect has f told when the last connection to a peer is gone.
func (h *Host) OnDisconnect(f func(id peer.ID)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onDisconnect = append(h.onDisconnect, f)
}

// feed hands connections that were dialled here to the swarm, which takes them from listeners only. So it is a listener,
// and the transport that such a listener needs, at an address that nobody can dial.
type feed struct {
	conns chan *fedConn
	done  chan struct{}
	close sync.Once
}

// fedConn is a connection on its way to the swarm.
type fedConn struct {
	transport.CapableConn
	lane  int
	taken chan *link    // gets the link once the swarm has the connection
	gone  chan struct{} // closed with the connection
	end   sync.Once
}

func newFeed() *feed { return &feed{conns: make(chan *fedConn), done: make(chan struct{})} }

// give has the swarm take a connection. If it does not, the connection is closed.
func (f *feed) give(c transport.CapableConn, lane int) (*link, error) {
	fed := &fedConn{CapableConn: c, lane: lane, taken: make(chan *link, 1), gone: make(chan struct{})}
	select {
	case f.conns <- fed:
	case <-f.done:
		fed.Close()
	}
	select {
	case l := <-fed.taken:
		return l, nil
	case <-fed.gone:
		return nil, net.ErrClosed
	}
}

func (c *fedConn) As(target any) bool {
	if t, ok := target.(**fedConn); ok {
		*t = c
		return true
	}
	return c.CapableConn.As(target)
}

func (c *fedConn) Close() error {
	c.end.Do(func() { close(c.gone) })
	return c.CapableConn.Close()
}

func (c *fedConn) CloseWithError(code network.ConnErrorCode) error {
	c.end.Do(func() { close(c.gone) })
	return c.CapableConn.CloseWithError(code)
}

func (f *feed) Accept() (transport.CapableConn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.done:
		return nil, transport.ErrListenerClosed
	}
}

func (f *feed) Close() error {
	f.close.Do(func() { close(f.done) })
	return nil
}

func (f *feed) Multiaddr() ma.Multiaddr { return ma.StringCast("/memory/4455") }
func (f *feed) Addr() net.Addr          { return &net.UnixAddr{Name: "feed", Net: "memory"} }

func (f *feed) Listen(ma.Multiaddr) (transport.Listener, error) { return f, nil }
func (f *feed) Protocols() []int                                { return []int{ma.P_MEMORY} }
func (f *feed) CanDial(ma.Multiaddr) bool                       { return false }
func (f *feed) Proxy() bool                                     { return false }
func (f *feed) Dial(context.Context, ma.Multiaddr, peer.ID) (transport.CapableConn, error) {
	return nil, net.ErrClosed
}
