package mdns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/peerd/peerd/discovery/mdns/group"
)

// tell multicasts all that this peer says of itself on one link, by both families unless nobody waits for it.
func (l *loop) tell(p *port, idle bool) {
	if l.me == nil {
		return
	}
	var answers []dns.RR
	if l.byes > 0 && l.former != nil {
		answers = append(answers, l.former.farewell())
		l.byes--
	}
	if p.meta {
		answers = append(answers, metaRecord())
		p.meta = false
	}
	sockets := p.sockets
	if idle {
		sockets = p.turn(p.announce.count)
	}
	l.multicast(sockets, response(append(answers, l.me.records(p.link, true)...)...))
}

// multicast sends a message to all who listen. A failure is no news: the link changed, which will be noticed, or it is
// full, and the packet is lost like any other.
func (l *loop) multicast(sockets []*group.Socket, m *dns.Msg) {
	b, err := m.Pack()
	if err != nil {
		l.logger.Warn("mDNS message can't be packed", "err", err)
		return
	}
	for _, s := range sockets {
		if err := s.Multicast(b); err != nil && !errors.Is(err, net.ErrClosed) {
			l.logger.Debug("mDNS message not sent", "interface", s.Link.Name, "err", err)
		}
	}
}

// ask has the library ask on one link for all peers, each time by another family. unicast asks for answers to us alone,
// while nobody is new.
func (l *loop) ask(ctx context.Context, p *port, unicast bool) {
	if p.link.Loopback { // the library joins groups on the default interface, whatever it is told
		l.askSelf(p)
		return
	}
	asked := l.now()
	for _, s := range p.turn(p.ask.count) {
		l.wg.Go(func() {
			list, err := query(ctx, p.link, s.IPv6, unicast, l.logger)
			if err != nil && ctx.Err() == nil { // e.g. no default multicast route, which we can do without
				l.logger.Debug("mDNS query failed", "interface", p.link.Name, "err", err)
				if b, err := question().Pack(); err == nil {
					_ = s.Multicast(b)
				}
			}
			if len(list) > 0 {
				l.post(event{port: p, asked: asked, packet: packet{heard: list}})
			}
		})
	}
}

// askSelf asks without the library, for answers to all.
func (l *loop) askSelf(p *port) { l.multicast(p.sockets, question()) }

// respond answers questions. Those that want an answer to all get it by multicast, a moment later and together with
// others who ask; the library has answered the questioner alone by then. Where it does not run, that is done here too.
func (l *loop) respond(e event, now time.Time) {
	var direct []dns.RR
	for _, q := range e.packet.questions {
		answers := l.me.answer(q, e.port.link)
		if len(answers) == 0 || knows(e.packet.known, l.me.label) {
			continue
		}
		if q.Qclass&topBit != 0 || e.from.Port() != group.Port {
			direct = append(direct, answers...)
		}
		if q.Qclass&topBit == 0 {
			e.port.meta = e.port.meta || sameName(q.Name, metaPTR)
			e.port.request(now, l.rand)
		}
	}
	if l.server == nil && len(direct) > 0 && e.socket != nil {
		l.reply(e, direct)
	}
}

func knows(known []string, label string) bool {
	return slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, label) })
}

// reply answers one questioner directly, as plain DNS if it asks from another port (RFC 6762 section 6.7).
func (l *loop) reply(e event, answers []dns.RR) {
	m := response(answers...)
	m.Id = e.packet.id
	if e.from.Port() != group.Port {
		m.Question = e.packet.questions
		for _, r := range answers {
			r.Header().Ttl = min(r.Header().Ttl, 10)
		}
	}
	if b, err := m.Pack(); err == nil && len(b) <= maxPacket {
		_ = e.socket.Send(b, netip.AddrPortFrom(e.from.Addr(), e.from.Port()))
	}
}

// leave says goodbye twice and closes everything. The server goes first: an answer after the goodbye would bring us
// back to life in everybody's list.
func (l *loop) leave(cancel context.CancelFunc) {
	l.zone.now.Store(nil)
	if l.server != nil {
		l.server.Shutdown()
	}
	for i := range 2 {
		if l.me == nil {
			break
		}
		if i > 0 {
			time.Sleep(lastWords)
		}
		for _, p := range l.ports {
			l.multicast(p.sockets, response(l.me.farewell()))
		}
	}
	cancel()
	for _, p := range l.ports {
		l.close(p)
	}
	l.wg.Wait()
}
