package serve_test

import (
	"bytes"
	"context"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/servetest"
	"github.com/peerd/peerd/share/sharepb"
	"github.com/peerd/peerd/transfer/rate"
	transferserve "github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
)

// download is a peer that fetches "huge" of docs.
type download struct {
	got   chan int64 // bytes, as they come
	all   atomic.Int64
	ended chan error
}

// fetch asks for all of the file at once, and reads.
func fetch(t *testing.T, w *servetest.World, from *host.Host, sealed []byte) *download {
	t.Helper()
	docs, _ := w.Offers.Named("docs")
	path, err := share.ParsePath([]string{"huge"})
	if err != nil {
		t.Fatal(err)
	}
	e, err := docs.FS.Stat(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := from.Open(t.Context(), w.Owner.ID(), transferserve.GetProtocol, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Reset() })
	d := &download{got: make(chan int64, 1<<16), ended: make(chan error, 1)}
	go func() {
		for i := range 512 {
			if wire.WriteMsg(st, &transferpb.GetRequest{File: file(docs.ID, sealed, "huge"), Version: e.Version[:], Piece: uint32(i)}) != nil {
				return
			}
		}
	}()
	go func() {
		in := wire.NewReader(st)
		for {
			var r transferpb.GetReply
			err := in.ReadMsg(&r, 8<<10)
			if err == nil {
				err = wire.ToError(r.Error)
			}
			for n := int64(r.Length); err == nil && n > 0; {
				var part int64
				part, err = io.CopyN(io.Discard, in, min(n, 256<<10))
				n -= part
				d.all.Add(part)
				d.got <- part
			}
			if err != nil {
				d.ended <- err
				close(d.got)
				return
			}
		}
	}()
	return d
}

// more waits for n bytes, and gives the error that came instead.
func (d *download) more(t *testing.T, n int64) error {
	t.Helper()
	for n > 0 {
		select {
		case part, ok := <-d.got:
			if !ok {
				return <-d.ended
			}
			n -= part
		case <-time.After(20 * time.Second):
			t.Fatal("nothing comes")
		}
	}
	return nil
}

// soon ends waiting for what never comes: nothing else would end these streams in that time.
const soon = 20 * time.Second

// second is how many bytes pass in a second, which is the time in which a right ends. They are counted, not the time: on a
// machine that has more to do all is slower.
const second = 48 << 20

// TestRightEndsInTransfer: in the midst of a transfer of 1 GiB a right ends, and those who have the other go on.
func TestRightEndsInTransfer(t *testing.T) {
	for name, tc := range map[string]struct {
		end                 func(*servetest.World)
		annaEnds, othersEnd bool // Anna has the right to read, Berta the full one
	}{
		"another read password": {func(w *servetest.World) { w.Offers.Change("docs", func(o *serve.Offer) { o.Epochs.Read++ }) }, true, false},
		"another full password": {func(w *servetest.World) { w.Offers.Change("docs", func(o *serve.Offer) { o.Epochs.Full++ }) }, false, true},
		"one is denied": {func(w *servetest.World) {
			w.Offers.Change("docs", func(o *serve.Offer) {
				o.Standing = func(who peer.ID) serve.Standing { return serve.Standing{Denied: who == w.Anna.ID()} }
			})
		}, true, false},
		"one is suspended": {func(w *servetest.World) {
			w.Offers.Change("docs", func(o *serve.Offer) {
				o.Standing = func(who peer.ID) serve.Standing { return serve.Standing{Suspended: who == w.Berta.ID()} }
			})
		}, false, false},
		"no share any more": {func(w *servetest.World) { w.Offers.Change("docs", func(o *serve.Offer) { o.ID[0] ^= 1 }) }, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := servetest.New(t)
			w.Bytes.Pace(rate.NewLimiter(second), rate.NewSlots())
			anna := fetch(t, w, w.Anna, sealed(t, w, "docs", w.Anna, share.Read, nil))
			berta := fetch(t, w, w.Berta, sealed(t, w, "docs", w.Berta, share.Full, nil))
			for _, d := range []*download{anna, berta} {
				if err := d.more(t, 4<<20); err != nil {
					t.Fatal(err)
				}
			}
			tc.end(w)
			had := map[*download]int64{anna: anna.all.Load(), berta: berta.all.Load()}
			ends := map[*download]bool{anna: tc.annaEnds, berta: tc.othersEnd}
			for d, had := range had {
				if !ends[d] {
					continue
				}
				err := d.more(t, 1<<40)
				if after := d.all.Load() - had; err == nil || after > second {
					t.Errorf("it ended %d MiB after the right, with %v", after>>20, err)
				}
			}
			for d := range had {
				if ends[d] {
					continue
				}
				if err := d.more(t, 32<<20); err != nil {
					t.Errorf("who had the other right: %v", err)
				}
			}
		})
	}
}

