//go:build linux && !race

package mdns

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/discovery/discoverytest"
)

// TestFifty starts 50 peers at once and measures: how long until all see each other, the packets that takes, and what
// they cost when nothing happens.
func TestFifty(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	const hosts = 50
	l := newLAN(t, lanOptions{hosts: hosts})
	l.count()
	nodes := make([]*node, hosts)
	begin := time.Now()
	for i := range nodes {
		nodes[i] = l.start(i+1, nodeConfig{Number: i + 1, Shares: []string{"Documents", "Music", "Pictures", "Public"}})
	}
	t.Logf("full view %s after the last of %d started, %s after the first", full(t, 2*time.Second, nodes...), hosts, time.Since(begin))
	for time.Since(begin) < 10*time.Second {
		time.Sleep(10 * time.Millisecond)
	}
	multicast, unicast := l.packets()
	t.Logf("first 10 s: %d packets by multicast, %d by unicast", multicast, unicast)
	if multicast+unicast > 20_000 {
		t.Errorf("a storm of %d packets", multicast+unicast)
	}

	const idle = 30 * time.Second
	before := cpu(t, nodes)
	time.Sleep(idle) // measures a stretch of time, waits for nothing
	used := cpu(t, nodes) - before
	m, u := l.packets()
	t.Logf("idle: %.4f %% of a core per peer, %.2f multicast and %.2f unicast packets/s on the network",
		100*used.Seconds()/idle.Seconds()/hosts, float64(m-multicast)/idle.Seconds(), float64(u-unicast)/idle.Seconds())

	asked := nodes[0].stop()
	var noticed []time.Duration
	for _, n := range nodes[1:] {
		eventually(t, 2*time.Second, "the leaver is gone", func() bool { _, ok := n.sees(nodes[0]); return !ok })
		noticed = append(noticed, n.gone[discoverytest.ID(1).String()].Sub(asked))
	}
	slices.Sort(noticed)
	t.Logf("leaver noticed after %s, at most %s", noticed[len(noticed)/2], noticed[len(noticed)-1])

	joiner := l.start(1, nodeConfig{Number: hosts + 1})
	t.Logf("joiner sees all and is seen by all after %s", full(t, 3*time.Second, append(slices.Clone(nodes[1:]), joiner)...))
}

// count makes the switch count mDNS packets.
func (l *lan) count() {
	cmd := exec.Command("ip", "netns", "exec", l.prefix+"sw", "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(`table bridge f { chain c { type filter hook prerouting priority 0
		ip daddr 224.0.0.251 counter accept
		ip6 daddr ff02::fb udp dport 5353 counter accept
		udp sport 5353 counter
		}
		}
		`)
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("nft: %v: %s", err, out)
	}
}

func (l *lan) packets() (multicast, unicast int) {
	out, err := exec.Command("ip", "netns", "exec", l.prefix+"sw", "nft", "list", "table", "bridge", "f").Output()
	if err != nil {
		l.t.Fatal(err)
	}
	var counts []int
	for _, m := range regexp.MustCompile(`counter packets (\d+)`).FindAllSubmatch(out, -1) {
		n, _ := strconv.Atoi(string(m[1]))
		counts = append(counts, n)
	}
	if len(counts) != 3 {
		l.t.Fatalf("no counters in %s", out)
	}
	return counts[0] + counts[1], counts[2]
}

// cpu is the time that all threads of all nodes ran.
func cpu(t *testing.T, nodes []*node) time.Duration {
	var sum time.Duration
	for _, n := range nodes {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", n.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", n.cmd.Process.Pid, task.Name()))
			ns, _, _ := bytes.Cut(b, []byte(" "))
			d, _ := strconv.ParseInt(string(ns), 10, 64)
			sum += time.Duration(d)
		}
	}
	return sum
}
