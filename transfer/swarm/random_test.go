package swarm

import (
	"container/heap"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
)

var seedFlag = flag.Uint64("seed", 0, "run the random run of this seed alone, and tell what happens")

// TestRandomRuns has sources come, go, lie, stall, refuse and trickle, and one honest source stay. Every run finishes, and
// the invariants hold after every event.
func TestRandomRuns(t *testing.T) {
	if *seedFlag != 0 {
		if err := newRun(*seedFlag, t.Logf).play(); err != nil {
			t.Fatalf("seed %d: %v", *seedFlag, err)
		}
		return
	}
	runs := 2000
	if testing.Short() {
		runs = 400
	}
	for seed := uint64(1); seed <= uint64(runs); seed++ {
		if err := newRun(seed, func(string, ...any) {}).play(); err != nil {
			t.Fatalf("go test -run TestRandomRuns -seed %d: %v", seed, err)
		}
	}
}

// nature is how a source behaves.
type nature struct {
	origin  bool
	honest  bool          // always there from some time on, never wrong
	delay   time.Duration // of each answer, and up to as much again
	lies    float64       // share of answers that are wrong
	refuses float64       // share that it refuses
	silent  float64       // share that it never answers
	leaves  float64       // share after which it goes
	owing   map[int]int   // what was asked of it and is not answered, with the number of the asking
	lied    int
	banned  bool
	here    bool
}

// step is something that will happen.
type step struct {
	at  time.Duration
	n   int
	do  func()
	tag string
}

type steps []step

func (h steps) Len() int           { return len(h) }
func (h steps) Less(i, j int) bool { return h[i].at < h[j].at || h[i].at == h[j].at && h[i].n < h[j].n }
func (h steps) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *steps) Push(x any)        { *h = append(*h, x.(step)) }
func (h *steps) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// reader reads all pieces once, from some place on and round, and keeps some of them for a while alone.
type reader struct{ from, read, ahead int }

func (d *reader) at(r *run) int { return (d.from + d.read) % r.pieces }

type run struct {
	rng     *rand.Rand
	swarm   *Swarm
	opts    Options
	pieces  int
	steps   steps
	n       int
	now     time.Duration
	natures map[peer.ID]*nature
	names   []peer.ID
	readers []*reader
	told    bool // that it is done
	done    bool
	err     error
	logf    func(string, ...any)
}

func newRun(seed uint64, logf func(string, ...any)) *run {
	rng := rand.New(rand.NewPCG(seed, 7))
	r := &run{rng: rng, pieces: 1 + rng.IntN(60), natures: map[peer.ID]*nature{}, logf: logf}
	r.opts = Options{Reading: rng.IntN(3) == 0, Seed: seed}
	r.swarm = New(transfer.Layout{Size: int64(r.pieces)<<18 - int64(rng.IntN(1<<18)), Bits: 18}, r.opts)
	for i := range 1 + rng.IntN(6) {
		id := peer.ID(fmt.Sprintf("source%d", i))
		n := &nature{honest: i == 0, origin: rng.IntN(3) == 0, owing: map[int]int{}}
		n.delay = time.Duration(1+rng.IntN(1000)) * time.Millisecond / time.Duration(1+rng.IntN(100))
		if rng.IntN(8) == 0 {
			n.delay = time.Duration(1+rng.IntN(6)) * time.Second
		}
		if !n.honest {
			for _, share := range []*float64{&n.lies, &n.refuses, &n.silent, &n.leaves} {
				if rng.IntN(3) == 0 {
					*share = rng.Float64()
				}
			}
		}
		r.natures[id] = n
		r.names = append(r.names, id)
		r.later(time.Duration(rng.IntN(3000))*time.Millisecond, "join", func() { r.join(id) })
	}
	for p := range r.pieces {
		if rng.IntN(10) == 0 {
			r.later(time.Duration(rng.IntN(2000))*time.Millisecond, "here", func() { r.apply(Here{p}) })
		}
		r.later(time.Duration(p*rng.IntN(50))*time.Millisecond, "known", func() { r.apply(Known{p}) })
	}
	if r.opts.Reading {
		for range 1 + rng.IntN(3) {
			r.readers = append(r.readers, &reader{from: rng.IntN(r.pieces), ahead: 1 + rng.IntN(20)})
		}
		for range rng.IntN(10) {
			r.later(time.Duration(rng.IntN(5000))*time.Millisecond, "gone", func() { r.apply(Gone{rng.IntN(r.pieces)}) })
		}
		r.later(time.Duration(rng.IntN(1000))*time.Millisecond, "begin", func() { r.apply(r.want()) })
	}
	for range rng.IntN(4) {
		r.later(time.Duration(rng.IntN(5000))*time.Millisecond, "place", func() {
			r.apply(Place{r.names[rng.IntN(len(r.names))], rng.IntN(5) - 1, rng.IntN(5)})
		})
	}
	return r
}

func (r *run) later(in time.Duration, tag string, do func()) {
	r.n++
	heap.Push(&r.steps, step{r.now + in, r.n, do, tag})
}

