package serve_test

import (
	"io"
	"testing"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/servetest"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/rate"
	transferserve "github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
)

// TestCutReadingIsWrittenDown: what is cut off is cancelled, once for a file however many streams bring it, and was not read; what was
// there whole before, or is read by another right, was read.
func TestCutReadingIsWrittenDown(t *testing.T) {
	w := servetest.New(t)
	ledger := w.Audit()
	w.Bytes.Pace(rate.NewLimiter(48<<20), rate.NewSlots())
	docs, _ := w.Offers.Named("docs")
	read := sealed(t, w, "docs", w.Anna, share.Read, nil)
	var r transferpb.GetReply
	ask(t, w, w.Anna, transferserve.GetProtocol, &transferpb.GetRequest{File: file(docs.ID, read, "small"), Whole: true}, &r)
	lanes := []*download{fetch(t, w, w.Anna, read), fetch(t, w, w.Anna, read)}
	other := fetch(t, w, w.Berta, sealed(t, w, "docs", w.Berta, share.Full, nil))
	for _, d := range append(lanes, other) {
		if err := d.more(t, 2<<20); err != nil {
			t.Fatal(err)
		}
	}
	st := []peer.Stream{reader(t, w, w.Anna, read), reader(t, w, w.Anna, read)} // two that have both a piece of another file
	for _, s := range st {
		if err := s.CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	large := ledger.Wait(t, audit.KindRead, 2)[1]
	if large.Path != "large" || large.Bytes != 2*transfer.MinPiece {
		t.Errorf("over two streams: %+v", large)
	}
	w.Offers.Change("docs", func(o *serve.Offer) { o.Epochs.Read++ })
	for _, d := range lanes {
		if err := d.more(t, 1<<40); err == nil {
			t.Error("it did not end")
		}
	}
	e := ledger.Wait(t, audit.KindCancelled, 1)[0]
	if e.Peer != w.Anna.ID() || e.Path != "huge" || e.Bytes < 4<<20 || e.Result != peer.Denied.String() || e.Share != "docs" || e.Right != "read" {
		t.Errorf("cancelled: %+v", e)
	}
	if err := other.more(t, 4<<20); err != nil {
		t.Errorf("who had the other right: %v", err)
	}
	if all := ledger.Of(audit.KindRead); len(all) != 2 || all[0].Path != "small" || all[0].Bytes != servetest.SmallSize || all[0].Result != audit.OK {
		t.Errorf("read: %+v", all)
	}
}

// reader has read a piece of "large" over a stream that stays.
func reader(t *testing.T, w *servetest.World, from *host.Host, sealed []byte) peer.Stream {
	t.Helper()
	docs, _ := w.Offers.Named("docs")
	e, err := docs.FS.Stat(t.Context(), servetest.Path(t, "large"))
	if err != nil {
		t.Fatal(err)
	}
	st, err := from.Open(t.Context(), w.Owner.ID(), transferserve.GetProtocol, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Reset() })
	if err := wire.WriteMsg(st, &transferpb.GetRequest{File: file(docs.ID, sealed, "large"), Version: e.Version[:]}); err != nil {
		t.Fatal(err)
	}
	in := wire.NewReader(st)
	var r transferpb.GetReply
	if err := in.ReadMsg(&r, 8<<10); err != nil || r.Error != nil {
		t.Fatal(err, r.Error)
	}
	if _, err := io.CopyN(io.Discard, in, int64(r.Length)); err != nil {
		t.Fatal(err)
	}
	return st
}
