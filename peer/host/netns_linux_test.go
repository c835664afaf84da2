package host_test

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/peertest"
)

// What the children of TestLinkLocalOnly are told.
const (
	envTarget = "PEERD_TEST_TARGET" // the ID to connect to, or "" to serve
	envAddr   = "PEERD_TEST_ADDR"
)

const netnsDeadAfter = 3 * time.Second

// TestLinkLocalOnly connects two network namespaces by a cable without any address but the kernel's own fe80::, and then
// pulls it.
func TestLinkLocalOnly(t *testing.T) {
	if os.Getuid() != 0 || testing.Short() {
		t.Skip("it needs root, for network namespaces, and time")
	}
	a, b := fmt.Sprintf("peerd-a-%d", os.Getpid()), fmt.Sprintf("peerd-b-%d", os.Getpid())
	for _, ns := range []string{a, b} {
		if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
			t.Skipf("no network namespaces: %v: %s", err, out)
		}
		t.Cleanup(func() { ip(t, "netns", "del", ns) })
	}
	ip(t, "-n", a, "link", "add", "va", "type", "veth", "peer", "name", "vb", "netns", b)
	ip(t, "-n", a, "link", "set", "va", "up")
	ip(t, "-n", b, "link", "set", "vb", "up")
	fe80 := linkLocal(t, b, "vb")
	linkLocal(t, a, "va")

	_, server := child(t, b)
	id := server()
	for _, kind := range []string{"tcp/4455", "udp/4455/quic-v1"} {
		t.Run(kind, func(t *testing.T) {
			ip(t, "-n", b, "link", "set", "vb", "up")
			linkLocal(t, b, "vb")
			eventuallyUp(t, a)
			stdin, client := child(t, a, envTarget+"="+id, envAddr+"=/ip6zone/va/ip6/"+fe80+"/"+kind)
			if line := client(); line != "up" {
				t.Fatal(line)
			}
			ip(t, "-n", b, "link", "set", "vb", "down")
			start := time.Now()
			line := client()
			t.Logf("%v after the cable was pulled: %s", time.Since(start).Round(time.Millisecond), line)
			if d := time.Since(start); !strings.HasPrefix(line, "unreachable") || d > 2*netnsDeadAfter {
				t.Errorf("after %v: %q", d, line)
			}
			stdin.Close()
		})
	}
}

func ip(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %v: %v: %s", args, err, out)
	}
	return string(out)
}

// linkLocal waits until the kernel is sure of an interface's link-local address.
func linkLocal(t *testing.T, ns, dev string) (addr string) {
	t.Helper()
	eventually(t, "the link-local address is ready", func() bool {
		out := ip(t, "-n", ns, "-6", "-o", "addr", "show", "dev", dev, "scope", "link", "-tentative")
		if fields := strings.Fields(out); len(fields) > 3 {
			if p, err := netip.ParsePrefix(fields[3]); err == nil {
				addr = p.Addr().String()
			}
		}
		return addr != ""
	})
	return addr
}

func eventuallyUp(t *testing.T, ns string) {
	t.Helper()
	eventually(t, "the cable is in", func() bool {
		return strings.Contains(ip(t, "-n", ns, "link", "show", "va"), "state UP")
	})
}

// child runs this test program again inside a network namespace, and gives its input and a reader of its lines.
func child(t *testing.T, ns string, env ...string) (io.WriteCloser, func() string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", ns, exe, "-test.run=^TestNetnsChild$", "-test.v=false")
	cmd.Env = append(os.Environ(), "PEERD_TEST_CHILD=1")
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	lines := bufio.NewScanner(out)
	return in, func() string {
		if !lines.Scan() {
			return "the child ended"
		}
		return lines.Text()
	}
}

// TestNetnsChild is one side of TestLinkLocalOnly.
func TestNetnsChild(t *testing.T) {
	if os.Getenv("PEERD_TEST_CHILD") == "" {
		t.Skip("it is a part of TestLinkLocalOnly")
	}
	h := peertest.Start(t, func(c *host.Config) { c.Listen, c.DeadAfter = nil, netnsDeadAfter })
	target := os.Getenv(envTarget)
	if target == "" {
		h.Handle(echo, 4, serveEcho)
		fmt.Println(h.ID())
		io.Copy(io.Discard, os.Stdin)
		return
	}
	id, err := peer.ParseID(target)
	if err != nil {
		t.Fatal(err)
	}
	h.Learn(id, []peer.Addr{ma.StringCast(os.Getenv(envAddr))})
	if err := roundTrip(t, h, id, 1, "lane 1"); err != nil {
		fmt.Println("lane 1:", err)
		return
	}
	s, err := h.Open(within(t, 10*time.Second), id, echo, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	b := []byte("x")
	if _, err := s.Write(b); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := io.ReadFull(s, b); err != nil {
		fmt.Println(err)
		return
	}
	if err := s.SetReadDeadline(time.Now().Add(10 * netnsDeadAfter)); err != nil {
		t.Fatal(err)
	}
	fmt.Println("up")
	_, err = s.Read(b)
	fmt.Println(peer.KindOf(err), err)
	io.Copy(io.Discard, os.Stdin)
}
