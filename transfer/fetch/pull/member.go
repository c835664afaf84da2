package pull

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch/lane"
	"github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/swarm"
	"github.com/peerd/peerd/transfer/tracker"
	"github.com/peerd/peerd/transfer/transferpb"
)

// Bounds of a swarm.
const (
	maxSeeds  = 24          // sources besides the owner that a file is fetched from at a time
	seedTries = 4           // how often a source is tried again, each time after twice the pause
	settled   = time.Minute // after which one that left counts as new: its right was over, say
	maxNews   = 256 << 10   // the longest message of a source, in bytes
)

// Sources are reached a few at a time, since each costs both sides a handshake: where very many begin at once, those would keep
// the processor from the first bytes. Where none of the few answers, there is one more each time that reachTime is over.
const (
	reachAtOnce = 3
	reachTime   = 100 * time.Millisecond
)

// A file is on its way for this long before sources are looked for that nobody named, and then only while no more than these were
// named: to look costs every peer on the way to them something.
const (
	patient  = 3 * time.Second
	fewNamed = 4
)

// member is one source of a file.
type member struct {
	pull  *Pull
	id    peer.ID
	lanes *lane.Lanes

	stop context.CancelFunc // parts from it; nil of the owner
	held []*pieceJob        // requests that did not go out yet; guarded by Pull.mu, as is sent
	sent int                // requests that did, and were neither answered nor called off
}

// leave parts from a source that is not the owner.
func (m *member) leave() {
	m.pull.mu.Lock()
	defer m.pull.mu.Unlock()
	if m.stop != nil {
		m.stop()
	}
}

// listen hears from the owner who else has pieces, again and again: its bytes come without that, so whoever does not tell
// is asked alone.
func (l *Pull) listen() {
	for wait := 100 * time.Millisecond; ; {
		c, err := l.join(l.ctx, l.Source.Peer, nil)
		if err == nil {
			wait = 100 * time.Millisecond
			err = c.hear(l.ctx, func(n *transferpb.SwarmNews) error { return l.ownersNews(n) })
		}
		if l.ctx.Err() != nil || l.over() {
			return
		}
		l.Log.Debug("the owner does not tell of its swarm", "err", err)
		if Pause(l.ctx, &wait) != nil {
			return
		}
	}
}

// ownersNews takes in what only the owner is believed.
func (l *Pull) ownersNews(n *transferpb.SwarmNews) error {
	if len(n.Secret) > 0 {
		l.Shelf.Secret(l.File, n.Secret)
		l.mu.Lock()
		first := l.topic == nil
		l.topic = serve.Topic(n.Secret)
		l.mu.Unlock()
		if l.Askers != nil && first {
			l.tasks.Go(l.heed)
		}
		if find := l.Find; find != nil && first {
			l.tasks.Go(func() { l.seek(func() { find(l.ctx, n.Secret, func(id peer.ID) { l.meet(id, nil) }) }) })
		}
	}
	if n.Of > 0 && n.Index < n.Of && n.Of <= tracker.MaxMembers {
		l.ask(int(n.Index), int(n.Of))
		l.apply(swarm.Place{Source: l.Source.Peer, Index: int(n.Index), Of: int(n.Of)})
	}
	l.ask(0, 0)
	l.others(n)
	return nil
}

// heed meets those who ask this peer for the file: they are connected already, and the owner, who leaves them time for that,
// names them only later.
func (l *Pull) heed() {
	for {
		all, changed := l.Askers(l.File)
		for _, s := range all {
			l.meet(s.Peer, s.Addrs)
		}
		select {
		case <-changed:
		case <-l.done:
			return
		case <-l.ctx.Done():
			return
		}
	}
}

// seek looks for sources once, when it is time.
func (l *Pull) seek(find func()) {
	for few := false; !few; {
		select {
		case <-time.After(patient):
		case <-l.done:
			return
		case <-l.ctx.Done():
			return
		}
		l.mu.Lock()
		few = len(l.members)-1 <= fewNamed // one is the owner
		l.mu.Unlock()
	}
	find()
}

// others meets the sources that a source names.
func (l *Pull) others(n *transferpb.SwarmNews) {
	for _, s := range n.Sources[:min(len(n.Sources), tracker.MaxNamed)] {
		id := peer.ID(s.Peer)
		if id.Validate() != nil {
			continue
		}
		var addrs []peer.Addr
		for _, b := range s.Addrs[:min(len(s.Addrs), tracker.MaxAddrs)] {
			if a, err := peer.AddrFromBytes(b); err == nil {
				addrs = append(addrs, a)
			}
		}
		l.meet(id, addrs)
	}
}

