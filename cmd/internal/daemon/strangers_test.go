package daemon

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share/serve/edit"
)

// TestStrangersHoldStreams: IDs that cost nothing hold streams of the changes of shares that they have no right to, and open
// new ones when those end. Files are still copied, also by who comes only now.
func TestStrangersHoldStreams(t *testing.T) {
	berta := start(t, "berta")
	berta.offer("films", map[string]string{"one": random(3<<20, 1), "two": random(3<<20, 2)}, open)
	anna := start(t, "anna", berta)
	anna.sees(berta)
	ctx, cancel := context.WithCancel(t.Context())
	var g sync.WaitGroup
	defer g.Wait()
	defer cancel()
	var tried atomic.Int64
	const strangers, each = 7, 64
	for range strangers {
		h := newStranger(t, berta)
		for range each {
			g.Go(func() {
				for first := true; ctx.Err() == nil; first = false {
					s, err := h.Open(ctx, idOf(t, berta), edit.Protocol, 0)
					if err == nil {
						_, err = s.Write([]byte{5})
					}
					if first {
						tried.Add(1)
					}
					if err == nil {
						stop := context.AfterFunc(ctx, func() { s.Reset() })
						_, _ = s.Read(make([]byte, 1))
						stop()
					}
					if s != nil {
						s.Reset()
					}
					select {
					case <-time.After(20 * time.Millisecond):
					case <-ctx.Done():
					}
				}
			})
		}
	}
	for deadline := time.Now().Add(20 * time.Second); tried.Load() < strangers*each && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	carl := start(t, "carl", berta)
	carl.sees(berta)
	for _, n := range []*node{anna, carl} {
		for _, file := range []string{"//berta/films/one", "//berta/films/two"} {
			c, end := context.WithTimeout(t.Context(), 20*time.Second)
			req := control.CopyRequest{Dest: t.TempDir(), Sources: []control.Ref{ref(t, file)}}
			works(t, string(n.cfg.Name)+"'s copy of "+file, n.Copy(c, req, func(control.CopyEvent) {}))
			end()
		}
	}
}
