package serve_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/servetest"
)

// TestLocksAreBounded: one peer holds so many locks and no more, which keeps nobody else from his own.
func TestLocksAreBounded(t *testing.T) {
	l := serve.NewLocks()
	id, now := share.ID{1}, time.Now()
	var release []func()
	for i := range serve.MaxLocks {
		_, free, ok := l.Take(id, servetest.Path(t, fmt.Sprint(i%10)), share.Lock{Peer: "a", Since: now})
		if !ok {
			t.Fatalf("lock %d", i)
		}
		release = append(release, free)
	}
	p := servetest.Path(t, "0")
	if _, _, ok := l.Take(share.ID{2}, p, share.Lock{Peer: "a"}); ok {
		t.Error("there is no bound")
	}
	others, free, ok := l.Take(id, p, share.Lock{Peer: "b"})
	if !ok || len(others) != serve.MaxLocks/10 {
		t.Errorf("another peer: %v, %d others", ok, len(others))
	}
	free()
	release[0]()
	release[0]()
	if _, _, ok := l.Take(id, p, share.Lock{Peer: "a"}); !ok {
		t.Error("a lock that was let go still counts")
	}
	for _, free := range release {
		free()
	}
	if l.Of(id, servetest.Path(t, "1")) != nil {
		t.Error("a lock is left")
	}
}