// TestRightEndsForWhoTakesNothing: the stream of somebody who does not read what he asked for ends as well.
func TestRightEndsForWhoTakesNothing(t *testing.T) {
	w := servetest.New(t)
	docs, _ := w.Offers.Named("docs")
	ended := make(chan error, 1)
	w.Owner.Handle(transferserve.GetProtocol, 8, func(ctx context.Context, st peer.Stream) error {
		err := w.Bytes.Get(ctx, st)
		ended <- err
		return err
	})
	st, err := w.Anna.Open(t.Context(), w.Owner.ID(), transferserve.GetProtocol, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Reset()
	g := sealed(t, w, "docs", w.Anna, share.Read, nil)
	for range 500 {
		if err := wire.WriteMsg(st, &transferpb.GetRequest{File: file(docs.ID, g, "large"), Whole: true}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := st.Read(make([]byte, 1)); err != nil { // or the right might end before it opened anything
		t.Fatal(err)
	}
	w.Offers.Change("docs", func(o *serve.Offer) { o.Epochs.Read++ })
	select {
	case <-ended:
	case <-time.After(soon):
		t.Error("it goes on")
	}
}

// TestListingEnds: so does a listing that nobody takes.
func TestListingEnds(t *testing.T) {
	many := make([]share.Entry, 200*serve.PageEntries)
	one := entries(t, "a")[0]
	for i := range many {
		many[i] = one
	}
	b := newBare(t, &files{entries: many})
	st := &stuck{Stream: servetest.Stream{In: bytes.NewReader(servetest.Frames(t, b.request(sharepb.Verb_VERB_LIST))), ID: b.holder}, writing: make(chan struct{}), reset: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- serve.NewLister(b.gate, serve.NewLocks()).Handle(t.Context(), st) }()
	<-st.writing
	b.offers.Change("docs", func(o *serve.Offer) { o.Epochs.Read++ })
	b.gate.Recheck()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("it ended well")
		}
	case <-time.After(soon):
		t.Error("it goes on")
		st.Reset()
	}
}

// stuck is a stream on which writes wait until it is reset.
type stuck struct {
	servetest.Stream
	writing, reset chan struct{}
}

func (s *stuck) Write([]byte) (int, error) {
	close(s.writing)
	<-s.reset
	return 0, io.ErrClosedPipe
}

func (s *stuck) Reset() error {
	close(s.reset)
	return s.Stream.Reset()
}

// TestPassOnEnd: the end of a right is told once, whenever it was asked for, and not to who asked for another one.
func TestPassOnEnd(t *testing.T) {
	b := newBare(t, &files{})
	pass, err := b.gate.Enter(b.grant, b.holder, b.docs)
	if err != nil {
		t.Fatal(err)
	}
	var early, stopped, late int
	defer pass.OnEnd(share.Read, func() { early++ })()
	pass.OnEnd(share.Read, func() { stopped++ })()
	b.gate.Recheck()
	b.offers.Change("docs", func(o *serve.Offer) { o.Epochs.Full++ })
	b.gate.Recheck()
	if early != 0 {
		t.Error("it ended before")
	}
	b.offers.Change("docs", func(o *serve.Offer) { o.Epochs.Read++ })
	for range 2 {
		b.gate.Recheck()
	}
	defer pass.OnEnd(share.Read, func() { late++ })()
	if early != 1 || stopped != 0 || late != 1 {
		t.Errorf("told %d, %d and %d times", early, stopped, late)
	}
	full := 0
	b.offers.Change("docs", func(o *serve.Offer) { o.Epochs.Read-- })
	defer pass.OnEnd(share.Full, func() { full++ })()
	if full != 1 {
		t.Error("a right that was never there did not end")
	}
}
