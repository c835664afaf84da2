// Package lan is what a peer knows of the others, by all ways together: it starts what finds and announces, keeps the one
// view of the workgroup and what peers said of themselves, and has the host know where they are.
package lan

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"path/filepath"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"golang.org/x/sync/errgroup"

	"github.com/peerd/peerd/cmd/internal/config"
	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/discovery/dht"
	"github.com/peerd/peerd/discovery/mdns"
	"github.com/peerd/peerd/discovery/roll"
	"github.com/peerd/peerd/discovery/static"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/host/relay"
	"github.com/peerd/peerd/share/offer"
	"github.com/peerd/peerd/share/registry"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/remote/ticket"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/sharepb"
)

// Config says what a LAN stands on. All must be set.
type Config struct {
	config.Config
	Key     crypto.PrivKey
	Host    *host.Host
	Offers  *offer.Offers
	Client  *remote.Client
	Tickets *ticket.Store
	Hello   func(to peer.ID) *sharepb.Hello // what this peer says of itself to another
	Clash   func(id, other peer.ID)         // told of a peer that proved that it has another's name
	Log     *slog.Logger
	Started time.Time // when the daemon did
}

// LAN is what this peer knows of the others. It is safe for concurrent use.
type LAN struct {
	cfg    Config
	log    *slog.Logger
	host   *host.Host
	view   *discovery.View
	mdns   *mdns.Service // nil when switched off
	join   *static.Finder
	roll   *roll.Roll // nil when switched off, with dht
	dht    *dht.DHT
	relays *relay.Relays
	memory *memory
	names  names // of those of the workgroup
	closed sync.Once

	seen sync.Mutex // held while view and host learn of a peer, so that they never differ for long

	mu    sync.Mutex
	intro map[peer.ID]introduced
	own   []peer.Addr // where other networks reach this peer, as of asked
	asked time.Time
}

// introduced is what a peer said of itself over an authenticated stream.
type introduced struct {
	serve.Introduction
	heard uint64 // the revision by discovery when it was asked
}

