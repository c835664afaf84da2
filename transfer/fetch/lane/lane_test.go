package lane

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/transferpb"
)

// opener counts by lane how often a stream is asked for, and has none.
type opener [3]atomic.Int32

func (o *opener) Open(_ context.Context, _ peer.ID, _ string, lane int) (peer.Stream, error) {
	o[lane].Add(1)
	return nil, errors.New("nobody is there")
}

// Lanes are connected ahead of what is asked for, once, and not without need.
func TestConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o opener
		f := Open(t.Context(), Source{Opener: &o}, Options{Lanes: 2, First: 1, Heard: new(atomic.Int64), Log: slog.New(slog.DiscardHandler)})
		defer f.Close()
		for i, want := range []int32{0, 1, 1} {
			if i > 0 {
				f.Connect()
			}
			synctest.Wait()
			if o[0].Load() != 0 || o[1].Load() != want || o[2].Load() != want {
				t.Errorf("asked to connect %d times: lanes 0 to 2 did %d, %d and %d times", i, o[0].Load(), o[1].Load(), o[2].Load())
			}
		}
	})
}

// source takes requests on two lanes, counts them by lane, and answers a while later on those that are not silent. After the first
// request it reads no more from those that are deaf.
type source struct {
	asked        [2]atomic.Int64
	silent, deaf [2]bool
	after        time.Duration
}

func (s *source) Open(_ context.Context, _ peer.ID, _ string, lane int) (peer.Stream, error) {
	here, there := net.Pipe()
	answers := make(chan time.Time, 1<<10)
	go func() {
		for due := range answers {
			time.Sleep(time.Until(due))
			if wire.WriteMsg(there, &transferpb.GetReply{}) != nil {
				return
			}
		}
	}()
	go func() {
		defer close(answers)
		in := wire.NewReader(there)
		for in.ReadMsg(new(transferpb.GetRequest), 1<<10) == nil {
			s.asked[lane].Add(1)
			if !s.silent[lane] {
				answers <- time.Now().Add(s.after)
			}
			if s.deaf[lane] {
				return
			}
		}
		there.Close()
	}()
	return pipe{Conn: here}, nil
}

// pipe is one end of a stream.
type pipe struct{ net.Conn }

func (pipe) CloseWrite() error { return nil }
func (p pipe) Reset() error    { return p.Close() }
func (pipe) Peer() peer.ID     { return "" }
func (pipe) Remote() peer.Addr { return peer.Addr{} }

// job is a piece of so many bytes, which an answer without any does for.
type job struct {
	cost int64
	done *atomic.Int64
}

func (j job) Request(*transferpb.GetRequest) {}
func (j job) Cost() int64                    { return j.cost }
func (j job) Fail(error)                     {}
func (j job) Over() bool                     { return false }

func (j job) Receive(_ *transferpb.GetReply, body io.Reader, _ *Scratch) error {
	j.done.Add(1)
	_, err := io.Copy(io.Discard, body)
	return err
}

// What is asked for is shared out among lanes by what each owes, so that who reads in order does not wait for one while the other
// has nothing to bring; and a lane that brings nothing keeps no more than its part.
func TestEven(t *testing.T) {
	const jobs = 48 // less than one lane may owe
	every := func(pushed int64) int64 { return pushed }
	half := func(pushed int64) int64 { return pushed/2 + 1 }
	none := func(int64) int64 { return 0 }
	for _, c := range []struct {
		name   string
		cost   int64
		silent [2]bool
		apart  int64             // requests that one lane has more than the other, at most
		owed   func(int64) int64 // of so many pieces don't come, at most
	}{
		{"large pieces", 256 << 10, [2]bool{true, true}, 2, every},
		{"pieces of the least size", 64 << 10, [2]bool{true, true}, 5, every},
		{"one lane brings nothing", 256 << 10, [2]bool{true, false}, math.MaxInt64, half},
		{"both bring what they are asked for", 256 << 10, [2]bool{}, math.MaxInt64, none},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &source{silent: c.silent}
				f := Open(t.Context(), Source{Opener: s, Grant: func(context.Context) ([]byte, error) { return nil, nil }},
					Options{Lanes: 2, Heard: new(atomic.Int64), Log: slog.New(slog.DiscardHandler)})
				defer f.Close()
				var done atomic.Int64
				pushed := int64(0)
				push := func(n int) {
					all := make([]Job, n)
					for i := range all {
						all[i] = job{c.cost, &done}
					}
					f.PushAll(all)
					pushed += int64(n)
					synctest.Wait()
				}
				for s.asked[0].Load() == 0 || s.asked[1].Load() == 0 { // a lane that has not begun is not waited for
					push(1)
				}
				push(jobs)
				a, b := s.asked[0].Load(), s.asked[1].Load()
				if owed := a + b - done.Load(); a+b != pushed || owed > c.owed(pushed) || a-b > c.apart || b-a > c.apart {
					t.Errorf("of %d pieces %d and %d were asked for, %d came", pushed, a, b, done.Load())
				}
			})
		})
	}
}

// Nobody waits for a lane on which requests don't get out, though it owes less.
func TestStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{deaf: [2]bool{true, false}, silent: [2]bool{true, false}, after: 150 * time.Millisecond}
		f := Open(t.Context(), Source{Opener: s, Grant: func(context.Context) ([]byte, error) { return nil, nil }},
			Options{Lanes: 2, Heard: new(atomic.Int64), Log: slog.New(slog.DiscardHandler)})
		defer f.Close()
		var done atomic.Int64
		pushed := int64(0)
		for ; s.asked[0].Load() == 0 || s.asked[1].Load() == 0; pushed++ {
			f.PushAll([]Job{job{transfer.MinPiece, &done}})
			synctest.Wait()
		}
		for range 200 {
			f.PushAll([]Job{job{transfer.MinPiece, &done}})
			pushed++
			synctest.Wait()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if left := pushed - done.Load(); left > 10 {
			t.Errorf("after 1 s %d of %d pieces did not come", left, pushed)
		}
	})
}

// A piece is not left to a lane that owes fewer bytes, but takes no more requests.
func TestFull(t *testing.T) {
	f := &Lanes{queue: []Job{job{cost: transfer.MinPiece}}}
	much := &conversation{f: f, owed: make([]Job, 1), bytes: 2 * uneven}
	many := &conversation{f: f, owed: make([]Job, maxPending-1)}
	f.talks = []*conversation{much, many}
	if !much.ahead() {
		t.Error("a piece is not left to a lane that owes less")
	}
	many.owed = append(many.owed, nil)
	if much.ahead() {
		t.Error("a piece is left to a lane that takes none")
	}
}