// meet begins to ask a source, if it is new and there is room. Where others are is not learned, or whoever names very many
// would have this peer forget where those are that it knows.
func (l *Pull) meet(id peer.ID, addrs []peer.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.members[id]
	if l.ended || l.topic == nil || id == l.Source.Peer || (m == nil && len(l.members) > maxSeeds) || l.Bans.has(id) {
		return
	}
	if l.Meet != nil && addrs != nil {
		l.Meet(id, addrs)
	}
	if m == nil {
		m = &member{pull: l, id: id}
		l.members[id] = m
		l.tasks.Go(func() { m.run() })
	}
}

// run asks a source as long as it is of use.
func (m *member) run() {
	l := m.pull
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.members, m.id)
	}()
	wait := time.Second
	for try := 0; try < seedTries; try++ {
		began := time.Now()
		err := m.once()
		if l.over() || l.ctx.Err() != nil || l.Bans.has(m.id) || lane.Final(err) {
			return
		}
		if time.Since(began) > settled {
			try, wait = 0, time.Second
		}
		l.Log.Debug("a source left", "peer", m.id, "err", err)
		if Pause(l.ctx, &wait) != nil {
			return
		}
	}
}

// once asks a source until it leaves.
func (m *member) once() error {
	l := m.pull
	ctx, stop := context.WithCancel(l.ctx)
	defer stop()
	l.mu.Lock()
	topic := l.topic
	m.stop = stop
	l.mu.Unlock()
	reached := l.reach(ctx)
	if l.over() {
		reached()
		return nil
	}
	c, err := l.join(ctx, m.id, topic)
	reached()
	if err != nil {
		return err
	}
	src := l.Source
	src.Peer = m.id
	lanes := lane.Open(ctx, src, l.Lanes(m.id))
	defer lanes.Close()
	l.mu.Lock()
	m.lanes = lanes
	l.mu.Unlock()
	defer l.left(m.id)
	l.apply(swarm.Joined{Source: m.id})
	return c.hear(lanes.Context(), func(n *transferpb.SwarmNews) error { return m.news(n) })
}

// reach waits for this peer's turn to reach a source. What it gives is called when the source was.
func (l *Pull) reach(ctx context.Context) (reached func()) {
	nothing := func() {}
	select {
	case l.next <- struct{}{}: // one waits for a place, the others for that
		defer func() { <-l.next }()
	case <-l.done:
		return nothing
	case <-ctx.Done():
		return nothing
	}
	select {
	case l.reaching <- struct{}{}:
		return func() { <-l.reaching }
	case <-time.After(reachTime):
	case <-l.done:
	case <-ctx.Done():
	}
	return nothing
}

// left tells the swarm that a source can't be asked any more, and calls off what was asked of it.
func (l *Pull) left(id peer.ID) {
	l.mu.Lock()
	for r := range l.jobs {
		if r.source == id {
			l.callOff(r)
		}
	}
	l.mu.Unlock()
	l.apply(swarm.Left{Source: id})
}

// news takes in what a source has.
func (m *member) news(n *transferpb.SwarmNews) error {
	l := m.pull
	switch {
	case n.All:
		l.apply(swarm.HasSet{Source: m.id, Set: transfer.FullSet(l.Layout.Pieces())})
	case len(n.Set) > 0:
		set, err := transfer.ParseSet(n.Set, l.Layout.Pieces())
		if err != nil {
			return l.nonsense(err)
		}
		l.apply(swarm.HasSet{Source: m.id, Set: set})
	}
	if len(n.Pieces) > 0 {
		pieces := make([]int, len(n.Pieces))
		for i, p := range n.Pieces {
			pieces[i] = int(p)
		}
		l.apply(swarm.Has{Source: m.id, Pieces: pieces})
	}
	l.others(n)
	return nil
}

func (l *Pull) nonsense(err error) error { return lane.Nonsense(l.Label, err) }

// membership is a stream on which a source tells what it has.
type membership struct {
	pull   *Pull
	stream peer.Stream
	in     *wire.Reader
	until  time.Time // when the source's own right ends; zero for the owner
}

