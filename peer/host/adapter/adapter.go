// Package adapter shows a Host to libraries that want go-libp2p's host: the DHT and the relay. All that they open and serve
// runs over the Host's own connections, so its gate, its limits and its way of dialling hold for them too.
//
// There is no identify behind it: who uses a library tells it which peers speak its protocol.
package adapter

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/event"
	libhost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	core "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/host/limit"
)

// streamsPerPeer is how many streams of one protocol a peer may have open to us.
const streamsPerPeer = 16

// Host is a Host as go-libp2p's. Closing it does nothing, since it is only a view.
type Host struct {
	h      *host.Host
	parts  host.Parts
	store  *store
	keeper *keeper
}

var _ libhost.Host = (*Host)(nil)

// New shows h.
func New(h *host.Host) *Host {
	parts := h.Parts()
	return &Host{h: h, parts: parts, store: &store{Peerstore: parts.Store, h: h, key: parts.Key}, keeper: newKeeper(h)}
}

// ID implements host.Host.
func (a *Host) ID() core.ID { return a.h.ID() }

// Peerstore implements host.Host. Addresses that are put in are hints for the Host; it knows the Host's.
func (a *Host) Peerstore() peerstore.Peerstore { return a.store }

// Addrs are where this peer can be dialled, as others may be told: without zones.
func (a *Host) Addrs() []ma.Multiaddr { return Portable(a.h.Addrs()) }

// Network implements host.Host. Nothing should be dialled by it.
func (a *Host) Network() network.Network { return a.parts.Network }

// Mux implements host.Host; there is none to be seen.
func (a *Host) Mux() protocol.Switch { return nil }

// ConnManager implements host.Host. It keeps connections of peers that hold a reservation or are protected.
func (a *Host) ConnManager() connmgr.ConnManager { return a.keeper }

// EventBus implements host.Host.
func (a *Host) EventBus() event.Bus { return a.parts.Bus }

// Close does nothing.
func (a *Host) Close() error { return nil }

// Connect makes sure that there is a connection, over whatever the Host can do.
func (a *Host) Connect(ctx context.Context, info core.AddrInfo) error {
	a.h.Hint(info.ID, info.Addrs)
	if no, _ := network.GetNoDial(ctx); no && !a.h.Connected(info.ID) {
		return network.ErrNoConn
	}
	return a.h.Connect(ctx, info.ID, 0)
}

// NewStream opens a stream of the first of the protocols; what is wrong with it shows at the first read.
func (a *Host) NewStream(ctx context.Context, id core.ID, protocols ...protocol.ID) (network.Stream, error) {
	if len(protocols) == 0 {
		return nil, errors.New("no protocol is named")
	}
	if no, _ := network.GetNoDial(ctx); no && !a.h.Connected(id) {
		return nil, network.ErrNoConn
	}
	s, err := a.h.Open(ctx, id, string(protocols[0]), 0)
	if err != nil {
		return nil, err
	}
	return s.(network.Stream), nil // as all of the Host's are
}

// SetStreamHandler serves a protocol. The handler may return before it is done with the stream.
func (a *Host) SetStreamHandler(id protocol.ID, handler network.StreamHandler) {
	a.h.Handle(string(id), streamsPerPeer, func(ctx context.Context, s peer.Stream) error {
		t := &tracked{Stream: s.(network.Stream), done: make(chan struct{})}
		if err := limit.Carry(t.Scope()); err != nil {
			_ = t.ResetWithError(network.StreamResourceLimitExceeded)
			return err
		}
		handler(t)
		select {
		case <-t.done:
		case <-ctx.Done():
			_ = t.Reset() // nobody waits for it
		}
		if t.failed {
			return errors.New("the handler broke off")
		}
		return nil
	})
}

// SetStreamHandlerMatch serves a protocol by its one name: there are no others to match.
func (a *Host) SetStreamHandlerMatch(id protocol.ID, _ func(protocol.ID) bool, handler network.StreamHandler) {
	a.SetStreamHandler(id, handler)
}

// RemoveStreamHandler has streams of a protocol refused from now on.
func (a *Host) RemoveStreamHandler(id protocol.ID) {
	a.h.Handle(string(id), streamsPerPeer, func(context.Context, peer.Stream) error { return io.ErrClosedPipe })
}

// tracked is an inbound stream of which is known when it ends.
type tracked struct {
	network.Stream
	end    sync.Once
	done   chan struct{}
	failed bool // set before done is closed
}

func (t *tracked) finish(failed bool) {
	t.end.Do(func() {
		t.failed = failed
		close(t.done)
	})
}

// Close ends the stream in order.
func (t *tracked) Close() error {
	defer t.finish(false)
	return t.Stream.Close()
}

// Reset breaks the stream off.
func (t *tracked) Reset() error {
	defer t.finish(true)
	return t.Stream.Reset()
}

// ResetWithError breaks the stream off with a reason.
func (t *tracked) ResetWithError(code network.StreamErrorCode) error {
	defer t.finish(true)
	return t.Stream.ResetWithError(code)
}

// Portable are the addresses that mean something elsewhere: without loopback unless there is nothing else, and without the
// zone of link-local ones, which is the name of an interface of this computer.
func Portable(addrs []peer.Addr) []peer.Addr {
	var out, loopback []peer.Addr
	for _, a := range addrs {
		if len(a) > 1 && a[0].Protocol().Code == ma.P_IP6ZONE {
			a = a[1:]
		}
		if isLoopback(a) {
			loopback = append(loopback, a)
			continue
		}
		if !slices.ContainsFunc(out, a.Equal) {
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return loopback
	}
	return out
}
