package doctor

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// fake is a network, a workgroup and a host in one.
type fake struct {
	peers, others []discovery.Peer
	links         []Link
	heard         Heard
	knocks        map[netip.Addr]Answer
	gone          peer.ID // says goodbye meanwhile
	wakes         peer.ID // speaks meanwhile
}

func (f *fake) Links() ([]Link, error) { return f.links, nil }
func (f *fake) Listen(_ context.Context, links []Link, _ string, speak func()) Heard {
	speak()
	return f.heard
}
func (f *fake) Knock(_ context.Context, at netip.AddrPort) Answer { return f.knocks[at.Addr()] }
func (f *fake) Snapshot() []discovery.Peer                        { return f.peers }
func (f *fake) Others() []discovery.Peer                          { return f.others }
func (f *fake) Get(id peer.ID) (discovery.Peer, bool) {
	i := slices.IndexFunc(f.peers, func(p discovery.Peer) bool { return p.ID == id })
	if i < 0 || id == f.gone {
		return discovery.Peer{}, false
	}
	p := f.peers[i]
	if id == f.wakes {
		p.Heard = time.Now().Add(time.Hour)
	}
	return p, true
}
func (f *fake) Open(context.Context, peer.ID, string, int) (peer.Stream, error) {
	return nil, errors.New("this protocol is not spoken")
}
func (f *fake) Ping(context.Context, peer.ID) (time.Duration, error) { return time.Millisecond, nil }

// patient is one with a fake around it. Only the peers called well answer.
func patient(t *testing.T, f *fake, well ...string) Patient {
	t.Helper()
	state, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := state.Close(); err != nil {
			t.Error(err)
		}
	})
	return Patient{
		ID: "me", Workgroup: "WG", Port: 4455, UsualPort: 4455, MDNS: true, PID: 7, System: linux(), State: state,
		Addrs:    discovery.Addrs(netip.MustParseAddrPort("10.0.0.1:4455")),
		Writable: func() error { return nil }, Network: f, View: f, Host: f, Announce: func() {},
		Introduce: func(_ context.Context, p discovery.Peer) (peer.Info, error) {
			if slices.Contains(well, string(p.Name)) {
				return peer.Info{ID: p.ID, Time: time.Now().Add(time.Hour)}, nil
			}
			return peer.Info{}, errAway
		},
		Programs: func(context.Context) []Firewall { return []Firewall{NFTables} },
		Hash:     func([]byte) {}, Step: 1 << 10, Now: time.Now,
	}
}

func TestExamine(t *testing.T) {
	f := &fake{
		peers: []discovery.Peer{someone("anna", "10.0.0.2"), someone("bert", "10.0.0.3"), someone("carla", "10.0.0.4"), someone("dora", "10.0.0.5")},
		links: []Link{{Name: "eth0", Multicast: true}}, heard: Heard{Own: map[string]bool{"eth0": true}},
		others: []discovery.Peer{of("B", someone("eva", "10.0.0.6"))},
		knocks: map[netip.Addr]Answer{netip.MustParseAddr("10.0.0.3"): Silent, netip.MustParseAddr("10.0.0.4"): Refused, netip.MustParseAddr("10.0.0.5"): Refused},
		wakes:  peer.ID("bert"), gone: peer.ID("dora"),
	}
	p := patient(t, f, "anna")
	var got []string
	for finding, err := range Examine(t.Context(), p) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(finding.Level)+" "+finding.Check+": "+finding.Text)
	}
	want := []string{
		"ok state: ", "ok listen: port 4455 on 10.0.0.1", "ok port: UDP port 5353 is shared with avahi-daemon, dnsmasq", "ok multicast: ",
		"bad firewall: bert (10.0.0.3) announces itself", "warn firewall: ufw, firewalld, nftables is on",
		"warn peers: carla (10.0.0.4) is up", "ok peers: dora (10.0.0.5) left", "ok peers: anna (10.0.0.2) of WG answers",
		"ok workgroup: ", "warn clock: the clock of anna (10.0.0.2) is 1h0m0s ahead", "ok disk: ", "ok hash: ", "ok crypto: ",
		"ok wire: anna (10.0.0.2) answers in 1ms; its speed was not measured", "ok transfer: at most about",
	}
	got = slices.DeleteFunc(got, func(s string) bool { return strings.Contains(s, " files: ") }) // depends on the system
	if len(got) != len(want) {
		t.Fatalf("%d findings, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("finding %q, want %q", got[i], want[i])
		}
	}
	if left, err := os.ReadDir(p.State.Name()); err != nil || len(left) > 0 {
		t.Errorf("%v is left in the state folder, %v", left, err)
	}
}

func TestExamineManyPeers(t *testing.T) {
	f := &fake{}
	for i := range maxAsked + 5 {
		p := someone("p", "10.0.0.2")
		p.ID = peer.ID(rune('a' + i))
		f.peers = append(f.peers, p)
	}
	p := patient(t, f, "p")
	if e := p.gather(t.Context()); len(e.peers) != maxAsked || e.unasked != 5 {
		t.Errorf("%d peers were asked, %d not", len(e.peers), e.unasked)
	}
}

func TestExamineEnds(t *testing.T) {
	p := patient(t, &fake{})
	n := 0
	for _, err := range Examine(t.Context(), p) {
		if n++; err != nil {
			t.Fatal(err)
		}
		if n == 2 {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var last error
	for _, err := range Examine(ctx, p) {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("an examination that was given up ends with %v", last)
	}
}

func TestDiskNotWritable(t *testing.T) {
	p := patient(t, &fake{})
	if err := os.RemoveAll(p.State.Name()); err != nil {
		t.Fatal(err)
	}
	if f, finding := p.disk(t.Context(), evidence{}); f.rate != 0 || finding.Level != control.Warn {
		t.Errorf("%v, %+v", f, finding)
	}
}

func TestWireWithoutPeers(t *testing.T) {
	p := patient(t, &fake{})
	e := evidence{links: []Link{{Name: "eth0"}, {Name: "eth1"}}, speeds: map[string]int{"eth0": 100, "eth1": 1000}}
	if f, finding := p.wire(t.Context(), e); f.rate < 110e6 || f.rate > 125e6 || !strings.Contains(finding.Text, "eth1 does 1000 Mbit/s") {
		t.Errorf("%v, %+v", f, finding)
	}
	p.System = fstest.MapFS{}
	if f, finding := p.wire(t.Context(), evidence{}); f.rate != 0 || finding.Level != control.OK {
		t.Errorf("%v, %+v", f, finding)
	}
}
