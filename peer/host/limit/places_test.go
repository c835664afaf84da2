package limit

import (
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/peerd/peerd/peer"
)

// crowd has peers connect to a manager and open streams.
type crowd struct {
	*manager
	t *testing.T
}

func newCrowd(t *testing.T) crowd {
	t.Helper()
	m, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	own := m.(*manager)
	own.places.patience = 0
	return crowd{own, t}
}

// from connects a new peer.
func (c crowd) from(addr string) (peer.ID, network.ConnManagementScope) {
	c.t.Helper()
	id := testID(c.t)
	scope, err := c.OpenConnection(network.DirInbound, true, ma.StringCast(addr+"/tcp/4455"))
	if err != nil {
		c.t.Fatal(err)
	}
	if err := scope.SetPeer(id); err != nil {
		c.t.Fatal(err)
	}
	return id, scope
}

// streams opens up to n streams of a peer, each of which names its protocol.
func (c crowd) streams(id peer.ID, n int) (open []network.StreamManagementScope) {
	c.t.Helper()
	for range n {
		if s, err := c.OpenStream(id, network.DirInbound); err == nil {
			if err := s.SetProtocol("/test/1"); err != nil {
				c.t.Fatal(err)
			}
			open = append(open, s)
		}
	}
	return open
}

// sum is how many streams there are in all.
func (c crowd) sum() (n int) {
	_ = c.ViewSystem(func(s network.ResourceScope) error { n = s.Stat().NumStreamsInbound; return nil })
	return n
}

// TestStrangersLeaveRoom: whatever peers without any right do, whoever has one is served, and with few addresses they
// don't keep other strangers out either.
func TestStrangersLeaveRoom(t *testing.T) {
	c := newCrowd(t)
	friend, _ := c.from("/ip4/192.168.1.2")
	first := c.streams(friend, 1)
	if len(first) != 1 {
		t.Fatal("a stranger has no stream")
	}
	Welcome(first[0])
	for range 12 { // throw-away IDs of one address
		id, _ := c.from("/ip4/192.168.1.66")
		if n := len(c.streams(id, PeerStreams)); n > 8 {
			t.Errorf("a stranger has %d streams", n)
		}
	}
	if n := c.sum() - 1; n != 32 {
		t.Errorf("strangers of one address have %d streams", n)
	}
	newcomer, _ := c.from("/ip4/192.168.1.3")
	if n := len(c.streams(newcomer, 8)); n != 8 {
		t.Errorf("a newcomer has %d streams", n)
	}
	for host := range 40 { // of many addresses
		for range 4 {
			id, _ := c.from(fmt.Sprintf("/ip4/192.168.2.%d", host))
			c.streams(id, PeerStreams)
		}
	}
	if n := c.sum() - 1; n != maxOneWay/3 {
		t.Errorf("all strangers together have %d streams", n)
	}
	if n := len(c.streams(friend, PeerStreams-1)); n != PeerStreams-1 {
		t.Errorf("who has a right has %d streams", n)
	}
	others := 0
	for host := range 8 {
		id, _ := c.from(fmt.Sprintf("/ip4/192.168.3.%d", host))
		c.places.welcome(id)
		others += len(c.streams(id, 8))
	}
	if others != 64 {
		t.Errorf("others with a right have %d streams", others)
	}
}

// TestStrangersOfNet: an IPv6 network of a link has all its computers in one /64, and one of them may have any number of
// addresses there.
func TestStrangersOfNet(t *testing.T) {
	c := newCrowd(t)
	for host := range 40 {
		id, _ := c.from(fmt.Sprintf("/ip6zone/eth0/ip6/fe80::%x", host+1))
		c.streams(id, PeerStreams)
	}
	if n := c.sum(); n != 96 {
		t.Errorf("strangers of one /64 have %d streams", n)
	}
	id, _ := c.from("/ip6/fd00::1")
	if n := len(c.streams(id, 8)); n != 8 {
		t.Errorf("a stranger elsewhere has %d", n)
	}
}

