package doctor

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

var errAway = errors.New("no answer")

// someone is a peer heard by multicast.
func someone(name, ip string) discovery.Peer {
	return discovery.Peer{
		ID: peer.ID(name), Name: peer.Name(name), Workgroup: "WG", Ways: []discovery.Way{discovery.MDNS},
		Addrs: discovery.Addrs(netip.AddrPortFrom(netip.MustParseAddr(ip), 4455)),
		Heard: time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local),
	}
}

func of(workgroup string, p discovery.Peer) discovery.Peer {
	p.Workgroup = workgroup
	return p
}

func addrs(ips ...string) []netip.Addr {
	var list []netip.Addr
	for _, ip := range ips {
		list = append(list, netip.MustParseAddr(ip))
	}
	return list
}

func TestJudges(t *testing.T) {
	eth := Link{Name: "eth0", Multicast: true, Addrs: addrs("10.0.0.1")}
	wifi := Link{Name: "wlan0", Multicast: true, Addrs: addrs("10.1.0.1")}
	tunnel := Link{Name: "tun0", Addrs: addrs("10.8.0.1")}
	echo := func(others int, names ...string) Heard {
		h := Heard{Own: map[string]bool{}, Others: others}
		for _, n := range names {
			h.Own[n] = true
		}
		return h
	}
	anna, bert := someone("anna", "10.0.0.2"), someone("bert", "10.0.0.3")
	// Each line of want is: level, check, and words that the text and the hint hold.
	type lines = [][]string
	tests := []struct {
		name  string
		judge func(evidence) []control.Finding
		e     evidence
		want  lines
	}{
		{"state is fine", judgeState, evidence{}, lines{{"ok", "state"}}},
		{"state is read-only", judgeState, evidence{writable: errors.New("read-only")}, lines{{"bad", "state", "read-only", "writable for your user"}}},

		{"many files", judgeFiles, evidence{files: files{30, 65536}}, lines{{"ok", "files"}}},
		{"few files", judgeFiles, evidence{files: files{30, 256}}, lines{{"warn", "files", "only 256", "ulimit"}}},
		{"no files left", judgeFiles, evidence{files: files{4000, 4096}}, lines{{"bad", "files", "4000 of 4096"}}},
		{"more files than allowed", judgeFiles, evidence{files: files{5000, 4096}}, lines{{"bad", "files"}}},
		{"no limit of files", judgeFiles, evidence{}, nil},

		{"listening", judgeListening, evidence{port: 4455, usualPort: 4455, addrs: addrs("10.0.0.1", "10.0.0.1")}, lines{{"ok", "listen", "port 4455 on 10.0.0.1"}}},
		{"listening nowhere", judgeListening, evidence{}, lines{{"bad", "listen", "no address"}}},
		{"listening to itself", judgeListening, evidence{port: 1, addrs: addrs("127.0.0.1")}, lines{{"warn", "listen", "nobody else"}}},
		{"without DHCP", judgeListening, evidence{port: 1, addrs: addrs("169.254.3.4", "fe80::1%eth0")}, lines{{"warn", "listen", "DHCP"}}},
		{"IPv6 alone", judgeListening, evidence{addrs: addrs("fe80::1%eth0")}, lines{{"ok", "listen"}}},
		{"another port", judgeListening, evidence{port: 4456, usualPort: 4455, addrs: addrs("10.0.0.1")}, lines{{"ok", "listen", "usual port is 4455", "let in 4456"}}},

		{"port is free", judgePort, evidence{mdns: true}, lines{{"ok", "port"}}},
		{"port is shared", judgePort, evidence{mdns: true, holders: []string{"avahi-daemon"}}, lines{{"ok", "port", "shared with avahi-daemon, which is fine"}}},
		{"port is taken", judgePort, evidence{mdns: true, heard: Heard{Taken: true}, holders: []string{"dnsmasq"}}, lines{{"bad", "port", "dnsmasq has", "--join"}}},
		{"port is taken by who knows", judgePort, evidence{mdns: true, heard: Heard{Taken: true}}, lines{{"bad", "port", "another program", "ss -ulpn"}}},
		{"port is not wanted", judgePort, evidence{heard: Heard{Taken: true}}, nil},

		{"no network", judgeMulticast, evidence{mdns: true}, lines{{"bad", "multicast", "no network"}}},
		{"no list of interfaces", judgeMulticast, evidence{mdns: true, linksErr: errAway}, lines{{"bad", "multicast", "no answer"}}},
		{"no multicast", judgeMulticast, evidence{mdns: true, links: []Link{tunnel}}, lines{{"bad", "multicast", "no interface can multicast: tun0", "--join"}}},
		{"multicast is not heard", judgeMulticast, evidence{mdns: true, links: []Link{eth}, heard: Heard{Err: errAway}}, lines{{"bad", "multicast", "can't be heard"}}},
		{"port stands for multicast", judgeMulticast, evidence{mdns: true, links: []Link{eth}, heard: Heard{Taken: true, Err: errAway}}, nil},
		{"echo is dropped", judgeMulticast, evidence{mdns: true, port: 4455, links: []Link{eth}, heard: echo(0), firewalls: []Firewall{UFW}},
			lines{{"bad", "multicast", "does not come back on eth0", "(ufw)", "sudo ufw allow 5353/udp", "--join"}}},
		{"echo is dropped by who knows", judgeMulticast, evidence{mdns: true, links: []Link{eth}, heard: echo(3)}, lines{{"bad", "multicast", "or the network does"}}},
		{"echo on one of two", judgeMulticast, evidence{mdns: true, links: []Link{eth, wifi, tunnel}, heard: echo(1, "eth0")}, lines{{"warn", "multicast", "but not on wlan0"}}},
		{"alone", judgeMulticast, evidence{mdns: true, links: []Link{eth}, heard: echo(0, "eth0")}, lines{{"warn", "multicast", "nobody else is heard", "AP isolation", "--join"}}},
		{"alone on Wi-Fi", judgeMulticast, evidence{mdns: true, links: []Link{wifi}, heard: echo(0, "wlan0"), wireless: map[string]bool{"wlan0": true}},
			lines{{"warn", "multicast", "on Wi-Fi, guest networks"}}},
		{"nobody runs peerd", judgeMulticast, evidence{mdns: true, links: []Link{eth}, heard: echo(2, "eth0")}, lines{{"ok", "multicast", "2 other computers are heard", "start peerd"}}},
		{"peers are heard", judgeMulticast, evidence{mdns: true, links: []Link{eth}, heard: echo(2, "eth0"), peers: []visit{{peer: anna}}, others: []discovery.Peer{bert}},
			lines{{"ok", "multicast", "2 peers are heard"}}},
		{"switched off", judgeMulticast, evidence{}, lines{{"warn", "multicast", "switched off", "--no-mdns"}}},
		{"switched off and joined", judgeMulticast, evidence{peers: []visit{{peer: anna}}}, lines{{"ok", "multicast", "--join"}}},

		{"nothing to say", judgeFirewall, evidence{}, lines{{"ok", "firewall", "no peer could try"}}},
		{"let in", judgeFirewall, evidence{port: 4455, peers: []visit{{peer: anna, back: Open}}, firewalls: []Firewall{UFW}}, lines{{"ok", "firewall", "anna (10.0.0.2) can connect", "4455"}}},
		{"kept out", judgeFirewall, evidence{port: 4455, peers: []visit{{peer: anna, back: Silent}}, firewalls: []Firewall{Firewalld}},
			lines{{"bad", "firewall", "anna (10.0.0.2) can't connect", "(firewalld)", "--add-port=4455/tcp", "--add-service=mdns"}}},
		{"turned away", judgeFirewall, evidence{peers: []visit{{peer: anna, back: Refused}}}, lines{{"bad", "firewall", "can't connect to this computer", "224.0.0.251"}}},
		{"some let in", judgeFirewall, evidence{peers: []visit{{peer: anna, back: Open}, {peer: bert, back: Silent}}}, lines{{"warn", "firewall", "bert (10.0.0.3) can't"}}},
		{"untried", judgeFirewall, evidence{port: 4455, peers: []visit{{peer: anna}}, firewalls: []Firewall{NFTables}}, lines{{"warn", "firewall", "nftables is on", "4455"}}},
		{"their firewall drops", judgeFirewall, evidence{peers: []visit{{peer: anna, err: errAway, knock: Silent, awake: true}}}, lines{{"bad", "firewall", "anna (10.0.0.2) announces itself"}}},
		{"their firewall rejects", judgeFirewall, evidence{peers: []visit{{peer: anna, err: errAway, knock: Refused, awake: true}}}, lines{{"bad", "firewall", "announces itself"}}},

		{"nobody", judgePeers, evidence{workgroup: "WG"}, lines{{"ok", "peers", "no peer of WG"}}},
		{"two answer", judgePeers, evidence{workgroup: "WG", peers: []visit{{peer: anna}, {peer: bert}}}, lines{{"ok", "peers", "anna (10.0.0.2), bert (10.0.0.3) of WG answer"}}},
		{"more were not asked", judgePeers, evidence{workgroup: "WG", peers: []visit{{peer: anna}}, unasked: 7}, lines{{"ok", "peers", "7 more were not asked"}}},
		{"asleep", judgePeers, evidence{peers: []visit{{peer: anna, err: errAway, knock: Silent}}}, lines{{"warn", "peers", "heard at 03:04:05", "asleep", "wake it up"}}},
		{"ended", judgePeers, evidence{peers: []visit{{peer: anna, err: errAway, knock: Refused}}}, lines{{"warn", "peers", "peerd has ended", "start peerd there"}}},
		{"left", judgePeers, evidence{peers: []visit{{peer: anna, err: errAway, knock: Refused, left: true}}}, lines{{"ok", "peers", "left just now"}}},
		{"somebody else", judgePeers, evidence{peers: []visit{{peer: anna, err: errAway, knock: Open, awake: true}}}, lines{{"warn", "peers", "does not answer as a peer: no answer"}}},
		{"behind a firewall", judgePeers, evidence{peers: []visit{{peer: anna, err: errAway, knock: Silent, awake: true}}}, nil},

		{"no other workgroup", judgeWorkgroup, evidence{workgroup: "WG"}, nil},
		{"others, and ours", judgeWorkgroup, evidence{workgroup: "WG", peers: []visit{{peer: bert}}, others: []discovery.Peer{of("B", anna)}}, lines{{"ok", "workgroup", "this is WG", "B (anna (10.0.0.2))"}}},
		{"others alone", judgeWorkgroup, evidence{workgroup: "WG", others: []discovery.Peer{of("B", anna), of("A", bert), of("B", bert)}},
			lines{{"warn", "workgroup", "A (bert (10.0.0.3)), B (anna (10.0.0.2), bert (10.0.0.3))", "--workgroup"}}},
		{"evil name of a workgroup", judgeWorkgroup, evidence{others: []discovery.Peer{of("x\x1b[2J", anna)}}, lines{{"warn", "workgroup", `x\u{1b}[2J`}}},

		{"clocks agree", judgeClock, evidence{peers: []visit{{peer: anna, skew: maxSkew}}}, lines{{"ok", "clock"}}},
		{"nobody to compare with", judgeClock, evidence{peers: []visit{{peer: anna, err: errAway, skew: time.Hour}}}, nil},
		{"ahead", judgeClock, evidence{peers: []visit{{peer: anna, skew: 3 * time.Minute}, {peer: bert}}}, lines{{"warn", "clock", "anna (10.0.0.2) is 3m0s ahead of ours"}}},
		{"behind", judgeClock, evidence{peers: []visit{{peer: anna, skew: -time.Hour}}}, lines{{"warn", "clock", "1h0m0s behind ours"}}},
		{"ours is off", judgeClock, evidence{peers: []visit{{peer: anna, skew: time.Hour}, {peer: bert, skew: time.Hour}}}, lines{{"warn", "clock", "differs from all of the 2 peers'", "set this computer's clock"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.judge(tt.e)
			if len(got) != len(tt.want) {
				t.Fatalf("findings %+v, want %q", got, tt.want)
			}
			for i, f := range got {
				want := tt.want[i]
				if string(f.Level) != want[0] || f.Check != want[1] {
					t.Errorf("finding %+v, want %q", f, want)
				}
				for _, w := range want[2:] {
					if !strings.Contains(f.Text+" -> "+f.Hint, w) {
						t.Errorf("%q is not in %+v", w, f)
					}
				}
				if f.Level == control.Bad && f.Hint == "" && tt.e.linksErr == nil {
					t.Errorf("%+v does not say what to do", f)
				}
			}
		})
	}
}

func TestSome(t *testing.T) {
	id := func(s string) string { return s }
	for want, list := range map[string][]string{"": nil, "a": {"a"}, "a, b, c, d": {"a", "b", "c", "d"}, "a, b, c, d and 2 more": {"a", "b", "c", "d", "e", "f"}} {
		if got := some(list, id); got != want {
			t.Errorf("some(%q) = %q, want %q", list, got, want)
		}
	}
}

func TestSkew(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	for _, tt := range []struct {
		read, from, to int
		want           time.Duration
	}{{15, 10, 20, 0}, {10, 10, 20, 0}, {9, 10, 20, -time.Second}, {320, 10, 20, 5 * time.Minute}} {
		if got := skew(at(tt.read), at(tt.from), at(tt.to)); got != tt.want {
			t.Errorf("skew(%d, %d, %d) = %v, want %v", tt.read, tt.from, tt.to, got, tt.want)
		}
	}
}

func TestJudgeTransfer(t *testing.T) {
	for _, tt := range []struct {
		name    string
		figures []figure
		level   control.Level
		words   string
	}{
		{"the least", []figure{{"a", 3e9}, {"b", 117e6}, {"c", 0}, {"d", 2e9}}, control.OK, "at most about 117 MB/s on this computer, bounded by b"},
		{"fast", []figure{{"a", 3.14e9}}, control.OK, "3.1 GB/s"},
		{"nothing known", []figure{{}, {}}, control.Warn, "not known"},
	} {
		if f := judgeTransfer(tt.figures); f.Level != tt.level || !strings.Contains(f.Text, tt.words) {
			t.Errorf("%s: %+v", tt.name, f)
		}
	}
}

func TestWayTo(t *testing.T) {
	anna := someone("anna", "10.0.0.2")
	for _, tt := range []struct {
		rate float64
		bits int
		want string
	}{{112e6, 1000, "the network (eth0, 1000 Mbit/s)"}, {60e6, 1000, "the way to anna (10.0.0.2)"}, {60e6, 0, "the way to anna (10.0.0.2)"}} {
		if got := wayTo(anna, tt.rate, "eth0", tt.bits); !strings.HasPrefix(got, tt.want) {
			t.Errorf("wayTo(%v, %v) = %q, want %q", tt.rate, tt.bits, got, tt.want)
		}
	}
}
