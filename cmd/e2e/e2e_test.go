//go:build linux

// Package e2e runs the real peerd on networks of its own and looks at what users see: answers, exit statuses, bytes that
// arrived, bytes on the wire, and time.
package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/cmd/internal/config"
	"github.com/peerd/peerd/cmd/internal/lantest"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/peer/control/client"
)

// Limits that no test reaches unless something hangs.
const (
	quick = 20 * time.Second // for a command that moves no data to speak of
	slow  = 3 * time.Minute  // for one that does
)

// scratch is a folder for all tests, in memory, so that no disk is measured.
var scratch string

// TestMain runs the tests in a mount namespace of their own, where scratch is mounted: it is gone with the last process,
// however that ends.
func TestMain(m *testing.M) {
	if path := os.Getenv(readsOf); path != "" {
		os.Exit(readHereAndThere(path))
	}
	const inside = "PEERD_E2E_SCRATCH"
	if os.Geteuid() != 0 {
		os.Exit(m.Run()) // every test will say why it is skipped
	}
	status, err := 1, error(nil)
	if scratch = os.Getenv(inside); scratch != "" {
		if err = errors.Join(
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			// Room for ten runs of BenchmarkMount, and what the programs keep of it.
			unix.Mount("peerd-e2e", scratch, "tmpfs", 0, "size=16g,mode=755"),
		); err == nil {
			status = m.Run()
		}
	} else if scratch, err = os.MkdirTemp("", "peerd-e2e-"); err == nil {
		runtime.LockOSThread() // the inner process ends with this thread
		inner := exec.Command(os.Args[0], os.Args[1:]...)
		inner.Stdin, inner.Stdout, inner.Stderr = os.Stdin, os.Stdout, os.Stderr
		inner.Env = append(os.Environ(), inside+"="+scratch)
		inner.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		if err = inner.Run(); inner.ProcessState != nil {
			status, err = inner.ProcessState.ExitCode(), nil
		}
		_ = os.Remove(scratch) // the empty place of the mount
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mount a folder in memory:", err)
	}
	os.Exit(status)
}

// program is the peerd under test: built once, as a release is, or with the race detector if PEERD_E2E_RACE=1; or the one that
// PEERD_E2E_BINARY names, to try a release.
var program = sync.OnceValues(func() (string, error) {
	if name := os.Getenv("PEERD_E2E_BINARY"); name != "" {
		return filepath.Abs(name)
	}
	build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(scratch, "peerd"), "../peerd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if os.Getenv("PEERD_E2E_RACE") == "1" {
		build = exec.Command("go", "build", "-race", "-o", filepath.Join(scratch, "peerd"), "../peerd")
		build.Env = append(os.Environ(), "CGO_ENABLED=1")
	}
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return filepath.Join(scratch, "peerd"), nil
})

// node is peerd on a host.
type node struct {
	*lantest.Host
	t      testing.TB
	home   string // of peerd
	peerd  string // the program
	daemon *lantest.Process
	keeper *lantest.Process // lives as long as the host, see reach
	began  time.Time        // the daemon was started
	ready  time.Time        // it said that it was ready
	api    *client.Client
}

// nodes puts peerd on every host of a new network; none is started.
func nodes(t testing.TB, o lantest.Options) ([]*node, *lantest.LAN) {
	t.Helper()
	l := lantest.New(t, o)
	var all []*node
	for _, h := range l.Hosts {
		all = append(all, newNode(t, h, "peerd"))
	}
	return all, l
}

func newNode(t testing.TB, h *lantest.Host, home string) *node {
	t.Helper()
	peerd, err := program()
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Host: h, t: t, home: filepath.Join(h.Home, home), peerd: peerd}
	paths, err := config.FindPaths(n.home, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	n.api = client.New(paths.Socket)
	t.Cleanup(n.api.Close)
	return n
}

func (n *node) command(args ...string) *exec.Cmd {
	return n.Command(n.peerd, append([]string{"--home", n.home}, args...)...)
}

// begin starts the daemon without waiting.
func (n *node) begin(args ...string) {
	n.t.Helper()
	n.began = time.Now()
	n.daemon = n.Host.Start(n.command(append([]string{"run"}, args...)...))
}

// start starts the daemon and waits until it says that it is ready.
func (n *node) start(args ...string) {
	n.t.Helper()
	n.begin(args...)
	n.waitReady()
}

func (n *node) waitReady() {
	n.t.Helper()
	n.daemon.WaitOutput("ready as", quick)
	n.ready = time.Now()
}

// run runs a command of peerd to its end.
func (n *node) run(limit time.Duration, args ...string) lantest.Result {
	n.t.Helper()
	return n.Host.Run(limit, n.command(args...))
}

// ok runs a command that must succeed and gives its standard output.
func (n *node) ok(limit time.Duration, args ...string) string {
	n.t.Helper()
	return n.fails(limit, 0, args...).Stdout
}

// fails runs a command that must end with the status, and without that of success must say why.
func (n *node) fails(limit time.Duration, status int, args ...string) lantest.Result {
	n.t.Helper()
	r := n.run(limit, args...)
	if r.Status != status || status != 0 && !strings.HasPrefix(r.Stderr, "peerd: ") {
		n.t.Fatalf("%s: peerd %s: exit status %d, want %d\n%s%s\ndaemon:\n%s", n.Name, strings.Join(args, " "), r.Status, status,
			r.Stdout, r.Stderr, n.log())
	}
	return r
}

func (n *node) log() string {
	if n.daemon == nil {
		return "not started"
	}
	return tail(n.daemon.Output(), 4000)
}

