package adapter

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/host/limit"
)

// store is a peerstore whose addresses are the Host's. It keeps nothing itself, so it can't be filled by strangers.
type store struct {
	peerstore.Peerstore // the swarm's, for keys
	h                   *host.Host
	key                 crypto.PrivKey
}

func (s *store) AddAddr(id core.ID, a ma.Multiaddr, ttl time.Duration) {
	s.AddAddrs(id, []ma.Multiaddr{a}, ttl)
}

func (s *store) AddAddrs(id core.ID, addrs []ma.Multiaddr, _ time.Duration) { s.h.Hint(id, addrs) }

func (s *store) SetAddr(id core.ID, a ma.Multiaddr, ttl time.Duration) { s.AddAddr(id, a, ttl) }

func (s *store) SetAddrs(id core.ID, addrs []ma.Multiaddr, ttl time.Duration) {
	s.AddAddrs(id, addrs, ttl)
}

func (s *store) UpdateAddrs(core.ID, time.Duration, time.Duration) {}

func (s *store) ClearAddrs(core.ID) {}

func (s *store) Addrs(id core.ID) []ma.Multiaddr {
	if id == s.h.ID() {
		return Portable(s.h.Addrs())
	}
	return Portable(s.h.Known(id))
}

func (s *store) AddrStream(ctx context.Context, id core.ID) <-chan ma.Multiaddr {
	out := make(chan ma.Multiaddr)
	addrs := s.Addrs(id)
	go func() {
		defer close(out)
		for _, a := range addrs {
			select {
			case out <- a:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func (s *store) PeersWithAddrs() core.IDSlice { return nil }

func (s *store) PeerInfo(id core.ID) core.AddrInfo {
	return core.AddrInfo{ID: id, Addrs: s.Addrs(id)}
}

func (s *store) PrivKey(id core.ID) crypto.PrivKey {
	if id == s.h.ID() {
		return s.key
	}
	return nil
}

// Which protocols a peer speaks is found out by asking it: their names tell workgroups apart already.

func (s *store) GetProtocols(core.ID) ([]protocol.ID, error)                          { return nil, nil }
func (s *store) AddProtocols(core.ID, ...protocol.ID) error                           { return nil }
func (s *store) SetProtocols(core.ID, ...protocol.ID) error                           { return nil }
func (s *store) RemoveProtocols(core.ID, ...protocol.ID) error                        { return nil }
func (s *store) RecordLatency(core.ID, time.Duration)                                 {}
func (s *store) RemovePeer(core.ID)                                                   {}
func (s *store) Close() error                                                         { return nil }
func (s *store) Put(core.ID, string, any) error                                       { return nil }
func (s *store) Get(core.ID, string) (any, error)                                     { return nil, peerstore.ErrNotFound }
func (s *store) AddPubKey(core.ID, crypto.PubKey) error                               { return nil }
func (s *store) AddPrivKey(core.ID, crypto.PrivKey) error                             { return nil }
func (s *store) SupportsProtocols(_ core.ID, p ...protocol.ID) ([]protocol.ID, error) { return p, nil }

func (s *store) FirstSupportedProtocol(_ core.ID, p ...protocol.ID) (protocol.ID, error) {
	if len(p) == 0 {
		return "", nil
	}
	return p[0], nil
}

// reservation is the tag of the relay for those that it keeps a place for.
const reservation = "relay-reservation"

// keeper is a connection manager that trims nothing, since the Host closes idle connections; those that are protected or
// tagged as a reservation it keeps open.
type keeper struct {
	connmgr.NullConnMgr
	h *host.Host

	mu   sync.Mutex
	kept map[mark]bool
}

type mark struct {
	id  core.ID
	tag string
}

func newKeeper(h *host.Host) *keeper { return &keeper{h: h, kept: make(map[mark]bool)} }

func (k *keeper) set(id core.ID, tag string, keep bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	m := mark{id, tag}
	if k.kept[m] == keep {
		return
	}
	if keep {
		k.kept[m] = true
	} else {
		delete(k.kept, m)
	}
	k.h.Keep(id, keep)
}

func (k *keeper) TagPeer(id core.ID, tag string, _ int) {
	if tag == reservation {
		k.set(id, tag, true)
	}
}

func (k *keeper) UntagPeer(id core.ID, tag string) {
	if tag == reservation {
		k.set(id, tag, false)
	}
}

func isLoopback(a ma.Multiaddr) bool {
	ip, ok := limit.IP(a)
	return ok && ip.IsLoopback()
}
