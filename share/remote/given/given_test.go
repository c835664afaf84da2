package given_test

import (
	"testing"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/remote/given"
)

// TestForgotten: what was asked before a share was forgotten is not used after, though somebody else asks by then.
func TestForgotten(t *testing.T) {
	const anna = peer.ID("anna")
	s := given.New()
	late := new(given.Grant)
	s.Of(anna, "docs")
	turn := s.Turn()
	s.Forget(anna, "docs", s.Turn())
	s.Tell(late, given.Access{Right: share.Full}, turn)
	s.Keep(anna, "docs", late)
	if a, ok := s.Told(anna, "docs"); ok {
		t.Errorf("forgotten: %v", a.Right)
	}
	now := s.Of(anna, "DOCS")
	s.Keep(anna, "docs", late)
	if a, ok := s.Told(anna, "docs"); ok || s.Of(anna, "docs") != now {
		t.Errorf("asked anew: %v", a.Right)
	}
	s.Tell(now, given.Access{Right: share.Read}, s.Turn())
	if a, ok := s.Told(anna, "docs"); !ok || a.Right != share.Read {
		t.Errorf("told: %v, %v", a.Right, ok)
	}
}
