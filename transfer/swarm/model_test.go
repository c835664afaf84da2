package swarm

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
)

// model is a network of hosts in simulated time. Each host has a link with so many bytes a second in each direction, and
// transfers share links max-min fairly, as TCP about does. A host answers each peer in the order asked.
type model struct {
	slots   int // transfers that a host serves at once, peers in turn; 0 for all that ask
	bits    uint
	pieces  int
	learn   time.Duration // until fetchers know of a fetcher's new piece
	latency time.Duration // one way
	hosts   []*machine
	flows   []*flow
	steps   steps
	n       int
	now     time.Duration
	due     int // number of the step that finishes a flow
	rng     *rand.Rand
	err     error
}

// machine is one host: a source, and a fetcher if it has a swarm.
type machine struct {
	id       peer.ID
	up, down float64 // bytes a second
	liar     bool
	dead     bool
	swarm    *Swarm
	finished time.Duration
	banned   []peer.ID
	lies     int // pieces that it gave
	queues   []*queue
	turn     int
	sent     int
	flying   int
	tick     int
}

// queue is what one peer asked of a host.
type queue struct {
	to     *machine
	pieces []int
	active bool
}

// flow is a piece on its way.
type flow struct {
	from, to *machine
	q        *queue
	piece    int
	left     float64
	rate     float64
	frozen   bool
}

const mbit = 1e6 / 8

func newModel(slots int, size int64, bits uint) *model {
	return &model{slots: slots, bits: bits, pieces: transfer.Layout{Size: size, Bits: bits}.Pieces(), learn: 20 * ms,
		latency: 250 * time.Microsecond, rng: rand.New(rand.NewPCG(1, 0))}
}

func (m *model) add(up, down float64) *machine {
	h := &machine{id: peer.ID(fmt.Sprintf("host%d", len(m.hosts))), up: up * mbit, down: down * mbit}
	m.hosts = append(m.hosts, h)
	return h
}

func (m *model) later(in time.Duration, do func()) int {
	m.n++
	heap.Push(&m.steps, step{at: m.now + in, n: m.n, do: do})
	return m.n
}

// fetch has a host fetch the file from now on. It knows the hashes a little later.
func (m *model) fetch(h *machine) {
	h.swarm = New(transfer.Layout{Size: int64(m.pieces) << m.bits, Bits: m.bits}, Options{Seed: m.rng.Uint64()})
	m.later(manifestTime, func() {
		for p := range m.pieces {
			m.apply(h, Known{p})
		}
	})
}

// manifestTime is what passes between a fetcher's coming to an owner and its first request for a piece.
const manifestTime = 5 * ms

func (m *model) apply(h *machine, e Event) {
	for _, a := range h.swarm.Apply(m.now, e) {
		switch a := a.(type) {
		case Ask:
			from := m.host(a.Source)
			m.later(m.latency, func() { m.enqueue(from, h, a.Piece) })
		case Cancel:
			// What was asked is sent: there is no taking back in the protocol.
		case Drop:
			if a.Why == Lying {
				h.banned = append(h.banned, a.Source)
			}
			m.hangUp(m.host(a.Source), h)
		case Done:
			h.finished = m.now
		}
	}
	h.tick++
	if at, ok := h.swarm.NextTick(); ok {
		n := h.tick
		m.later(at-m.now, func() {
			if h.tick == n && !h.dead {
				m.apply(h, Tick{})
			}
		})
	}
}

func (m *model) host(id peer.ID) *machine {
	return m.hosts[slices.IndexFunc(m.hosts, func(h *machine) bool { return h.id == id })]
}

func (m *model) enqueue(from, to *machine, piece int) {
	if from.dead {
		return
	}
	i := slices.IndexFunc(from.queues, func(q *queue) bool { return q.to == to })
	if i < 0 {
		i = len(from.queues)
		from.queues = append(from.queues, &queue{to: to})
	}
	from.queues[i].pieces = append(from.queues[i].pieces, piece)
	m.serve(from)
	m.share()
}

func (m *model) hangUp(from, to *machine) {
	for _, q := range from.queues {
		if q.to == to {
			q.pieces = nil
		}
	}
}

// serve starts what a host has time for, peers in turn.
func (m *model) serve(h *machine) {
	for range h.queues {
		if m.slots > 0 && h.flying >= m.slots {
			return
		}
		q := h.queues[h.turn%len(h.queues)]
		h.turn++
		if q.active || len(q.pieces) == 0 {
			continue
		}
		h.flying++
		q.active = true
		m.flows = append(m.flows, &flow{from: h, to: q.to, q: q, piece: q.pieces[0], left: float64(int64(1) << m.bits)})
		q.pieces = q.pieces[1:]
	}
}

