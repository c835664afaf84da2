//go:build linux

package lantest

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const limit = 10 * time.Second

func ping(t *testing.T, from *Host, args ...string) bool {
	t.Helper()
	Need(t, "ping")
	return from.Run(limit, from.Command("ping", append([]string{"-c1", "-W3", "-n"}, args...)...)).Status == 0
}

func TestHostsAreApart(t *testing.T) {
	l := New(t, Options{Hosts: 3})
	for _, h := range l.Hosts {
		if got := h.Run(limit, h.Command("hostname")).Stdout; got != h.Name+"\n" {
			t.Errorf("hostname of %s is %q", h.Name, got)
		}
		if got := h.Run(limit, h.Command("sh", "-c", "cd; pwd; ls /run")).Stdout; got != h.Home+"\n" {
			t.Errorf("home and /run of %s: %q", h.Name, got)
		}
	}
	if own, _ := os.Hostname(); own == "h1" || own == "switch" {
		t.Errorf("the host name of a namespace reached the test's own: %q", own)
	}
	if !ping(t, l.Hosts[0], l.Hosts[2].Addr(0).String()) {
		t.Error("h1 does not reach h3 over IPv4")
	}
	if !ping(t, l.Hosts[0], "ff02::1%eth0") {
		t.Error("nobody answers h1 over IPv6")
	}
}

func TestFamilies(t *testing.T) {
	v4 := New(t, Options{Hosts: 2, Family: IPv4Only})
	if ping(t, v4.Hosts[0], "ff02::1%eth0") {
		t.Error("IPv6 works on a LAN without it")
	}
	v6 := New(t, Options{Hosts: 2, Family: IPv6Only})
	if ping(t, v6.Hosts[0], v6.Hosts[1].Addr(0).String()) {
		t.Error("IPv4 works on a LAN without it")
	}
	if !ping(t, v6.Hosts[0], "ff02::1%eth0") {
		t.Error("IPv6 does not work")
	}
}

func TestTwoLANs(t *testing.T) {
	// h1 on LAN 0, h2 on both, h3 on LAN 1
	l := New(t, Options{Hosts: 3, LANs: 2, Attached: func(host, lan int) bool { return host == 1 || host == 2*lan }})
	h := l.Hosts
	if !ping(t, h[0], h[1].Addr(0).String()) || !ping(t, h[2], h[1].Addr(1).String()) {
		t.Error("the host on both LANs is not reached on each")
	}
	if ping(t, h[0], h[2].Addr(1).String()) {
		t.Error("two LANs are one")
	}
}

func TestCable(t *testing.T) {
	l := New(t, Options{Hosts: 2})
	a, b := l.Hosts[0], l.Hosts[1]
	reaches := func() bool { return ping(t, a, b.Addr(0).String()) }
	b.Unplug(0)
	if reaches() {
		t.Error("reached by a pulled cable")
	}
	b.Plug(0)
	WaitFor(t, limit, "the cable to work again", reaches)
	b.DelIface(0)
	if reaches() {
		t.Error("reached without an interface")
	}
	b.AddIface(0)
	WaitFor(t, limit, "the new interface to work", reaches)
	old := b.Addr(0)
	b.ChangeAddress(0, netip.MustParseAddr("10.77.1.99"))
	if !reaches() || ping(t, a, old.String()) {
		t.Error("the address did not change")
	}
}

