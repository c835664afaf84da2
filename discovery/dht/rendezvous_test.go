package dht

import (
	"context"
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
)

// BenchmarkRendezvous finds all peers of a workgroup by provider records under one key, the way that was not taken for
// that (docs/decisions/0008-dht.md): all provide, all look until they found all, and then greet each.
func BenchmarkRendezvous(b *testing.B) {
	const count = 50
	key := sha256.Sum256([]byte("rendezvous"))
	for b.Loop() {
		all := table(b, count, "W")
		var conns atomic.Int64
		for _, m := range all {
			m.host.OnConnect(func(_ peer.ID, _ peer.Addr, inbound bool) {
				if inbound {
					conns.Add(1)
				}
			})
		}
		began := time.Now()
		each(all, func(m member) {
			if err := m.Provide(b.Context(), key); err != nil {
				b.Error(err)
			}
		})
		provided, after := time.Since(began), conns.Load()
		lookups := atomic.Int64{}
		each(all, func(m member) {
			found := make(map[peer.ID]bool)
			for len(found) < count-1 && lookups.Add(1) < 100*count {
				for id := range m.Providers(b.Context(), key) {
					found[id] = true
				}
			}
			if len(found) < count-1 {
				b.Errorf("found %d of %d", len(found), count-1)
			}
		})
		found, looked := time.Since(began), conns.Load()
		each(all, func(m member) {
			for _, other := range all {
				if other.host != m.host {
					ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
					if _, err := m.host.Ping(ctx, other.host.ID()); err != nil {
						b.Error(err)
					}
					cancel()
				}
			}
		})
		b.ReportMetric(provided.Seconds(), "s-provided")
		b.ReportMetric(found.Seconds(), "s-found")
		b.ReportMetric(time.Since(began).Seconds(), "s-greeted")
		b.ReportMetric(float64(after), "conns-provided")
		b.ReportMetric(float64(looked), "conns-found")
		b.ReportMetric(float64(conns.Load()), "conns-greeted")
	}
}

func each(all []member, do func(member)) {
	var g sync.WaitGroup
	for _, m := range all {
		g.Go(func() { do(m) })
	}
	g.Wait()
}
