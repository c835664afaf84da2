package mdns

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
)

// maxVoices bounds how many addresses on one link may speak for one peer: its own, and whoever lies about it. The truth
// comes out in the handshake; until then a liar can add addresses to a peer but not take its own away.
const maxVoices = 4

// table is who was heard on which link. It has one user at a time.
type table struct {
	self  peer.ID
	peers map[peer.ID]*known
	crowd *discovery.Crowd     // all of them
	left  map[string]time.Time // when an instance said goodbye, for as long as an answer from before may come in
}

// known is one peer; every link is one it was heard on.
type known struct {
	said  discovery.Sighting
	links map[string]*presence
}

type presence struct {
	label  string
	voices []voice // the last heard first
}

type voice struct {
	from    netip.Addr
	addrs   []netip.AddrPort
	expires time.Time
}

func newTable() *table {
	return &table{peers: map[peer.ID]*known{}, crowd: discovery.NewCrowd(), left: map[string]time.Time{}}
}

// hear takes in what was heard on a link from an address, and says what there is to report: nothing of ourselves or of one
// for whom there is no room, first the end of one who had to make room. fresh tells that the peer was not known on that link.
func (t *table) hear(now time.Time, on string, from netip.Addr, h heard) (list []discovery.Sighting, fresh bool) {
	id := h.said.ID
	if id == t.self {
		return nil, false
	}
	teller := ""
	if from.IsValid() {
		teller = from.String()
	}
	k := t.peers[id]
	if k == nil {
		if len(t.peers) >= discovery.MaxPeers {
			displaced, ok := t.crowd.Yields(teller)
			if !ok {
				return nil, false
			}
			t.forget(displaced)
			list = append(list, gone(displaced))
		}
		k = &known{links: map[string]*presence{}}
		t.peers[id] = k
	}
	t.crowd.Add(id, teller)
	p := k.links[on]
	if p == nil {
		p, fresh = &presence{}, true
		k.links[on] = p
	}
	k.said, p.label = h.said, h.label
	k.said.From = teller
	p.voices = slices.DeleteFunc(p.voices, func(v voice) bool { return v.from == from })
	p.voices = slices.Insert(p.voices, 0, voice{from, h.addrs, now.Add(h.said.TTL)})
	p.voices = p.voices[:min(len(p.voices), maxVoices)]
	return append(list, k.sighting()), fresh
}

func (t *table) forget(id peer.ID) {
	delete(t.peers, id)
	t.crowd.Remove(id)
}

func gone(id peer.ID) discovery.Sighting {
	return discovery.Sighting{ID: id, Way: discovery.MDNS, Gone: true}
}

// bye takes a goodbye of an instance on a link.
func (t *table) bye(now time.Time, on, label string) []discovery.Sighting {
	if len(t.left) < discovery.MaxPeers {
		t.left[strings.ToLower(label)] = now
	}
	return t.prune(func(link string, p *presence) bool { return link == on && strings.EqualFold(p.label, label) })
}

// leftSince reports whether an instance said goodbye after a moment not long ago.
func (t *table) leftSince(label string, moment time.Time) bool {
	return t.left[strings.ToLower(label)].After(moment)
}

// drop forgets what was heard on a link that is no more.
func (t *table) drop(on string) []discovery.Sighting {
	return t.prune(func(link string, _ *presence) bool { return link == on })
}

// expire forgets whoever was silent for too long.
func (t *table) expire(now time.Time) []discovery.Sighting {
	maps.DeleteFunc(t.left, func(_ string, at time.Time) bool { return now.Sub(at) > 2*queryTime })
	return t.prune(func(_ string, p *presence) bool {
		p.voices = slices.DeleteFunc(p.voices, func(v voice) bool { return !now.Before(v.expires) })
		return len(p.voices) == 0
	})
}

// doubt gives everybody until a moment to be heard again, whenever that was before.
func (t *table) doubt(until time.Time) {
	for _, k := range t.peers {
		for _, p := range k.links {
			for i := range p.voices {
				p.voices[i].expires = until
			}
		}
	}
}

// fading gives the labels of those on a link who were last heard so long ago that they would expire before a moment.
func (t *table) fading(on string, before time.Time) []string {
	var labels []string
	for _, k := range t.peers {
		if p := k.links[on]; p != nil && p.voices[0].expires.Before(before) && len(labels) < maxInstances {
			labels = append(labels, p.label)
		}
	}
	return labels
}

// prune removes presences, and says what is left of those who had them.
func (t *table) prune(ended func(link string, p *presence) bool) []discovery.Sighting {
	var list []discovery.Sighting
	for id, k := range t.peers {
		before := len(k.links)
		for name, p := range k.links {
			if ended(name, p) {
				delete(k.links, name)
			}
		}
		switch {
		case len(k.links) == 0:
			t.forget(id)
			list = append(list, gone(id))
		case len(k.links) < before:
			list = append(list, k.sighting())
		}
	}
	return list
}

// sighting puts together what was heard of a peer on all links: TCP at each address, then QUIC as far as there is room.
// Links and voices take turns, so that none of them fills the list.
func (k *known) sighting() discovery.Sighting {
	var lists [][]netip.AddrPort
	for _, name := range sortedKeys(k.links) {
		for _, v := range k.links[name].voices {
			lists = append(lists, v.addrs)
		}
	}
	var all []netip.AddrPort
	for i := range discovery.MaxAddrs {
		for _, l := range lists {
			if i < len(l) && !slices.Contains(all, l[i]) {
				all = append(all, l[i])
			}
		}
	}
	s := k.said
	var quic []peer.Addr
	for _, at := range all[:min(len(all), maxDial)] {
		if both := discovery.Addrs(at); both != nil {
			s.Addrs, quic = append(s.Addrs, both[0]), append(quic, both[1])
		}
	}
	s.Addrs = append(s.Addrs, quic...)
	s.Addrs = s.Addrs[:min(len(s.Addrs), discovery.MaxAddrs)]
	return s
}

// maxDial is how many IP addresses of a peer are passed on, each by TCP and most by QUIC as well.
const maxDial = 5

func sortedKeys(m map[string]*presence) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
