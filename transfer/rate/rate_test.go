package rate_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/rate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const chunk = rate.MaxChunk

// Sixteen streams of one peer and one of another share a limit, in real goroutines and in time that costs none.
func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 10_000_000
		l := rate.NewLimiter(limit)
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		var mu sync.Mutex
		got := make(map[peer.ID]int)
		var all sync.WaitGroup
		stream := func(who peer.ID) {
			for l.Wait(ctx, who, chunk, rate.Bulk) == nil {
				mu.Lock()
				got[who] += chunk
				mu.Unlock()
			}
		}
		for range 16 {
			all.Go(func() { stream("many") })
		}
		all.Go(func() { stream("one") })
		all.Go(func() {
			for ctx.Err() == nil {
				asked := time.Now()
				if l.Wait(ctx, "reader", 4096, rate.Interactive) == nil && time.Since(asked) > time.Millisecond {
					t.Errorf("4 KiB took %v", time.Since(asked))
				}
				time.Sleep(50 * time.Millisecond)
			}
		})
		all.Wait()
		for who, n := range got {
			// What each stream had of the chunk that it did not get to the end of is not in n.
			if want := limit * 10 / 2; n < want-16*chunk || n > want*102/100 {
				t.Errorf("%q got %d bytes, want %d", string(who), n, want)
			}
		}
	})
}

// A limit is changed under those who wait by it.
func TestSetLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := rate.NewLimiter(transfer.MinRate)
		var all sync.WaitGroup
		begin := time.Now()
		for i := range 10 {
			all.Go(func() {
				if err := l.Wait(t.Context(), peer.ID(fmt.Sprint(i)), 1_000_000, rate.Bulk); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Second)
		l.SetLimit(5_000_000)
		time.Sleep(time.Second)
		if l.Limit() != 5_000_000 || l.Chunk() > chunk {
			t.Errorf("the limit is %v, the chunk %d", l.Limit(), l.Chunk())
		}
		l.SetLimit(2_500_000)
		all.Wait()
		// 5 MB passed in the second second, the other 5 MB at half the speed.
		if took := time.Since(begin); took < 3800*time.Millisecond || took > 4100*time.Millisecond {
			t.Errorf("all have passed after %v", took)
		}
		all.Go(func() { _ = l.Wait(t.Context(), "a", 1<<40, rate.Bulk) })
		synctest.Wait()
		l.SetLimit(0)
		all.Wait()
	})
}

// Who gives up says why, and others get on.
func TestLimiterCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := rate.NewLimiter(1_000_000)
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if err := l.Wait(ctx, "a", chunk, rate.Bulk); !errors.Is(err, why) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		cancel(why)
		all.Wait()
		begin := time.Now()
		if err := l.Wait(t.Context(), "b", 20_000, rate.Bulk); err != nil || time.Since(begin) > 21*time.Millisecond {
			t.Errorf("after all have given up: %v, %v", err, time.Since(begin))
		}
		if err := l.Wait(ctx, "b", 1, rate.Bulk); !errors.Is(err, why) {
			t.Errorf("in a context that has ended: %v", err)
		}
	})
}

// Without a limit nothing is asked, of nil as well.
func TestNoLimit(t *testing.T) {
	for _, l := range []*rate.Limiter{nil, {}, rate.NewLimiter(0), rate.NewLimiter(-1)} {
		if err := l.Wait(t.Context(), "a", 1<<60, rate.Bulk); err != nil || l.Limit() != 0 || l.Chunk() < 1<<30 {
			t.Errorf("%v, limit %v, chunk %d", err, l.Limit(), l.Chunk())
		}
	}
	var none *rate.Slots
	turn, err := none.Enter(t.Context(), "a", chunk)
	if err != nil {
		t.Error(err)
	}
	none.Leave(turn)
}

// A piece that is stuck is passed by others after a moment; who gives up leaves no hole.
func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := rate.NewSlots()
		ctx, cancel := context.WithCancel(t.Context())
		var all, stuck sync.WaitGroup
		for i := range 50 {
			stuck.Go(func() {
				turn, err := s.Enter(ctx, peer.ID(fmt.Sprint("stuck", i)), chunk)
				if err == nil {
					<-ctx.Done()
					s.Leave(turn)
				}
			})
		}
		synctest.Wait()
		begin := time.Now()
		for range 8 {
			all.Go(func() {
				for range 50 {
					turn, err := s.Enter(t.Context(), "quick", chunk)
					if err != nil {
						t.Error(err)
					}
					s.Leave(turn)
				}
			})
		}
		all.Wait()
		if took := time.Since(begin); took > 6*time.Second {
			t.Errorf("beside 50 who are stuck it took %v", took)
		}
		cancel()
		stuck.Wait()
		begin = time.Now()
		for range 100 {
			turn, err := s.Enter(t.Context(), "quick", chunk)
			if err != nil {
				t.Fatal(err)
			}
			s.Leave(turn)
		}
		if took := time.Since(begin); took > 0 {
			t.Errorf("after all have given up it takes %v", took)
		}
	})
}

func BenchmarkWaitWithoutLimit(b *testing.B) {
	l := rate.NewLimiter(0)
	b.ReportAllocs()
	for b.Loop() {
		_ = l.Wait(b.Context(), "a", chunk, rate.Bulk)
	}
}

func BenchmarkWaitBelowLimit(b *testing.B) {
	l := rate.NewLimiter(transfer.MaxRate)
	b.ReportAllocs()
	for b.Loop() {
		_ = l.Wait(b.Context(), "a", 1, rate.Bulk)
	}
}

// BenchmarkSlots is what a piece of one peer with two streams costs: at 800 MB/s there are 3,000 a second.
func BenchmarkSlots(b *testing.B) {
	s := rate.NewSlots()
	b.ReportAllocs()
	b.SetParallelism(1)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			turn, err := s.Enter(b.Context(), "a", chunk)
			if err != nil {
				b.Fatal(err)
			}
			s.Leave(turn)
		}
	})
}