// share gives each flow its max-min fair rate and plans the end of the first that ends.
func (m *model) share() {
	up, down := map[*machine]*end{}, map[*machine]*end{}
	for _, f := range m.flows {
		f.frozen = false
		for _, side := range []struct {
			of  map[*machine]*end
			h   *machine
			cap float64
		}{{up, f.from, f.from.up}, {down, f.to, f.to.down}} {
			if side.of[side.h] == nil {
				side.of[side.h] = &end{left: side.cap}
			}
			side.of[side.h].n++
		}
	}
	for frozen := 0; frozen < len(m.flows); {
		least := math.Inf(1)
		for _, ends := range []map[*machine]*end{up, down} {
			for _, e := range ends {
				if e.n > 0 {
					least = min(least, e.left/float64(e.n))
				}
			}
		}
		for _, f := range m.flows {
			u, d := up[f.from], down[f.to]
			if !f.frozen && (u.tight(least) || d.tight(least)) {
				f.frozen, f.rate = true, least
				frozen++
				u.take(least)
				d.take(least)
			}
		}
	}
	next := math.Inf(1)
	for _, f := range m.flows {
		next = min(next, f.left/f.rate)
	}
	if len(m.flows) > 0 {
		m.due = m.later(time.Duration(math.Ceil(next*1e9)), func() {})
	}
}

// end is one direction of a link while rates are worked out.
type end struct {
	left float64
	n    int
}

func (e *end) tight(rate float64) bool { return e.left/float64(e.n) <= rate*(1+1e-9) }
func (e *end) take(rate float64)       { e.left, e.n = e.left-rate, e.n-1 }

// run lets time pass until all fetchers that live are done, and gives the time of the last.
func (m *model) run() (time.Duration, error) {
	for n := 0; n < 3_000_000 && m.err == nil; n++ {
		if !slices.ContainsFunc(m.hosts, func(h *machine) bool { return h.swarm != nil && !h.dead && h.finished == 0 }) && m.steps.allJoined() {
			break
		}
		if len(m.steps) == 0 {
			return 0, fmt.Errorf("at %v nothing happens any more", m.now)
		}
		s := heap.Pop(&m.steps).(step)
		m.advance(s.at)
		s.do()
		if s.n == m.due {
			m.finish()
		}
		if m.now > 10*time.Minute {
			return 0, fmt.Errorf("still not done")
		}
	}
	last := time.Duration(0)
	for _, h := range m.hosts {
		last = max(last, h.finished)
	}
	return last, m.err
}

func (h steps) allJoined() bool {
	return !slices.ContainsFunc(h, func(s step) bool { return s.tag == "join" })
}

func (m *model) advance(to time.Duration) {
	for _, f := range m.flows {
		f.left -= f.rate * (to - m.now).Seconds()
	}
	m.now = to
}

func (m *model) finish() {
	var ended []*flow
	m.flows = slices.DeleteFunc(m.flows, func(f *flow) bool {
		if f.left < 1 {
			ended = append(ended, f)
		}
		return f.left < 1
	})
	for _, f := range ended {
		f.from.flying--
		f.from.sent++
		f.q.active = false
		m.serve(f.from)
		m.later(m.latency, func() { m.deliver(f) })
	}
	m.share()
}

func (m *model) deliver(f *flow) {
	if f.to.dead {
		return
	}
	if f.from.liar {
		f.from.lies++
		m.apply(f.to, Bad{f.from.id, f.piece})
		return
	}
	had := f.to.swarm.Have(f.piece)
	m.apply(f.to, Got{f.from.id, f.piece})
	if had {
		return
	}
	m.later(m.learn, func() {
		for _, h := range m.hosts {
			if h != f.to && h.swarm != nil && !h.dead && !f.to.dead {
				m.apply(h, Has{f.to.id, []int{f.piece}})
			}
		}
	})
}

// kill takes a host off the network; all learn of it at once.
func (m *model) kill(h *machine) {
	h.dead = true
	h.queues, h.flying = nil, 0
	m.flows = slices.DeleteFunc(m.flows, func(f *flow) bool { return f.from == h || f.to == h })
	for _, o := range m.hosts {
		if o.swarm != nil && !o.dead {
			m.apply(o, Left{h.id})
		}
	}
	m.share()
}

