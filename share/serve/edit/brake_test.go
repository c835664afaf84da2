package edit

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/peerd/peerd/transfer"
)

func version(i int) (v transfer.Version) {
	binary.BigEndian.PutUint64(v[:], uint64(i))
	return v
}

func TestBrake(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		limits BrakeLimits
		files  int                     // in the share
		every  time.Duration           // between two
		n      int                     // touched in all
		trips  int                     // at which it is too much; 0 never
		left   func(before, i int) int // how many files are left, nil: all
	}{
		{name: "all of a share", limits: DefaultBrake(), files: 300, every: time.Second, n: 300, trips: 101},
		{name: "a fifth of a large share", limits: DefaultBrake(), files: 1000, every: time.Second / 10, n: 1000, trips: 201},
		{name: "less than a fifth", limits: DefaultBrake(), files: 1000, n: 200},
		{name: "a small share", limits: DefaultBrake(), files: 100, n: 100},
		{name: "slowly", limits: DefaultBrake(), files: 300, every: 4 * time.Second, n: 300},
		{name: "off", files: 300, n: 300},
		{name: "removed, so that the share shrinks", limits: DefaultBrake(), files: 1000, n: 1000, trips: 167,
			left: func(before, i int) int { return before - i }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := NewBrake(c.limits)
			now := start
			for i := 1; i <= c.n; i++ {
				files := c.files
				if c.left != nil {
					files = c.left(files, i)
				}
				if trips := b.Touch(version(i), now, files); trips != (c.trips != 0 && i >= c.trips) {
					t.Fatalf("file %d: %v", i, trips)
				}
				now = now.Add(c.every)
			}
			b.Touch(version(1), now.Add(time.Hour), c.files)
			if len(b.events) > 1 {
				t.Errorf("%d events are kept after an hour", len(b.events))
			}
		})
	}
}

// TestBrakeOfOwnFiles: what a peer left there lately it may rewrite and remove, and what it rewrites again and again counts once. What
// others left there counts, as does what it made long ago.
func TestBrakeOfOwnFiles(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const n = 300
	for _, tc := range []struct {
		name string
		each func(b *Brake, i int) bool // what is done with each of n files
		late time.Duration              // until then each is removed
		too  bool
	}{
		{"made and removed", func(b *Brake, i int) bool { b.Made(version(i), start); return false }, time.Second, false},
		{"made long ago", func(b *Brake, i int) bool { b.Made(version(i), start); return false }, time.Hour, true},
		{"rewritten again and again", func(b *Brake, i int) bool {
			too := b.Touch(version(n+i), start, n) // each has the version that the one before left
			b.Made(version(n+i+1), start)
			b.Made(version(i), start)
			return too
		}, time.Second, false},
		{"removed, and another of the same version found there", func(b *Brake, i int) bool {
			b.Made(version(i), start)
			return b.Touch(version(i), start, n)
		}, time.Second, true},
		{"never made", func(*Brake, int) bool { return false }, time.Second, true},
	} {
		b := NewBrake(DefaultBrake())
		too := false
		for i := range n {
			too = tc.each(b, i) || too
		}
		for i := range n {
			too = b.Touch(version(i), start.Add(tc.late), n) || too
		}
		if too != tc.too {
			t.Errorf("%s: too much is %v", tc.name, too)
		}
		b.Touch(version(0), start.Add(3*time.Hour), n)
		if len(b.fresh)+len(b.own) > 0 {
			t.Errorf("%s: %d and %d are kept for hours", tc.name, len(b.fresh), len(b.own))
		}
	}
	b := NewBrake(DefaultBrake())
	for i := range maxMade + 10 {
		b.Made(version(i), start)
	}
	if len(b.fresh) > maxMade || len(b.own) > maxMade {
		t.Errorf("%d are remembered", len(b.own))
	}
}
