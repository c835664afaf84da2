package adapter_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	core "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host/adapter"
	"github.com/peerd/peerd/peer/peertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// TestStreams has a handler that returns before it is done with its stream, as go-libp2p's may.
func TestStreams(t *testing.T) {
	ah, bh := peertest.Start(t), peertest.Start(t)
	a, b := adapter.New(ah), adapter.New(bh)
	b.SetStreamHandler("/test/1", func(s network.Stream) {
		go func() {
			if _, err := io.Copy(s, s); err != nil {
				_ = s.Reset()
				return
			}
			_ = s.Close()
		}()
	})
	if _, err := a.NewStream(network.WithNoDial(t.Context(), "test"), b.ID(), "/test/1"); err == nil {
		t.Error("it dialled although told not to")
	}
	if err := a.Connect(within(t, 10*time.Second), core.AddrInfo{ID: b.ID(), Addrs: b.Addrs()}); err != nil {
		t.Fatal(err)
	}
	s, err := a.NewStream(network.WithNoDial(within(t, 10*time.Second), "test"), b.ID(), "/test/1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(s, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(s); err != nil || string(got) != "hello" {
		t.Errorf("read %q, %v", got, err)
	}
	b.RemoveStreamHandler("/test/1")
	s, err = a.NewStream(within(t, 10*time.Second), b.ID(), "/test/1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("a protocol that is not served any more gives %v", err)
	}
	_ = s.Reset()
}

// TestLastingStreams: what a library carries for long, as a relay does, leaves a peer its few streams as a stranger.
func TestLastingStreams(t *testing.T) {
	ah, bh := peertest.Start(t), peertest.Start(t)
	a, b := adapter.New(ah), adapter.New(bh)
	b.SetStreamHandler("/test/1", func(s network.Stream) {
		go func() {
			_, _ = io.Copy(s, s)
			_ = s.Close()
		}()
	})
	if err := a.Connect(within(t, 10*time.Second), core.AddrInfo{ID: b.ID(), Addrs: b.Addrs()}); err != nil {
		t.Fatal(err)
	}
	for i := range 16 {
		s, err := a.NewStream(within(t, 10*time.Second), b.ID(), "/test/1")
		if err != nil {
			t.Fatal(err)
		}
		defer s.Reset()
		if err := s.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(s, "x"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
			t.Fatalf("stream %d: %v", i+1, err)
		}
	}
}

// TestGateHolds has a library give addresses that are not to be dialled.
func TestGateHolds(t *testing.T) {
	h := peertest.Start(t)
	a := adapter.New(h)
	other := peertest.Start(t).ID()
	err := a.Connect(within(t, 10*time.Second), core.AddrInfo{ID: other, Addrs: []ma.Multiaddr{ma.StringCast("/ip4/8.8.8.8/tcp/4455")}})
	if peer.KindOf(err) != peer.Unreachable {
		t.Errorf("got %v", err)
	}
	known := ma.StringCast("/ip4/10.0.0.1/tcp/1")
	h.Learn(other, []peer.Addr{known})
	a.Peerstore().AddAddrs(other, []ma.Multiaddr{ma.StringCast("/ip4/10.6.6.6/tcp/1")}, peerstore.PermanentAddrTTL)
	if got := a.Peerstore().Addrs(other); len(got) != 1 || !got[0].Equal(known) {
		t.Errorf("a hint replaced what was learned: %v", got)
	}
	if a.Peerstore().PrivKey(a.ID()) == nil || a.Peerstore().PrivKey(other) != nil {
		t.Error("the keys are wrong")
	}
}

func TestPortable(t *testing.T) {
	addrs := func(list ...string) (out []peer.Addr) {
		for _, s := range list {
			out = append(out, ma.StringCast(s))
		}
		return out
	}
	for _, c := range []struct{ in, want []peer.Addr }{
		{addrs("/ip6zone/eth0/ip6/fe80::1/tcp/1", "/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1"), addrs("/ip6/fe80::1/tcp/1", "/ip4/10.0.0.1/tcp/1")},
		{addrs("/ip6zone/eth0/ip6/fe80::1/tcp/1", "/ip6zone/eth1/ip6/fe80::1/tcp/1"), addrs("/ip6/fe80::1/tcp/1")},
		{addrs("/ip4/127.0.0.1/tcp/1"), addrs("/ip4/127.0.0.1/tcp/1")},
		{nil, nil},
	} {
		got := adapter.Portable(c.in)
		if len(got) != len(c.want) {
			t.Errorf("%v: got %v", c.in, got)
			continue
		}
		for i := range got {
			if !got[i].Equal(c.want[i]) {
				t.Errorf("%v: got %v", c.in, got)
			}
		}
	}
}
