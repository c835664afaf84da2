package watch

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/peer"
)

// collect follows until an error, and gives the sequence numbers.
func collect(ctx context.Context, f *Feed, after Cursor) (seqs []uint64, err error) {
	for ev, err := range f.Follow(ctx, after) {
		if err != nil {
			return seqs, err
		}
		seqs = append(seqs, ev.Seq)
	}
	return seqs, nil
}

func TestFeedGap(t *testing.T) {
	f := NewFeed(10)
	start := f.Now()
	for range 25 {
		f.Publish(Event{Kind: Changed})
	}
	at := func(seq uint64) Cursor { return Cursor{start.Epoch, seq} }
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name  string
		after Cursor
		gap   bool
	}{
		{"nothing yet", Cursor{}, true},
		{"another run", Cursor{NewFeed(10).Now().Epoch, 20}, true},
		{"before all", start, true},
		{"one too old", at(14), true},
		{"the oldest", at(15), false},
		{"the newest", at(25), false},
		{"of the future", at(26), true},
		{"far in the future", at(1<<64 - 1), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := collect(ended, f, c.after)
			if errors.Is(err, ErrGap) != c.gap || !c.gap && !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			if c.gap && peer.KindOf(err) != peer.Conflict {
				t.Errorf("its kind is %v", peer.KindOf(err))
			}
		})
	}
}

func TestFeedOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFeed(1000)
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		for i := range 50 {
			after := f.Now()
			group.Go(func() {
				seqs, err := collect(ctx, f, after)
				if !errors.Is(err, context.Canceled) || len(seqs) != 100-2*i {
					t.Errorf("follower %d got %d events, %v", i, len(seqs), err)
				}
				for j, seq := range seqs {
					if seq != after.Seq+1+uint64(j) {
						t.Fatalf("follower %d got %v", i, seqs)
					}
				}
			})
			f.Publish(Event{}, Event{})
			if i%10 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		cancel()
		group.Wait()
	})
}

// TestFeedSlow has a follower that takes a second per event, while events come faster.
func TestFeedSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFeed(40)
		after := f.Now()
		done := make(chan error)
		var last uint64
		go func() {
			for ev, err := range f.Follow(t.Context(), after) {
				if err != nil {
					done <- err
					return
				}
				if ev.Seq != last+1 {
					t.Errorf("event %d after %d", ev.Seq, last)
				}
				last = ev.Seq
				time.Sleep(time.Second)
			}
		}()
		began := time.Now()
		for range 1000 {
			f.Publish(Event{})
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("publishing waited: %v", took)
		}
		if err := <-done; !errors.Is(err, ErrGap) {
			t.Error(err)
		}
	})
}

func TestFeedBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFeed(10)
		for range 3 {
			f.Publish(Event{}, Event{})
			before := f.Now()
			done := make(chan error, 1)
			go func() {
				_, err := collect(t.Context(), f, before)
				done <- err
			}()
			synctest.Wait()
			f.Break()
			if err := <-done; !errors.Is(err, ErrGap) {
				t.Errorf("who waits is told %v", err)
			}
			if _, err := collect(t.Context(), f, before); !errors.Is(err, ErrGap) {
				t.Errorf("who comes back is told %v", err)
			}
			after := f.Now()
			f.Publish(Event{})
			for ev, err := range f.Follow(t.Context(), after) {
				if err != nil || ev.Seq != after.Seq+1 {
					t.Errorf("%+v, %v", ev, err)
				}
				break
			}
		}
	})
}

// FuzzFeed compares a feed with a plain list of all events.
func FuzzFeed(f *testing.F) {
	f.Add([]byte{5, 1, 9, 255, 3, 7})
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) == 0 {
			return
		}
		keep := int(ops[0]%20) + 1
		feed := NewFeed(keep)
		epoch := feed.Now().Epoch
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		first, last := uint64(1), uint64(0) // that are kept
		for _, op := range ops[1:] {
			switch {
			case op == 255:
				feed.Break()
				last++
				first = last + 1
			case op < 64:
				feed.Publish(make([]Event, op)...)
				last += uint64(op)
				first = max(first, last+1-min(last, uint64(keep)))
			default:
				after := Cursor{epoch, max(last, uint64(op)) - uint64(op)}
				_, err := collect(ended, feed, after)
				if gap := after.Seq+1 < first; errors.Is(err, ErrGap) != gap {
					t.Fatalf("after %d of %d to %d: %v", after.Seq, first, last, err)
				}
			}
		}
	})
}

func BenchmarkPublish(b *testing.B) {
	f := NewFeed(Keep)
	ctx, cancel := context.WithCancel(b.Context())
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			for after := f.Now(); ctx.Err() == nil; after = f.Now() {
				collect(ctx, f, after)
			}
		})
	}
	b.ReportAllocs()
	for b.Loop() {
		f.Publish(Event{})
	}
	cancel()
	group.Wait()
}
