package lan

import (
	"context"
	"iter"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/peerd/peerd/cmd/internal/config"
	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/discovery/dht"
	"github.com/peerd/peerd/discovery/roll"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host/adapter"
	"github.com/peerd/peerd/peer/host/relay"
)

// What a peer says of where it is: direct addresses, and circuits for those that reach none of them.
const maxDirect = discovery.MaxAddrs - relay.MaxRelays

// startBeyond makes what looks beyond the local network.
func (l *LAN) startBeyond() (err error) {
	if l.relays, err = relay.Start(l.host, l.cfg.Relay, l.member, l.log); err != nil {
		return err
	}
	if l.dht, err = dht.New(l.host, l.cfg.Workgroup, l.log); err != nil {
		l.stopBeyond()
		return err
	}
	l.roll = roll.New(roll.Config{
		Key: l.cfg.Key, Open: l.host, View: l.view, Logger: l.log, Advert: l.farAdvert, Known: l.remembered,
	})
	l.host.Handle(roll.Protocol, roll.Streams, l.roll.Handle)
	return nil
}

func (l *LAN) stopBeyond() {
	if l.dht != nil {
		if err := l.dht.Close(); err != nil {
			l.log.Debug("close the DHT", "err", err)
		}
	}
	if l.relays != nil {
		l.relays.Close()
	}
}

func (l *LAN) runBeyond(ctx context.Context, g *errgroup.Group) {
	if l.roll == nil {
		return
	}
	g.Go(func() error { return l.roll.Find(ctx, l.Observe) })
	g.Go(func() error { return l.keepPlaces(ctx) })
}

// keepPlaces keeps a place at relays while there are peers beyond the local network.
func (l *LAN) keepPlaces(ctx context.Context) error {
	changed, stop := l.view.Subscribe()
	defer stop()
	l.relays.Keep(ctx, changed, func() (at []peer.ID) {
		far := false
		for _, p := range l.view.Snapshot() {
			far = far || !p.Near()
			if p.Relay {
				at = append(at, p.ID)
			}
		}
		if !far {
			return nil
		}
		return at
	}, l.roll.Changed)
	return nil
}

// member reports whether a peer is of the workgroup, as far as is known.
func (l *LAN) member(id peer.ID) bool {
	_, ok := l.view.Get(id)
	return ok
}

// farAdvert is what this peer says of itself to other networks.
func (l *LAN) farAdvert() discovery.Advert {
	a := l.advert()
	switch l.cfg.Advertise {
	case config.Count:
		a.Shares = nil
	case config.Quiet:
		a.Shares, a.Count = nil, -1
	}
	a.Addrs = append(l.direct(time.Now()), l.relays.Addrs()...)
	a.Relay = l.cfg.Relay
	return a
}

// addrsFor is how long this peer's own addresses are believed to stay: asking the system for them is dear.
const addrsFor = 5 * time.Second

// direct are the addresses at which other networks may reach this peer.
func (l *LAN) direct(now time.Time) []peer.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.asked) >= addrsFor {
		far := slices.DeleteFunc(adapter.Portable(l.host.Addrs()), func(a peer.Addr) bool { return !roll.Crosses(a) })
		l.own, l.asked = far[:min(len(far), maxDirect)], now
	}
	return slices.Clone(l.own)
}

// remembered are peers from before that are not here now; the host is told where they were.
func (l *LAN) remembered() []peer.ID {
	var out []peer.ID
	for _, m := range l.memory.list(time.Now()) {
		if _, here := l.view.Get(m.ID); !here {
			l.host.Hint(m.ID, m.addrs())
			out = append(out, m.ID)
		}
	}
	return out
}

// list has the DHT ask a peer, or no longer.
func (l *LAN) list(id peer.ID, here bool) {
	if here {
		l.dht.Add(id)
	} else {
		l.dht.Remove(id)
	}
}

// findTimeout bounds a search for one peer by its ID.
const findTimeout = 5 * time.Second

// search looks for a peer that nobody told of, by its ID.
func (l *LAN) search(ctx context.Context, id peer.ID) {
	if l.dht == nil || id == l.host.ID() || l.dht.Size() == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	if _, err := l.dht.FindPeer(ctx, id); err != nil {
		return
	}
	if in, err := l.Introduce(ctx, id, 0); err == nil {
		l.Observe(sighting(in, discovery.Inbound))
	}
}

// Sources is where it is told and asked who has what; without the DHT, nobody is told and nobody has.
func (l *LAN) Sources() discovery.Sources {
	if l.dht == nil {
		return nowhere{}
	}
	return l.dht
}

type nowhere struct{}

func (nowhere) Provide(context.Context, [32]byte) error { return nil }

func (nowhere) Providers(context.Context, [32]byte) iter.Seq[peer.ID] {
	return func(func(peer.ID) bool) {}
}
