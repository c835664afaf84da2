package mdns

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/discovery/discoverytest"
	"github.com/peerd/peerd/peer"
)

// loopback is the name of the interface that leads back, where two services may talk without any network.
func loopback(t *testing.T) string {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback != 0 && i.Flags&net.FlagUp != 0 {
			return i.Name
		}
	}
	t.Skip("no loopback interface")
	return ""
}

func quietLogger() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func TestConforms(t *testing.T) {
	lo := loopback(t)
	discoverytest.Pair(t, discovery.MDNS, func(*testing.T) discoverytest.Node {
		return New(Config{Logger: quietLogger(), Interfaces: []string{lo}})
	})
}

func TestOneFindAtATime(t *testing.T) {
	s := New(Config{Logger: quietLogger(), Interfaces: []string{loopback(t)}})
	s.Announce(advert())
	s.Announce(discovery.Advert{}) // no advert: the first stays
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	started := make(chan struct{})
	go func() {
		close(started)
		done <- s.Find(ctx, func(discovery.Sighting) {})
	}()
	<-started
	for s.running.TryLock() {
		s.running.Unlock()
		runtime.Gosched()
	}
	if err := s.Find(ctx, func(discovery.Sighting) {}); peer.KindOf(err) != peer.Busy {
		t.Errorf("two at a time: %v", err)
	}
	cancel()
	if err := <-done; err != nil && peer.KindOf(err) != peer.Busy { // the loop above may have had the lock just then
		t.Error(err)
	}
}

// TestSleep: a computer that wakes up, or whose clock is set back, believes nobody for longer than it takes to be heard
// again, and asks and announces at once.
func TestSleep(t *testing.T) {
	lo := loopback(t)
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		var gone []discovery.Sighting
		l := newLoop(New(Config{Logger: quietLogger(), Interfaces: []string{lo}}), func(s discovery.Sighting) { gone = append(gone, s) })
		l.me = mustSelf(t, advert(), Names)
		l.table.self = l.me.id
		start := time.Unix(1e9, 0)
		l.lastTick = start
		ctx, cancel := context.WithCancel(t.Context())
		l.done = ctx.Done()
		l.rescan(ctx, start)
		p := l.ports[lo]
		for now := start; now.Before(start.Add(10 * time.Second)); now = now.Add(time.Second) {
			l.table.hear(now, lo, netip.MustParseAddr("127.0.0.1"), saying(2, "127.0.0.1:1"))
			l.tick(ctx, now)
		}
		sent, asked := p.announce.count, p.ask.count
		now := start.Add(10*time.Second + jump)
		l.tick(ctx, now)
		if p.announce.count == sent || p.ask.count == asked {
			t.Errorf("%s: sent %d, asked %d", jump, p.announce.count-sent, p.ask.count-asked)
		}
		if len(gone) != 0 {
			t.Errorf("%s: gone before there was a chance to be heard: %v", jump, gone)
		}
		l.tick(ctx, now.Add(tickPeriod))
		if len(gone) != 1 || !gone[0].Gone {
			t.Errorf("%s: who is not heard again stays: %v", jump, gone)
		}
		l.leave(cancel)
	}
}

// TestTickComes: packets and changes that come all the time put off neither the next tick nor the next look at the links.
func TestTickComes(t *testing.T) {
	start := time.Unix(1e9, 0)
	now := start
	l := newLoop(New(Config{Logger: quietLogger(), Now: func() time.Time { return now }}), nil)
	l.lastTick = start
	for _, tt := range []struct{ after, want time.Duration }{
		{0, tickPeriod}, {tickPeriod - time.Second, time.Second}, {tickPeriod, 0}, {2 * tickPeriod, 0}, {-time.Hour, tickPeriod},
	} {
		now = start.Add(tt.after)
		if got := l.wait(); got != tt.want {
			t.Errorf("%s after a tick the next is waited for for %s, want %s", tt.after, got, tt.want)
		}
	}
	now = start
	l.rescanBy(now.Add(rescanDelay))
	l.again(now, net.ErrClosed)
	l.rescanBy(now.Add(2 * rescanDelay))
	if got := l.wait(); got != rescanDelay {
		t.Errorf("links are looked at in %s, want %s", got, rescanDelay)
	}
}
