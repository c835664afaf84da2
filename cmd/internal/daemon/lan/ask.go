package lan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/serve"
)

// Introduce exchanges introductions and keeps what comes of it.
func (l *LAN) Introduce(ctx context.Context, id peer.ID, heard uint64) (serve.Introduction, error) {
	in, err := l.cfg.Client.Introduce(ctx, id, l.cfg.Hello(id))
	if err != nil {
		return in, err
	}
	l.named(in)
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

// AskTime is how long peers have to say what they offer when the whole workgroup is listed.
const AskTime = 2 * time.Second

// Shares are what a peer offers, asked anew when it changed since, as far as that is known yet, or when the user means this
// very peer. With an error, which says why it could not be asked, they
// are what it advertises.
func (l *LAN) Shares(ctx context.Context, p discovery.Peer, anew bool) ([]share.Info, error) {
	l.mu.Lock()
	have, ok := l.intro[p.ID]
	l.mu.Unlock()
	if ok && !anew && l.current(have, p) {
		return slices.Clone(have.Shares), nil
	}
	ctx, cancel := context.WithTimeout(ctx, AskTime)
	defer cancel()
	in, err := l.Introduce(ctx, p.ID, p.Revision)
	if err == nil {
		return slices.Clone(in.Shares), nil
	}
	l.log.Debug("a peer does not say what it offers", "peer", p.ID, "err", err)
	return advertised(p), err
}

// Known are the shares of a peer as far as it said so already.
func (l *LAN) Known(p discovery.Peer) []share.Info {
	l.mu.Lock()
	have, ok := l.intro[p.ID]
	l.mu.Unlock()
	if ok && (l.current(have, p) || have.Revision == p.Revision) {
		return l.All(p, slices.Clone(have.Shares))
	}
	return l.All(p, advertised(p))
}

// current reports whether what a peer said of its shares is what discovery says it offers. Of a peer that is neither heard
// by multicast nor told of by others nobody says when that changes.
func (l *LAN) current(have introduced, p discovery.Peer) bool {
	if !p.Near() && !slices.Contains(p.Ways, discovery.DHT) {
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

// Introduced reports whether a peer proved its ID since it was seen.
func (l *LAN) Introduced(id peer.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.intro[id]
	return ok
}

// findTime is how long the network is asked for a peer that is not known.
const findTime = 1500 * time.Millisecond

// Lookup finds the peer that a user means. If it is not known, the network is asked once more; a daemon that has just started
// waits until the others had time to be heard of.
func (l *LAN) Lookup(ctx context.Context, who string) (discovery.Peer, error) {
	changed, stop := l.view.Subscribe()
	defer stop()
	p, err := l.known(who)
	if peer.KindOf(err) != peer.NotFound {
		return p, err
	}
	if l.blocked(who) {
		return p, &peer.Error{Path: "//" + who, Kind: peer.Denied, Err: errors.New("the peer is blocked here"), Hint: fmt.Sprintf("run %q", "peerd unblock "+who)}
	}
	until := l.cfg.Started.Add(findTime)
	if l.mdns != nil {
		l.mdns.Refresh()
		until = time.Now().Add(findTime)
	}
	if id, err := peer.ParseID(who); err == nil {
		l.search(ctx, id)
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	for {
		select {
		case <-changed:
			if p, again := l.known(who); peer.KindOf(again) != peer.NotFound {
				return p, again
			}
		case <-ctx.Done():
			return p, err
		}
	}
}

// known looks a peer up of which the host knows as much as the view: who was just seen can be connected to.
func (l *LAN) known(who string) (discovery.Peer, error) {
	l.seen.Lock()
	defer l.seen.Unlock()
	return l.view.Lookup(who)
}

// blocked reports whether a user means a peer that is blocked.
func (l *LAN) blocked(who string) bool {
	for id, b := range l.cfg.Offers.Registry.Blocked() {
		if id.String() == who || strings.EqualFold(string(b.Name), who) {
			return true
		}
	}
	return false
}

// Gather waits, in a daemon that has just started, until the others had time to be heard of.
func (l *LAN) Gather(ctx context.Context) {
	wait := time.Until(l.cfg.Started.Add(findTime))
	if wait <= 0 {
		return
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
}

// Right is the best right that this peer can have in a share without asking its owner.
func (l *LAN) Right(id peer.ID, s share.Info) share.Right {
	return max(s.Open, l.cfg.Tickets.Right(id, string(s.Name)))
}

// All adds to the shares that a peer lists those that a login is kept for, and sorts them.
func (l *LAN) All(p discovery.Peer, listed []share.Info) []share.Info {
	for _, name := range l.cfg.Tickets.Names(p.ID) {
		n, err := share.ParseName(name)
		if err != nil || slices.ContainsFunc(listed, func(s share.Info) bool { return share.FoldKey(string(s.Name)) == share.FoldKey(name) }) {
			continue
		}
		listed = append(listed, share.Info{Name: n})
	}
	slices.SortFunc(listed, func(a, b share.Info) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return listed
}
