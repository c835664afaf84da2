//go:build linux

package e2e

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

var (
	crowds = flag.String("peers", "1,4,8", "to how many peers BenchmarkSwarm sends its file, separated by commas")
	alone  = flag.Bool("alone", false, "have BenchmarkSwarm run peerd alone, to try something out")
	links  = flag.Int("links", 50, "Mbit/s that BenchmarkSwarm's links carry each way; where one computer's processors are what all peers wait for, slower ones show what the plan itself costs")
)

const (
	swarmSize = 32 << 20
	slowLink  = "50mbit"
)

// ideal is how long the file takes over one of the links, with the headers of Ethernet, IP and TCP.
func ideal() time.Duration {
	return swarmSize * 8 * 1514 / 1448 * time.Microsecond / time.Duration(*links)
}

// fleet is an owner, h1, and others that fetch from it.
type fleet struct {
	*rig
	hosts []*lantest.Host
	homes int // made so far
}

func newFleet(b *testing.B, hosts int, rate string) *fleet {
	r, all := bareRig(b, lantest.Options{Hosts: hosts, Rate: rate})
	return &fleet{rig: r, hosts: all}
}

// file makes the file that all want, and gives its sum.
func (f *fleet) file(size int64) string {
	f.tb.Helper()
	dir, want := big(f.tb, size)
	if err := os.Rename(dir+"/big.bin", f.src+"/big.bin"); err != nil {
		f.tb.Fatal(err)
	}
	return want
}

// start starts a daemon that knows nothing yet on each of the hosts; the first offers the folder.
func (f *fleet) start(hosts ...*lantest.Host) []*node {
	f.tb.Helper()
	f.homes++
	var all []*node
	for i, h := range hosts {
		n := newNode(f.tb, h, "peerd"+strconv.Itoa(f.homes))
		if i == 0 {
			n.begin("--share", f.src+"=src")
		} else {
			n.begin()
		}
		all = append(all, n)
	}
	for _, n := range all {
		n.waitReady()
	}
	fullView(f.tb, slow, all...)
	return all
}

// stop ends daemons, all at a time.
func stop(all ...*node) {
	var ending sync.WaitGroup
	for _, n := range all {
		ending.Go(func() { n.daemon.Stop() })
	}
	ending.Wait()
}

// inbox makes the folder anew that a host fetches to.
func (f *fleet) inbox(host int) string {
	f.tb.Helper()
	dir := filepath.Join(f.dst, strconv.Itoa(host))
	if err := os.RemoveAll(dir); err != nil {
		f.tb.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		f.tb.Fatal(err)
	}
	return dir
}

// spent is the time that programs took, ended or not.
func spent(all ...*lantest.Process) (sum time.Duration) {
	for _, p := range all {
		if _, ended := p.Wait(0); ended {
			sum += p.Cmd.ProcessState.UserTime() + p.Cmd.ProcessState.SystemTime()
		} else {
			sum += cpu(trees([]*lantest.Process{p}))
		}
	}
	return sum
}

// trip is what one run of one tool took.
type trip struct {
	wall           time.Duration
	owner, peers   time.Duration // CPU
	machine, other time.Duration // CPU of all, and of who has no part in it
	interrupts     time.Duration
	sent           uint64 // by the owner, headers and all
}

// run has the first n peers fetch the file at once, and looks whether all got it.
func (f *fleet) run(e entrant, n int, want string) trip {
	f.tb.Helper()
	_ = os.RemoveAll(f.dst)
	r := e.ready(f, n)
	defer r.stop()
	standing := make([]time.Duration, n+1)
	for i := range standing {
		standing[i] = spent(r.standing[i]...)
	}
	f.touch(int64(n+1) << 27)
	sent, machine, interrupts := f.hosts[0].Traffic(0).SentBytes, machineCPU(), interruptCPU()
	began := time.Now()
	var started []*lantest.Process
	for i := 1; i <= n; i++ {
		started = append(started, r.start(i))
	}
	for i, p := range started {
		lantest.WaitFor(f.tb, 2*slow, fmt.Sprintf("%s: the file at peer %d of %d", e.name, i+1, n), func() bool { return r.done(i+1, p) })
	}
	t := trip{wall: time.Since(began), sent: f.hosts[0].Traffic(0).SentBytes - sent,
		machine: machineCPU() - machine, interrupts: interruptCPU() - interrupts}
	t.owner = spent(r.standing[0]...) - standing[0]
	for i := 1; i <= n; i++ {
		t.peers += spent(r.standing[i]...) - standing[i] + spent(started[i-1])
	}
	t.other = t.machine - t.owner - t.peers
	for i := 1; i <= n; i++ {
		if got := sum(f.tb, filepath.Join(f.dst, strconv.Itoa(i), "big.bin")); got != want {
			f.tb.Errorf("%s: peer %d of %d has sum %s, want %s", e.name, i, n, got, want)
		}
	}
	return t
}

