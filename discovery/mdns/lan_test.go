//go:build linux

package mdns

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/peerd/peerd/discovery/discoverytest"
)

// lan is a network of namespaces joined by bridges, removed when the test ends.
type lan struct {
	t      *testing.T
	prefix string
	opt    lanOptions
}

type lanOptions struct {
	hosts    int
	nets     int  // parallel networks, one interface of each host in each; 0 is 1
	no4, no6 bool // families that are missing
	noRoute  bool // for multicast, which the library's client can't do without
	lonely   bool // the hosts are not plugged in yet
}

var leftover = regexp.MustCompile(`^pdm(\d+)[sh]`)

// newLAN makes a network, or skips the test where that is not possible.
func newLAN(t *testing.T, opt lanOptions) *lan {
	t.Helper()
	need(t, "ip", "nft")
	if out, err := exec.Command("ip", "netns", "add", fmt.Sprintf("pdm%dst", os.Getpid())).CombinedOutput(); err != nil {
		skip(t, "no network namespaces: "+string(out))
	}
	_ = exec.Command("ip", "netns", "del", fmt.Sprintf("pdm%dst", os.Getpid())).Run()
	sweep()
	l := &lan{t: t, prefix: fmt.Sprintf("pdm%d", os.Getpid()), opt: opt}
	t.Cleanup(l.remove)
	l.ip("netns", "add", l.prefix+"sw")
	for _, family := range []string{"ipv4", "ipv6"} { // the table is shared by all namespaces; 50 × 50 neighbours overflow it
		raise(t, "/proc/sys/net/"+family+"/neigh/default/gc_thresh3", 32768)
	}
	for k := range max(opt.nets, 1) {
		br := fmt.Sprintf("br%d", k)
		l.ip("-n", l.prefix+"sw", "link", "add", br, "type", "bridge", "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0")
		l.ip("-n", l.prefix+"sw", "link", "set", br, "up")
	}
	for h := 1; h <= opt.hosts; h++ {
		l.ip("netns", "add", l.host(h))
		l.ip("-n", l.host(h), "link", "set", "lo", "up")
		for k := range max(opt.nets, 1) {
			if !opt.lonely {
				l.plug(h, k)
			}
		}
	}
	return l
}

func need(t *testing.T, tools ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		skip(t, "needs root")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			skip(t, "needs "+tool)
		}
	}
}

// skip skips a test that this computer can't run; where all are meant to run it fails.
func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// sweep removes what test processes left that are no more.
func sweep() {
	out, _ := exec.Command("ip", "netns", "list").Output()
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		m := leftover.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		if pid, _ := strconv.Atoi(m[1]); syscall.Kill(pid, 0) == syscall.ESRCH {
			_ = exec.Command("ip", "netns", "del", name).Run()
		}
	}
}

func raise(t *testing.T, path string, least int) {
	t.Helper()
	b, _ := os.ReadFile(path)
	if n, _ := strconv.Atoi(strings.TrimSpace(string(b))); n < least {
		if err := os.WriteFile(path, []byte(strconv.Itoa(least)), 0); err != nil {
			t.Logf("raise %s: %v", path, err)
		}
	}
}

func (l *lan) host(h int) string { return fmt.Sprintf("%sh%d", l.prefix, h) }

