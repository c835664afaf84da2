package owners

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/peer"
)

// state is how a peer is connected.
type state int

const (
	answers state = iota
	late          // it answers after two seconds
	silent        // it is connected, and says nothing
	cut           // it is not connected, and can't be dialled
	dialled       // it is not connected, and says nothing to who dials it
	crowded       // too much is under way to ask it
)

// wires are links to one peer.
type wires struct {
	mu     sync.Mutex
	state  state
	listed bool
	kept   int
}

func (w *wires) become(s state) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = s
}

func (w *wires) now() state {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

func (w *wires) sees() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.listed
}

func (w *wires) Ping(ctx context.Context, _ peer.ID) (time.Duration, error) {
	gone := &peer.Error{Kind: peer.Unreachable, Err: errors.New("no answer")}
	switch w.now() {
	case answers:
		return 0, nil
	case late:
		select {
		case <-time.After(2 * time.Second):
			return 0, nil
		case <-ctx.Done():
		}
	case silent, dialled:
		<-ctx.Done()
	case crowded:
		gone.Kind = peer.Busy
	}
	return 0, gone
}

func (w *wires) Connected(peer.ID) bool {
	s := w.now()
	return s != cut && s != dialled
}

func (w *wires) Keep(_ peer.ID, keep bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if keep {
		w.kept++
	} else {
		w.kept--
	}
}

// watched runs a test with a contact that is looked after, in time of its own.
func watched(t *testing.T, test func(t *testing.T, w *wires, c *contact)) {
	synctest.Test(t, func(t *testing.T) {
		w := &wires{listed: true}
		ctx, end := context.WithCancel(t.Context())
		c := newContact(ctx, "anna", w, w.sees, func() {}, slog.New(slog.DiscardHandler))
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.run(ctx)
		}()
		synctest.Wait()
		test(t, w, c)
		end()
		<-done
		if w.kept != 0 {
			t.Errorf("its connections are kept %d times", w.kept)
		}
	})
}

// hangs is how long a call lasts that gets no answer.
func hangs(t *testing.T, c *contact) time.Duration {
	t.Helper()
	began := time.Now()
	ctx, end := c.with(t.Context())
	defer end()
	select {
	case <-ctx.Done():
	case <-time.After(time.Hour):
		t.Error("a call hangs")
	}
	if err := c.met(ctx, "//anna/docs", ctx.Err()); peer.KindOf(err) != peer.Unreachable {
		t.Errorf("a call ends with %v", err)
	}
	return time.Since(began)
}

// TestLost: whatever a peer is lost by, whenever: who waits for it is told within seconds, who comes later at once, and it works again
// soon after it is back.
func TestLost(t *testing.T) {
	for _, c := range []struct {
		name  string
		lose  func(w *wires, c *contact)
		most  time.Duration
		least time.Duration
	}{
		{"silent", func(w *wires, _ *contact) { w.become(silent) }, 7 * time.Second, lostFor},
		{"cut", func(w *wires, c *contact) { w.become(cut); c.nudge() }, 5 * time.Second, lostFor},
		{"cut, which nobody tells", func(w *wires, _ *contact) { w.become(cut) }, 7 * time.Second, lostFor},
		{"cut and gone", func(w *wires, c *contact) { w.listed = false; w.become(cut); c.nudge() }, 0, 0},
		{"dialled", func(w *wires, c *contact) { w.become(dialled); c.nudge() }, 5 * time.Second, lostFor},
		{"silent while it is asked", func(w *wires, c *contact) { w.become(late); c.nudge(); synctest.Wait(); w.become(silent) }, 9 * time.Second, lostFor},
		{"too much under way to ask", func(w *wires, c *contact) {
			w.become(crowded)
			time.AfterFunc(4*time.Second, func() { w.become(silent) })
		}, 11 * time.Second, lostFor},
	} {
		for _, before := range []time.Duration{0, pingEvery - time.Nanosecond, pingEvery, pingEvery + time.Nanosecond} {
			t.Run(c.name+" "+before.String(), func(t *testing.T) {
				watched(t, func(t *testing.T, w *wires, x *contact) {
					time.Sleep(before)
					c.lose(w, x)
					if took := hangs(t, x); took > c.most || took < c.least {
						t.Errorf("a call lasts %v, want %v to %v", took, c.least, c.most)
					}
					if !x.away() || hangs(t, x) > 0 {
						t.Error("it is not known to be away")
					}
					time.Sleep(time.Minute)
					if !x.away() {
						t.Error("it is away no more")
					}
					w.become(answers)
					time.Sleep(pingTime + again)
					if x.away() {
						t.Error("it is back, and nobody knows")
					}
					ctx, end := x.with(t.Context())
					defer end()
					time.Sleep(time.Minute)
					if ctx.Err() != nil {
						t.Error("a call ends while it is there")
					}
				})
			})
		}
	}
}

// TestThere: who answers is there, however late, and whatever was thought before it did.
func TestThere(t *testing.T) {
	for _, s := range []state{answers, late, crowded} {
		watched(t, func(t *testing.T, w *wires, c *contact) {
			w.become(s)
			for range 1000 {
				c.nudge()
				time.Sleep(100 * time.Millisecond)
				if c.away() {
					t.Fatalf("in state %d it is away", s)
				}
			}
		})
	}
	watched(t, func(t *testing.T, _ *wires, c *contact) {
		asked := time.Now()
		time.Sleep(lostFor)
		c.answered()
		c.miss(asked) // by the one who asked, who noticed the time and not the answer
		if c.away() || c.gone() {
			t.Error("it answered, and is away")
		}
	})
}
