package serve_test

import (
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/rate"
	"github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
	"github.com/peerd/peerd/transfer/transfertest"
)

// paced is a service within a bubble of synctest, with a large file "f" and a small one "s", and the version of "f".
type paced struct {
	*serve.Service
	folder  *transfertest.Folder
	version []byte
	served  sync.WaitGroup
}

// inBubble runs a test where time costs none.
func inBubble(t *testing.T, test func(t *testing.T, p *paced)) {
	t.Helper()
	r := newRig(t)
	r.write(t, "f", content(4*mib))
	r.write(t, "s", content(4096))
	m := r.talk(t, serve.ManifestProtocol)
	version := m.state("f").Version
	if _, _, err := m.rest(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the file to be closed", func() bool { return r.folder.Open() == 0 })
	synctest.Test(t, func(t *testing.T) {
		folder := &transfertest.Folder{Dir: r.folder.Dir} // which nothing outside the bubble has to do with
		p := &paced{serve.New(serve.Options{Auth: folder, Manifests: &transfertest.Cache{}, Log: slog.New(slog.DiscardHandler)}), folder, version, sync.WaitGroup{}}
		test(t, p)
		p.served.Wait()
	})
}

// ask opens a stream, asks, and leaves the answers to be read.
func (p *paced) ask(t *testing.T, qs ...*transferpb.GetRequest) (*wire.Reader, net.Conn) {
	here, there := net.Pipe()
	p.served.Go(func() {
		_ = p.Get(t.Context(), pipe{there})
		there.Close()
	})
	p.served.Go(func() {
		for _, q := range qs {
			if err := wire.WriteMsg(here, q); err != nil {
				return
			}
		}
	})
	return wire.NewReader(here), here
}

// read takes one answer.
func read(t *testing.T, in *wire.Reader) *transferpb.GetReply {
	var r transferpb.GetReply
	if err := in.ReadMsg(&r, 8<<10); err != nil {
		t.Error(err)
	}
	if n, err := io.CopyN(io.Discard, in, int64(r.Length)); err != nil {
		t.Errorf("%d bytes of %d: %v", n, r.Length, err)
	}
	return &r
}

func (p *paced) piece(i int) *transferpb.GetRequest {
	return &transferpb.GetRequest{File: file("f"), Version: p.version, Piece: uint32(i)}
}

// Under a limit pieces take their time, and a small file comes between them.
func TestPaceLimits(t *testing.T) {
	inBubble(t, func(t *testing.T, p *paced) {
		const limit = 1_000_000
		p.Pace(rate.NewLimiter(limit), rate.NewSlots())
		in, c := p.ask(t, p.piece(0), p.piece(1), p.piece(2), p.piece(3))
		begin := time.Now()
		var reader sync.WaitGroup
		reader.Go(func() {
			time.Sleep(100 * time.Millisecond)
			asked := time.Now()
			small, c := p.ask(t, &transferpb.GetRequest{File: file("s"), Whole: true})
			defer c.Close()
			if r := read(t, small); r.Length != 4096 {
				t.Errorf("the small file: %v", r)
			}
			if took := time.Since(asked); took > 10*time.Millisecond {
				t.Errorf("the small file took %v", took)
			}
		})
		for range 4 {
			if r := read(t, in); r.Length != transfer.MinPiece {
				t.Errorf("a piece: %v", r)
			}
		}
		const sent = 4*transfer.MinPiece + 4096
		if took := time.Since(begin).Seconds() * limit; took < sent || took > 1.01*sent {
			t.Errorf("4 pieces and the small file took the time of %.0f bytes", took)
		}
		reader.Wait()
		c.Close()
	})
}

// A piece is asked for with a right that is taken while others have their turn.
func TestPaceDenied(t *testing.T) {
	inBubble(t, func(t *testing.T, p *paced) {
		slots := rate.NewSlots()
		p.Pace(nil, slots)
		var turns []rate.Turn
		enter := func() {
			turn, err := slots.Enter(t.Context(), "others", transfer.MinPiece)
			if err != nil {
				t.Fatal(err)
			}
			turns = append(turns, turn)
		}
		for begin := time.Now(); time.Since(begin) == 0; { // until one had to wait for those before to count no more
			enter()
		}
		for range len(turns) - 2 {
			enter()
		}
		in, c := p.ask(t, p.piece(0))
		defer c.Close()
		synctest.Wait()
		if p.folder.Open() != 1 {
			t.Fatal("the piece is not under way")
		}
		p.folder.Deny()
		for _, turn := range turns {
			slots.Leave(turn)
		}
		if r := read(t, in); peer.KindOf(wire.ToError(r.Error)) != peer.Denied {
			t.Errorf("the answer is %v, %d bytes", r.Error, r.Length)
		}
	})
}

// Readers that take nothing don't keep others from their pieces, and what is answered does not wait for the next turn.
func TestPaceBesideSlowReaders(t *testing.T) {
	inBubble(t, func(t *testing.T, p *paced) {
		p.Pace(nil, rate.NewSlots())
		for range 20 {
			_, c := p.ask(t, p.piece(0), p.piece(1))
			defer c.Close()
		}
		synctest.Wait()
		in, c := p.ask(t, &transferpb.GetRequest{File: file("s"), Whole: true}, p.piece(0), p.piece(1))
		defer c.Close()
		begin := time.Now()
		read(t, in)
		if took := time.Since(begin); took > 0 {
			t.Errorf("the small file took %v", took)
		}
		for range 2 {
			read(t, in)
		}
		if took := time.Since(begin); took > 11*time.Second {
			t.Errorf("two pieces took %v", took)
		}
	})
}
