//go:build linux

package lantest

import (
	"regexp"
	"strconv"
	"testing"
	"time"
)

// TestDelay measures a round trip over a cable that is long.
func TestDelay(t *testing.T) {
	Need(t, "ping")
	l := New(t, Options{Hosts: 2})
	l.Hosts[0].Delay(0, 10*time.Millisecond)
	r := l.Hosts[1].Run(startLimit, l.Hosts[1].Command("ping", "-n", "-c", "5", "-i", "0.2", l.Hosts[0].Addr(0).String()))
	m := regexp.MustCompile(`min/avg/max/mdev = ([0-9.]+)/`).FindStringSubmatch(r.Stdout)
	if m == nil {
		t.Fatalf("ping: status %d\n%s%s", r.Status, r.Stdout, r.Stderr)
	}
	if least, err := strconv.ParseFloat(m[1], 64); err != nil || least < 20 || least > 60 {
		t.Errorf("a round trip of 20 ms takes %s ms at least", m[1])
	}
}