func TestLoss(t *testing.T) {
	l := New(t, Options{Hosts: 2, Loss: 0.5, Family: IPv4Only})
	const sent = 1000
	before := l.Hosts[1].Traffic(0)
	err := l.Hosts[0].Do(func() error {
		conn, err := net.Dial("udp", "224.0.0.251:9") // multicast needs no ARP, which would be lost as well
		if err != nil {
			return err
		}
		defer conn.Close()
		for range sent {
			if _, err := conn.Write([]byte("x")); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got := l.Hosts[1].Traffic(0).ReceivedPackets - before.ReceivedPackets
	if got < sent*2/5 || got > sent*3/5 {
		t.Errorf("of %d packets %d arrived, want about half", sent, got)
	}
}

func TestFirewall(t *testing.T) {
	l := New(t, Options{Hosts: 2, Firewall: 4455})
	for port, want := range map[string]bool{"4455": true, "4456": false} {
		var listener net.Listener
		address := net.JoinHostPort(l.Hosts[0].Addr(0).String(), port)
		if err := l.Hosts[0].Do(func() (err error) { listener, err = net.Listen("tcp", address); return }); err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		err := l.Hosts[1].Do(func() error {
			conn, err := net.DialTimeout("tcp", address, time.Second)
			if err == nil {
				conn.Close()
			}
			return err
		})
		if (err == nil) != want {
			t.Errorf("port %s: %v", port, err)
		}
	}
}

func TestSniff(t *testing.T) {
	l := New(t, Options{Hosts: 2})
	s := l.Sniff(0)
	for _, to := range []string{"224.0.0.251:5353", "[ff02::fb%eth0]:5353"} {
		err := l.Hosts[0].Do(func() error {
			conn, err := net.Dial("udp", to)
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Write([]byte("hello " + to))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		WaitFor(t, limit, "a frame to "+to, func() bool {
			for _, p := range s.UDP(5353) {
				if bytes.HasPrefix(p, []byte("hello "+to)) {
					return true
				}
			}
			return false
		})
	}
}

func TestAvahi(t *testing.T) {
	Need(t, "dbus-daemon", "avahi-daemon", "avahi-browse", "avahi-publish")
	l := New(t, Options{Hosts: 2})
	l.Hosts[0].Avahi()
	l.Hosts[1].Avahi()
	l.Hosts[0].Start(l.Hosts[0].Command("avahi-publish", "-s", "here", "_lantest._tcp", "7"))
	WaitFor(t, limit, "the service to be seen", func() bool {
		return strings.Contains(l.Hosts[1].Run(limit, l.Hosts[1].Command("avahi-browse", "-rtp", "_lantest._tcp")).Stdout, ";here;")
	})
}

func TestProcess(t *testing.T) {
	h := New(t, Options{Hosts: 1}).Hosts[0]
	p := h.Start(h.Command("sh", "-c", `trap 'echo bye; exit 3' TERM; echo hi; while :; do sleep 0.05; done`))
	p.WaitOutput("hi", limit)
	if status := p.Stop(); status != 3 || !strings.HasSuffix(p.Output(), "bye\n") {
		t.Errorf("status %d, output %q", status, p.Output())
	}
	r := h.Run(limit, h.Command("sh", "-c", "echo out; echo err >&2; exit 5"))
	if r.Stdout != "out\n" || r.Stderr != "err\n" || r.Status != 5 {
		t.Errorf("got %+v", r)
	}
}

// TestNothingStays runs a test process that starts a program which forks, and is killed at once.
func TestNothingStays(t *testing.T) {
	const victim = "PEERD_LANTEST_VICTIM"
	if os.Getenv(victim) != "" {
		h := New(t, Options{Hosts: 1}).Hosts[0]
		p := h.Start(h.Command("sh", "-c", "setsid sleep 1000 & echo forked $!; wait"))
		p.WaitOutput("forked", limit)
		_ = os.WriteFile(os.Getenv(victim), []byte(strings.TrimPrefix(p.Output(), "forked ")), 0o600)
		select {}
	}
	Need(t, "ip", "setsid")
	file := t.TempDir() + "/pid"
	cmd := exec.Command(os.Args[0], "-test.run=^TestNothingStays$")
	cmd.Env = append(os.Environ(), victim+"="+file, "TMPDIR="+filepath.Dir(file)) // it can't tidy up
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid string
	WaitFor(t, limit, "the victim", func() bool { b, _ := os.ReadFile(file); pid = strings.TrimSpace(string(b)); return pid != "" })
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	sweep(t)
	WaitFor(t, limit, "the end of what the victim left", func() bool {
		b, err := os.ReadFile("/proc/" + pid + "/cmdline")
		return err != nil || len(b) == 0
	})
}

// TestRouter has packets pass between two LANs, but no multicast, and then those of one host alone.
func TestRouter(t *testing.T) {
	l := New(t, Options{Hosts: 4, LANs: 2, Attached: func(host, lan int) bool { return host/2 == lan }})
	r := l.Route()
	ping := func(from int, to string) bool {
		h := l.Hosts[from]
		return h.Run(10*time.Second, h.Command("ping", "-c1", "-W1", to)).Status == 0
	}
	there := l.Hosts[2].Addr(1).String()
	if !ping(0, there) || !ping(0, "fd00:2::3") || !ping(0, "fd00:1::2") {
		t.Error("nothing passes between the LANs")
	}
	sniffer := l.Sniff(1)
	h := l.Hosts[0]
	h.Run(10*time.Second, h.Command("ping", "-c1", "-W1", "-t9", "224.0.0.251"))
	if got := len(sniffer.UDP(5353)); got != 0 {
		t.Errorf("%d multicast packets passed", got)
	}
	r.Between(l.Hosts[1].Addr(0))
	if ping(0, there) || ping(2, l.Hosts[0].Addr(0).String()) {
		t.Error("packets pass that should be dropped")
	}
	if !ping(1, there) || !ping(2, l.Hosts[1].Addr(0).String()) {
		t.Error("the one host does not get through")
	}
}
