package remote_test

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/remote/ticket"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/servetest"
)

// gate is an opener that can be closed, and counts who tries.
type gate struct {
	peer.Opener
	away  atomic.Bool
	tries atomic.Int32
}

func (g *gate) Open(ctx context.Context, id peer.ID, protocol string, lane int) (peer.Stream, error) {
	g.tries.Add(1)
	if g.away.Load() {
		return nil, &peer.Error{Op: "open", Kind: peer.Unreachable, Err: errors.New("it does not answer")}
	}
	return g.Opener.Open(ctx, id, protocol, lane)
}

// TestOwnerAway: while the owner is away the grant that is held is used until its end, and no longer; the owner is not asked
// all the time. A right that the owner denies is not used on.
func TestOwnerAway(t *testing.T) {
	w := servetest.New(t)
	w.Offers.Change("docs", func(o *serve.Offer) { o.Open = share.Read })
	tickets, err := ticket.Open(t.TempDir(), w.Now(), func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{Opener: w.Anna}
	c := remote.NewClient(g, w.Anna.ID(), tickets, w.Now)
	owner := w.Owner.ID()
	first, err := c.Grant(t.Context(), owner, "docs")
	if err != nil {
		t.Fatal(err)
	}
	held := func(what string, asked int32) {
		t.Helper()
		g.tries.Store(0)
		b, err := c.Grant(t.Context(), owner, "docs")
		if err != nil || !bytes.Equal(b, first) {
			t.Errorf("%s: another grant, %v", what, err)
		}
		if n := g.tries.Load(); n != asked {
			t.Errorf("%s: the owner was asked %d times, want %d", what, n, asked)
		}
	}
	g.away.Store(true)
	held("fresh", 0)
	w.Pass(grant.MaxLife * 3 / 4)
	held("no more fresh", 1)
	held("at once again", 0)
	w.Pass(15 * time.Second)
	held("a while later", 1)
	w.Pass(grant.MaxLife/4 - 16*time.Second)
	held("a second before its end", 1)
	w.Pass(time.Second)
	if b, err := c.Grant(t.Context(), owner, "docs"); peer.KindOf(err) != peer.Unreachable || b != nil {
		t.Errorf("at its end: %d bytes, %v", len(b), err)
	}
	g.away.Store(false)
	again, err := c.Grant(t.Context(), owner, "docs")
	if err != nil || bytes.Equal(again, first) {
		t.Errorf("the owner is back: the same grant, or %v", err)
	}
	w.Pass(grant.MaxLife * 3 / 4)
	w.Offers.Change("docs", func(o *serve.Offer) { o.Open = share.None })
	for _, away := range []bool{false, true} {
		g.away.Store(away)
		if b, err := c.Grant(t.Context(), owner, "docs"); err == nil {
			t.Errorf("the owner denies it, away %v: %d bytes", away, len(b))
		}
	}
}
