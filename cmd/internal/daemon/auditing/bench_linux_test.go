package auditing

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/offer"
	"github.com/peerd/peerd/share/registry"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/servetest"
	"github.com/peerd/peerd/transfer"
	transferserve "github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
)

// BenchmarkAudited tells what the audit costs of reading 1,000 small files over one stream, the way a folder is fetched: a gate that
// writes all down and one that does not answer in turn, in one process, hundreds of times, so that what else the machine does meets
// both. Each takes what it takes to have the records in the file as its own. The ratios are medians of pairs: 1 is no cost.
func BenchmarkAudited(b *testing.B) {
	const reads, rounds = 1000, 100
	w := servetest.New(b)
	log := slog.New(slog.DiscardHandler)
	reg, err := registry.Open(filepath.Join(b.TempDir(), "state"), registry.Options{})
	if err != nil {
		b.Fatal(err)
	}
	offers := offer.New(reg, log)
	defer offers.Close()
	book, err := Open(filepath.Join(b.TempDir(), "audit"), w.Key, offers, log)
	if err != nil {
		b.Fatal(err)
	}
	defer book.Close()
	names := map[peer.ID]peer.Name{w.Anna.ID(): "anna"}
	book.Meet(w.Owner, func(id peer.ID) peer.Name { return names[id] })
	w.Gate.AuditTo(book.Gate())
	plain, err := serve.NewGate(w.Key, w.Offers, w.Now)
	if err != nil {
		b.Fatal(err)
	}
	const unaudited = "/test/unaudited"
	w.Owner.Handle(unaudited, 8, transferserve.New(transferserve.Options{Auth: serve.NewBytes(plain), Manifests: noManifests{}, Log: log}).Get)

	request := slices.Concat(wholeFile(b, w, true), bytes.Repeat(wholeFile(b, w, false), reads-1))
	round := func(protocol string) (wall, cpu time.Duration) {
		st, err := w.Anna.Open(b.Context(), w.Owner.ID(), protocol, 0)
		if err != nil {
			b.Fatal(err)
		}
		defer st.Reset()
		before := cpuTime(b)
		begin := time.Now()
		if err := readAll(st, request, reads); err != nil {
			b.Fatal(err)
		}
		wall = time.Since(begin)
		if err := book.book.Flush(context.Background()); err != nil {
			b.Fatal(err)
		}
		return wall, cpuTime(b) - before
	}
	both := []string{transferserve.GetProtocol, unaudited}
	for _, p := range both { // the connection, and the file, have to settle
		round(p)
	}
	written := book.records(b)
	var walls, cpus []float64
	var audited time.Duration
	n := 0
	for b.Loop() {
		for i := range rounds {
			var wall, cpu [2]time.Duration
			for k := range both {
				k ^= i % 2 // each is the first as often as the other
				wall[k], cpu[k] = round(both[k])
			}
			walls = append(walls, wall[0].Seconds()/wall[1].Seconds())
			cpus = append(cpus, cpu[0].Seconds()/cpu[1].Seconds())
			audited += wall[0]
			n += reads
		}
	}
	b.ReportMetric(median(walls), "wall-ratio")
	b.ReportMetric(median(cpus), "cpu-ratio")
	b.ReportMetric(float64(n)/audited.Seconds(), "reads/s")
	if got := book.records(b) - written; got != n {
		b.Errorf("%d records of %d reads", got, n)
	}
}

// wholeFile is a request for a small file of docs, as it is on the wire; the first of a stream shows a grant.
func wholeFile(b *testing.B, w *servetest.World, first bool) []byte {
	docs, _ := w.Offers.Named("docs")
	now := w.Now().Truncate(time.Second)
	g := grant.Grant{Share: docs.ID, Holder: w.Anna.ID(), Right: share.Read, Epoch: docs.Epochs.Read, NotBefore: now, Expires: now.Add(grant.MaxLife)}
	sealed, err := g.Seal(w.Key)
	if err != nil {
		b.Fatal(err)
	}
	if !first {
		sealed = nil
	}
	var out bytes.Buffer
	if err := wire.WriteMsg(&out, &transferpb.GetRequest{File: &transferpb.File{Share: docs.ID[:], Path: []string{"small"}, Grant: sealed}, Whole: true}); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

// readAll asks, without waiting for answers, and takes those.
func readAll(st peer.Stream, requests []byte, n int) error {
	asked := make(chan error, 1)
	go func() {
		_, err := st.Write(requests)
		asked <- err
	}()
	in := wire.NewReader(st)
	for range n {
		var r transferpb.GetReply
		if err := in.ReadMsg(&r, 8<<10); err != nil {
			return err
		}
		if err := wire.ToError(r.Error); err != nil {
			return err
		}
		if m, err := io.CopyN(io.Discard, in, int64(r.Length)); err != nil || m != servetest.SmallSize {
			return errors.Join(err, io.ErrUnexpectedEOF)
		}
	}
	return <-asked
}

// records is how many readings are written down.
func (b *Book) records(t testing.TB) int {
	t.Helper()
	n := 0
	for _, err := range b.AuditRecords(context.Background(), control.AuditFilter{Events: []string{string(audit.KindRead)}}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// noManifests keeps nothing.
type noManifests struct{}

func (noManifests) Get(transfer.FileID) (transfer.Manifest, bool) { return transfer.Manifest{}, false }
func (noManifests) Put(transfer.FileID, transfer.Manifest)        {}
