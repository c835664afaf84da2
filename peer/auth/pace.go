package auth

import (
	"maps"
	"net/netip"
	"sync"
	"time"

	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/peerd/peerd/peer"
)

// What whoever asks for grants has at once, and how soon more: an owner that was away is asked for those of all its shares
// at once, by all who are there, and an hour's need of one share is six.
const (
	paceBurst, paceEvery         = 256, time.Second / 8
	paceHostBurst, paceHostEvery = 1024, time.Second / 64 // of one address, and of an IPv6 /64
	maxPaced                     = 1 << 13
)

// Pace slows down those that ask again and again for what is theirs for the asking: each answer takes a signature and is
// written down. It never refuses. Times come from the caller. The zero Pace is ready; it is safe for concurrent use.
type Pace struct {
	mu   sync.Mutex
	full map[bucket]time.Time // when each bucket is full again; those that are full may be left out
}

// Take charges one question, and gives how long to wait with its answer.
func (p *Pace) Take(now time.Time, id peer.ID, addr netip.Addr) (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full == nil {
		p.full = make(map[bucket]time.Time)
	}
	ofPeer, ofHost := limit{paceBurst, paceEvery}, limit{paceHostBurst, paceHostEvery}
	addr = addr.Unmap()
	charges := []charge{
		{bucket{peer: id}, ofPeer},
		{bucket{addr: netip.PrefixFrom(addr, addr.BitLen())}, ofHost},
	}
	if addr.Is6() {
		net, _ := addr.Prefix(64)
		charges = append(charges, charge{bucket{addr: net}, ofHost})
	}
	if len(p.full)+len(charges) > maxPaced {
		maps.DeleteFunc(p.full, func(_ bucket, full time.Time) bool { return !full.After(now) })
		if len(p.full)+len(charges) > maxPaced {
			return time.Second
		}
	}
	for _, c := range charges {
		used := max(0, p.full[c.bucket].Sub(now)) + c.limit.every
		p.full[c.bucket] = now.Add(used)
		wait = max(wait, used-time.Duration(c.limit.burst)*c.limit.every)
	}
	return wait
}

// AddrOf is the address on the other end of a stream, or the unspecified one where it has none that is an IP.
func AddrOf(st peer.Stream) netip.Addr {
	if a := st.Remote(); a != nil {
		if ip, err := manet.ToIP(a); err == nil {
			if addr, ok := netip.AddrFromSlice(ip); ok {
				return addr.Unmap()
			}
		}
	}
	return netip.IPv6Unspecified()
}
