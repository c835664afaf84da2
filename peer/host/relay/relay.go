// Package relay lets two peers that can't reach each other meet at a third, by go-libp2p's circuit v2: connections run end to
// end through the relay, which carries bytes that it can't read. A peer that may need it keeps a place at a relay; a peer that
// serves as one does so because its user said so.
//
// There is no hole punching: it wants go-libp2p's own host, and on networks joined by a router that filters there is no hole.
package relay

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	core "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/host/adapter"
	"github.com/peerd/peerd/peer/host/book"
)

// MaxRelays is at how many relays a peer keeps a place, each with one address.
const MaxRelays = 2

// Limits of a relay. There is none of the bytes or the time of a circuit: it is there to carry files, on a network of the
// user's own. Each circuit takes two buffers.
const (
	maxPlaces   = 128 // peers that keep a place
	maxPerIP    = 8   // of one address
	maxCircuits = 16  // of one peer
	bufferSize  = 64 << 10
	placeFor    = time.Hour
)

// When a place is asked for again.
const (
	renewBefore = 10 * time.Minute
	retryAfter  = 15 * time.Second
	askLimit    = 10 * time.Second
)

// Relays dials circuits, and keeps places at relays. It is safe for concurrent use.
type Relays struct {
	h       *host.Host
	adapter *adapter.Host
	log     *slog.Logger
	server  *relay.Relay // nil unless this peer relays
	client  *client.Client

	mu     sync.Mutex
	places map[peer.ID]*place
}

// place is one that this peer has, or tries to have.
type place struct {
	held  bool
	again time.Time
}

// Start lets a host dial circuits, and with serve carry those of others: of peers that allow lets in, on both ends.
func Start(h *host.Host, serve bool, allow func(peer.ID) bool, log *slog.Logger) (*Relays, error) {
	r := &Relays{h: h, adapter: adapter.New(h), log: log, places: make(map[peer.ID]*place)}
	fail := func(err error) (*Relays, error) { return nil, &peer.Error{Op: "start relay", Err: err} }
	var err error
	if r.client, err = client.New(r.adapter, h.Parts().Upgrader); err != nil {
		return fail(err)
	}
	if err := h.DialCircuits(r.client); err != nil {
		return fail(err)
	}
	r.client.Start()
	if !serve {
		return r, nil
	}
	r.server, err = relay.New(r.adapter, relay.WithACL(filter(allow)), relay.WithResources(relay.Resources{
		ReservationTTL: placeFor, MaxReservations: maxPlaces, MaxCircuits: maxCircuits, BufferSize: bufferSize,
		MaxReservationsPerIP: maxPerIP, MaxReservationsPerASN: maxPlaces,
	}))
	if err != nil {
		return fail(err)
	}
	return r, nil
}

// Close ends what Start began; the host closes the rest.
func (r *Relays) Close() {
	if r.server != nil {
		_ = r.server.Close()
	}
	_ = r.client.Close()
}

// filter lets a relay serve some peers alone.
type filter func(peer.ID) bool

// AllowReserve implements relay.ACLFilter.
func (f filter) AllowReserve(id core.ID, _ ma.Multiaddr) bool { return f(id) }

// AllowConnect implements relay.ACLFilter.
func (f filter) AllowConnect(from core.ID, _ ma.Multiaddr, to core.ID) bool { return f(from) && f(to) }

// Of gives the relay that an address or connection goes through, or "".
func Of(addr peer.Addr) peer.ID {
	addr, _ = core.SplitAddr(addr)
	return book.RelayOf(addr)
}

// Keep keeps places at up to [MaxRelays] of the relays that at gives, until ctx ends. It looks again when wake gets a token
// and when a place runs out or is lost, and calls changed when [Relays.Addrs] did.
func (r *Relays) Keep(ctx context.Context, wake <-chan struct{}, at func() []peer.ID, changed func()) {
	defer r.drop(func(peer.ID) bool { return true })
	for ctx.Err() == nil {
		next, differs := r.step(ctx, at())
		if differs {
			changed()
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-timer.C:
		case <-wake:
			select { // the view changes in bursts
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// step asks for the places that are due.
func (r *Relays) step(ctx context.Context, at []peer.ID) (next time.Time, changed bool) {
	changed = r.drop(func(id peer.ID) bool { return !slices.Contains(at, id) })
	next = time.Now().Add(time.Hour)
	for _, id := range at {
		r.mu.Lock()
		p := r.places[id]
		if p == nil && len(r.places) < MaxRelays {
			p = &place{}
			r.places[id] = p
			r.h.Keep(id, true)
		}
		if p != nil && p.held && !r.h.Connected(id) { // the place went with the connection
			p.held, p.again, changed = false, time.Time{}, true
		}
		due := p != nil && !time.Now().Before(p.again)
		r.mu.Unlock()
		if p == nil {
			continue
		}
		if due {
			changed = r.ask(ctx, id, p) || changed
		}
		// A lost connection is looked for as often as the network gives up on one.
		if soon := time.Now().Add(retryAfter); soon.Before(next) {
			next = soon
		}
	}
	return next, changed
}

// ask asks for a place, and reports whether having it is new.
func (r *Relays) ask(ctx context.Context, id peer.ID, p *place) bool {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	got, err := client.Reserve(ctx, r.adapter, core.AddrInfo{ID: id})
	r.mu.Lock()
	defer r.mu.Unlock()
	was := p.held
	if err != nil {
		r.log.Debug("a relay gives no place", "relay", id, "err", err)
		p.held, p.again = false, time.Now().Add(retryAfter)
		return was
	}
	p.held, p.again = true, got.Expiration.Add(-renewBefore)
	if soonest := time.Now().Add(retryAfter); p.again.Before(soonest) {
		p.again = soonest
	}
	return !was
}

// drop gives up places, and reports whether any was held.
func (r *Relays) drop(which func(peer.ID) bool) (held bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, p := range r.places {
		if which(id) {
			held = held || p.held
			delete(r.places, id)
			r.h.Keep(id, false)
		}
	}
	return held
}

// Addrs are where this peer is met through relays, one for each place that it holds.
func (r *Relays) Addrs() []peer.Addr {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []peer.Addr
	for id, p := range r.places {
		if !p.held {
			continue
		}
		for _, a := range adapter.Portable(r.h.Known(id)) {
			if book.KindOf(a) != book.TCP {
				continue
			}
			if circuit, err := ma.NewMultiaddr(a.String() + "/p2p/" + id.String() + "/p2p-circuit"); err == nil {
				out = append(out, circuit)
				break
			}
		}
	}
	slices.SortFunc(out, func(a, b peer.Addr) int { return a.Compare(b) })
	return out
}