// distribute has n fetchers get a file from one owner. They come within spread, but for the last late of them, who come so
// much after that.
func distribute(slots, n int, size int64, bits uint, seed uint64, late int, after, spread time.Duration) (*model, *machine) {
	m := newModel(slots, size, bits)
	m.rng = rand.New(rand.NewPCG(seed, 0))
	owner := m.add(50, 50)
	var all []*machine
	for range n {
		all = append(all, m.add(50, 50))
	}
	var there []*machine
	arrive := func(h *machine) {
		m.fetch(h)
		there = append(there, h)
		m.apply(h, Joined{Source: owner.id, Origin: true, Index: len(there) - 1, Of: len(there)})
		for i, o := range there {
			m.apply(o, Place{owner.id, i, len(there)})
			if o != h {
				m.apply(o, Joined{Source: h.id})
				m.apply(h, Joined{Source: o.id})
				m.apply(h, HasSet{o.id, o.swarm.pieces.here})
			}
		}
	}
	for i, h := range all {
		in := time.Duration(m.rng.Int64N(int64(spread)))
		if i >= n-late {
			in += after
		}
		m.later(in, func() { arrive(h) })
		m.steps[slices.IndexFunc(m.steps, func(s step) bool { return s.n == m.n })].tag = "join"
	}
	return m, owner
}

const (
	modelSize = 32 << 20
	modelBits = 18
)

// alone is how long one fetcher takes that has the owner for itself.
func alone(t *testing.T, bits uint) time.Duration {
	t.Helper()
	m, _ := distribute(0, 1, modelSize, bits, 0, 0, 0, ms)
	last, err := m.run()
	if err != nil {
		t.Fatal(err)
	}
	return last
}

// TestModelDistribution: with N fetchers the last is done hardly later than one alone, and the owner sends each piece about
// once. What remains is the time of N-1 pieces on one link, which smaller pieces make smaller. A server that sends one
// piece after the other does worse, since it waits for receivers whose links are taken up by others: no bound holds it.
func TestModelDistribution(t *testing.T) {
	one := alone(t, modelBits)
	for _, c := range []struct {
		slots int
		bits  uint
		n     int
		most  float64
	}{
		{0, 18, 4, 1.06}, {0, 18, 8, 1.10}, {0, 18, 16, 1.15}, {0, 16, 8, 1.05},
		{1, 18, 4, math.Inf(1)}, {1, 18, 8, math.Inf(1)}, {1, 18, 16, math.Inf(1)}, {4, 18, 8, math.Inf(1)},
	} {
		m, owner := distribute(c.slots, c.n, modelSize, c.bits, 1, 0, 0, ms)
		last, err := m.run()
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		ratio, sent := last.Seconds()/one.Seconds(), float64(owner.sent)/float64(m.pieces)
		t.Logf("%d fetchers, pieces of %d KiB, %d served at once (0: all): %.3f of the time alone, the owner sent %.2f files", c.n, 1<<c.bits>>10, c.slots, ratio, sent)
		if ratio > c.most || c.slots == 0 && sent > 1.1 {
			t.Errorf("%+v: %.3f of the time alone, the owner sent %.2f files", c, ratio, sent)
		}
	}
}

// TestModelStaggered: fetchers that come one after the other. As each comes, the parts of the others change, and what they asked
// the owner for meanwhile is not asked for by two. When they come is chance, so several runs count together.
func TestModelStaggered(t *testing.T) {
	one := alone(t, modelBits)
	for _, c := range []struct {
		n    int
		bits uint
		in   time.Duration
		most float64
	}{{8, modelBits, 200 * ms, 1.2}, {8, 16, 200 * ms, 1.1}, {12, 17, 400 * ms, 1.2}} {
		const runs = 6
		var ratio, sent float64
		for seed := range uint64(runs) {
			m, owner := distribute(0, c.n, modelSize, c.bits, seed+1, 0, 0, c.in)
			last, err := m.run()
			if err != nil {
				t.Fatalf("%+v: %v", c, err)
			}
			ratio += last.Seconds() / one.Seconds() / runs
			sent += float64(owner.sent) / float64(m.pieces) / runs
		}
		t.Logf("%d fetchers within %v: %.3f of the time alone, the owner sent %.3f files", c.n, c.in, ratio, sent)
		if ratio > c.most || sent > 1.06 {
			t.Error("it is too much")
		}
	}
}

// TestModelLateFetchers: two fetchers that come 2 s later than two others have what these have at once.
func TestModelLateFetchers(t *testing.T) {
	one := alone(t, modelBits)
	m, _ := distribute(0, 4, modelSize, modelBits, 1, 2, 2*time.Second, ms)
	last, err := m.run()
	if ratio := (last - 2*time.Second).Seconds() / one.Seconds(); err != nil || ratio > 1.1 {
		t.Errorf("the late ones took %.3f of the time alone, %v", ratio, err)
	} else {
		t.Logf("the late ones took %.3f of the time alone", ratio)
	}
}