// BenchmarkSwarm sends one file of 32 MiB to many peers that ask for it at once, over links of 50 Mbit/s each way or of what -links says.
func BenchmarkSwarm(b *testing.B) {
	var sizes []int
	for _, s := range strings.Split(*crowds, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 200 {
			b.Fatalf("-peers %q: %q is no number from 1 to 200", *crowds, s)
		}
		sizes = append(sizes, n)
	}
	f := newFleet(b, slices.Max(sizes)+1, fmt.Sprintf("%dmbit", *links))
	want := f.file(swarmSize)
	took := map[string]map[int][]trip{}
	var tools []entrant
	for _, e := range entrants {
		if *alone && e.name != "peerd" {
			continue
		}
		if !installed(e.needs) {
			b.Logf("%s is left out: not installed", e.name)
			continue
		}
		tools = append(tools, e)
		took[e.name] = map[int][]trip{}
	}
	for round := range *runs {
		for _, n := range sizes {
			for _, e := range tools {
				if e.once && round > 0 {
					continue
				}
				took[e.name][n] = append(took[e.name][n], f.run(e, n, want))
			}
		}
	}
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "32 MiB to N peers at once, links of %d Mbit/s, TCP %s\tN\ts\t(least-most)\tof its N=1\tof ideal\towner sent\tCPU s owner\t"+
		"per peer\tinterrupts\tmachine busy\truns\tdisturbed\t\n", *links, *congestion)
	for _, e := range tools {
		for _, n := range sizes {
			printTrips(w, e.name, n, took[e.name][n], took[e.name][1])
			if e.name == "peerd" {
				_, wall, _ := spread(took[e.name][n], func(t trip) float64 { return t.wall.Seconds() })
				b.ReportMetric(wall, fmt.Sprintf("s-to-%d", n))
			}
		}
	}
	w.Flush()
	fmt.Printf("\n%s\n", out.String())
}

// printTrips prints the medians of what a tool took to n peers, and what it is of its way to one.
func printTrips(w *tabwriter.Writer, name string, n int, took, one []trip) {
	least, wall, most := spread(took, func(t trip) float64 { return t.wall.Seconds() })
	of := func(f func(trip) float64) float64 { _, middle, _ := spread(took, f); return middle }
	ratio := "-"
	if len(one) > 0 {
		_, first, _ := spread(one, func(t trip) float64 { return t.wall.Seconds() })
		ratio = fmt.Sprintf("%.2fx", wall/first)
	}
	disturbed := 0
	for _, t := range took {
		if t.other > t.wall/5+50*time.Millisecond {
			disturbed++
		}
	}
	cores := float64(runtime.NumCPU())
	fmt.Fprintf(w, "%s\t%d\t%.1f\t(%.1f-%.1f)\t%s\t%.2fx\t%.2f files\t%.2f\t%.2f\t%.2f\t%.0f%%\t%d\t%d\t\n", name, n, wall, least, most, ratio,
		wall/ideal().Seconds(), of(func(t trip) float64 { return float64(t.sent) / swarmSize }),
		of(func(t trip) float64 { return t.owner.Seconds() }), of(func(t trip) float64 { return t.peers.Seconds() / float64(n) }),
		of(func(t trip) float64 { return t.interrupts.Seconds() }),
		of(func(t trip) float64 { return 100 * (t.machine + t.interrupts).Seconds() / t.wall.Seconds() / cores }), len(took), disturbed)
}

// spread gives the least, the middle and the greatest of what f tells of samples.
func spread[T any](samples []T, f func(T) float64) (least, middle, most float64) {
	var v []float64
	for _, s := range samples {
		v = append(v, f(s))
	}
	slices.Sort(v)
	return v[0], v[len(v)/2], v[len(v)-1]
}
