//go:build linux

package e2e

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

// TestFifty starts a whole office at once and then leaves it alone for a while.
func TestFifty(t *testing.T) {
	const (
		count = 50
		idle  = 5 * time.Second // a longer while is TestHundred's
		mib   = 1 << 20
	)
	all, l := nodes(t, lantest.Options{Hosts: count})
	sniffer := l.Sniff(0)
	for _, n := range all {
		write(t, filepath.Join(n.Home, "docs", "f"), n.Name)
		n.begin("--share", filepath.Join(n.Home, "docs"))
	}
	var slowest time.Duration
	for _, n := range all {
		n.waitReady()
		slowest = max(slowest, n.ready.Sub(n.began))
	}
	view := fullView(t, 3*time.Second, all...)
	t.Logf("%d daemons started together: the slowest was ready after %v, all saw all %v later, %d mDNS packets so far",
		count, slowest.Round(time.Millisecond), view.Round(time.Millisecond), len(sniffer.UDP(5353)))

	settle(t, sniffer)
	packets, frames := len(sniffer.UDP(5353)), total(l)
	var before time.Duration
	for _, n := range all {
		before += n.usage().cpu
	}
	time.Sleep(idle) // what happens in a given time is what is measured
	var cpu time.Duration
	var rss, most int64
	for _, n := range all {
		u := n.usage()
		cpu += u.cpu
		rss += u.rss
		most = max(most, u.rss)
	}
	cpu -= before
	t.Logf("idle for %v: %.2f mDNS packets/s and %.1f packets/s of any kind in all; per daemon %.3f%% of a core, %.1f MiB resident (most %.1f)",
		idle, float64(len(sniffer.UDP(5353))-packets)/idle.Seconds(), float64(total(l)-frames)/idle.Seconds(),
		100*cpu.Seconds()/idle.Seconds()/count, float64(rss)/count/mib, float64(most)/mib)
	if got := all[0].ok(quick, "cat", "//h50/docs/f"); got != "h50" {
		t.Errorf("read %q", got)
	}
}

// settle waits until the network has been quiet for a second after the start.
func settle(t *testing.T, s *lantest.Sniffer) {
	last, since := -1, time.Now()
	lantest.WaitFor(t, quick, "quiet after the start", func() bool {
		if now := len(s.UDP(5353)); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > time.Second
	})
}

// total counts the packets that all hosts sent.
func total(l *lantest.LAN) (packets uint64) {
	for _, h := range l.Hosts {
		packets += h.Traffic(0).SentPackets
	}
	return packets
}
