package setting

import (
	"maps"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
)

func TestSet(t *testing.T) {
	const day = 24 * time.Hour
	for _, tc := range []struct {
		name, text string
		want       Settings
		written    string // in place of text; "" the same, "-" nothing
	}{
		{Quota, "10G", Settings{Quota: 10e9}, "10GB"},
		{Quota, "10GB", Settings{Quota: 10e9}, ""},
		{Quota, "10GiB", Settings{Quota: 10 << 30}, ""},
		{Quota, "1024MiB", Settings{Quota: 1 << 30}, "1GiB"},
		{Quota, "1000000B", Settings{Quota: 1e6}, "1MB"},
		{Quota, "1000001B", Settings{Quota: 1_000_001}, ""},
		{Quota, "1000TB", Settings{Quota: 1e15}, ""},
		{Quota, "none", Settings{}, "-"},
		{Quota, "default", Settings{}, "-"},
		{PeerQuota, "500M", Settings{PeerQuota: 5e8}, "500MB"},
		{Reserve, "2T", Settings{Reserve: 2e12}, "2TB"},
		{Reserve, "none", Settings{Reserve: Unlimited}, ""},
		{Reserve, "default", Settings{}, "-"},
		{VersionsAge, "365d", Settings{Age: 365 * day}, ""},
		{VersionsAge, "2w", Settings{Age: 14 * day}, "2w"},
		{VersionsAge, "48h", Settings{Age: 2 * day}, "2d"},
		{VersionsAge, "none", Settings{Age: Unlimited}, ""},
		{VersionsCount, "7", Settings{Count: 7}, ""},
		{VersionsCount, "none", Settings{Count: Unlimited}, ""},
		{VersionsShare, "100%", Settings{Share: 100}, ""},
		{VersionsShare, "default", Settings{}, "-"},
		{BrakeName, "100,20%,5m", Settings{Brake: Brake{Files: 100, Percent: 20, Window: 5 * time.Minute}}, ""},
		{BrakeName, "1,1%,90s", Settings{Brake: Brake{Files: 1, Percent: 1, Window: 90 * time.Second}}, ""},
		{BrakeName, "off", Settings{Brake: Brake{Off: true}}, ""},
		{BrakeName, "default", Settings{}, "-"},
		{Exec, "never", Settings{NoExec: true}, ""},
		{Exec, "keep", Settings{}, "-"},
		{Exec, "default", Settings{}, "-"},
	} {
		var s Settings
		if err := s.Set(tc.name, tc.text); err != nil || s != tc.want {
			t.Errorf("%s %q: %+v, %v", tc.name, tc.text, s, err)
		}
		want := map[string]string{tc.name: tc.written}
		switch tc.written {
		case "":
			want[tc.name] = tc.text
		case "-":
			want = map[string]string{}
		}
		if got := s.Texts(); !maps.Equal(got, want) {
			t.Errorf("%s %q is written %v, want %v", tc.name, tc.text, got, want)
		}
	}
}

func TestSetRefuses(t *testing.T) {
	before := Settings{Quota: 1e9, Reserve: 1e9, Age: 48 * time.Hour, Count: 3, Share: 5, Brake: Brake{Off: true}}
	for name, texts := range map[string][]string{
		Quota:         {"", "0", "0G", "10", "G", "-1G", "+1G", "01G", "1.5G", "10 G", " 10G", "10GBB", "10Gb", "10g", "999999B", "1001TB", "99999999999999999999G", "1e9B", "off"},
		VersionsAge:   {"", "23h", "86399s", "36501d", "1y", "d", "1d12h", "0d", "off"},
		VersionsCount: {"", "0", "-1", "+1", "01", "1.0", "100001", "7%"},
		VersionsShare: {"", "0%", "101%", "10", "%", "1.5%", "none", "-1%"},
		BrakeName:     {"", "100", "100,20%", "100,20%,5m,1", "0,20%,5m", "100,0%,5m", "100,20,5m", "100,20%,9s", "100,20%,25h", "100, 20%,5m", "none", "on"},
		Exec:          {"", "none", "off", "Never", "never "},
		"colour":      {"red", "default"},
		"":            {""},
	} {
		for _, text := range texts {
			s := before
			if err := s.Set(name, text); peer.KindOf(err) != peer.Usage || err == nil {
				t.Errorf("%s %q: %+v, %v", name, text, s, err)
			}
		}
	}
	if _, err := Parse(map[string]string{Quota: "1G", "colour": "red"}); err == nil {
		t.Error("a setting that is none was read")
	}
}

func TestDefaults(t *testing.T) {
	var s Settings
	if r := s.Retention(); r != (Retention{Age: 365 * 24 * time.Hour, Count: 100, Share: 10}) {
		t.Errorf("retention is %+v", r)
	}
	if b := s.Limit(); b != (Brake{Files: 100, Percent: 20, Window: 5 * time.Minute}) {
		t.Errorf("the brake is %+v", b)
	}
	for disk, want := range map[int64]int64{100e9: 1 << 30, 10e9: 5e8, 0: 0} {
		if got := s.Spare(disk); got != want {
			t.Errorf("of %d bytes %d are left free, want %d", disk, got, want)
		}
	}
	s = Settings{Reserve: Unlimited, Age: Unlimited, Count: Unlimited, Share: 50, Brake: Brake{Off: true}}
	if s.Spare(1e12) != 0 || s.Retention() != (Retention{Unlimited, Unlimited, 50}) || !s.Limit().Off {
		t.Errorf("%d, %+v, %+v", s.Spare(1e12), s.Retention(), s.Limit())
	}
	if s.Reserve = 7e9; s.Spare(1e9) != 7e9 {
		t.Errorf("%d bytes are left free", s.Spare(1e9))
	}
}

// FuzzSet: what is taken is written so that it means the same.
func FuzzSet(f *testing.F) {
	for _, name := range Names() {
		for _, text := range []string{"10G", "1000001B", "52w", "7", "10%", "100,20%,5m", "off", "none", "never", "default"} {
			f.Add(name, text)
		}
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		var s Settings
		if s.Set(name, text) != nil {
			return
		}
		again, err := Parse(s.Texts())
		if err != nil || again != s {
			t.Errorf("%s %q is %+v, and its text %v is %+v, %v", name, text, s, s.Texts(), again, err)
		}
		if s.Spare(1e12) < 0 || s.Quota < 0 || s.PeerQuota < 0 {
			t.Errorf("%s %q is %+v", name, text, s)
		}
	})
}
