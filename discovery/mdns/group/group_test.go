package group

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNear(t *testing.T) {
	l := Link{Name: "eth0", Nets: []netip.Prefix{netip.MustParsePrefix("10.1.2.3/16"), netip.MustParsePrefix("fe80::1/64"), netip.MustParsePrefix("fd00::1/64")}}
	for text, want := range map[string]bool{
		"10.1.9.9": true, "10.2.0.1": false, "127.0.0.1": false,
		"fe80::2%eth0": true, "fe80::2%eth1": false, "fe80::2": false,
		"fd00::9": true, "fd00:0:0:1::9": false, "2001:db8::1": false,
	} {
		if got := l.Near(netip.MustParseAddr(text)); got != want {
			t.Errorf("Near(%s) = %v", text, got)
		}
	}
}

func TestLinkAddrs(t *testing.T) {
	var l Link
	for n := range 2 * MaxFamily {
		l.Nets = append(l.Nets, netip.MustParsePrefix(fmt.Sprintf("10.0.0.%d/24", n+1)))
	}
	if got := len(l.Addrs(false)); got != MaxFamily || l.Has(true) || !l.Has(false) {
		t.Errorf("%d addresses, IPv6 %v", got, l.Has(true))
	}
	ranked := []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::1"), netip.MustParseAddr("10.0.0.1")}
	slices.SortFunc(ranked, func(a, b netip.Addr) int { return rank(a) - rank(b) })
	if got := fmt.Sprint(ranked); got != "[10.0.0.1 fe80::1 2001:db8::1]" {
		t.Errorf("ranked %s", got)
	}
}

// loop is the loopback interface, as Links gives it when it is named.
func loop(t *testing.T) Link {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback != 0 {
			list, err := Links([]string{i.Name})
			if err != nil || len(list) != 1 || !list[0].Loopback || !list[0].Has(false) || list[0].Has(true) {
				t.Fatalf("Links(%s) = %+v, %v", i.Name, list, err)
			}
			return list[0]
		}
	}
	t.Skip("no loopback interface")
	return Link{}
}

func TestLinks(t *testing.T) {
	lo := loop(t)
	again := loop(t)
	if !lo.Equal(again) {
		t.Errorf("%+v is not %+v", lo, again)
	}
	again.Index++
	if lo.Equal(again) {
		t.Error("an interface made anew is taken for the old one")
	}
	if list, err := Links([]string{"no-such"}); err != nil || len(list) != 0 {
		t.Errorf("an interface that is not there: %+v, %v", list, err)
	}
}

// TestSockets: all sockets of the group hear what one says, and a packet from elsewhere is not heard.
func TestSockets(t *testing.T) {
	lo := loop(t)
	heard := make(chan string, 10)
	var sockets []*Socket
	ended := make(chan error)
	for n := range 2 {
		s, err := Open(t.Context(), lo, false)
		if err != nil {
			t.Fatal(err)
		}
		sockets = append(sockets, s)
		go func() {
			ended <- s.Read(func(b []byte, from netip.AddrPort) {
				if string(b) == "hello" { // others may use the port at the same time
					heard <- fmt.Sprint(n, " ", string(b), " ", from)
				}
			})
		}()
	}
	if err := sockets[0].Multicast([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range sockets {
		select {
		case s := <-heard:
			got = append(got, s)
		case <-time.After(5 * time.Second):
			t.Fatalf("only heard %v", got)
		}
	}
	if slices.Sort(got); fmt.Sprint(got) != "[0 hello 127.0.0.1:5353 1 hello 127.0.0.1:5353]" {
		t.Errorf("heard %v", got)
	}
	for _, s := range sockets {
		s.Close()
		if err := <-ended; err == nil {
			t.Error("Read ended without a reason")
		}
	}
}

// TestFarPackets: what was not sent on the link itself is dropped.
func TestFarPackets(t *testing.T) {
	lo := loop(t)
	s, err := Open(t.Context(), lo, false)
	if err != nil {
		t.Fatal(err)
	}
	s.Link.Nets = []netip.Prefix{netip.MustParsePrefix("10.1.2.3/16")} // as if it were another
	heard, ended := make(chan string, 10), make(chan error)
	go func() {
		ended <- s.Read(func(b []byte, _ netip.AddrPort) {
			if string(b) == "from afar" {
				heard <- string(b)
			}
		})
	}()
	c, err := net.Dial("udp4", "127.0.0.1:5353")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 3 {
		if _, err := c.Write([]byte("from afar")); err != nil {
			t.Fatal(err)
		}
	}
	time.AfterFunc(50*time.Millisecond, func() { s.Close() })
	<-ended
	if len(heard) != 0 {
		t.Error("heard a packet from another network")
	}
}

// TestWatch: what changed before it listened is news as well; and it ends.
func TestWatch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	changed, ended := make(chan struct{}, 1), make(chan error)
	go func() {
		ended <- Watch(ctx, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	}()
	select {
	case <-changed:
	case <-time.After(5 * time.Second):
		t.Error("Watch does not say that it has begun to listen")
	}
	cancel()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("Watch goes on after its context")
	}
}
