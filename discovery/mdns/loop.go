package mdns

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	hashicorp "github.com/hashicorp/mdns"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/discovery/mdns/group"
)

// Times of the loop.
const (
	announcePeriod = 30 * time.Second
	askPeriod      = 300 * time.Second
	tickPeriod     = 5 * time.Second  // the longest that the loop sleeps
	sleptFor       = 15 * time.Second // a tick so late means that the computer slept
	rescanDelay    = 100 * time.Millisecond
	maxRetry       = time.Minute
	fadeTime       = 24 * time.Second // somebody who is to expire so soon is asked for by name (RFC 6762 section 5.2)
	fadePeriod     = 10 * time.Second
	lastWords      = 30 * time.Millisecond
)

// loop is one run of a service. Its fields belong to the goroutine of run, but for events and wg.
type loop struct {
	service *Service
	logger  *slog.Logger
	rand    *rand.Rand
	found   func(discovery.Sighting)
	events  chan event
	done    <-chan struct{}
	wg      sync.WaitGroup

	me     *self
	former *self // told under another name before
	byes   int   // how often its end is still to be told
	table  *table
	ports  map[string]*port
	zone   zone
	server *hashicorp.Server
	served group.Link

	lastTick time.Time
	rescanAt time.Time // zero: when something changes
	retry    time.Duration
}

// port is the ear and voice on one link.
type port struct {
	link     group.Link
	sockets  []*group.Socket
	announce schedule
	ask      schedule
	faded    time.Time
	wanted   bool // somebody waits for the next announcement
	meta     bool // somebody wants to know the types of services
}

// request makes a port announce soon.
func (p *port) request(now time.Time, r *rand.Rand) {
	p.announce.request(now, r)
	p.wanted = true
}

// turn gives the sockets one after the other. Who has both families hears either, so that what is said regularly need
// not be said twice.
func (p *port) turn(n int) []*group.Socket {
	if len(p.sockets) == 0 {
		return nil
	}
	return p.sockets[n%len(p.sockets):][:1]
}

// event is a packet, or the answers to a query, from one link.
type event struct {
	port   *port
	socket *group.Socket // nil for answers to a query
	asked  time.Time     // when the query began: what was answered may have been overtaken by a goodbye
	from   netip.AddrPort
	packet packet
	lost   bool // the socket hears no more
}

func newLoop(s *Service, found func(discovery.Sighting)) *loop {
	return &loop{service: s, logger: s.cfg.Logger, rand: s.cfg.Rand, found: found,
		events: make(chan event), table: newTable(), ports: map[string]*port{}}
}

func (l *loop) now() time.Time { return l.service.cfg.Now().Round(0) } // wall time, which goes on while the computer sleeps

func (l *loop) run(ctx context.Context) {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.done = inner.Done()
	rescan := make(chan struct{}, 1)
	l.wg.Go(func() {
		if err := group.Watch(inner, func() { poke(rescan) }); err != nil && inner.Err() == nil {
			l.logger.Warn("changes of the network go unnoticed", "err", err)
		}
	})
	l.publish()
	l.lastTick = l.now()
	l.rescan(inner, l.lastTick)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case e := <-l.events:
			l.take(e)
		case <-l.service.changed:
			l.publish()
		case <-l.service.asked:
			for _, p := range l.ports {
				l.ask(inner, p, false)
			}
		case <-rescan:
			l.rescanBy(l.now().Add(rescanDelay))
		case <-timer.C:
			l.tick(inner, l.now())
		}
		timer.Reset(l.wait())
	}
	l.leave(cancel)
}

// wait is how long nothing is due. It is counted from the last tick: what comes all the time does not put the next one off.
func (l *loop) wait() time.Duration {
	now := l.now()
	next := now.Add(tickPeriod) // that tick may lie ahead, if the clock was set back
	sooner := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	sooner(l.lastTick.Add(tickPeriod))
	sooner(l.rescanAt)
	for _, p := range l.ports {
		sooner(p.announce.next)
		sooner(p.ask.next)
	}
	return max(next.Sub(now), 0)
}

// tick does what is due.
func (l *loop) tick(ctx context.Context, now time.Time) {
	if gap := now.Sub(l.lastTick); gap > sleptFor || gap < -time.Second {
		l.logger.Info("the clock jumped; looking around anew", "by", gap)
		l.table.doubt(now.Add(tickPeriod))
		for _, p := range l.ports {
			p.announce.last = time.Time{}
			l.burst(p, now)
		}
		l.rescanAt = now
	}
	l.lastTick = now
	if !l.rescanAt.IsZero() && !now.Before(l.rescanAt) {
		l.rescan(ctx, now)
	}
	for _, p := range l.ports {
		if p.announce.due(now, l.rand) {
			l.tell(p, !p.wanted && p.announce.settled(now))
			p.wanted = false
		}
		if p.ask.due(now, l.rand) {
			l.ask(ctx, p, p.ask.settled(now))
		}
		if now.Sub(p.faded) > fadePeriod {
			if labels := l.table.fading(p.link.Name, now.Add(fadeTime)); len(labels) > 0 {
				p.faded = now
				l.multicast(p.sockets, question(labels...))
			}
		}
	}
	l.report(l.table.expire(now))
}

// burst makes a link announce and ask now, in a second, and in three.
func (l *loop) burst(p *port, now time.Time) {
	p.ask.burst(now)
	if l.me != nil {
		p.announce.burst(now)
	}
}

func (l *loop) report(list []discovery.Sighting) {
	for _, s := range list {
		l.found(s)
	}
}

