//go:build linux

package doctor

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/peerd/peerd/cmd/internal/lantest"
	"github.com/peerd/peerd/peer/control"
)

// sick is one computer on a network with the real peerd running.
type sick struct {
	*lantest.Host
	t       *testing.T
	program string
}

// build builds the program once for all tests that want it.
var build = sync.OnceValues(func() ([]byte, error) {
	cmd := exec.Command("go", "build", "-trimpath", "-o", realProgram, "../../peerd") // as a release is: other steps have compiled it already
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return cmd.CombinedOutput()
})

func hosts(t *testing.T, n int) []sick {
	t.Helper()
	l := lantest.New(t, lantest.Options{Hosts: n})
	if out, err := build(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	var list []sick
	for _, h := range l.Hosts {
		list = append(list, sick{h, t, realProgram})
	}
	return list
}

func (s sick) command(args ...string) *exec.Cmd {
	return s.Command(s.program, append([]string{"--home", filepath.Join(s.Home, "peerd")}, args...)...)
}

func (s sick) start(args ...string) *lantest.Process {
	s.t.Helper()
	p := s.Start(s.command(append([]string{"run"}, args...)...))
	p.WaitOutput("ready as", 20*time.Second)
	return p
}

// sees waits until the host's peerd knows another by name.
func (s sick) sees(name string) {
	s.t.Helper()
	lantest.WaitFor(s.t, 10*time.Second, s.Name+" to see "+name, func() bool {
		return strings.Contains(s.Run(10*time.Second, s.command("peers", "--json")).Stdout, `"`+name+`"`)
	})
}

// doctor runs "peerd doctor" and gives its findings by check.
func (s sick) doctor() (found map[string][]control.Finding, status int) {
	s.t.Helper()
	r := s.Run(20*time.Second, s.command("doctor", "--json"))
	if r.Took > 5*time.Second {
		s.t.Errorf("the doctor took %v", r.Took)
	}
	found = make(map[string][]control.Finding)
	for d := json.NewDecoder(strings.NewReader(r.Stdout)); d.More(); {
		var f control.Finding
		if err := d.Decode(&f); err != nil {
			s.t.Fatalf("%v in %q\n%s", err, r.Stdout, r.Stderr)
		}
		s.t.Logf("%s: %-4s %s: %s -> %s", s.Name, f.Level, f.Check, f.Text, f.Hint)
		found[f.Check] = append(found[f.Check], f)
	}
	s.t.Logf("%s: status %d after %v", s.Name, r.Status, r.Took)
	return found, r.Status
}

// expect looks for a finding of a check, at a level, whose text or hint has all of some words.
func expect(t *testing.T, found map[string][]control.Finding, level control.Level, check string, words ...string) {
	t.Helper()
	for _, f := range found[check] {
		all := f.Level == level
		for _, w := range words {
			all = all && strings.Contains(f.Text+" "+f.Hint, w)
		}
		if all {
			return
		}
	}
	t.Errorf("%s: no finding %s with %q in %+v", check, level, words, found[check])
}

func TestRealHealthy(t *testing.T) {
	h := hosts(t, 2)
	h[0].start()
	h[1].start()
	h[0].sees("h2")
	found, status := h[0].doctor()
	if status != 0 {
		t.Errorf("status %d", status)
	}
	expect(t, found, control.OK, "multicast", "eth0", "1 peer is heard")
	expect(t, found, control.OK, "port")
	expect(t, found, control.OK, "peers", "h2 (10.77.0.2)", "answers")
	expect(t, found, control.OK, "clock")
	expect(t, found, control.OK, "wire", "h2 (10.77.0.2) answers in")
	for _, check := range []string{"state", "files", "listen", "disk", "hash", "crypto", "transfer"} {
		expect(t, found, control.OK, check)
	}
}

func TestRealNoMulticast(t *testing.T) {
	h := hosts(t, 1)
	if r := h[0].Run(5*time.Second, h[0].Command("ip", "link", "set", "eth0", "multicast", "off")); r.Status != 0 {
		t.Fatal(r.Stderr)
	}
	h[0].start()
	found, status := h[0].doctor()
	if status != 1 {
		t.Errorf("status %d, want 1", status)
	}
	expect(t, found, control.Bad, "multicast", "no interface can multicast", "eth0", "--join")
}

func TestRealFirewallOnConnections(t *testing.T) {
	h := hosts(t, 2)
	h[0].Firewall(9) // multicast DNS may come in, and not our port
	h[0].start()
	h[1].start()
	h[1].sees("h1")
	h[0].sees("h2")

	found, status := h[1].doctor()
	if status != 1 {
		t.Errorf("status %d, want 1", status)
	}
	expect(t, found, control.Bad, "firewall", "h1 (10.77.0.1)", "announces itself but can't be reached")

	found, _ = h[0].doctor()
	if len(found["firewall"]) == 0 || found["firewall"][0].Level == control.OK || !strings.Contains(found["firewall"][0].Text, "nftables") {
		t.Errorf("the doctor behind the firewall says %+v", found["firewall"])
	}
}

func TestRealFirewallOnMulticast(t *testing.T) {
	h := hosts(t, 1)
	if r := h[0].Run(5*time.Second, h[0].Command("nft", "add table inet t; add chain inet t in { type filter hook input priority 0; }; add rule inet t in udp dport 5353 drop")); r.Status != 0 {
		t.Fatal(r.Stderr)
	}
	h[0].start()
	found, _ := h[0].doctor()
	expect(t, found, control.Bad, "multicast", "does not come back on eth0", "nftables", "5353", "--join")
}

func TestRealPortTaken(t *testing.T) {
	h := hosts(t, 1)
	var taken []net.PacketConn
	for _, network := range []string{"udp4", "udp6"} {
		err := h[0].Do(func() error {
			c, err := net.ListenPacket(network, ":5353")
			taken = append(taken, c)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	h[0].start()
	found, status := h[0].doctor()
	if status != 1 {
		t.Errorf("status %d, want 1", status)
	}
	self, err := os.ReadFile("/proc/self/comm") // however this test is called
	if err != nil {
		t.Fatal(err)
	}
	expect(t, found, control.Bad, "port", strings.TrimSpace(string(self))+" has UDP port 5353 for itself", "--join")
	for _, c := range taken {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestRealAvahiBeside(t *testing.T) {
	lantest.Need(t, "avahi-daemon", "dbus-daemon")
	h := hosts(t, 1)
	h[0].Avahi()
	h[0].start()
	found, _ := h[0].doctor()
	expect(t, found, control.OK, "port", "shared with avahi-daemon")
}

func TestRealOtherWorkgroupAndSleepers(t *testing.T) {
	h := hosts(t, 4)
	h[0].start()
	h[1].start("--workgroup", "ATELIER")
	asleep, ended := h[2].start(), h[3].start()
	h[0].sees("h3")
	h[0].sees("h4")
	ended.Kill() // without a goodbye
	h[2].Unplug(0)

	// A query that was under way as they went tells of them up to 0.4 s later.
	var found map[string][]control.Finding
	lantest.WaitFor(t, 20*time.Second, "the doctor sees that h3 and h4 are quiet", func() bool {
		found, _ = h[0].doctor()
		return len(found["firewall"]) == 0 || found["firewall"][0].Level == control.OK
	})
	expect(t, found, control.OK, "workgroup", "ATELIER (h2 (10.77.0.2))")
	expect(t, found, control.Warn, "peers", "h3 (10.77.0.3)", "asleep")
	expect(t, found, control.Warn, "peers", "h4 (10.77.0.4)", "its peerd has ended")
	asleep.Kill()
}