func (l *lan) ip(args ...string) {
	l.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		l.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// sh runs a shell command as a host.
func (l *lan) sh(h int, script string) string {
	l.t.Helper()
	out, err := exec.Command("ip", "netns", "exec", l.host(h), "sh", "-c", script).CombinedOutput()
	if err != nil {
		l.t.Fatalf("host %d: %s: %v: %s", h, script, err, out)
	}
	return string(out)
}

// plug gives a host an interface eth<k> on network k, with addresses at once.
func (l *lan) plug(h, k int) {
	l.t.Helper()
	sw, ns, port, eth := l.prefix+"sw", l.host(h), fmt.Sprintf("p%d.%d", h, k), fmt.Sprintf("eth%d", k)
	l.ip("-n", sw, "link", "add", port, "type", "veth", "peer", "name", eth, "netns", ns)
	l.ip("-n", sw, "link", "set", port, "master", fmt.Sprintf("br%d", k), "up")
	if l.opt.no6 {
		l.sh(h, "echo 1 >/proc/sys/net/ipv6/conf/"+eth+"/disable_ipv6")
	} else {
		l.sh(h, "echo 0 >/proc/sys/net/ipv6/conf/"+eth+"/accept_dad")
	}
	if !l.opt.no4 {
		l.ip("-n", ns, "addr", "add", fmt.Sprintf("%s/16", l.addr(h, k)), "brd", "+", "dev", eth)
	}
	l.ip("-n", ns, "link", "set", eth, "up")
	if k == 0 && !l.opt.no4 && !l.opt.noRoute {
		l.ip("-n", ns, "route", "replace", "224.0.0.0/4", "dev", eth)
	}
}

// addr is the IPv4 address of a host on a network.
func (l *lan) addr(h, k int) string { return fmt.Sprintf("10.%d.%d.%d", 80+k, h/250, h%250+1) }

func (l *lan) unplug(h, k int) { l.ip("-n", l.host(h), "link", "del", fmt.Sprintf("eth%d", k)) }

// nft loads rules for a host's input.
func (l *lan) nft(h int, rules string) {
	l.t.Helper()
	cmd := exec.Command("ip", "netns", "exec", l.host(h), "nft", "-f", "-")
	cmd.Stdin = strings.NewReader("table inet f { chain input { type filter hook input priority 0; " + strings.ReplaceAll(rules, ";", "\n") + "\n}\n}\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("nft: %v: %s", err, out)
	}
}

func (l *lan) remove() {
	for h := 1; h <= l.opt.hosts; h++ {
		_ = exec.Command("ip", "netns", "del", l.host(h)).Run()
	}
	_ = exec.Command("ip", "netns", "del", l.prefix+"sw").Run()
}

// node is one running peer.
type node struct {
	t      *testing.T
	config nodeConfig
	cmd    *exec.Cmd
	in     io.WriteCloser
	done   chan struct{} // closed when its output ended
	ready  time.Time     // when it began; under mu

	mu    sync.Mutex
	view  map[string]nodeEvent
	first map[string]time.Time
	gone  map[string]time.Time
}

// start runs a peer in a host.
func (l *lan) start(h int, c nodeConfig) *node {
	l.t.Helper()
	if c.Port == 0 {
		c.Port = 4455
	}
	if c.Name == "" {
		c.Name = fmt.Sprintf("host%d", c.Number)
	}
	config, err := json.Marshal(c)
	if err != nil {
		l.t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	n := &node{t: l.t, config: c, done: make(chan struct{}),
		view: map[string]nodeEvent{}, first: map[string]time.Time{}, gone: map[string]time.Time{}}
	n.cmd = exec.Command("ip", "netns", "exec", l.host(h), exe) // execs, so that the process is the peer
	n.cmd.Env = append(os.Environ(), nodeEnv+"="+string(config), "GOMAXPROCS=2", "GORACE=atexit_sleep_ms=0")
	n.cmd.Stderr = os.Stderr
	n.cmd.Dir = filepath.Dir(exe)
	if n.in, err = n.cmd.StdinPipe(); err != nil {
		l.t.Fatal(err)
	}
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	go n.follow(out)
	l.t.Cleanup(func() { n.stop() })
	return n
}

func (n *node) follow(out io.Reader) {
	defer close(n.done)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var e nodeEvent
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		n.mu.Lock()
		switch {
		case e.ID == "":
			n.ready = e.At
		case e.Gone:
			delete(n.view, e.ID)
			n.gone[e.ID] = e.At
		default:
			n.view[e.ID] = e
			if _, ok := n.first[e.ID]; !ok {
				n.first[e.ID] = e.At
			}
		}
		n.mu.Unlock()
	}
}

// stop ends a peer in order and says when it was told to.
func (n *node) stop() time.Time {
	at := time.Now()
	if n.cmd.ProcessState != nil {
		return at
	}
	_ = n.cmd.Process.Signal(syscall.SIGTERM)
	force := time.AfterFunc(10*time.Second, func() { n.t.Errorf("node %d hangs", n.config.Number); _ = n.cmd.Process.Kill() })
	defer force.Stop()
	<-n.done
	if err := n.cmd.Wait(); err != nil {
		n.t.Errorf("node %d: %v", n.config.Number, err)
	}
	return at
}

// sees gives what a node knows of another now.
func (n *node) sees(other *node) (nodeEvent, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e, ok := n.view[discoverytest.ID(other.config.Number).String()]
	return e, ok
}

func (n *node) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.view)
}

// eventually waits until a condition holds, and says how long. That may take limit, and as much more as this computer was late meanwhile.
func eventually(t *testing.T, limit time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	const patience = 20 * time.Second
	late, start := lateness(), time.Now()
	for !holds() {
		if time.Since(start) > limit+patience {
			late()
			t.Fatalf("not within %s: %s", limit+patience, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
	took := time.Since(start)
	if by := late(); took > limit+by {
		t.Errorf("%s: after %s, want at most %s; this computer was %s late", what, took, limit, by)
	}
	return took
}

// lateness tells, when it is asked, by how much this computer was late since: by how much in all a goroutine of this process woke late,
// or half of the time for which some process, as a node is, waited for a processor, whichever is more.
func lateness() func() time.Duration {
	const nap = 10 * time.Millisecond
	before := waited()
	stop, sum := make(chan struct{}), make(chan time.Duration, 1)
	go func() {
		var late time.Duration
		for {
			began := time.Now()
			select {
			case <-stop:
				sum <- late
				return
			case <-time.After(nap):
				late += time.Since(began) - nap
			}
		}
	}()
	return func() time.Duration {
		close(stop)
		return max(<-sum, (waited()-before)/2)
	}
}

// waited is for how long some process has waited for a processor since this computer started; 0 where its kernel does not count that.
func waited() time.Duration {
	b, _ := os.ReadFile("/proc/pressure/cpu")
	var us int64
	if m := regexp.MustCompile(`(?m)^some .* total=(\d+)$`).FindSubmatch(b); m != nil {
		us, _ = strconv.ParseInt(string(m[1]), 10, 64)
	}
	return time.Duration(us) * time.Microsecond
}

// full waits until all nodes see each other, and says how long after the last of them began.
func full(t *testing.T, limit time.Duration, nodes ...*node) time.Duration {
	t.Helper()
	var last time.Time
	for _, n := range nodes {
		eventually(t, time.Minute, "the peer runs", func() bool { return !n.readyAt().IsZero() })
		if n.readyAt().After(last) {
			last = n.readyAt()
		}
	}
	eventually(t, limit, "everybody sees everybody", func() bool {
		for _, n := range nodes {
			if n.count() < len(nodes)-1 {
				return false
			}
		}
		return true
	})
	return time.Since(last)
}

func (n *node) readyAt() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ready
}
