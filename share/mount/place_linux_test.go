package mount

import (
	"errors"
	"testing"

	"github.com/peerd/peerd/peer"
)

func TestUnavailable(t *testing.T) {
	err := unavailable("why", "do this")
	var e *peer.Error
	if !errors.Is(err, ErrUnavailable) || !errors.As(err, &e) || e.Hint == "" {
		t.Errorf("%v", err)
	}
}
