//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

// fetchOne is what a fetch from several sources took.
type fetchOne struct {
	wall             time.Duration
	sources, fetcher time.Duration // CPU
	owner, sent      uint64        // sent by the owner, by all sources
	disturbed        bool
}

// BenchmarkSources has one peer fetch a file that the owner and others have.
func BenchmarkSources(b *testing.B) {
	const greatest = 4 // sources
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "one fetcher, median of %d runs in turn\tsources\tMB/s\t(least-most)\tof 1 source\ts\tCPU s/GiB sources\tfetcher\tboth\t"+
		"of it from the owner\tdisturbed\t\n", *runs)
	for _, c := range []struct {
		title           string
		size            int64
		source, fetcher string // limits
		counts          []int
	}{
		{"64 MiB, sources 50 Mbit/s, fetcher 200 Mbit/s", 64 << 20, slowLink, "200mbit", []int{1, 2, greatest}},
		{"1 GiB, links without limit", gib, "", "", []int{1, 2, greatest}},
	} {
		f := newFleet(b, greatest+1, "")
		want := f.file(c.size)
		took := map[int][]fetchOne{}
		for range *runs {
			for _, n := range c.counts {
				took[n] = append(took[n], f.fetchFrom(n, c.size, want, c.source, c.fetcher))
			}
		}
		for _, n := range c.counts {
			rate := func(x fetchOne) float64 { return float64(c.size) / 1e6 / x.wall.Seconds() }
			of := func(g func(fetchOne) float64) float64 { _, middle, _ := spread(took[n], g); return middle }
			perGiB := func(d time.Duration) float64 { return d.Seconds() * gib / float64(c.size) }
			least, middle, best := spread(took[n], rate)
			_, one, _ := spread(took[1], rate)
			disturbed := 0
			for _, x := range took[n] {
				if x.disturbed {
					disturbed++
				}
			}
			fmt.Fprintf(w, "%s\t%d\t%.1f\t(%.1f-%.1f)\t%.2fx\t%.2f\t%.2f\t%.2f\t%.2f\t%.0f%%\t%d\t\n", c.title, n, middle, least, best, middle/one,
				of(func(x fetchOne) float64 { return x.wall.Seconds() }),
				of(func(x fetchOne) float64 { return perGiB(x.sources) }), of(func(x fetchOne) float64 { return perGiB(x.fetcher) }),
				of(func(x fetchOne) float64 { return perGiB(x.sources + x.fetcher) }),
				of(func(x fetchOne) float64 { return 100 * float64(x.owner) / float64(x.sent) }), disturbed)
		}
		_ = os.RemoveAll(f.src) // room for the next
		_ = os.RemoveAll(f.dst)
	}
	w.Flush()
	fmt.Printf("\n%s\n", out.String())
}

// fetchFrom has the last host fetch the file from so many sources: the owner and those that fetched it before, unlimited.
func (f *fleet) fetchFrom(n int, size int64, want, sourceLimit, fetcherLimit string) fetchOne {
	f.tb.Helper()
	last := f.hosts[len(f.hosts)-1]
	sources := f.hosts[:n]
	all := f.start(append(sources[:n:n], last)...)
	defer stop(all...)
	for i, h := range f.hosts {
		h.Limit(0, "")
		if i > 0 && i < n {
			all[i].ok(slow, "cp", "//h1/src/big.bin", f.inbox(i))
		}
	}
	for _, h := range sources {
		h.Limit(0, sourceLimit)
	}
	last.Limit(0, fetcherLimit)

	var daemons []*lantest.Process
	var before []uint64
	for i, h := range sources {
		daemons = append(daemons, all[i].daemon)
		before = append(before, h.Traffic(0).SentBytes)
	}
	fetcher := all[n]
	to := f.inbox(n)
	f.touch(4 * size)
	x := fetchOne{sources: -spent(daemons...), fetcher: -spent(fetcher.daemon)}
	busy := machineCPU()
	cp := last.Start(fetcher.command("cp", "//h1/src/big.bin", to))
	lantest.WaitFor(f.tb, slow, "the file", func() bool { return f.succeeded(len(f.hosts)-1, cp) })
	x.wall = cp.Took()
	busy = machineCPU() - busy
	x.sources += spent(daemons...)
	x.fetcher += spent(fetcher.daemon, cp)
	x.disturbed = busy-x.sources-x.fetcher > x.wall/5+50*time.Millisecond
	for i, h := range sources {
		sent := h.Traffic(0).SentBytes - before[i]
		if x.sent += sent; i == 0 {
			x.owner = sent
		}
	}
	if got := sum(f.tb, filepath.Join(to, "big.bin")); got != want {
		f.tb.Errorf("%d sources: sum %s, want %s", n, got, want)
	}
	_ = os.RemoveAll(f.dst)
	return x
}

