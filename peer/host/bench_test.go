package host_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/peertest"
)

// BenchmarkStream is how fast bulk flows from one host to another over loopback, both sharing this computer's cores.
func BenchmarkStream(b *testing.B) {
	for _, quic := range []bool{false, true} {
		for _, lanes := range []int{1, 2} {
			name := "tcp"
			if quic {
				name = "quic"
			}
			b.Run(fmt.Sprintf("%s/lanes=%d", name, lanes), func(b *testing.B) { benchmarkStream(b, quic, lanes) })
		}
	}
}

func benchmarkStream(b *testing.B, quic bool, lanes int) {
	const unit = 1 << 20
	hosts := peertest.Hosts(b, 2)
	from, to := hosts[0], hosts[1]
	to.Learn(from.ID(), only(from.Addrs(), quic))
	chunk := make([]byte, 256<<10)
	from.Handle("/bench/1", 4, func(ctx context.Context, s peer.Stream) error {
		for ctx.Err() == nil {
			if _, err := s.Write(chunk); err != nil {
				return err
			}
		}
		return nil
	})
	var left atomic.Int64
	read := func(s peer.Stream, buf []byte) {
		for left.Add(-1) >= 0 {
			for got := 0; got < unit; {
				n, err := s.Read(buf[:min(len(buf), unit-got)])
				if got += n; err != nil {
					b.Error(err)
					return
				}
			}
		}
	}
	streams := make([]peer.Stream, lanes)
	for i := range streams {
		s, err := to.Open(within(b, 10*time.Second), from.ID(), "/bench/1", i)
		if err != nil {
			b.Fatal(err)
		}
		defer s.Reset()
		if _, err := s.Write([]byte{0}); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(s, make([]byte, unit)); err != nil {
			b.Fatal(err)
		}
		streams[i] = s
	}
	b.SetBytes(unit)
	left.Store(int64(b.N))
	b.ResetTimer()
	var wg sync.WaitGroup
	for _, s := range streams {
		wg.Go(func() { read(s, make([]byte, 256<<10)) })
	}
	wg.Wait()
}

// BenchmarkRequest is how many small streams are opened, answered and closed one after the other.
func BenchmarkRequest(b *testing.B) {
	hosts := peertest.Hosts(b, 2)
	hosts[1].Handle(echo, 32, serveEcho)
	for b.Loop() {
		if err := roundTrip(b, hosts[0], hosts[1].ID(), 0, "x"); err != nil {
			b.Fatal(err)
		}
	}
}
