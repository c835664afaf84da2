// Package peertest runs several peers in one process, for tests.
package peertest

import (
	"crypto/rand"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/peerd/peerd/peer/host"
)

// Key makes a new identity.
func Key(t testing.TB) crypto.PrivKey {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Start runs a host on a free port of 127.0.0.1 until the test ends. Each option changes its configuration first.
func Start(t testing.TB, options ...func(*host.Config)) *host.Host {
	t.Helper()
	cfg := host.Config{Key: Key(t), Listen: []string{"127.0.0.1:0"}}
	for _, change := range options {
		change(&cfg)
	}
	h, err := host.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// Hosts starts n hosts of which each knows where the others are.
func Hosts(t testing.TB, n int, options ...func(*host.Config)) []*host.Host {
	t.Helper()
	hosts := make([]*host.Host, n)
	for i := range hosts {
		hosts[i] = Start(t, options...)
		for _, other := range hosts[:i] {
			Heal(hosts[i], other)
		}
	}
	return hosts
}

// Cut makes two hosts lose each other: their connections end, and neither knows where the other is.
func Cut(a, b *host.Host) {
	a.Forget(b.ID())
	b.Forget(a.ID())
	a.Disconnect(b.ID())
	b.Disconnect(a.ID())
}

// Heal tells two hosts where the other is.
func Heal(a, b *host.Host) {
	a.Learn(b.ID(), b.Addrs())
	b.Learn(a.ID(), a.Addrs())
}
