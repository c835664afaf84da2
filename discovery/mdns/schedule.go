package mdns

import (
	"math/rand/v2"
	"time"
)

// burstAt is when to speak after a start or a change, RFC 6762 section 8.3: losing one packet must not matter.
func burstAt() [3]time.Duration { return [...]time.Duration{0, time.Second, 3 * time.Second} }

// schedule says when the next packet of a kind is due on one link: three in the first seconds after a start, then one
// each period; sooner on request, but at most about one a second.
type schedule struct {
	period time.Duration
	began  time.Time
	last   time.Time
	next   time.Time // zero: nothing is due until a burst
	count  int       // packets so far
}

// burst starts over.
func (s *schedule) burst(now time.Time) { s.began, s.next = now, now }

// request asks for a packet after a short delay that spreads those who were asked at the same moment (RFC 6762 section 6).
func (s *schedule) request(now time.Time, r *rand.Rand) {
	at := now
	if soonest := s.last.Add(time.Second); soonest.After(at) {
		at = soonest
	}
	at = at.Add(time.Duration(20+r.IntN(100)) * time.Millisecond)
	if !s.next.IsZero() && at.Before(s.next) {
		s.next = at
	}
}

// due reports whether a packet is to be sent, and reckons with its being sent.
func (s *schedule) due(now time.Time, r *rand.Rand) bool {
	if s.next.IsZero() || now.Before(s.next) {
		return false
	}
	s.last = now
	s.count++
	s.next = now.Add(time.Duration((0.9 + 0.2*r.Float64()) * float64(s.period)))
	for _, d := range burstAt() {
		if at := s.began.Add(d); at.After(now) && at.Before(s.next) {
			s.next = at
		}
	}
	return true
}

// settled reports whether the burst is over.
func (s *schedule) settled(now time.Time) bool {
	times := burstAt()
	return now.Sub(s.began) > times[len(times)-1]+time.Second
}
