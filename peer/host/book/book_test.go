package book

import (
	"testing"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/peerd/peerd/peer"
)

const relayID = "12D3KooWCYg8ZPbUqBiZ7Hm3uWS37sNXDeh7DK5n7ysnPKfmAzJH"

func TestKindOf(t *testing.T) {
	for text, want := range map[string]Kind{
		"/ip4/10.0.0.1/tcp/1":                                             TCP,
		"/ip6zone/eth0/ip6/fe80::1/tcp/1":                                 TCP,
		"/ip4/10.0.0.1/udp/1/quic-v1":                                     QUIC,
		"/ip4/10.0.0.1/tcp/1/p2p/" + relayID + "/p2p-circuit":             Circuit,
		"/ip4/10.0.0.1/udp/1/quic-v1/p2p/" + relayID + "/p2p-circuit":     Circuit,
		"/ip4/10.0.0.1/tcp/1/p2p-circuit":                                 None,
		"/p2p/" + relayID + "/p2p-circuit":                                None,
		"/p2p-circuit":                                                    None,
		"/dns4/example.com/tcp/1/p2p/" + relayID + "/p2p-circuit":         None,
		"/ip4/10.0.0.1/tcp/1/p2p/" + relayID + "/p2p-circuit/p2p-circuit": None,
		"/ip4/10.0.0.1/udp/1":                                             None,
		"/dns4/example.com/tcp/1":                                         None,
		"/ip4/10.0.0.1/tcp/1/ws":                                          None,
	} {
		a := ma.StringCast(text)
		if got := KindOf(a); got != want {
			t.Errorf("%s is of kind %d, want %d", text, got, want)
		}
		if relay := RelayOf(a); (relay != "") != (want == Circuit) || relay != "" && relay.String() != relayID {
			t.Errorf("%s goes by %v", text, relay)
		}
	}
	if KindOf(nil) != None {
		t.Error("no address has a kind")
	}
}

func TestHints(t *testing.T) {
	b := New()
	first, second, learned := ma.StringCast("/ip4/10.0.0.1/tcp/1"), ma.StringCast("/ip4/10.0.0.2/tcp/1"), ma.StringCast("/ip4/10.0.0.3/tcp/1")
	only := func(what string, want peer.Addr) {
		t.Helper()
		if got := b.Addrs("id"); len(got) != 1 || !got[0].Equal(want) {
			t.Errorf("%s: %v", what, got)
		}
	}
	b.Hint("id", []peer.Addr{first})
	only("a hint", first)
	b.Hint("id", []peer.Addr{second})
	only("a later hint", second)
	b.Hint("id", nil)
	only("an empty hint", second)
	b.Set("id", []peer.Addr{learned})
	b.Hint("id", []peer.Addr{first})
	only("a hint after something was learned", learned)
	b.Set("id", nil)
	if b.Addrs("id") != nil || b.Len() != 0 {
		t.Error("it is not forgotten")
	}
}