// New prepares everything; nothing is looked for or told before [LAN.Run]. [LAN.Close] must be called.
func New(cfg Config) (*LAN, error) {
	l := &LAN{
		cfg: cfg, log: cfg.Log, host: cfg.Host,
		view: discovery.NewView(cfg.Host.ID(), cfg.Workgroup), intro: make(map[peer.ID]introduced),
		memory: openMemory(filepath.Join(cfg.State, "peers"), cfg.Log),
		names:  names{self: cfg.Name, id: cfg.Host.ID(), tell: cfg.Clash},
	}
	if cfg.MDNS {
		l.mdns = mdns.New(mdns.Config{Logger: cfg.Log, Advertise: mdns.Mode(cfg.Advertise)})
	}
	if len(cfg.Join) > 0 {
		var err error
		l.join, err = static.New(static.Config{Targets: cfg.Join, Probe: l.probe, Logger: cfg.Log})
		if err != nil {
			return nil, err
		}
	}
	if cfg.DHT {
		if err := l.startBeyond(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Close ends what New started. It must come before the host is closed.
func (l *LAN) Close() { l.closed.Do(l.stopBeyond) }

// Run finds and announces until ctx ends, and then says goodbye.
func (l *LAN) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	l.host.OnConnect(l.connected)
	l.host.OnDisconnect(l.disconnected)
	if l.mdns != nil {
		g.Go(func() error { return l.mdns.Find(ctx, l.Observe) })
	}
	l.Announce()
	stop := l.cfg.Offers.Registry.OnChange(func(_, _ *registry.Share) { l.Announce() })
	defer stop()
	if l.join != nil {
		g.Go(func() error { return l.join.Find(ctx, l.Observe) })
	}
	l.runBeyond(ctx, g)
	g.Go(func() error { return l.memory.run(ctx, l.snapshot) })
	g.Go(func() error { return l.expire(ctx) })
	return g.Wait()
}

// View is the workgroup as it is known now.
func (l *LAN) View() *discovery.View { return l.view }

// MDNS reports whether the local network is asked by multicast.
func (l *LAN) MDNS() bool { return l.mdns != nil }

// Announce tells others what there is to tell.
func (l *LAN) Announce() {
	if l.mdns != nil {
		l.mdns.Announce(l.advert())
	}
	if l.roll != nil {
		l.roll.Changed()
	}
}

func (l *LAN) advert() discovery.Advert {
	listed, revision := l.cfg.Offers.Listed("")
	a := discovery.Advert{
		ID: l.host.ID(), Name: l.cfg.Name, Workgroup: l.cfg.Workgroup, Version: l.cfg.Version,
		Port: l.host.Port(), Count: len(listed), Revision: revision,
	}
	for _, s := range listed {
		a.Shares = append(a.Shares, string(s.Name))
	}
	return a
}

// Observe takes in what was heard of a peer. Of one that is blocked nothing is taken in.
func (l *LAN) Observe(s discovery.Sighting) {
	l.seen.Lock()
	defer l.seen.Unlock()
	if !s.Gone && l.cfg.Offers.Registry.IsBlocked(s.ID) {
		return
	}
	l.observe(s)
}

// Drop forgets a peer that is blocked now.
func (l *LAN) Drop(id peer.ID) {
	l.seen.Lock()
	defer l.seen.Unlock()
	p, _ := l.view.Get(id)
	for _, way := range p.Ways {
		l.observe(discovery.Sighting{ID: id, Way: way, Gone: true})
	}
	l.host.Forget(id)
}

// observe is Observe with l.seen held.
func (l *LAN) observe(s discovery.Sighting) {
	_, before := l.view.Get(s.ID)
	l.host.Forget(l.view.Observe(time.Now(), s)) // who had to make room, or the host soon forgets others for it
	p, here := l.view.Get(s.ID)
	if here {
		l.host.Learn(s.ID, p.Addrs)
	} else {
		l.host.Forget(s.ID)
		l.forget(func(id peer.ID) bool { return id == s.ID })
	}
	if l.dht != nil && here != before {
		l.list(s.ID, here)
	}
}

// connected takes in that a peer proved its ID.
func (l *LAN) connected(id peer.ID, addr peer.Addr, _ bool) {
	l.memory.proved(id, time.Now())
	if by := relay.Of(addr); by != "" && l.member(id) {
		l.Observe(discovery.Sighting{ID: id, Way: discovery.Relay, Workgroup: l.cfg.Workgroup, From: by.String()})
	}
}

func (l *LAN) disconnected(id peer.ID) {
	if l.host.Connected(id) {
		return // it may be back already
	}
	for _, way := range []discovery.Way{discovery.Inbound, discovery.Relay} {
		l.Observe(discovery.Sighting{ID: id, Way: way, Gone: true})
	}
}

// forget drops what peers said of themselves.
func (l *LAN) forget(gone func(peer.ID) bool) {
	l.names.forget(gone)
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.intro, func(id peer.ID, _ introduced) bool { return gone(id) })
}

// expire drops those that fell silent.
func (l *LAN) expire(ctx context.Context) error {
	changed, stop := l.view.Subscribe()
	defer stop()
	for {
		wait := 24 * time.Hour
		if next := l.view.Expire(time.Now()); !next.IsZero() {
			wait = max(time.Until(next), time.Second)
		}
		l.forget(func(id peer.ID) bool {
			_, here := l.view.Get(id)
			return !here
		})
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
			timer.Stop()
			// Many changes at once are one: a workgroup that starts is not looked through again for each of its members.
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return nil
			}
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// probe finds out who answers at an address.
func (l *LAN) probe(ctx context.Context, addr peer.Addr) (discovery.Sighting, error) {
	id, err := l.host.Identify(ctx, addr)
	if err != nil {
		return discovery.Sighting{}, err
	}
	if id == l.host.ID() {
		return discovery.Sighting{}, &peer.Error{Op: "join", Path: addr.String(), Kind: peer.Usage, Err: errors.New("this is ourselves")}
	}
	if _, known := l.view.Get(id); !known {
		l.host.Learn(id, []peer.Addr{addr})
	}
	in, err := l.Introduce(ctx, id, 0)
	if err != nil {
		return discovery.Sighting{}, err
	}
	s := sighting(in, discovery.Static)
	s.Addrs = append([]peer.Addr{addr}, s.Addrs...)
	s.Addrs = s.Addrs[:min(len(s.Addrs), discovery.MaxAddrs)]
	return s, nil
}

// Met takes in a peer that introduced itself to us.
func (l *LAN) Met(in serve.Introduction) {
	l.Observe(sighting(in, discovery.Inbound))
	l.named(in)
}

// named takes in what a peer of the workgroup, as it says itself over an authenticated stream, is called.
func (l *LAN) named(in serve.Introduction) {
	if in.Workgroup == l.cfg.Workgroup {
		l.names.says(in.ID, in.Name)
	}
}
