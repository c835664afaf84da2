package owners

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
)

// How a peer that is in use is looked after.
const (
	lostFor   = 3 * time.Second  // without a connection, until it is known to be away
	suspectAt = 2 * time.Second  // without an answer, until it is asked whether it is there
	pingTime  = 5 * time.Second  // that it has to say so
	pingEvery = 20 * time.Second // while nothing is wrong
	again     = time.Second      // between two looks for one that is away
	longAway  = 5 * time.Minute
	againLate = 15 * time.Second // and for one that is so for long
	restAfter = 5 * time.Minute  // of not being used, until it is not looked after
)

// links are connections to peers, as package host has them.
type links interface {
	Ping(ctx context.Context, id peer.ID) (time.Duration, error)
	Connected(id peer.ID) bool
	Keep(id peer.ID, keep bool)
}

// contact is what is known of whether a peer can be reached.
type contact struct {
	id     peer.ID
	base   context.Context // of here
	links  links
	listed func() bool // discovery sees the peer
	tell   func()      // that it went away, or is back
	log    *slog.Logger
	wake   chan struct{}

	mu      sync.Mutex
	users   int // calls that run
	used    time.Time
	resting bool
	lost    time.Time          // since when it does not answer; zero while it does
	heard   time.Time          // it answered last
	out     bool               // it is known to be away
	here    context.Context    // ends when it is
	leave   context.CancelFunc // ends here
}

var errAway = errors.New("the peer went away")

func newContact(base context.Context, id peer.ID, l links, listed func() bool, tell func(), log *slog.Logger) *contact {
	c := &contact{id: id, base: base, links: l, listed: listed, tell: tell, log: log, wake: make(chan struct{}, 1), used: time.Now()}
	c.here, c.leave = context.WithCancel(base)
	return c
}

// nudge has it looked whether the peer is there.
func (c *contact) nudge() {
	select { // of this peer itself nobody takes it
	case c.wake <- struct{}{}:
	default:
	}
}

// away reports whether the peer is known to be away.
func (c *contact) away() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out
}

// gone reports whether something is wrong with the peer, or may be.
func (c *contact) gone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.lost.IsZero()
}

// since is since when the peer does not answer.
func (c *contact) since() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// run looks after the peer until ctx ends. While it is in use its connection is kept, so that one that is gone tells something.
func (c *contact) run(ctx context.Context) {
	c.links.Keep(c.id, true)
	defer func() { c.links.Keep(c.id, false) }()
	for wait := time.Duration(0); ; {
		var timer <-chan time.Time
		unused := c.unused()
		if unused {
			c.links.Keep(c.id, false)
		} else {
			timer = time.After(wait)
		}
		select {
		case <-timer:
		case <-c.wake:
		case <-ctx.Done():
		}
		if unused {
			c.links.Keep(c.id, true)
		}
		switch {
		case ctx.Err() != nil:
			return
		case c.look(ctx):
			wait = pingEvery
		case c.gone() && time.Since(c.since()) > longAway:
			wait = againLate
		default:
			wait = again
		}
	}
}

// unused reports whether nobody uses the peer, and nobody did for a while.
func (c *contact) unused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resting = c.users == 0 && time.Since(c.used) > restAfter
	return c.resting
}

// look asks the peer whether it is there, and reports whether it said so.
func (c *contact) look(ctx context.Context) bool {
	began := time.Now()
	if !c.links.Connected(c.id) {
		c.miss(began)
	}
	defer time.AfterFunc(lostFor, func() { c.miss(began) }).Stop()
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	_, err := c.links.Ping(ctx, c.id)
	switch {
	case err == nil:
		c.answered()
	case peer.KindOf(err) != peer.Busy: // else we have too much under way to ask: nothing is learned
		c.miss(began)
	}
	return err == nil
}

// miss takes in that nothing was heard since a moment, unless something was meanwhile.
func (c *contact) miss(since time.Time) {
	c.mu.Lock()
	if c.heard.After(since) {
		c.mu.Unlock()
		return
	}
	if c.lost.IsZero() {
		c.lost = since
	}
	out := time.Since(c.lost) >= lostFor || !c.listed() && !c.links.Connected(c.id)
	told := out && !c.out
	if told {
		c.out = true
		c.leave()
	}
	c.mu.Unlock()
	if told {
		c.log.Info("a peer whose shares are in use is away", "peer", c.id)
		c.tell()
	}
}

// answered takes in that the peer is there.
func (c *contact) answered() {
	c.mu.Lock()
	back := c.out
	c.lost, c.heard, c.out = time.Time{}, time.Now(), false
	if back {
		c.here, c.leave = context.WithCancel(c.base)
	}
	c.mu.Unlock()
	if back {
		c.log.Info("a peer whose shares are in use is back", "peer", c.id)
		c.tell()
	}
}

// with gives a context that also ends when the peer is known to be away. While it lasts too long without an answer the peer is
// asked whether it is there.
func (c *contact) with(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	c.mu.Lock()
	here := c.here
	c.users++
	if c.resting {
		c.resting = false
		c.nudge()
	}
	c.mu.Unlock()
	stop := context.AfterFunc(here, func() { cancel(errAway) })
	suspect := time.AfterFunc(suspectAt, c.nudge)
	return ctx, func() {
		suspect.Stop()
		stop()
		cancel(nil)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.users--
		c.used = time.Now()
	}
}

// met says what an error of the peer means, and looks at who may be away.
func (c *contact) met(ctx context.Context, label string, err error) error {
	switch {
	case err == nil:
		return nil
	case context.Cause(ctx) == errAway:
		return awayError(label, c.since())
	case errors.Is(err, context.DeadlineExceeded), peer.KindOf(err) == peer.Unreachable:
		c.nudge()
	}
	if errors.Is(err, context.Canceled) && ctx.Err() == nil { // of a dial, say; the caller cancelled nothing
		return &peer.Error{Path: label, Kind: peer.Unreachable, Err: errors.New(err.Error())}
	}
	return err
}