func tail(s string, size int) string { return s[max(0, len(s)-size):] }

// goroutines ends the daemon, and gives what it was doing: its log, and each kind of goroutine with how many there were.
func (n *node) goroutines() string {
	n.t.Helper()
	_ = n.daemon.Cmd.Process.Signal(syscall.SIGQUIT) // it may have ended
	n.daemon.Wait(quick)
	log, dump, _ := strings.Cut(n.daemon.Output(), "SIGQUIT: quit\n")
	arguments := regexp.MustCompile(`(\([^*)]*\)| in goroutine \d+)$`)
	count := map[string]int{}
	for block := range strings.SplitSeq(dump, "\n\n") {
		head, stack, _ := strings.Cut(strings.TrimSpace(block), "\n")
		if _, state, ok := strings.Cut(head, " ["); ok && strings.Contains(stack, "peerd/peerd/") {
			var calls []string
			for line := range strings.Lines(stack) {
				if line[0] != '\t' {
					call := arguments.ReplaceAllString(strings.TrimSpace(line), "")
					if call = call[strings.LastIndexByte(call, '/')+1:]; !strings.HasPrefix(call, "runtime.") {
						calls = append(calls, call)
					}
				}
			}
			count["["+state+" "+strings.Join(calls, " < ")]++
		}
	}
	var b strings.Builder
	b.WriteString(tail(log, 4000))
	for _, kind := range slices.Sorted(maps.Keys(count)) {
		fmt.Fprintf(&b, "%d × %s\n", count[kind], kind)
	}
	return b.String()
}

// peers gives the others that the daemon knows, by name.
func (n *node) peers() map[string]control.Peer {
	ctx, cancel := context.WithTimeout(context.Background(), quick)
	defer cancel()
	list, err := n.api.Peers(ctx, false)
	if err != nil {
		n.t.Fatalf("%s: peers: %v\ndaemon:\n%s", n.Name, err, n.log())
	}
	byName := map[string]control.Peer{}
	for _, p := range list {
		byName[p.Name] = p
	}
	return byName
}

// fullView waits until all see all, and gives how long that took from the last one's being ready.
func fullView(t testing.TB, limit time.Duration, all ...*node) time.Duration {
	t.Helper()
	var last time.Time
	for _, n := range all {
		if n.ready.After(last) {
			last = n.ready
		}
	}
	before := stalled(t)
	open := append([]*node(nil), all...) // those that do not see all yet
	lantest.WaitFor(t, limit+quick, "all to see all", func() bool {
		for len(open) > 0 {
			if len(open[0].peers()) < len(all)-1 {
				return false
			}
			open = open[1:]
		}
		return true
	})
	took := time.Since(last)
	if most := limit + (stalled(t)-before)/2; took > most {
		t.Errorf("all saw all %v after the last one was ready, want at most %v", took, most)
	}
	return took
}

// stalled is for how long some program of this machine has waited for a processor, since it started; 0 where its kernel does not count
// that. Half of what is added while something happens is what that may last longer: twice as long on a machine that is busy all
// the time.
func stalled(t testing.TB) time.Duration {
	t.Helper()
	b, err := os.ReadFile("/proc/pressure/cpu")
	if err != nil {
		return 0
	}
	m := regexp.MustCompile(`(?m)^some .* total=(\d+)$`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("/proc/pressure/cpu: %q", b)
	}
	us, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(us) * time.Microsecond
}

// write makes a file of a share or of a user.
func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// ram is a folder in scratch for one test.
func ram(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// big makes a folder with one file of random bytes, and gives the file's sum.
func big(t testing.TB, size int64) (dir, sum string) {
	t.Helper()
	dir = ram(t)
	return dir, fill(t, filepath.Join(dir, "big.bin"), size, 1)
}

// fill makes a file of random bytes, the same for the same seed, and gives its sum.
func fill(t testing.TB, name string, size int64, seed byte) (sum string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	random := rand.NewChaCha8([32]byte{seed})
	if _, err := io.CopyN(io.MultiWriter(f, h), random, size); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func sum(t testing.TB, name string) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// tree gives the sum of every file below dir, by path; folders have "dir".
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		switch {
		case d.IsDir():
			all[rel] = "dir"
		case d.Type().IsRegular():
			all[rel] = sum(t, name)
		default:
			all[rel] = d.Type().String()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// sameTree compares what arrived with what was sent.
func sameTree(t testing.TB, sent, arrived string) int {
	t.Helper()
	want, got := tree(t, sent), tree(t, arrived)
	wrong := 0
	for name, s := range want {
		if got[name] != s {
			if wrong++; wrong <= 10 {
				t.Errorf("%s: arrived as %q, sent as %q", name, got[name], s)
			}
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("%s arrived and was never sent", name)
	}
	return len(want)
}

// usage is what a process took: from /proc, see proc(5).
type usage struct {
	cpu      time.Duration // user and system
	rss, hwm int64         // resident now and at most, in bytes
}

func (n *node) usage() usage {
	n.t.Helper()
	const tick = time.Second / 100 // USER_HZ
	dir := "/proc/" + strconv.Itoa(n.daemon.Cmd.Process.Pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		n.t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	number := func(s string) int64 {
		v, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			n.t.Fatalf("%s/stat: %v", dir, err)
		}
		return v
	}
	u := usage{cpu: time.Duration(number(fields[11])+number(fields[12])) * tick}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		n.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		f := strings.Fields(line)
		switch f[0] {
		case "VmRSS:":
			u.rss = number(f[1]) << 10
		case "VmHWM:":
			u.hwm = number(f[1]) << 10
		}
	}
	return u
}
