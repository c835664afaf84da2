package roll

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
)

// BenchmarkRoll has two subnets of 25 peers find each other, once one was told of one.
func BenchmarkRoll(b *testing.B) {
	for b.Loop() {
		near, far := subnet(b, "a", 25), subnet(b, "b", 25)
		all := slices.Concat(near, far)
		var conns atomic.Int64
		for _, m := range all {
			m.host.OnConnect(func(_ peer.ID, _ peer.Addr, inbound bool) {
				if inbound {
					conns.Add(1)
				}
			})
		}
		began := time.Now()
		near[0].hears(far[0], discovery.Static)
		allSeeAll(b, all)
		b.ReportMetric(time.Since(began).Seconds(), "s-all")
		b.ReportMetric(float64(conns.Load()), "conns")
		for _, m := range all {
			m.stop()
		}
	}
}
