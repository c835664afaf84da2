// Package mdns finds peers on the local network by multicast DNS and DNS-SD (RFC 6762, RFC 6763), and is found.
//
// hashicorp/mdns asks and answers. It never announces, never says goodbye and answers by unicast alone, which firewalls
// drop and a second mDNS program on the computer swallows. So this package also has ears and a voice of its own: it
// listens always, announces on every change, multicasts its answers, and takes its leave.
package mdns

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
)

// Mode is how much of the shares everybody on the network may read.
type Mode string

// The modes: names and count of the visible shares, their count, or neither.
const (
	Names Mode = "names"
	Count Mode = "count"
	None  Mode = "none"
)

// ParseMode reads a mode; the empty text is Names.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case "":
		return Names, nil
	case Names, Count, None:
		return m, nil
	}
	return "", &peer.Error{Op: "parse discovery.advertise", Path: s, Kind: peer.Usage, Hint: "it is one of names, count, none"}
}

// Config of a [Service]. Only Logger must be set.
type Config struct {
	Logger     *slog.Logger
	Advertise  Mode             // empty: Names
	Interfaces []string         // by name; none: all that are up and can multicast, or else the loopback
	Now        func() time.Time // nil: time.Now
	Rand       *rand.Rand       // spreads packets in time; nil: seeded by the runtime. Not shared with anybody
}

// Service is the [discovery.Finder] and [discovery.Announcer] of the local network.
type Service struct {
	cfg     Config
	running sync.Mutex
	advert  atomic.Pointer[self]
	changed chan struct{} // the advert
	asked   chan struct{} // for a query now
}

var (
	_ discovery.Finder    = (*Service)(nil)
	_ discovery.Announcer = (*Service)(nil)
)

// New makes a service that does nothing yet.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if cfg.Advertise == "" {
		cfg.Advertise = Names
	}
	return &Service{cfg: cfg, changed: make(chan struct{}, 1), asked: make(chan struct{}, 1)}
}

// Announce sets what is told of this peer, from now on and at once if [Service.Find] runs. An advert without ID or port
// is not told, and the old one stays. Share names stand in it as far as one packet of 1,400 bytes has room.
func (s *Service) Announce(a discovery.Advert) {
	me, err := newSelf(a, s.cfg.Advertise)
	if err != nil {
		s.cfg.Logger.Warn("not announced", "err", err)
		return
	}
	s.advert.Store(me)
	poke(s.changed)
}

// Refresh asks the network once more who is there, e.g. because a user wants to know now.
func (s *Service) Refresh() { poke(s.asked) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Find runs the service until ctx ends: it announces, answers, asks and listens on every interface, as they come and go,
// and reports each sighting, known or not, to found, one at a time. At the end it says goodbye, closes everything and
// returns nil; a query under way may hold that up by 0.4 s. A network that can't be used is logged and tried again. A
// second Find beside the first fails with peer.Busy.
func (s *Service) Find(ctx context.Context, found func(discovery.Sighting)) error {
	if !s.running.TryLock() {
		return &peer.Error{Op: "find peers by mDNS", Kind: peer.Busy}
	}
	defer s.running.Unlock()
	newLoop(s, found).run(ctx)
	return nil
}
