package line_test

import (
	"context"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/remote/line"
)

// stream says nothing until it is told what, or is reset.
type stream struct {
	peer.Stream
	id   peer.ID
	says atomic.Value // error or byte
	gone atomic.Bool
}

func (s *stream) Peer() peer.ID                   { return s.id }
func (s *stream) SetReadDeadline(time.Time) error { return nil }
func (s *stream) Reset() error                    { s.gone.Store(true); return nil }
func (s *stream) Read(b []byte) (int, error) {
	switch says := s.says.Load().(type) {
	case error:
		return 0, says
	case byte:
		b[0] = says
		return 1, nil
	}
	return 0, os.ErrDeadlineExceeded
}

// opener counts what it opened.
type opener struct {
	mu  sync.Mutex
	all []*stream
	err error
}

func (o *opener) Open(_ context.Context, id peer.ID, _ string, _ int) (peer.Stream, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return nil, o.err
	}
	s := &stream{id: id}
	o.all = append(o.all, s)
	return s, nil
}

func (o *opener) opened() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.all)
}

// TestLines: a line is used again, by whoever asks next, unless it is dead, said something, or is not wanted.
func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := new(opener)
		ls := line.New(o, "p", 2, 10*time.Second)
		get := func(fresh bool) (*line.Line, bool) {
			t.Helper()
			l, used, err := ls.Open(t.Context(), "a", fresh)
			if err != nil {
				t.Fatal(err)
			}
			return l, used
		}
		l, used := get(false)
		if used || !l.Shows(share.ID{1}, []byte("g")) || l.Shows(share.ID{1}, []byte("g")) || !l.Shows(share.ID{2}, []byte("g")) || !l.Shows(share.ID{2}, []byte("h")) {
			t.Error("a new line, and what it showed")
		}
		ls.Close(l, true)
		again, used := get(false)
		if again != l || !used {
			t.Error("the line that was kept is not used")
		}
		ls.Close(again, true)
		for what, spoil := range map[string]func(*stream){
			"ended": func(s *stream) { s.says.Store(io.EOF) }, "reset": func(s *stream) { s.says.Store(io.ErrClosedPipe) }, "talking": func(s *stream) { s.says.Store(byte(1)) },
		} {
			spoil(o.all[o.opened()-1])
			n := o.opened()
			l, used := get(false)
			if used || o.opened() != n+1 || !o.all[n-1].gone.Load() {
				t.Errorf("a line that is %s is used", what)
			}
			ls.Close(l, true)
		}
		n := o.opened()
		if l, used = get(true); used || !o.all[n-1].gone.Load() {
			t.Error("a kept line where a fresh one was wanted")
		}
		ls.Close(l, false)
		if !o.all[n].gone.Load() {
			t.Error("it is not ended")
		}
		l, _ = get(false)
		ls.Close(l, true)
		time.Sleep(9 * time.Second)
		if l, used = get(false); !used {
			t.Error("it ended too early")
		}
		ls.Close(l, true)
		time.Sleep(11 * time.Second)
		if !o.all[o.opened()-1].gone.Load() {
			t.Error("it is kept for ever")
		}
		if _, used = get(false); used {
			t.Error("a line that ended is used")
		}
	})
}

// TestPlaces: who comes too many waits: until one leaves, or not for ever, or no longer than it wants to.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := new(opener)
		ls := line.New(o, "p", 2, 10*time.Second)
		first, _, _ := ls.Open(t.Context(), "a", false)
		second, _, _ := ls.Open(t.Context(), "a", false)
		if other, _, err := ls.Open(t.Context(), "b", false); err != nil {
			t.Errorf("another peer: %v", err)
		} else {
			ls.Close(other, false)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := ls.Open(ctx, "a", false); err != context.DeadlineExceeded {
			t.Errorf("who wants no longer: %v", err)
		}
		if _, _, err := ls.Open(t.Context(), "a", false); peer.KindOf(err) != peer.Busy {
			t.Errorf("who waits for long: %v", err)
		}
		go func() {
			time.Sleep(time.Second)
			ls.Close(first, true)
		}()
		l, used, err := ls.Open(t.Context(), "a", false)
		if err != nil || !used || l != first {
			t.Errorf("who waits for a moment: %v", err)
		}
		ls.Close(l, false)
		ls.Close(second, false)
		o.err = &peer.Error{Kind: peer.Unreachable}
		for range 5 {
			if _, _, err := ls.Open(t.Context(), "a", false); err != o.err {
				t.Errorf("a peer that is away: %v", err)
			}
		}
	})
}

// TestManyUsers is for the race detector.
func TestManyUsers(t *testing.T) {
	o := new(opener)
	ls := line.New(o, "p", 3, time.Millisecond)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for n := range 50 {
				l, _, err := ls.Open(t.Context(), peer.ID([]string{"a", "b"}[i%2]), n%9 == 0)
				if err != nil {
					t.Error(err)
					return
				}
				ls.Close(l, n%5 > 0)
			}
		})
	}
	wg.Wait()
}
