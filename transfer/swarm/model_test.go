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
	oslots  int
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
	origin   *machine
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
		latency: 250 * time.Microsecond, rng: rand.New(rand.NewPCG(1, 2))}
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

// fetch has a host fetch the file from an origin, from now on, with others as sources too.
func (m *model) fetch(h, origin *machine, seed uint64) {
	h.swarm = New(transfer.Layout{Size: int64(m.pieces) << m.bits, Bits: m.bits}, Options{Seed: seed})
	h.origin = origin
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
			from := m.host(a.Source)
			m.later(m.latency, func() { m.unqueue(from, h, a.Piece) })
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

// unqueue takes a request back; what is on its way already comes.
func (m *model) unqueue(from, to *machine, piece int) {
	for _, q := range from.queues {
		if i := slices.Index(q.pieces, piece); q.to == to && i >= 0 {
			q.pieces = slices.Delete(q.pieces, i, i+1)
		}
	}
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
		slots := m.slots
		if h.swarm == nil && m.oslots > 0 {
			slots = m.oslots
		}
		if slots > 0 && h.flying >= slots {
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

// distribute has n fetchers get a file from one owner, the last late of them only after a while.
func distribute(slots, n int, size int64, bits uint, seed uint64, late int, after, spread time.Duration) (*model, *machine) {
	m := newModel(slots, size, bits)
	m.rng = rand.New(rand.NewPCG(seed, 2))
	owner := m.add(50, 50)
	var all []*machine
	for range n {
		all = append(all, m.add(50, 50))
	}
	var there []*machine
	arrive := func(h *machine) {
		m.fetch(h, owner, seed*100+uint64(len(there)))
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

// servers are the ways in which a host may serve several peers.
var servers = []struct {
	name  string
	slots int
}{{"all at once", 0}, {"one after the other", 1}, {"two at once", 2}}

func TestModelDistribution(t *testing.T) {
	for _, bits := range []uint{18, 16} {
		for _, server := range servers {
			if bits != 18 && testing.Short() {
				continue
			}
			alone := time.Duration(0)
			for _, n := range []int{1, 4, 8, 16} {
				var worst time.Duration
				sent := 0
				for seed := range uint64(2) {
					m, owner := distribute(server.slots, n, 32<<20, bits, seed, 0, 0, ms)
					last, err := m.run()
					if err != nil {
						t.Fatalf("%s, %d fetchers, seed %d: %v", server.name, n, seed, err)
					}
					worst = max(worst, last)
					sent = owner.sent
				}
				if n == 1 {
					alone = worst
				}
				t.Logf("%d KiB, %-20s N=%-2d %v = %.3f x alone, owner sent %.2f files", 1<<bits>>10, server.name, n, worst.Round(ms), worst.Seconds()/alone.Seconds(), float64(sent)/float64(int(32<<20)>>bits))
			}
		}
	}
}
