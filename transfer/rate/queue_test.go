package rate

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
)

// start is when the tests begin.
func start() time.Time { return time.Unix(1_700_000_000, 0) }

// client wants to pass chunks of n bytes for ever, each a pause after the one before.
type client struct {
	who   peer.ID
	class Class
	n     int64
	pause time.Duration

	next   time.Time // when it asks again, while it does not wait
	w      *waiter
	asked  time.Time
	passed int64
	worst  time.Duration // that a chunk waited
}

// pass is one chunk that passed.
type pass struct {
	at time.Time
	n  int64
}

// run lets clients pass for a time, without any clock.
func run(q *queue, d time.Duration, clients []*client) (log []pass) {
	now := start()
	end := now.Add(d)
	for now.Before(end) {
		soonest := end
		for _, c := range clients {
			switch {
			case c.w != nil:
			case !c.next.After(now):
				c.w, c.asked = &waiter{who: c.who, n: c.n}, now
				q.add(c.w, c.class)
			case c.next.Before(soonest):
				soonest = c.next
			}
		}
		w, wait := q.next(now)
		if w == nil {
			if wait > 0 && now.Add(wait).Before(soonest) {
				soonest = now.Add(wait)
			}
			now = soonest
			continue
		}
		log = append(log, pass{now, w.n})
		for _, c := range clients {
			if c.w == w {
				c.passed += w.n
				c.worst = max(c.worst, now.Sub(c.asked))
				c.w, c.next = nil, now.Add(c.pause)
			}
		}
	}
	return log
}

// checkLimit looks at every span between two chunks.
func checkLimit(t *testing.T, r transfer.Rate, log []pass) {
	t.Helper()
	if len(log) > 2000 {
		log = log[:2000]
	}
	for i := range log {
		sum := int64(0)
		for j := i; j < len(log); j++ {
			sum += log[j].n
			span := log[j].at.Sub(log[i].at)
			if allowed := float64(r)*span.Seconds() + float64(burstOf(r)); float64(sum) > allowed+1 {
				t.Fatalf("limit %v: %d bytes passed in %v, %.0f are allowed", r, sum, span, allowed)
			}
		}
	}
}

func limited(r transfer.Rate) *queue {
	q := &queue{}
	q.setLimit(start(), r)
	return q
}

func TestChunkAndBurst(t *testing.T) {
	for _, tc := range []struct {
		limit        transfer.Rate
		chunk, burst int64
	}{
		{transfer.MinRate, minChunk, minChunk + 50},
		{1_000_000, minChunk, minChunk + 50_000},
		{10_000_000, 100_000, 600_000},
		{100_000_000, MaxChunk, MaxChunk + 5_000_000},
		{transfer.MaxRate, MaxChunk, MaxChunk + 5_000_000_000},
	} {
		if c, b := chunkOf(tc.limit), burstOf(tc.limit); c != tc.chunk || b != tc.burst {
			t.Errorf("%v: chunk %d, burst %d; want %d, %d", tc.limit, c, b, tc.chunk, tc.burst)
		}
	}
}

// All of a limit is used, and no more.
func TestLimitIsMet(t *testing.T) {
	for _, r := range []transfer.Rate{transfer.MinRate, 123_457, 10_000_000, 1_000_000_000, transfer.MaxRate} {
		n := chunkOf(r)
		d := 1000 * limited(r).cost(n)
		log := run(limited(r), d, []*client{{who: "a", n: n}, {who: "b", n: n}})
		checkLimit(t, r, log)
		if got := len(log); got < 990 || got > 1010 {
			t.Errorf("%v: %d chunks passed in the time of 1000", r, got)
		}
	}
}

// A peer with sixteen streams gets what a peer with one gets, and large chunks don't win over small ones.
func TestPeersAreEqual(t *testing.T) {
	const r = 10_000_000
	chunk := chunkOf(r)
	var clients []*client
	for range 16 {
		clients = append(clients, &client{who: "many", n: chunk})
	}
	clients = append(clients, &client{who: "one", n: chunk}, &client{who: "small", n: minChunk}, &client{who: "small", n: minChunk},
		&client{who: "small", n: minChunk}, &client{who: "small", n: minChunk}, &client{who: "small", n: minChunk})
	log := run(limited(r), 20*time.Second, clients)
	checkLimit(t, r, log)
	got := make(map[peer.ID]int64)
	for _, c := range clients {
		got[c.who] += c.passed
	}
	for who, n := range got {
		if want := int64(20 * r / 3); n < want*97/100 || n > want*103/100 {
			t.Errorf("%s got %d bytes of %d, want a third", who, n, int64(20*r))
		}
	}
}

