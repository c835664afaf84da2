package dht

import (
	"context"
	"sync"
	"time"

	core "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"

	"github.com/peerd/peerd/peer"
)

// Limits of the records kept for others, which strangers of the workgroup choose.
const (
	maxRecords = 16384
	maxPerPeer = 2048 // records of one provider
	maxPerKey  = 64   // providers of one key

	sweepPause = time.Minute // between looks for what is old when all places are taken
)

// providers keeps who said to have what. The library's own store knows no bounds.
type providers struct {
	self  peer.ID
	addrs peerstore.AddrBook

	mu    sync.Mutex
	byKey map[string]map[peer.ID]time.Time // when it was said last
	count map[peer.ID]int
	total int
	swept time.Time
}

func newProviders(self peer.ID, addrs peerstore.AddrBook) *providers {
	return &providers{self: self, addrs: addrs, byKey: make(map[string]map[peer.ID]time.Time), count: make(map[peer.ID]int)}
}

// AddProvider keeps a record, or drops it where a limit is reached.
func (s *providers) AddProvider(_ context.Context, key []byte, who core.AddrInfo) error {
	s.addrs.AddAddrs(who.ID, who.Addrs, Lifetime)
	s.add(time.Now(), string(key), who.ID)
	return nil
}

func (s *providers) add(now time.Time, key string, id peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pause := Lifetime / 8
	if s.total >= maxRecords {
		pause = sweepPause
	}
	if now.Sub(s.swept) > pause {
		s.sweep(now)
	}
	of := s.byKey[key]
	if _, again := of[id]; again {
		of[id] = now
		return
	}
	// This peer's own records are bounded by what it has.
	if id != s.self && (s.total >= maxRecords || s.count[id] >= maxPerPeer || len(of) >= maxPerKey) {
		return
	}
	if of == nil {
		of = make(map[peer.ID]time.Time)
		s.byKey[key] = of
	}
	of[id] = now
	s.count[id]++
	s.total++
}

// sweep drops what nobody said again in time. s.mu is held.
func (s *providers) sweep(now time.Time) {
	s.swept = now
	for key, of := range s.byKey {
		for id, said := range of {
			if now.Sub(said) < Lifetime {
				continue
			}
			delete(of, id)
			s.total--
			if s.count[id]--; s.count[id] == 0 {
				delete(s.count, id)
			}
		}
		if len(of) == 0 {
			delete(s.byKey, key)
		}
	}
}

// GetProviders gives who said to have what a key stands for, and where they are.
func (s *providers) GetProviders(_ context.Context, key []byte) ([]core.AddrInfo, error) {
	return s.get(time.Now(), string(key)), nil
}

func (s *providers) get(now time.Time, key string) []core.AddrInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []core.AddrInfo
	for id, said := range s.byKey[key] {
		if now.Sub(said) < Lifetime {
			out = append(out, core.AddrInfo{ID: id, Addrs: s.addrs.Addrs(id)})
		}
	}
	return out
}

// Close has nothing to do.
func (s *providers) Close() error { return nil }
