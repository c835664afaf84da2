package serve_test

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/rate"
	"github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
)

// A stream whose right ends is over within a second, whatever it waits for: nothing more is sent on it, and it is reset.
func TestEndOfRight(t *testing.T) {
	for name, wait := range map[string]struct {
		limit transfer.Rate
		whole bool
		reads int64 // bytes that the reader takes before the end; negative: all that comes
	}{
		"a reader who takes nothing":    {reads: 0},
		"one who stopped in the midst":  {reads: 30 << 10},
		"a limit":                       {limit: 2000, reads: -1},
		"a small file, takes nothing":   {whole: true},
		"requests, after all was given": {whole: true, reads: -1},
	} {
		inBubble(t, func(t *testing.T, p *paced) {
			p.Pace(rate.NewLimiter(wait.limit), rate.NewSlots())
			q := p.piece(0)
			if wait.whole {
				q = &transferpb.GetRequest{File: file("s"), Whole: true}
			}
			here, there := net.Pipe()
			defer here.Close()
			ended := make(chan time.Time, 1)
			go func() {
				_ = p.Get(t.Context(), pipe{there})
				there.Close()
				ended <- time.Now()
			}()
			if err := wire.WriteMsg(here, q); err != nil {
				t.Fatal(err)
			}
			read := make(chan int64, 1)
			if wait.reads >= 0 {
				n, _ := io.CopyN(io.Discard, here, wait.reads)
				read <- n
			} else {
				go func() {
					n, _ := io.Copy(io.Discard, here)
					read <- n
				}()
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			select {
			case <-ended:
				t.Fatalf("%s: it ended before", name)
			default:
			}
			p.folder.Deny()
			denied := time.Now()
			if took := (<-ended).Sub(denied); took > time.Second {
				t.Errorf("%s: it went on for %v", name, took)
			}
			if n := <-read; wait.limit > 0 && n > 10*2000+300<<10 {
				t.Errorf("%s: %d bytes came", name, n)
			}
		})
	}
}

// While others have their turns the end is no later.
func TestEndOfRightInLine(t *testing.T) {
	inBubble(t, func(t *testing.T, p *paced) {
		slots := rate.NewSlots()
		p.Pace(nil, slots)
		for begin := time.Now(); time.Since(begin) < time.Second; {
			if _, err := slots.Enter(t.Context(), "others", transfer.MinPiece); err != nil {
				t.Fatal(err)
			}
		}
		here, there := net.Pipe()
		defer here.Close()
		ended := make(chan time.Time, 1)
		go func() {
			_ = p.Get(t.Context(), pipe{there})
			there.Close()
			ended <- time.Now()
		}()
		if err := wire.WriteMsg(here, p.piece(0)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p.folder.Deny()
		denied := time.Now()
		if took := (<-ended).Sub(denied); took > time.Second {
			t.Errorf("it waited for %v", took)
		}
	})
}

// A member of a swarm is told at once, and not when the right is looked at next.
func TestEndOfRightInSwarm(t *testing.T) {
	inBubble(t, func(t *testing.T, p *paced) {
		here, there := net.Pipe()
		defer here.Close()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = p.Swarm(t.Context(), pipe{there})
			there.Close()
		}()
		join := &transferpb.SwarmHello{Join: &transferpb.SwarmJoin{File: file("f"), Version: p.version}}
		if err := wire.WriteMsg(here, join); err != nil {
			t.Fatal(err)
		}
		in := wire.NewReader(here)
		var news transferpb.SwarmNews
		if err := in.ReadMsg(&news, wire.MaxMsg); err != nil || !news.All {
			t.Fatalf("%v, %v", &news, err)
		}
		time.Sleep(time.Second)
		p.folder.Deny()
		denied := time.Now()
		news.Reset()
		if err := in.ReadMsg(&news, wire.MaxMsg); err != nil || peer.KindOf(wire.ToError(news.Error)) != peer.Denied {
			t.Errorf("%v, %v", &news, err)
		}
		if took := time.Since(denied); took > serve.Grace {
			t.Errorf("told after %v", took)
		}
		<-ended
	})
}

// A guard looks after the last pass alone, and lets go of a stream that is done.
func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer here.Close()
		g, ctx := serve.NewGuard(t.Context(), pipe{there})
		if g.Ended() != nil {
			t.Error("nothing ended already")
		}
		first, second := new(pass), new(pass)
		g.Watch(first)
		first.end()
		first.end()
		g.Watch(second) // within the grace: the stream lives on by another right
		first.end()
		time.Sleep(time.Minute)
		if ctx.Err() != nil || !first.stopped || second.stopped {
			t.Errorf("%v, stopped %t and %t", ctx.Err(), first.stopped, second.stopped)
		}
		select {
		case <-g.Ended():
			t.Error("the second has not ended")
		default:
		}
		second.end()
		<-g.Ended()
		time.Sleep(serve.Grace)
		synctest.Wait()
		if _, err := there.Write([]byte{1}); ctx.Err() == nil || err == nil {
			t.Errorf("after the end: %v, %v", ctx.Err(), err)
		}
		g.Watch(struct{}{})
		g.Close()
		if ctx.Err() == nil {
			t.Error("its context goes on")
		}
	})
}

// pass ends when a test says so.
type pass struct {
	end     func()
	stopped bool
}

func (p *pass) OnEnd(end func()) (stop func()) {
	p.end = end
	return func() { p.stopped = true }
}
