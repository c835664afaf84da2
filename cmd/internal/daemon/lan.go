package daemon

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/discovery/mdns"
	"github.com/peerd/peerd/discovery/static"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/registry"
	"github.com/peerd/peerd/share/serve"
)

// lan is what this peer knows of the others, by all ways together.
type lan struct {
	d    *daemon
	view *discovery.View
	mdns *mdns.Service // nil when switched off
	join *static.Finder

	seen sync.Mutex // held while view and host learn of a peer, so that they never differ for long

	mu    sync.Mutex
	intro map[peer.ID]introduced
}

// introduced is what a peer said of itself over an authenticated stream.
type introduced struct {
	serve.Introduction
	heard uint64 // the revision by discovery when it was asked
}

func newLAN(d *daemon) (*lan, error) {
	l := &lan{d: d, view: discovery.NewView(d.host.ID(), d.cfg.Workgroup), intro: make(map[peer.ID]introduced)}
	if d.cfg.MDNS {
		l.mdns = mdns.New(mdns.Config{Logger: d.log, Advertise: mdns.Mode(d.cfg.Advertise)})
	}
	if len(d.cfg.Join) > 0 {
		var err error
		l.join, err = static.New(static.Config{Targets: d.cfg.Join, Probe: l.probe, Logger: d.log})
		if err != nil {
			return nil, err
		}
	}
	return l, nil
}

// run finds and announces until ctx ends.
func (l *lan) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	l.d.host.OnDisconnect(func(id peer.ID) {
		if !l.d.host.Connected(id) { // it may be back already
			l.observe(discovery.Sighting{ID: id, Way: discovery.Inbound, Gone: true})
		}
	})
	if l.mdns != nil {
		l.announce()
		stop := l.d.offers.Registry.OnChange(func(_, _ *registry.Share) { l.announce() })
		defer stop()
		g.Go(func() error { return l.mdns.Find(ctx, l.observe) })
	}
	if l.join != nil {
		g.Go(func() error { return l.join.Find(ctx, l.observe) })
	}
	g.Go(func() error { return l.expire(ctx) })
	return g.Wait()
}

// announce tells the local network what there is to tell.
func (l *lan) announce() {
	if l.mdns == nil {
		return
	}
	listed, revision := l.d.offers.Listed()
	a := discovery.Advert{
		ID: l.d.host.ID(), Name: l.d.cfg.Name, Workgroup: l.d.cfg.Workgroup, Version: l.d.cfg.Version,
		Port: l.d.host.Port(), Count: len(listed), Revision: revision,
	}
	for _, s := range listed {
		a.Shares = append(a.Shares, string(s.Name))
	}
	l.mdns.Announce(a)
}

// observe takes in what was heard of a peer.
func (l *lan) observe(s discovery.Sighting) {
	l.seen.Lock()
	defer l.seen.Unlock()
	l.d.host.Forget(l.view.Observe(time.Now(), s)) // who had to make room, or the host soon forgets others for it
	if p, ok := l.view.Get(s.ID); ok {
		l.d.host.Learn(s.ID, p.Addrs)
		return
	}
	l.d.host.Forget(s.ID)
	l.forget(func(id peer.ID) bool { return id == s.ID })
}

// forget drops what peers said of themselves.
func (l *lan) forget(gone func(peer.ID) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.intro, func(id peer.ID, _ introduced) bool { return gone(id) })
}

