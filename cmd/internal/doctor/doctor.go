// Package doctor looks for what is wrong with a running peerd: why a peer may not be seen or reached, and what bounds a
// transfer. It first gathers evidence, from sockets beside the daemon's own, from what the system tells and from the
// other peers; then each check judges that evidence by itself.
package doctor

import (
	"context"
	"io/fs"
	"iter"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// Bounds of an examination, which takes about three seconds in all.
const (
	lookTime = 1600 * time.Millisecond // for the network and the peers, all at once
	callTime = 1300 * time.Millisecond // of that for reaching a peer, before it is asked to call back
	maxAsked = 32                      // peers that are reached for
	maxBacks = 3                       // peers that are asked to call back
	maxSkew  = 2 * time.Minute         // between clocks, before grants begin to fail
	minFiles = 1024                    // open files that the system should allow
)

// View is the workgroup as the daemon knows it.
type View interface {
	Snapshot() []discovery.Peer
	Get(peer.ID) (discovery.Peer, bool)
	// Others are peers of other workgroups.
	Others() []discovery.Peer
}

// Host reaches other peers.
type Host interface {
	peer.Opener
	// Ping gives the time that an answer takes.
	Ping(ctx context.Context, id peer.ID) (time.Duration, error)
}

// Network is this computer's network, apart from what the daemon has of it.
type Network interface {
	// Links are the interfaces that are up and have an address, without the loopback.
	Links() ([]Link, error)
	// Listen listens to multicast DNS until ctx ends, and asks who is there. It calls speak once it listens, and knows our
	// own announcement by the mark in it.
	Listen(ctx context.Context, links []Link, mark string, speak func()) Heard
	// Knock connects by TCP and hangs up.
	Knock(ctx context.Context, at netip.AddrPort) Answer
}

// Link is a network interface.
type Link struct {
	Name      string
	Index     int
	Multicast bool
	Addrs     []netip.Addr // link-local IPv6 addresses carry their zone
}

// Heard is what came by multicast DNS.
type Heard struct {
	Own    map[string]bool // names of the links where our own announcement came back
	Others int             // other computers that said anything
	Taken  bool            // another program has port 5353 for itself
	Err    error           // why nothing could be heard, but for that
}

// Answer is what becomes of an attempt to connect.
type Answer byte

// The answers. Their numbers are part of [Protocol].
const (
	Unknown Answer = 0 // nobody tried
	Open    Answer = 1 // the one that was meant
	Refused Answer = 2 // the computer is up, and nothing listens
	Silent  Answer = 3 // nothing came back
	Wrong   Answer = 4 // somebody else is there
)

// Patient is what is examined: a running daemon and the computer that it runs on.
type Patient struct {
	ID        peer.ID
	Workgroup string
	Port      int // where it listens
	UsualPort int // where it would by default
	Addrs     []peer.Addr
	MDNS      bool
	PID       int
	// Writable says why the state folder can't be written.
	Writable func() error
	// State is the state folder, in which a file is written and removed again.
	State *os.Root
	// System is the root of the file system, to read /proc, /sys and /etc where there are any.
	System  fs.FS
	Network Network
	View    View
	Host    Host
	// Introduce asks a peer who it is, and what time it has.
	Introduce func(context.Context, discovery.Peer) (peer.Info, error)
	// Announce announces this peer once more.
	Announce func()
	// Programs lists what can only be learned by running other programs: firewalls in force.
	Programs func(context.Context) []Firewall
	// Hash hashes as for a manifest; b is as long as a step of a piece.
	Hash func(b []byte)
	Step int
	Now  func() time.Time
}

// evidence is all that the judges see.
type evidence struct {
	workgroup string
	port      int
	usualPort int
	addrs     []netip.Addr
	mdns      bool

	writable  error
	files     files
	links     []Link
	speeds    map[string]int // of links, in Mbit/s
	wireless  map[string]bool
	linksErr  error
	heard     Heard
	holders   []string // other programs on port 5353
	firewalls []Firewall
	peers     []visit
	unasked   int // peers beyond maxAsked
	others    []discovery.Peer
}

// files is how many files this process has open and may have.
type files struct{ open, limit uint64 }

// visit is what came of reaching for one peer.
type visit struct {
	peer  discovery.Peer
	skew  time.Duration // of its clock, if answered
	err   error         // why it did not answer as a peer
	knock Answer        // of its computer, if err
	awake bool          // it spoke by multicast during the examination
	left  bool          // it said goodbye during the examination
	back  Answer        // what came of its calling back
}

// judges are the checks, in the order of their findings.
var judges = []func(evidence) []control.Finding{
	judgeState, judgeFiles, judgeListening, judgePort, judgeMulticast, judgeFirewall, judgePeers, judgeWorkgroup, judgeClock,
}

// Examine looks at everything and yields what it finds, as it goes. It ends early only with ctx, by its error.
func Examine(ctx context.Context, p Patient) iter.Seq2[control.Finding, error] {
	return func(yield func(control.Finding, error) bool) {
		e := p.gather(ctx)
		if err := ctx.Err(); err != nil {
			yield(control.Finding{}, err)
			return
		}
		for _, judge := range judges {
			for _, f := range judge(e) {
				if !yield(f, nil) {
					return
				}
			}
		}
		var figures []figure
		for _, measure := range []func(context.Context, evidence) (figure, control.Finding){p.disk, p.hash, p.crypto, p.wire} {
			fig, finding := measure(ctx, e)
			if err := ctx.Err(); err != nil {
				yield(control.Finding{}, err)
				return
			}
			if !yield(finding, nil) {
				return
			}
			figures = append(figures, fig)
		}
		yield(judgeTransfer(figures), nil)
	}
}

// gather collects the evidence.
func (p *Patient) gather(ctx context.Context) evidence {
	e := evidence{workgroup: p.Workgroup, port: p.Port, usualPort: p.UsualPort, mdns: p.MDNS, writable: p.Writable(), files: openFiles(p.System)}
	for _, a := range p.Addrs {
		if at, ok := addrPort(a); ok {
			e.addrs = append(e.addrs, at.Addr())
		}
	}
	e.links, e.linksErr = p.Network.Links()
	e.speeds, e.wireless = linkFacts(p.System, e.links)
	began := p.Now()
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	var wg sync.WaitGroup
	if p.MDNS {
		wg.Go(func() { e.heard = p.Network.Listen(ctx, multicast(e.links), p.ID.String(), p.Announce) })
	}
	wg.Go(func() { e.firewalls = append(firewalls(p.System), p.Programs(ctx)...) })
	wg.Go(func() { e.peers, e.unasked = p.visitAll(ctx) })
	wg.Wait()
	e.holders = holders(p.System, p.PID)
	e.others = p.View.Others()
	for i := range e.peers {
		v := &e.peers[i]
		now, here := p.View.Get(v.peer.ID)
		v.left = !here
		v.awake = here && hasWay(now, discovery.MDNS) && now.Heard.After(began)
	}
	return e
}

// visitAll reaches for the peers of the workgroup, all at the same time.
func (p *Patient) visitAll(ctx context.Context) (visits []visit, unasked int) {
	list := p.View.Snapshot()
	unasked = max(len(list)-maxAsked, 0)
	list = list[:len(list)-unasked]
	visits = make([]visit, len(list))
	backs := make(chan struct{}, maxBacks)
	var wg sync.WaitGroup
	for i := range list {
		wg.Go(func() {
			visits[i] = p.visit(ctx, list[i])
			if visits[i].err != nil {
				return
			}
			select {
			case backs <- struct{}{}:
				visits[i].back = askBack(ctx, p.Host, list[i].ID, p.Port)
			default:
			}
		})
	}
	wg.Wait()
	return visits, unasked
}

// visit reaches for one peer: as a peer, and meanwhile by a plain connection, which tells more of what stands in the way.
func (p *Patient) visit(ctx context.Context, who discovery.Peer) visit {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	v := visit{peer: who}
	knocked := make(chan Answer, 1)
	go func() { knocked <- p.knock(ctx, who) }()
	asked := p.Now()
	info, err := p.Introduce(ctx, who)
	if err != nil {
		v.err, v.knock = err, <-knocked
		return v
	}
	cancel()
	<-knocked
	if info.Time.Unix() > 0 { // else it did not say
		v.skew = skew(info.Time, asked, p.Now())
	}
	return v
}

// skew is how far a clock was off that was read between two moments, at least.
func skew(read, from, to time.Time) time.Duration {
	switch {
	case read.Before(from):
		return read.Sub(from)
	case read.After(to):
		return read.Sub(to)
	}
	return 0
}

// knock tries all TCP addresses of a peer and gives the most telling answer.
func (p *Patient) knock(ctx context.Context, who discovery.Peer) Answer {
	var tries []netip.AddrPort
	for _, a := range who.Addrs {
		if at, ok := addrPort(a); ok && isTCP(a) {
			tries = append(tries, at)
		}
	}
	answers := make(chan Answer, len(tries))
	for _, at := range tries {
		go func() { answers <- p.Network.Knock(ctx, at) }()
	}
	best := Silent
	for range tries {
		if a := <-answers; a < best {
			best = a
		}
	}
	return best
}