// take digests an event. One of a port that was closed meanwhile is too late.
func (l *loop) take(e event) {
	now := l.now()
	if l.ports[e.port.link.Name] != e.port {
		return
	}
	if e.lost {
		l.close(e.port)
		l.again(now, net.ErrClosed)
		return
	}
	for _, h := range e.packet.heard {
		if h.bye || e.socket == nil && l.table.leftSince(h.label, e.asked) {
			continue
		}
		list, fresh := l.table.hear(now, e.port.link.Name, e.from.Addr(), h)
		if fresh {
			e.port.request(now, l.rand) // a newcomer should not have to wait
		}
		l.report(list)
	}
	for _, h := range e.packet.heard { // last: a peer that changes its name says both in one packet, and does not go
		if h.bye {
			l.report(l.table.bye(now, e.port.link.Name, h.label))
		}
	}
	if l.me != nil && len(e.packet.questions) > 0 {
		l.respond(e, now)
	}
}

// publish takes over a new advert.
func (l *loop) publish() {
	was, me := l.me, l.service.advert.Load()
	if me == was {
		return
	}
	l.me, l.table.self = me, me.id
	if was != nil && was.label != me.label {
		l.former, l.byes = was, 2*max(len(l.ports), 1)
	}
	now := l.now()
	for _, p := range l.ports {
		if was == nil {
			p.announce.burst(now)
		} else {
			p.announce.began = now
			p.request(now, l.rand)
		}
	}
	l.serve()
}

// serve has the library answer where there is one link, and nobody else where there are several: there it could give
// out only addresses of the wrong one.
func (l *loop) serve() {
	var only *port
	if len(l.ports) == 1 && l.me != nil {
		for _, p := range l.ports {
			only = p
		}
	}
	if only == nil {
		l.zone.now.Store(nil)
	} else {
		l.zone.now.Store(&zoneState{l.me, only.link})
	}
	if l.server != nil && (only == nil || !only.link.Equal(l.served)) {
		l.server.Shutdown()
		l.server = nil
	}
	if l.server == nil && only != nil {
		server, err := serve(&l.zone, only.link, l.logger)
		if err != nil {
			l.logger.Debug("answering by multicast alone", "interface", only.link.Name, "err", err)
			return
		}
		l.server, l.served = server, only.link
	}
}

// rescan opens ports on links that came and closes those on links that went or changed.
func (l *loop) rescan(ctx context.Context, now time.Time) {
	l.rescanAt = time.Time{}
	list, err := group.Links(l.service.cfg.Interfaces)
	if err != nil {
		l.again(now, err)
		return
	}
	current := map[string]group.Link{}
	for _, ln := range list {
		current[ln.Name] = ln
	}
	for name, p := range l.ports {
		if ln, ok := current[name]; !ok || !ln.Equal(p.link) {
			l.close(p)
			if !ok || ln.Index != p.link.Index {
				l.report(l.table.drop(name))
			}
		}
	}
	var failed error
	for _, ln := range list {
		if err := l.open(ctx, ln, now); err != nil {
			failed = err
		}
	}
	l.serve()
	if failed != nil {
		l.again(now, failed)
		return
	}
	l.retry = 0
}

// rescanBy has the links looked at by a moment. What happens before then does not put that off.
func (l *loop) rescanBy(at time.Time) {
	if l.rescanAt.IsZero() || at.Before(l.rescanAt) {
		l.rescanAt = at
	}
}

// again tries later what did not work, the first time with a word.
func (l *loop) again(now time.Time, err error) {
	if l.retry == 0 {
		l.logger.Warn("mDNS does not work on some interface; trying again", "err", err)
		l.retry = time.Second
	}
	l.rescanBy(now.Add(l.retry))
	l.retry = min(2*l.retry, maxRetry)
}

// open makes sure that a link has a port with a socket for each family that it has addresses of.
func (l *loop) open(ctx context.Context, ln group.Link, now time.Time) error {
	p := l.ports[ln.Name]
	if p == nil {
		p = &port{link: ln, announce: schedule{period: announcePeriod}, ask: schedule{period: askPeriod}}
	}
	var failed error
	opened := false
	for _, v6 := range []bool{false, true} {
		if !ln.Has(v6) || p.socket(v6) != nil {
			continue
		}
		s, err := group.Open(ctx, ln, v6)
		if err != nil {
			failed = err
			continue
		}
		p.sockets = append(p.sockets, s)
		l.listen(p, s)
		opened = true
	}
	if opened {
		l.logger.Debug("mDNS on", "interface", ln.Name, "index", ln.Index, "addrs", ln.Nets)
		l.ports[ln.Name] = p
		l.burst(p, now)
	}
	return failed
}

func (p *port) socket(v6 bool) *group.Socket {
	for _, s := range p.sockets {
		if s.IPv6 == v6 {
			return s
		}
	}
	return nil
}

func (l *loop) listen(p *port, s *group.Socket) {
	l.wg.Go(func() {
		err := s.Read(func(b []byte, from netip.AddrPort) {
			if packet, ok := parse(b, s.Link); ok {
				l.post(event{port: p, socket: s, from: from, packet: packet})
			}
		})
		l.logger.Debug("mDNS off", "interface", s.Link.Name, "reason", err)
		l.post(event{port: p, socket: s, lost: true})
	})
}

func (l *loop) post(e event) {
	select {
	case l.events <- e:
	case <-l.done:
	}
}

// close never waits for the reader, which may be waiting for the loop; its late events are dropped.
func (l *loop) close(p *port) {
	for _, s := range p.sockets {
		s.Close()
	}
	delete(l.ports, p.link.Name)
}
