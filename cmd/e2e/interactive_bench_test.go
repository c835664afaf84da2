//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

// reader reads small files by a fresh `peerd cat` each.
type reader struct {
	what string
	at   *node
	from string // a folder
	took []time.Duration
}

// cat reads the i-th file: each is read once, so that no copy here can answer.
func (r *reader) cat(tb testing.TB, i int) {
	tb.Helper()
	got := r.at.run(slow, "cat", fmt.Sprintf("%s/f%04d", r.from, i))
	if got.Status != 0 || got.Stdout != small(i) {
		tb.Fatalf("%s: cat: exit status %d, %d bytes\n%s", r.what, got.Status, len(got.Stdout), got.Stderr)
	}
	r.took = append(r.took, got.Took)
}

// small is the content of the i-th small file.
func small(i int) string { return strings.Repeat(fmt.Sprintf("file %011d", i), 256) } // 4 KiB

// percentile gives the time that a part of all readings took at most.
func (r *reader) percentile(part float64) time.Duration {
	sorted := slices.Sorted(slices.Values(r.took))
	return sorted[int(part*float64(len(sorted)-1))]
}

// BenchmarkInteractive reads small files while others fetch a big one from the same owner, and while nobody does.
func BenchmarkInteractive(b *testing.B) {
	const members, files = 4, 100
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "`peerd cat` of 4 KiB, %d each\tlinks\tidle ms p50\tp99\tin a swarm ms p50\tp99\tratio p50\tp99\tcopies meanwhile\t\n", files)
	for _, c := range []struct {
		links, rate string
		size        int64 // enough for a round of copies to last for some seconds
	}{{"50 Mbit/s", slowLink, 32 << 20}, {"no limit", "", 512 << 20}} {
		f := newFleet(b, 1+members+2, c.rate)
		f.file(c.size)
		for i := range 2*files + 1 {
			write(b, fmt.Sprintf("%s/small/f%04d", f.src, i), small(i))
		}
		all := f.start(f.hosts...)
		member, asked, bystander := all[1], all[members+1], all[members+2]
		asked.daemon.Stop()
		asked.start("--share", f.src+"/small") // a second owner, whose link is free
		fullView(b, quick, all...)
		readers := func() []*reader {
			return []*reader{
				{what: "member, from the owner", at: member, from: "//h1/src/small"},
				{what: "bystander, from the owner", at: bystander, from: "//h1/src/small"},
				{what: "bystander, from a bystander", at: bystander, from: "//" + asked.Name + "/small"},
			}
		}
		idle, busy := readers(), readers()
		for _, r := range idle {
			r.cat(b, 2*files) // connects, and gets the right
			r.took = nil
		}
		load := &load{fleet: f, members: all[1 : 1+members]}
		for i := range files {
			for _, r := range idle {
				r.cat(b, i)
			}
		}
		load.tick()
		lantest.WaitFor(b, slow, "the swarm to be under way", func() bool { return f.hosts[0].Traffic(0).SentBytes > load.sent+uint64(c.size)/8 })
		for i := range files {
			for _, r := range busy {
				load.tick()
				r.cat(b, files+i)
			}
		}
		load.stop()
		for i, r := range busy {
			ms := func(r *reader, part float64) float64 { return r.percentile(part).Seconds() * 1000 }
			fmt.Fprintf(w, "%s\t%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.1fx\t%.1fx\t%d\t\n", r.what, c.links, ms(idle[i], 0.5), ms(idle[i], 0.99),
				ms(r, 0.5), ms(r, 0.99), ms(r, 0.5)/ms(idle[i], 0.5), ms(r, 0.99)/ms(idle[i], 0.99), load.copies)
			if i == 0 {
				b.ReportMetric(ms(r, 0.99)/ms(idle[i], 0.99), "p99-ratio-"+strings.ReplaceAll(c.links, " ", "-"))
			}
		}
		stop(all...)
		_ = os.RemoveAll(f.src) // room for the next
		_ = os.RemoveAll(f.dst)
	}
	w.Flush()
	fmt.Printf("\n%s\n", out.String())
}

// load has members fetch the big file again and again, all at once; each time it is another file.
type load struct {
	*fleet
	members []*node
	running []*lantest.Process
	round   int
	copies  int // done
	sent    uint64
}

// tick looks whether all have the file, and if so starts the next round.
func (l *load) tick() {
	l.tb.Helper()
	for i, p := range l.running {
		if !l.succeeded(1+i, p) {
			return
		}
	}
	l.copies += len(l.running)
	l.running = nil
	l.restamp()
	l.sent = l.hosts[0].Traffic(0).SentBytes
	for i, n := range l.members {
		l.running = append(l.running, n.Host.Start(n.command("cp", "//h1/src/big.bin", l.inbox(1+i))))
	}
}

// restamp changes every piece of the file.
func (l *load) restamp() {
	l.tb.Helper()
	l.round++
	file, err := os.OpenFile(filepath.Join(l.src, "big.bin"), os.O_WRONLY, 0)
	if err != nil {
		l.tb.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		l.tb.Fatal(err)
	}
	for at := int64(0); at < info.Size(); at += 1 << 20 {
		if _, err := file.WriteAt(fmt.Appendf(nil, "round %d", l.round), at); err != nil {
			l.tb.Fatal(err)
		}
	}
}

// stop ends what is under way.
func (l *load) stop() {
	for _, p := range l.running {
		p.Kill()
	}
}