// expire drops those that fell silent.
func (l *lan) expire(ctx context.Context) error {
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
func (l *lan) probe(ctx context.Context, addr peer.Addr) (discovery.Sighting, error) {
	id, err := l.d.host.Identify(ctx, addr)
	if err != nil {
		return discovery.Sighting{}, err
	}
	if id == l.d.host.ID() {
		return discovery.Sighting{}, &peer.Error{Op: "join", Path: addr.String(), Kind: peer.Usage, Err: errors.New("this is ourselves")}
	}
	if _, known := l.view.Get(id); !known {
		l.d.host.Learn(id, []peer.Addr{addr})
	}
	in, err := l.introduce(ctx, id, 0)
	if err != nil {
		return discovery.Sighting{}, err
	}
	s := sighting(in, discovery.Static)
	s.Addrs = append([]peer.Addr{addr}, s.Addrs...)
	s.Addrs = s.Addrs[:min(len(s.Addrs), discovery.MaxAddrs)]
	return s, nil
}

// introduce exchanges introductions and keeps what comes of it.
func (l *lan) introduce(ctx context.Context, id peer.ID, heard uint64) (serve.Introduction, error) {
	in, err := l.d.client.Introduce(ctx, id, l.d.porter.Hello())
	if err != nil {
		return in, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, again := l.intro[id]; again || len(l.intro) < discovery.MaxPeers {
		l.intro[id] = introduced{in, heard}
	}
	return in, nil
}

func sighting(in serve.Introduction, way discovery.Way) discovery.Sighting {
	s := discovery.Sighting{
		ID: in.ID, Way: way, Name: in.Name, Workgroup: in.Workgroup, Version: in.Version, Addrs: in.Addrs,
		Count: len(in.Shares), Revision: in.Revision,
	}
	for _, sh := range in.Shares[:min(len(in.Shares), discovery.MaxShares)] {
		s.Shares = append(s.Shares, string(sh.Name))
	}
	return s
}

// met takes in a peer that introduced itself to us.
func (d *daemon) met(in serve.Introduction) { d.lan.observe(sighting(in, discovery.Inbound)) }

// askTime is how long peers have to say what they offer when the whole workgroup is listed.
const askTime = 2 * time.Second

// shares are what a peer offers, asked anew when it changed since, as far as that is known yet, or when the user means this
// very peer. With an error, which says why it could not be asked, they are what it advertises.
func (l *lan) shares(ctx context.Context, p discovery.Peer, anew bool) ([]share.Info, error) {
	l.mu.Lock()
	have, ok := l.intro[p.ID]
	l.mu.Unlock()
	if ok && !anew && l.current(have, p) {
		return slices.Clone(have.Shares), nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	in, err := l.introduce(ctx, p.ID, p.Revision)
	if err == nil {
		return slices.Clone(in.Shares), nil
	}
	l.d.log.Debug("a peer does not say what it offers", "peer", p.ID, "err", err)
	return advertised(p), err
}

// known are the shares of a peer as far as it said so already.
func (l *lan) known(p discovery.Peer) []share.Info {
	l.mu.Lock()
	have, ok := l.intro[p.ID]
	l.mu.Unlock()
	if ok && (l.current(have, p) || have.Revision == p.Revision) {
		return l.all(p, slices.Clone(have.Shares))
	}
	return l.all(p, advertised(p))
}

// current reports whether what a peer said of its shares is what discovery says it offers. Of a peer that is not heard
// by multicast nobody tells when that changes.
func (l *lan) current(have introduced, p discovery.Peer) bool {
	if !slices.Contains(p.Ways, discovery.MDNS) {
		return false
	}
	return have.Revision == p.Revision || (p.Revision != 0 && have.heard == p.Revision)
}

// advertised are the shares that a peer advertises, of which no more than the names are known.
func advertised(p discovery.Peer) []share.Info {
	var out []share.Info
	for _, name := range p.Shares {
		if n, err := share.ParseName(name); err == nil {
			out = append(out, share.Info{Name: n})
		}
	}
	return out
}

// introduced reports whether a peer proved its ID since it was seen.
func (l *lan) introduced(id peer.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.intro[id]
	return ok
}

// findTime is how long the network is asked for a peer that is not known.
const findTime = 1500 * time.Millisecond

// lookup finds the peer that a user means. If it is not known, the network is asked once more; a daemon that has just started
// waits until the others had time to be heard of.
func (l *lan) lookup(ctx context.Context, who string) (discovery.Peer, error) {
	changed, stop := l.view.Subscribe()
	defer stop()
	p, err := l.view.Lookup(who)
	if peer.KindOf(err) != peer.NotFound {
		return p, err
	}
	until := l.d.started.Add(findTime)
	if l.mdns != nil {
		l.mdns.Refresh()
		until = time.Now().Add(findTime)
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	for {
		select {
		case <-changed:
			if p, again := l.view.Lookup(who); peer.KindOf(again) != peer.NotFound {
				return p, again
			}
		case <-ctx.Done():
			return p, err
		}
	}
}

// gather waits, in a daemon that has just started, until the others had time to be heard of.
func (l *lan) gather(ctx context.Context) {
	wait := time.Until(l.d.started.Add(findTime))
	if wait <= 0 {
		return
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
}

// right is the best right that this peer can have in a share without asking its owner.
func (l *lan) right(id peer.ID, s share.Info) share.Right {
	return max(s.Open, l.d.tickets.Right(id, string(s.Name)))
}

// all adds to the shares that a peer lists those that a login is kept for, and sorts them.
func (l *lan) all(p discovery.Peer, listed []share.Info) []share.Info {
	for _, name := range l.d.tickets.Names(p.ID) {
		n, err := share.ParseName(name)
		if err != nil || slices.ContainsFunc(listed, func(s share.Info) bool { return share.FoldKey(string(s.Name)) == share.FoldKey(name) }) {
			continue
		}
		listed = append(listed, share.Info{Name: n})
	}
	slices.SortFunc(listed, func(a, b share.Info) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return listed
}
