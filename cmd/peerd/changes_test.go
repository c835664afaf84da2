package main

import (
	"os/exec"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/peer/control/controltest"
)

func TestParseSince(t *testing.T) {
	zone := time.FixedZone("far", 2*3600)
	now := time.Date(2026, 3, 1, 9, 30, 15, 0, zone)
	at := func(day, hour, minute, second int) time.Time {
		return time.Date(2026, 3, day, hour, minute, second, 0, zone)
	}
	for in, want := range map[string]time.Time{
		"2026-03-01T06:00:00Z":      at(1, 8, 0, 0),
		"2026-03-01T08:00:00+02:00": at(1, 8, 0, 0),
		"2026-03-01 08:00:05":       at(1, 8, 0, 5),
		"2026-03-01 08:00":          at(1, 8, 0, 0),
		"2026-03-01":                at(1, 0, 0, 0),
		"08:00":                     at(1, 8, 0, 0),
		"9:30":                      at(1, 9, 30, 0),
		"09:31":                     at(0, 9, 31, 0), // that of yesterday
		"10m":                       at(1, 9, 20, 15),
		"1h30m":                     at(1, 8, 0, 15),
		"2d":                        at(-1, 9, 30, 15),
		"0s":                        now,
	} {
		if got, err := parseSince(in, now); err != nil || !got.Equal(want) {
			t.Errorf("parseSince(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "soon", "10", "-10m", "d", "1.5d", "-1d", "99999999999d", "25:00", "2026-03-01 10:00", "2026-03-02",
		"2026-02-30", "9999999h", "2026-03-01T10:00:00"} {
		if got, err := parseSince(in, now); peer.KindOf(err) != peer.Usage {
			t.Errorf("parseSince(%q) = %v, %v; want wrong use", in, got, err)
		}
	}
}

// TestShellWord has a shell read what people are told to copy.
func TestShellWord(t *testing.T) {
	sh, err := exec.LookPath("sh")
	for _, s := range []string{"//anna/docs/plan.txt@20261125-204356-9f3c", "//anna/docs/a b", "$(touch x)", "it's", `a\"b`, "日本", "", "-n", "~", "a;b", "#x"} {
		word, ok := shellWord(s)
		if !ok {
			t.Errorf("%q is no word", s)
			continue
		}
		if err != nil {
			continue
		}
		if got, err := exec.Command(sh, "-c", "printf %s "+word).Output(); s != "-n" && (err != nil || string(got) != s) {
			t.Errorf("%q is written %s, and a shell reads %q, %v", s, word, got, err)
		}
	}
	for _, s := range []string{controltest.Hostile, "a\nb", "a\xff"} {
		if word, ok := shellWord(s); ok {
			t.Errorf("%q would be copied as %s", s, word)
		}
	}
}

func TestWayBack(t *testing.T) {
	file := control.Change{Ref: control.Ref{Peer: "anna", Share: "docs", Path: "a b"}, Kind: control.KindFile, Kept: "20261125-204356-9f3c"}
	folder := control.Change{Ref: file.Ref, Kind: control.KindDir}
	hostile := control.Change{Ref: file.Ref.ShareRef().Join(controltest.Hostile), Kind: control.KindFile, Kept: "20261125-204356-9f3c"}
	for _, tc := range []struct {
		removed []control.Change
		want    string
	}{
		{nil, ""},
		{[]control.Change{file}, "it is kept; this brings it back: peerd restore '//anna/docs/a b@20261125-204356-9f3c'"},
		{[]control.Change{folder}, "it is kept; this shows what can be restored: peerd versions -r '//anna/docs/a b'"},
		{[]control.Change{file, folder}, "all of it is kept; this shows what can be restored: peerd versions -r //anna/docs"},
		{[]control.Change{hostile}, "all of it is kept; this shows what can be restored: peerd versions -r //anna/docs"},
	} {
		if got := wayBack(tc.removed); got != tc.want {
			t.Errorf("after %v it says %q, want %q", tc.removed, got, tc.want)
		}
	}
}
