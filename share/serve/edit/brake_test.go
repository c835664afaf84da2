package edit

import (
	"fmt"
	"testing"
	"time"

	"github.com/peerd/peerd/share"
)

func TestBrake(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	path := func(i int) share.Path {
		p, err := share.SplitPath(fmt.Sprintf("d/f%d", i))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, c := range []struct {
		name   string
		limits BrakeLimits
		files  int                     // in the share
		touch  func(i int) share.Path  // the i-th
		every  time.Duration           // between two
		n      int                     // touched in all
		trips  int                     // at which it is too much; 0 never
		left   func(before, i int) int // how many files are left, nil: all
	}{
		{name: "all of a share", limits: DefaultBrake(), files: 300, touch: path, every: time.Second, n: 300, trips: 101},
		{name: "a fifth of a large share", limits: DefaultBrake(), files: 1000, touch: path, every: time.Second / 10, n: 1000, trips: 201},
		{name: "less than a fifth", limits: DefaultBrake(), files: 1000, touch: path, n: 200},
		{name: "a small share", limits: DefaultBrake(), files: 100, touch: path, n: 100},
		{name: "the same file all the time", limits: DefaultBrake(), files: 200, touch: func(int) share.Path { return path(1) }, n: 5000},
		{name: "slowly", limits: DefaultBrake(), files: 300, touch: path, every: 4 * time.Second, n: 300},
		{name: "off", files: 300, touch: path, n: 300},
		{name: "removed, so that the share shrinks", limits: DefaultBrake(), files: 1000, touch: path, n: 1000, trips: 167,
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
				if trips := b.Touch(c.touch(i), now, files); trips != (c.trips != 0 && i >= c.trips) {
					t.Fatalf("file %d: %v", i, trips)
				}
				now = now.Add(c.every)
			}
			b.Touch(c.touch(1), now.Add(time.Hour), c.files)
			if len(b.events) != min(1, len(b.events)) || len(b.count) > 1 {
				t.Errorf("%d events and %d files are kept after an hour", len(b.events), len(b.count))
			}
		})
	}
}

// TestBrakeOfOwnFiles: what a peer made itself lately it may rewrite and remove; what was there before stays touched, whatever is
// made in its place, and so does what was made long ago or under another name.
func TestBrakeOfOwnFiles(t *testing.T) {
	path := func(i int) share.Path {
		p, err := share.SplitPath(fmt.Sprintf("f%d", i))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const n = 300
	for _, tc := range []struct {
		name string
		each func(b *Brake, i int) bool // what is done with each of n files
		late time.Duration              // until then each is removed
		too  bool
	}{
		{"made and removed", func(b *Brake, i int) bool { b.Made(path(i), start); return false }, time.Second, false},
		{"made long ago", func(b *Brake, i int) bool { b.Made(path(i), start); return false }, time.Hour, true},
		{"removed, made and removed", func(b *Brake, i int) bool {
			too := b.Touch(path(i), start, n)
			b.Made(path(i), start)
			return too
		}, time.Second, true},
		{"made and moved", func(b *Brake, i int) bool {
			b.Made(path(i+n), start)
			return !b.Moved(path(i+n), path(i), start)
		}, time.Second, false},
		{"moved, and another made in its place", func(b *Brake, i int) bool {
			b.Made(path(i), start)
			b.Moved(path(i), path(i+n), start)
			return false
		}, time.Second, true},
		{"never made", func(*Brake, int) bool { return false }, time.Second, true},
	} {
		b := NewBrake(DefaultBrake())
		too := false
		for i := range n {
			too = tc.each(b, i) || too
		}
		for i := range n {
			too = b.Touch(path(i), start.Add(tc.late), n) || too
		}
		if too != tc.too {
			t.Errorf("%s: too much is %v", tc.name, too)
		}
		b.Touch(path(0), start.Add(3*time.Hour), n)
		if len(b.fresh)+len(b.made) > 0 {
			t.Errorf("%s: %d and %d are kept for hours", tc.name, len(b.fresh), len(b.made))
		}
	}
	b := NewBrake(DefaultBrake())
	for i := range maxMade + 10 {
		b.Made(path(i), start)
	}
	if len(b.fresh) > maxMade || len(b.made) > maxMade {
		t.Errorf("%d are remembered", len(b.made))
	}
}