// join asks a source to tell. The owner is told at once what of; any other by a topic alone, until it has shown a right of
// its own to read the share, so that nobody else learns what is wanted.
func (l *Pull) join(ctx context.Context, id peer.ID, topic []byte) (*membership, error) {
	st, err := l.Source.Opener.Open(ctx, id, serve.SwarmProtocol, 0)
	if err != nil {
		return nil, err
	}
	c := &membership{pull: l, stream: st, in: wire.NewReaderSize(st, 4<<10)}
	stop := context.AfterFunc(ctx, func() { st.Reset() })
	defer stop()
	if err := c.begin(ctx, id, topic); err != nil {
		st.Reset()
		return nil, err
	}
	return c, nil
}

func (c *membership) begin(ctx context.Context, id peer.ID, topic []byte) error {
	if err := c.stream.SetDeadline(time.Now().Add(lane.Stall)); err != nil {
		return err
	}
	l := c.pull
	hello := &transferpb.SwarmHello{Topic: topic}
	if topic == nil {
		join, err := l.request(ctx)
		if err != nil {
			return err
		}
		hello.Join = join
		return wire.WriteMsg(c.stream, hello)
	}
	if err := wire.WriteMsg(c.stream, hello); err != nil {
		return err
	}
	var welcome transferpb.SwarmWelcome
	if err := c.in.ReadMsg(&welcome, maxNews); err != nil {
		return err
	}
	if welcome.Error != nil {
		return wire.ToError(welcome.Error)
	}
	var err error
	if c.until, err = l.Check(welcome.Grant, id); err != nil {
		return fmt.Errorf("the source has no right of its own: %w", err)
	}
	join, err := l.request(ctx)
	if err != nil {
		return err
	}
	return wire.WriteMsg(c.stream, join)
}

// request names the file and shows our right.
func (l *Pull) request(ctx context.Context) (*transferpb.SwarmJoin, error) {
	grant, err := l.Source.Grant(ctx)
	if err != nil {
		return nil, err
	}
	join := &transferpb.SwarmJoin{
		File: &transferpb.File{Share: l.File.Share[:], Path: l.File.Path, Grant: grant}, Version: l.File.Version[:],
	}
	if l.Addrs != nil {
		join.Gives = true
		for _, a := range l.Addrs() {
			join.Addrs = append(join.Addrs, a.Bytes())
		}
	}
	return join, nil
}

// errRight ends a membership whose source has to show its right anew.
var errRight = errors.New("the source's right is over")

// hear takes in what the source tells, until it ends, ctx does, or the load, which the source is then told of.
func (c *membership) hear(ctx context.Context, take func(*transferpb.SwarmNews) error) error {
	defer c.stream.Reset()
	if err := c.stream.SetDeadline(time.Time{}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { c.stream.Reset() })
	defer stop()
	c.pull.tasks.Go(func() {
		select {
		case <-c.pull.done:
			c.finish(ctx)
			cancel()
		case <-ctx.Done():
		}
	})
	if !c.until.IsZero() {
		over := time.AfterFunc(time.Until(c.until), cancel)
		defer over.Stop()
	}
	for {
		var n transferpb.SwarmNews
		if err := c.in.ReadMsg(&n, maxNews); err != nil {
			if !c.until.IsZero() && !time.Now().Before(c.until) {
				return errRight
			}
			return err
		}
		if n.Error != nil {
			return wire.ToError(n.Error)
		}
		if err := take(&n); err != nil {
			return err
		}
	}
}

// farewell is how long a source has to hear that the file is whole.
const farewell = 500 * time.Millisecond

// finish tells the source that all of the file is here, so that it names this peer to others for some time yet.
func (c *membership) finish(ctx context.Context) {
	if c.pull.err != nil || c.stream.SetDeadline(time.Now().Add(farewell)) != nil {
		return
	}
	if wire.WriteMsg(c.stream, &transferpb.SwarmNote{Done: true}) != nil || c.stream.CloseWrite() != nil {
		return
	}
	// It closes when it has read that.
	select {
	case <-ctx.Done():
	case <-time.After(farewell):
	}
}

// maxPause is the longest pause between two tries.
const maxPause = 2 * time.Second

// Pause waits before another try, and makes the next pause longer.
func Pause(ctx context.Context, wait *time.Duration) error {
	select {
	case <-time.After(*wait):
	case <-ctx.Done():
		return ctx.Err()
	}
	*wait = min(2**wait, maxPause)
	return nil
}
