package lane

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/peerd/peerd/peer"
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
