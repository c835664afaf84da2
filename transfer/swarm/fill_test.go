package swarm

import (
	"testing"
	"time"
)

// A path that TCP fills slowly is asked for more although pieces wait for one another on it, and one that is full is not.
func TestFilling(t *testing.T) {
	const trip = 20 * ms
	for _, c := range []struct {
		name        string
		first, last time.Duration // that a piece takes on the line, in the beginning and once TCP is as fast as it will be
		least, most int           // pieces that are owed at a time, at the height of it
	}{
		{"fast", 40 * ms, 2 * ms, 12, 32},
		{"slow", 40 * ms, 40 * ms, 2, 6},
		{"very slow", 500 * ms, 500 * ms, 2, 3},
	} {
		d := sit(t, 100, Options{})
		owed := asks(d.on(Joined{Source: "a", Origin: true}), "a")
		height := 0
		sent, each := time.Duration(0), c.first
		for range 40 {
			height = max(height, len(owed))
			sent = max(sent, d.now+trip/2) + each
			each = max(each*3/4, c.last)
			d.now = sent + trip/2
			owed = append(owed[1:], asks(d.on(Got{"a", owed[0]}), "a")...)
		}
		if height < c.least || height > c.most {
			t.Errorf("a %s path owes %d pieces at most, want %d to %d", c.name, height, c.least, c.most)
		}
	}
}
