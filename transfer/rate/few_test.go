package rate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
)

// path is a way out of here that pieces share equally, to readers that may be slower.
type path struct {
	rate    float64 // bytes a second
	readers []*reader
	noise   *rand.Rand
}

// reader is one stream that always wants another piece.
type reader struct {
	who  peer.ID
	rate float64 // bytes a second, at most

	w      *waiter
	left   float64 // of its piece, 0 while it waits for a turn
	pieces int
	worst  time.Duration // that it waited
	asked  time.Time
	took   []time.Duration // from the turn to the end of a piece
}

const piece = 256 << 10

// run serves for a time. It gives how many pieces were under way at a time on average, after the first third.
func (p *path) run(t *testing.T, s *few, d time.Duration) float64 {
	t.Helper()
	now, end := start(), start().Add(d)
	var under, weight float64
	for now.Before(end) {
		for _, r := range p.readers {
			if r.w == nil {
				r.w, r.asked = &waiter{who: r.who, n: piece}, now
				s.add(r.w, now)
			}
		}
		w, wait := s.next(now)
		if w != nil {
			r := p.readers[slices.IndexFunc(p.readers, func(r *reader) bool { return r.w == w })]
			r.left, r.worst = piece*(0.9+0.2*p.noise.Float64()), max(r.worst, now.Sub(r.asked))
			continue
		}
		switch waiting := len(p.readers) - len(s.held); {
		case (wait == 0) != (waiting == 0):
			t.Fatalf("%d wait, and the next may go in %v", waiting, wait)
		case waiting == 0:
			wait = time.Hour
		}
		active := slices.DeleteFunc(slices.Clone(p.readers), func(r *reader) bool { return r.left == 0 })
		slices.SortFunc(active, func(a, b *reader) int { return int(a.rate - b.rate) })
		share, rest := make(map[*reader]float64), p.rate
		step := wait.Seconds()
		for i, r := range active {
			share[r] = min(r.rate, rest/float64(len(active)-i))
			rest -= share[r]
			step = min(step, r.left/share[r])
		}
		passed := time.Duration(step*1e9) + 1
		now = now.Add(passed)
		if now.Sub(start()) > d/3 {
			under, weight = under+float64(len(active))*passed.Seconds(), weight+passed.Seconds()
		}
		for _, r := range active {
			if r.left -= share[r] * passed.Seconds(); r.left <= 1 {
				r.took = append(r.took, now.Sub(r.w.since))
				s.leave(r.w, now)
				r.left, r.w = 0, nil
				r.pieces++
			}
		}
	}
	return under / weight
}

func readers(peers, streams int, rate float64) (rs []*reader) {
	for i := range peers * streams {
		rs = append(rs, &reader{who: peer.ID(fmt.Sprint(i / streams)), rate: rate})
	}
	return rs
}

// Where the path is narrow few pieces are under way; where readers are slow there are as many as fill the path; and peers
// get the same in either.
func TestFew(t *testing.T) {
	const mb = 1e6
	for _, tc := range []struct {
		name    string
		path    float64
		readers []*reader
		under   float64 // pieces at a time, at most
		used    float64 // of what the path or the readers could have, at least
	}{
		{"Gigabit, 16 peers with two streams", 119 * mb, readers(16, 2, 119*mb), 5, 0.98},
		{"50 Mbit, 16 peers with two streams", 6.25 * mb, readers(16, 2, 119*mb), 5, 0.98},
		{"10 Mbit, 8 peers", 1.25 * mb, readers(8, 1, 119*mb), 6, 0.97},
		{"readers of 100 Mbit at a Gigabit", 119 * mb, readers(16, 2, 12.5*mb), 20, 0.85},
		{"readers of 100 Mbit at 10 Gigabit", 1190 * mb, readers(30, 2, 12.5*mb), 64, 0.80},
		{"one peer with two streams", 800 * mb, readers(1, 2, 800*mb), 2, 0.99},
	} {
		s := newFew()
		p := &path{rate: tc.path, readers: tc.readers, noise: rand.New(rand.NewPCG(1, 2))}
		const long = 20 * time.Second
		under := p.run(t, &s, long)
		total, most, reach := 0, 0.0, 0.0
		got := make(map[peer.ID]int)
		for _, r := range p.readers {
			total += r.pieces
			got[r.who] += r.pieces
			reach += r.rate
			if r.worst > maxStay+time.Second {
				t.Errorf("%s: a stream waited %v for its turn", tc.name, r.worst)
			}
		}
		for _, n := range got {
			most = max(most, float64(n)/(float64(total)/float64(len(got))))
		}
		used := float64(total) * piece / (min(tc.path, reach) * long.Seconds())
		t.Logf("%s: %.1f under way, width %d, %.0f%% used, most %.2f", tc.name, under, s.climb.width, 100*used, most)
		if under > tc.under || used < tc.used || most > 1.1 {
			t.Errorf("%s: %.1f pieces under way, want at most %.0f; %.2f used, want %.2f; one peer got %.2f times its part",
				tc.name, under, tc.under, used, tc.used, most)
		}
	}
}

// Readers that take next to nothing keep nobody waiting for long, and what others get is not much less.
func TestFewBesideSlowReaders(t *testing.T) {
	s := newFew()
	p := &path{rate: 119e6, readers: append(readers(8, 2, 119e6), &reader{who: "slow", rate: 5000}), noise: rand.New(rand.NewPCG(1, 2))}
	for i := range 16 {
		p.readers = append(p.readers, &reader{who: peer.ID(fmt.Sprint("slow", i)), rate: 5000})
	}
	p.run(t, &s, 30*time.Second)
	total := 0
	for _, r := range p.readers[:16] {
		total += r.pieces
	}
	if used := float64(total) * piece / (119e6 * 30); used < 0.95 {
		t.Errorf("beside 17 slow readers %.2f of the path is used", used)
	}
}

// Nobody who gives up holds a place, whether it had a turn or not.
func TestFewCancel(t *testing.T) {
	s, now := newFew(), start()
	var ws []*waiter
	for i := range 3 * firstWidth {
		w := &waiter{who: peer.ID(fmt.Sprint(i)), n: piece}
		ws = append(ws, w)
		s.add(w, now)
	}
	for _, w := range ws[:firstWidth] {
		if got, _ := s.next(now); got != w {
			t.Fatal("not in the order in which they came")
		}
	}
	if w, d := s.next(now); w != nil || d != minPatience {
		t.Errorf("the place after the last goes to %v, in %v", w, d)
	}
	s.cancel(ws[0])
	s.cancel(ws[firstWidth])
	if w, _ := s.next(now); w != ws[firstWidth+1] {
		t.Error("the place of one that gave up is not another's")
	}
	for _, w := range ws {
		s.cancel(w)
	}
	if w, d := s.next(now); w != nil || d != 0 || len(s.held) > 0 || !s.line.empty() {
		t.Errorf("after all have given up: %v, %v, %d held", w, d, len(s.held))
	}
}