// BenchmarkDelta changes 1 MiB in the middle of a file of 1 GiB and copies it over the old copy.
func BenchmarkDelta(b *testing.B) {
	const at, length = gib/2 + 12345, 1 << 20 // two pieces are touched
	f := newFleet(b, 2, "")
	f.file(gib)
	all := f.start(f.hosts...)
	to := f.inbox(1)
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "1 GiB, 1 MiB of it changed, median of %d\ts\tbytes from owner\tof the file\tto owner\tCPU s owner\tfetcher\t\n", *runs)
	row := func(what string, took []deltaRun) {
		of := func(g func(deltaRun) float64) float64 { _, middle, _ := spread(took, g); return middle }
		sent := of(func(d deltaRun) float64 { return float64(d.sent) })
		fmt.Fprintf(w, "%s\t%.2f\t%.0f\t%.4f\t%.0f\t%.2f\t%.2f\t\n", what, of(func(d deltaRun) float64 { return d.wall.Seconds() }), sent, sent/gib,
			of(func(d deltaRun) float64 { return float64(d.received) }), of(func(d deltaRun) float64 { return d.owner.Seconds() }),
			of(func(d deltaRun) float64 { return d.fetcher.Seconds() }))
	}
	row("first copy", []deltaRun{f.again(all, to)})
	var changed, same []deltaRun
	for i := range *runs {
		file, err := os.OpenFile(f.src+"/big.bin", os.O_WRONLY, 0)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := file.WriteAt([]byte(strings.Repeat(string(rune('a'+i%26)), length)), at); err != nil {
			b.Fatal(err)
		}
		if err := file.Close(); err != nil {
			b.Fatal(err)
		}
		changed = append(changed, f.again(all, to))
		same = append(same, f.again(all, to))
	}
	row("1 MiB changed", changed)
	row("nothing changed", same)
	_, sent, _ := spread(changed, func(d deltaRun) float64 { return float64(d.sent) })
	b.ReportMetric(sent/gib, "of-the-file")
	w.Flush()
	fmt.Printf("\n%s\n", out.String())
}

// deltaRun is what a copy over an older one took.
type deltaRun struct {
	wall           time.Duration
	owner, fetcher time.Duration // CPU
	sent, received uint64        // by the owner, headers and all
}

// again copies the file over what is there.
func (f *fleet) again(all []*node, to string) deltaRun {
	f.tb.Helper()
	before := f.server.Traffic(0)
	d := deltaRun{owner: -spent(all[0].daemon), fetcher: -spent(all[1].daemon)}
	cp := f.client.Start(all[1].command("cp", "-f", "//h1/src/big.bin", to))
	lantest.WaitFor(f.tb, slow, "the copy", func() bool { return f.succeeded(1, cp) })
	after := f.server.Traffic(0)
	d.wall, d.sent, d.received = cp.Took(), after.SentBytes-before.SentBytes, after.ReceivedBytes-before.ReceivedBytes
	d.owner += spent(all[0].daemon)
	d.fetcher += spent(all[1].daemon, cp)
	if sum(f.tb, to+"/big.bin") != sum(f.tb, f.src+"/big.bin") {
		f.tb.Error("the copy differs")
	}
	return d
}
