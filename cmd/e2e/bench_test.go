//go:build linux

package e2e

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

var (
	runs       = flag.Int("runs", 5, "how often a benchmark runs each tool")
	congestion = flag.String("congestion", "cubic", "how TCP avoids congestion in benchmarks, whatever this system is set to")
	before     = flag.String("before", "", "an older peerd that BenchmarkBefore runs beside the present one")
)

// newRig makes hosts with peerd on each, two of which are the rig's, and a folder for what is to be fetched.
func newRig(b *testing.B, hosts int) *rig {
	r, all := bareRig(b, lantest.Options{Hosts: hosts})
	for _, h := range all {
		r.peers = append(r.peers, newNode(b, h, "peerd"))
	}
	return r
}

// bareRig makes hosts as o says, and the rig's folders. All is in memory, what programs keep as well: a disk on one side of a comparison
// would decide it.
func bareRig(b *testing.B, o lantest.Options) (*rig, []*lantest.Host) {
	dir := ram(b)
	o.Congestion, o.Homes = *congestion, dir
	hosts := lantest.New(b, o).Hosts
	r := &rig{tb: b, server: hosts[0], client: hosts[1], address: hosts[0].Addr(0).String(),
		src: dir + "/src", dst: dir + "/dst", work: dir + "/work"}
	if err := errors.Join(os.Mkdir(r.src, 0o755), os.Mkdir(r.work, 0o755)); err != nil {
		b.Fatal(err)
	}
	return r, hosts
}

// BenchmarkBig fetches one file of 1 GiB from page cache to memory.
func BenchmarkBig(b *testing.B) {
	newRig(b, 2).compareBig(b, "1 GiB, one file", toolMakers)
}

// BenchmarkBefore fetches one file of 1 GiB by an older peerd, by the present one, and by https.
func BenchmarkBefore(b *testing.B) {
	if *before == "" {
		b.Skip("no older program is named: -before PATH")
	}
	old, err := filepath.Abs(*before)
	if err != nil {
		b.Fatal(err)
	}
	r := newRig(b, 4)
	r.compareBig(b, "1 GiB, one file, before and now", []toolMaker{
		{"peerd before", nil, func(r *rig) tool {
			for _, n := range r.peers[2:] {
				n.peerd = old
			}
			return peerdPair(r, r.peers[2], r.peers[3], "BEFORE")
		}},
		toolMakers[0],
		toolMakers[1],
	})
}

// compareBig puts the big file in place and compares how tools fetch it.
func (r *rig) compareBig(b *testing.B, title string, makers []toolMaker) {
	dir, want := big(b, gib)
	if err := os.Rename(dir, r.src+"/big"); err != nil {
		b.Fatal(err)
	}
	r.compare(b, title, gib, makers, func(t tool) *exec.Cmd { return t.big }, func() {
		if got := sum(b, r.dst+"/big.bin"); got != want {
			b.Errorf("sum %s, want %s", got, want)
		}
	})
}

