package auth

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
)

// TestPace: whoever asks for a grant of each share after a restart does not wait, and who goes on waits more and more, also
// with IDs made up for it; others don't feel that.
func TestPace(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	at := netip.MustParseAddr
	p := new(Pace)
	for i := range paceBurst {
		if d := p.Take(now, "anna", at("10.0.0.1")); d > 0 {
			t.Fatalf("question %d waits for %v", i+1, d)
		}
	}
	for i := range 4 {
		if d := p.Take(now, "anna", at("10.0.0.1")); d != time.Duration(i+1)*paceEvery {
			t.Errorf("question %d too many waits for %v", i+1, d)
		}
	}
	if d := p.Take(now, "carl", at("10.0.0.1")); d > 0 {
		t.Errorf("another of the address waits for %v", d)
	}
	if d := p.Take(now.Add(time.Minute), "anna", at("10.0.0.1")); d > 0 {
		t.Errorf("a minute later it waits for %v", d)
	}
	for _, addr := range []string{"10.0.0.2", "fd00::%x"} {
		p, waited := new(Pace), time.Duration(0)
		for i := range 2 * paceHostBurst {
			a := addr
			if addr != "10.0.0.2" {
				a = fmt.Sprintf(addr, i+1)
			}
			waited = p.Take(now, peer.ID(fmt.Sprint(i)), at(a))
		}
		if waited != paceHostBurst*paceHostEvery {
			t.Errorf("%s: throw-away IDs wait for %v", addr, waited)
		}
	}
	for i := range maxPaced + 100 {
		p.Take(now, peer.ID(fmt.Sprint(i)), at("10.0.0.3"))
	}
	if len(p.full) > maxPaced {
		t.Errorf("%d are remembered", len(p.full))
	}
}