// TestManyOfOneHost: with rights that anybody gets, one address still leaves room for others.
func TestManyOfOneHost(t *testing.T) {
	c := newCrowd(t)
	for range 8 {
		id, _ := c.from("/ip4/192.168.1.66")
		c.places.welcome(id)
		c.streams(id, PeerStreams)
	}
	if n := c.sum(); n != maxOneWay*2/3 {
		t.Errorf("one address has %d streams", n)
	}
	id, _ := c.from("/ip4/192.168.1.2")
	if n := len(c.streams(id, 8)); n != 8 {
		t.Errorf("a stranger elsewhere has %d", n)
	}
	own := newCrowd(t) // programs of this computer
	for range 6 {
		id, _ := own.from("/ip4/127.0.0.1")
		own.places.welcome(id)
		own.streams(id, PeerStreams)
	}
	if n := own.sum(); n != maxOneWay {
		t.Errorf("this computer has %d streams", n)
	}
}

// TestWelcome: the streams that a peer had count no more among those of strangers once it shows a right, and it has room
// for as long as a grant lives.
func TestWelcome(t *testing.T) {
	c := newCrowd(t)
	now := time.Now()
	c.places.now = func() time.Time { return now }
	id, conn := c.from("/ip4/192.168.1.2")
	open := c.streams(id, PeerStreams)
	if len(open) != 8 {
		t.Fatalf("a stranger has %d streams", len(open))
	}
	waiting := make(chan bool)
	c.places.patience = time.Hour
	go func() { // it waits, and comes in with the others
		_, err := c.OpenStream(id, network.DirInbound)
		waiting <- err == nil
	}()
	for waits := false; !waits; time.Sleep(time.Millisecond) {
		c.places.mu.Lock()
		waits = c.places.freed != nil
		c.places.mu.Unlock()
	}
	Welcome(open[3])
	if !<-waiting {
		t.Error("the stream that waited was refused")
	}
	c.places.patience = 0
	open = append(open, c.streams(id, 20)...)
	if len(open) != 28 {
		t.Errorf("who showed a right has %d streams", len(open)+1)
	}
	now = now.Add(knownFor)
	if n := len(c.streams(id, 10)); n != 8 {
		t.Errorf("after its grant's life a peer has %d streams more", n)
	}
	for _, s := range open {
		s.Done()
		s.Done() // once more does no harm
	}
	if n := c.places.used[count{kind: strangersOfID, id: id}]; n != 8 {
		t.Errorf("%d streams count as a stranger's", n)
	}
	conn.Done()
	conn.Done()
	if len(c.places.addrs) != 0 {
		t.Errorf("%d addresses are left", len(c.places.addrs))
	}
}

// TestPlacesAreGivenBack leaves nothing behind.
func TestPlacesAreGivenBack(t *testing.T) {
	c := newCrowd(t)
	for host := range 20 {
		id, conn := c.from(fmt.Sprintf("/ip6/fd00::%x", host+1))
		open := c.streams(id, 8)
		for i, s := range open {
			if i == 4 {
				Welcome(s)
			}
			if i%2 == 0 {
				_ = Carry(s)
			}
		}
		for _, s := range open {
			s.Done()
		}
		conn.Done()
	}
	if p := c.places; len(p.used)+len(p.addrs)+len(p.strange) != 0 {
		t.Errorf("left are %v, %v, %v", p.used, p.addrs, p.strange)
	}
	for range maxKnown + 10 {
		c.places.welcome(peer.ID(fmt.Sprint(len(c.places.known), time.Now().UnixNano())))
	}
	if n := len(c.places.known); n > maxKnown {
		t.Errorf("%d peers are remembered", n)
	}
}

// TestCarry: what libraries carry for long takes no stranger's place, nor all that there is.
func TestCarry(t *testing.T) {
	c := newCrowd(t)
	id, _ := c.from("/ip4/192.168.1.2")
	for range 32 { // as a relay's circuits
		s := c.streams(id, 1)
		if len(s) != 1 {
			t.Fatal("a stream that should be carried gets no place")
		}
		if err := Carry(s[0]); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.streams(id, PeerStreams)); n != 8 {
		t.Errorf("beside them it has %d streams", n)
	}
	refused := 0
	for host := range 30 {
		id, _ := c.from(fmt.Sprintf("/ip4/192.168.2.%d", host))
		for range 20 {
			for _, s := range c.streams(id, 1) {
				if Carry(s) != nil {
					refused++
					s.Done()
				}
			}
		}
	}
	if n := c.places.used[count{kind: carriedAll}]; n != maxOneWay/3 || refused == 0 {
		t.Errorf("%d are carried, %d were refused", n, refused)
	}
}