// A small request does not wait for what is large, and Bulk gets its part under any flood of small ones.
func TestInteractiveGoesFirst(t *testing.T) {
	for _, r := range []transfer.Rate{100_000, 1_000_000, 10_000_000} {
		chunk := chunkOf(r)
		var clients []*client
		for i := range 32 {
			clients = append(clients, &client{who: peer.ID(fmt.Sprint(i)), n: chunk})
		}
		cat := &client{who: "reader", class: Interactive, n: 4096, pause: limited(r).cost(2 * 4096)}
		log := run(limited(r), 20*time.Second, append(clients, cat))
		checkLimit(t, r, log)
		// Its own bytes take their time, and the last chunk before it has taken its.
		if bound := limited(r).cost(4096 + 1); cat.worst > bound {
			t.Errorf("%v: a small request waited %v, want at most %v", r, cat.worst, bound)
		}
		flood := []*client{{who: "bulk", n: chunk}}
		for i := range 32 {
			flood = append(flood, &client{who: peer.ID(fmt.Sprint(i)), class: Interactive, n: 4096})
		}
		log = run(limited(r), 20*time.Second, flood)
		checkLimit(t, r, log)
		if got, all := flood[0].passed, int64(r)*20; got < all*23/100 || got > all*27/100 {
			t.Errorf("%v: in a flood of small requests Bulk got %d bytes of %d, want a quarter", r, got, all)
		}
		if bound := limited(r).cost((2*maxLead + 2) * chunk); flood[0].worst > bound {
			t.Errorf("%v: Bulk waited %v, want at most %v", r, flood[0].worst, bound)
		}
	}
}

// Whoever asks passes in the end, whatever others do; who cancels leaves nothing; and the limit holds all the while.
func TestRandomRuns(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		r := transfer.Rate(transfer.MinRate + rnd.Int64N(1<<(10+rnd.IntN(24))))
		q, now := limited(r), start()
		waiting := make(map[*waiter]Class)
		var granted []*waiter
		var log []pass
		for range 1500 {
			switch k := rnd.IntN(10); {
			case k < 4:
				w := &waiter{who: peer.ID(fmt.Sprint(rnd.IntN(5))), n: 1 + rnd.Int64N(chunkOf(r))}
				c := Class(rnd.IntN(int(classes)))
				q.add(w, c)
				waiting[w] = c
			case k < 5:
				for w, c := range waiting {
					q.cancel(w, c)
					delete(waiting, w)
					break
				}
			case k < 6 && len(granted) > 0: // one that was granted gives up at once
				q.cancel(granted[len(granted)-1], Bulk)
				granted, log = granted[:len(granted)-1], log[:len(log)-1]
			default:
				w, d := q.next(now)
				if (w == nil && d == 0) != (len(waiting) == 0) {
					t.Fatalf("seed %d: %d wait, and next gives %v, %v", seed, len(waiting), w, d)
				}
				granted = granted[:0]
				if w != nil {
					if _, ok := waiting[w]; !ok {
						t.Fatalf("seed %d: somebody passes who does not wait", seed)
					}
					delete(waiting, w)
					granted, log = append(granted, w), append(log, pass{now, w.n})
				} else {
					now = now.Add(time.Duration(rnd.Int64N(int64(2*d) + 1)))
				}
			}
		}
		checkLimit(t, r, log)
		total := int64(0)
		for w := range waiting {
			total += w.n
		}
		for end := now.Add(q.cost(total + 2*q.burst)); len(waiting) > 0; {
			w, d := q.next(now)
			if w != nil {
				delete(waiting, w)
				continue
			}
			if now = now.Add(d); now.After(end) {
				t.Fatalf("seed %d: %d still wait when all could have passed", seed, len(waiting))
			}
		}
		if w, d := q.next(now); w != nil || d != 0 || !q.empty() {
			t.Fatalf("seed %d: something is left behind: %v %v %+v", seed, w, d, q)
		}
	}
}

// A waiter that gives up takes its bytes back, if it was granted or not.
func TestCancelLeavesNothing(t *testing.T) {
	const r = 1_000_000
	q, now := limited(r), start()
	a, b := &waiter{who: "a", n: chunkOf(r)}, &waiter{who: "b", n: chunkOf(r)}
	q.add(a, Bulk)
	q.add(b, Bulk)
	_, d := q.next(now)
	now = now.Add(d)
	if w, _ := q.next(now); w != a {
		t.Fatal("the first does not pass")
	}
	q.cancel(a, Bulk)
	if w, _ := q.next(now); w != b {
		t.Error("the bytes of one that gave up are not another's")
	}
	c := &waiter{who: "c", n: 1}
	q.add(c, Interactive)
	q.cancel(c, Interactive)
	if w, d := q.next(now); w != nil || d != 0 || !q.empty() {
		t.Errorf("after the last has given up: %v, %v", w, d)
	}
}