func (r *run) play() error {
	for n := 0; r.err == nil && !r.done; n++ {
		if n > 50_000 {
			return fmt.Errorf("it goes on and on: %d left", r.swarm.Left())
		}
		tick, ok := r.swarm.NextTick()
		if ok && (len(r.steps) == 0 || tick < r.steps[0].at) {
			r.now = tick
			r.apply(Tick{})
			continue
		}
		if len(r.steps) == 0 {
			return fmt.Errorf("at %v it stands still: %d left", r.now, r.swarm.Left())
		}
		s := heap.Pop(&r.steps).(step)
		r.now = s.at
		s.do()
	}
	return r.err
}

func (r *run) join(id peer.ID) {
	n := r.natures[id]
	if n.banned || n.here {
		return
	}
	n.here = true
	r.apply(Joined{Source: id, Origin: n.origin})
	if n.origin {
		return
	}
	whole := r.rng.IntN(2) == 0
	if whole {
		r.apply(HasSet{id, transfer.FullSet(r.pieces)})
	}
	for p := range r.pieces {
		if !whole && (n.honest || r.rng.IntN(2) == 0) {
			r.later(time.Duration(r.rng.IntN(4000))*time.Millisecond, "has", func() { r.apply(Has{id, []int{p}}) })
		}
	}
}

func (r *run) apply(e Event) {
	if r.err != nil {
		return
	}
	actions := r.swarm.Apply(r.now, e)
	r.logf("%v %T%v -> %s", r.now, e, e, strings.TrimSpace(fmt.Sprintf("%T%v", actions, actions)))
	if err := r.swarm.Check(); err != nil {
		r.err = fmt.Errorf("at %v after %T%v: %w", r.now, e, e, err)
		return
	}
	for _, a := range actions {
		r.act(a)
	}
	r.read()
}

// read has readers go on whose piece is here.
func (r *run) read() {
	left := false
	for _, d := range r.readers {
		if d.read < r.pieces && r.swarm.Have(d.at(r)) {
			d.read++
			r.apply(r.want())
			return
		}
		left = left || d.read < r.pieces
	}
	r.done = r.done || r.opts.Reading && !left
}

// want is what all readers want: each the piece that it waits for, before what any of them reads ahead.
func (r *run) want() Want {
	var now, ahead []Span
	for _, d := range r.readers {
		if p := d.at(r); d.read < r.pieces {
			now, ahead = append(now, Span{p, p + 1}), append(ahead, Span{p + 1, p + d.ahead})
		}
	}
	return Want{append(now, ahead...)}
}

func (r *run) act(a Action) {
	switch a := a.(type) {
	case Ask:
		n := r.natures[a.Source]
		if !n.here || n.banned || n.owing[a.Piece] != 0 {
			r.err = fmt.Errorf("%v: %v is not here, or owes it already", r.now, a)
			return
		}
		r.n++
		n.owing[a.Piece] = r.n
		if asking := r.n; n.honest || r.rng.Float64() >= n.silent {
			r.later(n.delay+time.Duration(r.rng.Int64N(int64(n.delay))), "answer", func() { r.answer(a, asking) })
		}
	case Cancel:
		if n := r.natures[a.Source]; n.owing[a.Piece] == 0 {
			r.err = fmt.Errorf("%v: %v was not asked", r.now, a)
		} else if r.rng.IntN(4) > 0 { // else it comes nevertheless
			delete(n.owing, a.Piece)
		} else {
			n.owing[a.Piece] = 0
		}
	case Drop:
		r.drop(a)
	case Done:
		if r.told {
			r.err = fmt.Errorf("done twice")
		}
		r.told = true
		r.done = !r.opts.Reading
	}
}

func (r *run) drop(a Drop) {
	n := r.natures[a.Source]
	clear(n.owing)
	n.here = false
	switch {
	case a.Why == Lying && n.honest:
		r.err = fmt.Errorf("an honest source is banned")
	case a.Why == Lying && n.lied != maxLies:
		r.err = fmt.Errorf("banned after %d lies", n.lied)
	case a.Why == Lying:
		n.banned = true
	default:
		r.later(time.Second, "rejoin", func() { r.join(a.Source) })
	}
}

func (r *run) answer(a Ask, asking int) {
	n := r.natures[a.Source]
	got, asked := n.owing[a.Piece]
	if !n.here || !asked || got != 0 && got != asking {
		return
	}
	delete(n.owing, a.Piece)
	luck := r.rng.Float64
	switch {
	case n.honest:
		r.apply(Got(a))
	case luck() < n.lies:
		n.lied++
		r.apply(Bad(a))
	case luck() < n.refuses:
		r.apply(Refused(a))
	case luck() < n.leaves:
		n.here = false
		clear(n.owing)
		r.apply(Left{a.Source})
		r.later(time.Duration(r.rng.IntN(3000))*time.Millisecond, "again", func() { r.join(a.Source) })
	default:
		r.apply(Got(a))
	}
}
