//go:build linux

package lantest

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dial connects b to a and gives both ends.
func dial(t *testing.T, a, b *Host) (server, client net.Conn) {
	t.Helper()
	var listener net.Listener
	address := net.JoinHostPort(a.Addr(0).String(), "7000")
	if err := a.Do(func() (err error) { listener, err = net.Listen("tcp", address); return }); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := b.Do(func() (err error) { client, err = net.DialTimeout("tcp", address, limit); return }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server, client
}

// send sends bytes and gives how long it took until the other end had read all.
func send(t *testing.T, from, to net.Conn, size int64) time.Duration {
	t.Helper()
	began := time.Now()
	go from.Write(make([]byte, size)) // if it fails, so does the read
	if err := to.SetReadDeadline(began.Add(limit)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, to, size); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}

func TestLimit(t *testing.T) {
	const size, least = 1 << 20, 350 * time.Millisecond // 1 MiB at 20 Mbit/s, what the burst holds left out
	l := New(t, Options{Hosts: 2, Rate: "20mbit"})
	a, b := l.Hosts[0], l.Hosts[1]
	server, client := dial(t, a, b)
	limited := func(what string, want bool) {
		t.Helper()
		for way, ends := range map[string][2]net.Conn{"to": {server, client}, "from": {client, server}} {
			if took := send(t, ends[0], ends[1], size); want && took < least {
				t.Errorf("%s: 1 MiB %s h2 in %v, want at least %v", what, way, took, least)
			}
		}
		for _, s := range []*space{b.space, l.sw} {
			dev := iface(0)
			if s == l.sw {
				dev = b.port(0)
			}
			out, err := s.output("tc", "qdisc", "show", "dev", dev)
			if err != nil || strings.Contains(out, "tbf") != want {
				t.Errorf("%s: %s has %q, %v", what, dev, out, err)
			}
		}
	}
	limited("from the start", true)
	a.Limit(0, "")
	limited("the other end", true)
	b.Limit(0, "")
	b.Limit(0, "")
	limited("removed", false)
	b.Limit(0, "1gbit")
	b.Limit(0, "20mbit")
	limited("changed", true)
	b.DelIface(0)
	b.AddIface(0)
	server, client = dial(t, a, b)
	limited("a new interface", true)
}

func TestBurst(t *testing.T) {
	for rate, want := range map[string]string{"20mbit": "131072", "500kbit": "131072", "1gbit": "500000", "2.5gbit": "1250000", "fast": "131072"} {
		if got := burst(rate); got != want {
			t.Errorf("a cable of %s carries %s bytes at once, want %s", rate, got, want)
		}
	}
}

func TestCongestion(t *testing.T) {
	l := New(t, Options{Hosts: 2, Congestion: "reno"})
	a, b := l.Hosts[0], l.Hosts[1]
	used := func(want string) {
		t.Helper()
		server, client := dial(t, a, b)
		for _, c := range []net.Conn{server, client} {
			raw, err := c.(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			var got string
			if err2 := raw.Control(func(fd uintptr) { got, err = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION) }); err2 != nil || err != nil {
				t.Fatal(err, err2)
			}
			if got = strings.TrimRight(got, "\x00"); got != want {
				t.Errorf("%v uses %q, want %q", c.LocalAddr(), got, want)
			}
		}
		if out, err := a.space.output("ip", "-6", "route"); err != nil || strings.Count(out, "fe80::/64") != 1 || !strings.Contains(out, "congctl "+want) {
			t.Errorf("IPv6 has %q, %v", out, err)
		}
	}
	used("reno")
	a.Congestion(0, "cubic")
	b.Congestion(0, "cubic")
	used("cubic")
	a.ChangeAddress(0, netip.MustParseAddr("10.77.1.99"))
	b.Congestion(0, "reno")
	used("reno")
}