// BenchmarkSmall fetches 10,000 files of 4 KiB in 100 folders.
func BenchmarkSmall(b *testing.B) {
	const folders, files, size = 100, 100, 4 << 10
	r := newRig(b, 2)
	block := bytes.Repeat([]byte("x"), size)
	for i := range folders {
		dir := fmt.Sprintf("%s/small/d%02d", r.src, i)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		for j := range files {
			copy(block, fmt.Sprintf("file %d of folder %d", j, i))
			if err := os.WriteFile(fmt.Sprintf("%s/f%02d", dir, j), block, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	r.compare(b, "10,000 files of 4 KiB", folders*files*size, toolMakers, func(t tool) *exec.Cmd { return t.small }, func() {
		sameTree(b, r.src+"/small", r.dst+"/small")
	})
}

// sample is what one run took.
type sample struct {
	wall                 time.Duration
	serverCPU, clientCPU time.Duration
	serverRSS, clientRSS int64 // peak, bytes
	disturbed            bool  // others took more than a fifth of a core
}

// compare runs every installed tool in turn, several times, and prints the medians. The first round warms up.
func (r *rig) compare(b *testing.B, title string, size int64, makers []toolMaker, command func(tool) *exec.Cmd, check func()) {
	var tools []tool
	for _, m := range makers {
		if !installed(m.needs) {
			b.Logf("%s is left out: not installed", m.name)
			continue
		}
		if t := m.make(r); command(t) != nil {
			t.name = m.name
			tools = append(tools, t)
		}
	}
	samples := make([][]sample, len(tools))
	for round := range *runs + 1 {
		for i, t := range tools {
			if err := os.RemoveAll(r.dst); err != nil {
				b.Fatal(err)
			}
			if err := os.Mkdir(r.dst, 0o755); err != nil {
				b.Fatal(err)
			}
			s := r.measure(t, clone(command(t)))
			check()
			if round > 0 {
				samples[i] = append(samples[i], s)
			}
		}
	}
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%s, median of %d runs in turn\tMB/s\t(least-most)\ts\tCPU s server\tclient\tboth\tpeak MiB server\tclient\tdisturbed\t\n", title, *runs)
	for i, t := range tools {
		of := func(f func(sample) float64) (least, middle, most float64) {
			var v []float64
			for _, s := range samples[i] {
				v = append(v, f(s))
			}
			slices.Sort(v)
			return v[0], v[len(v)/2], v[len(v)-1]
		}
		least, rate, most := of(func(s sample) float64 { return float64(size) / 1e6 / s.wall.Seconds() })
		_, wall, _ := of(func(s sample) float64 { return s.wall.Seconds() })
		_, server, _ := of(func(s sample) float64 { return s.serverCPU.Seconds() })
		_, client, _ := of(func(s sample) float64 { return s.clientCPU.Seconds() })
		_, both, _ := of(func(s sample) float64 { return (s.serverCPU + s.clientCPU).Seconds() })
		_, _, serverRSS := of(func(s sample) float64 { return float64(s.serverRSS >> 20) })
		_, _, clientRSS := of(func(s sample) float64 { return float64(s.clientRSS >> 20) })
		disturbed := 0
		for _, s := range samples[i] {
			if s.disturbed {
				disturbed++
			}
		}
		fmt.Fprintf(w, "%s\t%.0f\t(%.0f-%.0f)\t%.2f\t%.2f\t%.2f\t%.2f\t%.0f\t%.0f\t%d\t\n",
			t.name, rate, least, most, wall, server, client, both, serverRSS, clientRSS, disturbed)
		if t.name == "peerd" {
			b.ReportMetric(rate, "MB/s")
			b.ReportMetric(both, "cpu-s")
		}
	}
	w.Flush()
	fmt.Printf("\n%s\n", out.String())
}

// measure runs one fetch and counts the time of all processes of both sides.
func (r *rig) measure(t tool, cmd *exec.Cmd) sample {
	r.tb.Helper()
	server, client := trees(t.server), trees(t.client)
	for pid := range merge(server, client) {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0) // resets VmHWM
	}
	began, busy := time.Now(), machineCPU()
	p := r.client.Start(cmd)
	own := []*lantest.Process{p}
	var s sample
	for ended := false; !ended; {
		_, ended = p.Wait(20 * time.Millisecond)
		s.serverRSS = max(s.serverRSS, peak(trees(t.server)))
		s.clientRSS = max(s.clientRSS, peak(trees(append(own, t.client...))))
		if time.Since(began) > slow {
			p.Kill()
			r.tb.Fatalf("%s: not done after %v\n%s", t.name, slow, p.Output())
		}
	}
	s.wall = p.Took()
	busy = machineCPU() - busy
	if !cmd.ProcessState.Success() {
		r.tb.Fatalf("%s: %v\n%s", t.name, cmd.ProcessState, p.Output())
	}
	// A server that forks has counted a child's time once it waited for it.
	lantest.WaitFor(r.tb, quick, t.name+" to be idle", func() bool { return len(trees(t.server)) <= len(server) })
	s.serverCPU = cpu(trees(t.server)) - cpu(server)
	s.clientCPU = cpu(trees(t.client)) - cpu(client) + cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	s.disturbed = busy-s.serverCPU-s.clientCPU > s.wall/5+50*time.Millisecond
	return s
}

// interruptCPU is the time that the whole machine spent in interrupts: passing packets on is most of it here.
func interruptCPU() time.Duration { return machineTicks(6, 8) }

// machineTicks adds up fields of the first line of /proc/stat, see proc(5).
func machineTicks(first, end int) time.Duration {
	b, _ := os.ReadFile("/proc/stat")
	var sum int64
	for _, field := range strings.Fields(string(b))[first:end] {
		ticks, _ := strconv.ParseInt(field, 10, 64)
		sum += ticks
	}
	return time.Duration(sum) * (time.Second / 100)
}

// machineCPU is the time that the processes of the whole machine took, interrupts and this one left out.
func machineCPU() time.Duration {
	var own unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &own) // it can't fail with this argument
	return machineTicks(1, 4) - time.Duration(own.Utime.Nano()+own.Stime.Nano())
}

// process is one process as /proc shows it.
type process struct {
	parent int
	cpu    time.Duration // its own and that of children it waited for
	peak   int64         // greatest resident size in bytes
}

// trees gives processes with all that they forked, by ID.
func trees(roots []*lantest.Process) map[int]process {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	all := map[int]process{}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		var p process
		p.parent, _ = strconv.Atoi(f[1])
		for _, field := range f[11:15] {
			ticks, _ := strconv.ParseInt(field, 10, 64)
			p.cpu += time.Duration(ticks) * (time.Second / 100)
		}
		all[pid] = p
	}
	kept := map[int]process{}
	for pid := range all {
		for up := pid; up > 1; up = all[up].parent {
			if slices.ContainsFunc(roots, func(r *lantest.Process) bool { return r.Cmd.Process.Pid == up }) {
				p := all[pid]
				p.peak = highWater(pid)
				kept[pid] = p
			}
		}
	}
	return kept
}

// highWater is VmHWM of a process in bytes, 0 when it ended.
func highWater(pid int) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	f := strings.Fields(rest)
	if len(f) == 0 {
		return 0
	}
	kib, _ := strconv.ParseInt(f[0], 10, 64)
	return kib << 10
}

func merge(a, b map[int]process) map[int]process {
	all := map[int]process{}
	for _, m := range []map[int]process{a, b} {
		for pid, p := range m {
			all[pid] = p
		}
	}
	return all
}

func cpu(all map[int]process) (sum time.Duration) {
	for _, p := range all {
		sum += p.cpu
	}
	return sum
}

func peak(all map[int]process) (sum int64) {
	for _, p := range all {
		sum += p.peak
	}
	return sum
}