// TestModelLatePart: one of the fetchers is slow to get its part, which the others can have of nobody else but the owner: they help
// instead of waiting for it, and don't all ask for the same.
func TestModelLatePart(t *testing.T) {
	one := alone(t, 16)
	const runs = 6
	var ratio, sent float64
	for seed := range uint64(runs) {
		m, owner := distribute(0, 8, modelSize, 16, seed+1, 0, 0, ms)
		m.hosts[8].down = 12 * mbit
		if _, err := m.run(); err != nil {
			t.Fatal(err)
		}
		others := time.Duration(0)
		for _, h := range m.hosts[1:8] {
			others = max(others, h.finished)
		}
		ratio += others.Seconds() / one.Seconds() / runs
		sent += float64(owner.sent) / float64(m.pieces) / runs
	}
	t.Logf("the others took %.3f of the time alone, the owner sent %.3f files", ratio, sent)
	if ratio > 1.14 || sent > 1.07 {
		t.Error("it is too much")
	}
}

// TestModelOwnerDies: once the fetchers hold all pieces together they need the owner no more.
func TestModelOwnerDies(t *testing.T) {
	m, owner := distribute(0, 4, modelSize, modelBits, 1, 0, 0, ms)
	var watch func()
	watch = func() {
		all := transfer.NewSet(m.pieces)
		for _, h := range m.hosts {
			if h.swarm != nil {
				for p := range h.swarm.pieces.here.All() {
					all.Add(p)
				}
			}
		}
		if all.Full() {
			m.kill(owner)
		} else {
			m.later(ms, watch)
		}
	}
	m.later(ms, watch)
	last, err := m.run()
	if err != nil || !owner.dead || last > 8*time.Second {
		t.Errorf("at %v, owner dead: %t, %v", last, owner.dead, err)
	}
}

// gather has one fetcher with so fast a link get a file from sources that have it all, the first of them the owner.
func gather(size int64, down float64, sources ...*machine) (*model, *machine) {
	m := newModel(0, size, modelBits)
	for _, h := range sources {
		h.id = peer.ID(fmt.Sprintf("host%d", len(m.hosts)))
		m.hosts = append(m.hosts, h)
	}
	h := m.add(50, down)
	m.fetch(h)
	for i, o := range sources {
		m.apply(h, Joined{Source: o.id, Origin: i == 0})
		m.apply(h, HasSet{o.id, transfer.FullSet(m.pieces)})
	}
	return m, h
}

func link(mbits float64) *machine { return &machine{up: mbits * mbit, down: mbits * mbit} }

func TestModelSeeds(t *testing.T) {
	m, _ := gather(modelSize, 200, link(50), link(50), link(50), link(50))
	last, err := m.run()
	if gain := alone(t, modelBits).Seconds() / last.Seconds(); err != nil || gain < 3.8 {
		t.Errorf("four seeds are %.2f times as fast as one, %v", gain, err)
	} else {
		t.Logf("four seeds are %.2f times as fast as one", gain)
	}
}

// TestModelUnequalSeeds: a slow source does not hold up the end.
func TestModelUnequalSeeds(t *testing.T) {
	m, _ := gather(modelSize, 200, link(50), link(2))
	last, err := m.run()
	if ratio := last.Seconds() / alone(t, modelBits).Seconds(); err != nil || ratio > 1.02 {
		t.Errorf("with a slow source it takes %.3f of the time, %v", ratio, err)
	}
}

func TestModelLiars(t *testing.T) {
	liars := []*machine{link(50), link(50), link(50)}
	for _, l := range liars {
		l.liar = true
	}
	m, h := gather(modelSize, 50, append(liars, link(50))...)
	last, err := m.run()
	if ratio := last.Seconds() / alone(t, modelBits).Seconds(); err != nil || ratio > 2 || len(h.banned) != 3 {
		t.Errorf("%.3f of the time alone, %d banned, %v", ratio, len(h.banned), err)
	} else {
		t.Logf("%.3f of the time alone", ratio)
	}
	for _, l := range liars {
		if l.lies > maxLies {
			t.Errorf("a liar was believed %d times", l.lies)
		}
	}
}

// TestModelFastOrigin: fetchers with slow uplinks don't spare an owner that has plenty to give.
func TestModelFastOrigin(t *testing.T) {
	m, owner := distribute(0, 2, modelSize, modelBits, 1, 0, 0, ms)
	owner.up = 1000 * mbit
	for _, h := range m.hosts[1:] {
		h.down = 400 * mbit
	}
	last, err := m.run()
	if ideal := float64(modelSize) / (400 * mbit); err != nil || last.Seconds() > 1.3*ideal {
		t.Errorf("%v, %.2f of what the links would allow, %v", last, last.Seconds()/ideal, err)
	}
}
