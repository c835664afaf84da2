package transfer

import (
	"strings"
	"testing"

	"github.com/peerd/peerd/peer"
)

func TestParseRate(t *testing.T) {
	for _, tc := range []struct {
		text    string
		want    Rate
		printed string
	}{
		{"10MB/s", 10_000_000, "10MB/s"},
		{"500k", 500_000, "500kB/s"},
		{"500K", 500_000, "500kB/s"},
		{"80Mbit", 10_000_000, "10MB/s"},
		{"80 mbit/s", 10_000_000, "10MB/s"},
		{"1.5MB/s", 1_500_000, "1.5MB/s"},
		{"1.25G", 1_250_000_000, "1.25GB/s"},
		{"1234567", 1_234_567, "1234.567kB/s"},
		{"1234567B/s", 1_234_567, "1234.567kB/s"},
		{"1000", 1000, "1kB/s"},
		{"8001bit", 1000, "1kB/s"},
		{"100GB", 1e11, "100GB/s"},
		{"unlimited", 0, "unlimited"},
		{" Unlimited ", 0, "unlimited"},
	} {
		got, err := ParseRate(tc.text)
		if err != nil || got != tc.want || got.String() != tc.printed {
			t.Errorf("%q: %d, %v, printed as %q; want %d, %q", tc.text, got, err, got.String(), tc.want, tc.printed)
		}
	}
	for text, says := range map[string]string{
		"":                                     "number",
		"fast":                                 "number",
		"-5MB/s":                               "number",
		"1.2.3M":                               "number",
		".":                                    "number",
		"1e6":                                  "unit",
		"10MB/h":                               "unit",
		"10 apples":                            "unit",
		"10Mb":                                 "bytes or bits",
		"10mb/s":                               "bytes or bits",
		"10MiB/s":                              "decimal",
		"0":                                    "nothing would pass",
		"0MB/s":                                "nothing would pass",
		"999":                                  "below 1kB/s",
		"7kbit":                                "below 1kB/s",
		"1001GB/s":                             "above 100GB/s",
		"9" + strings.Repeat("0", maxRateText): "longer",
	} {
		_, err := ParseRate(text)
		if peer.KindOf(err) != peer.Usage || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "80Mbit") {
			t.Errorf("%q: %v; want one that says %q, and what to write", text, err, says)
		}
	}
}

// FuzzParseRate: what is printed of a rate that was read is read as the same.
func FuzzParseRate(f *testing.F) {
	for _, s := range []string{"10MB/s", "500k", "80Mbit", "unlimited", "1.5GB", "1234567", "0", "1/3", "0x10", "1_000", "1.", ".5M"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRate(s)
		if err != nil {
			return
		}
		if r != 0 && (r < MinRate || r > MaxRate) {
			t.Fatalf("%q is read as %d", s, r)
		}
		if again, err := ParseRate(r.String()); err != nil || again != r {
			t.Fatalf("%q is read as %d, printed as %q, read as %d, %v", s, r, r, again, err)
		}
		var u Rate
		if err := u.UnmarshalText([]byte(s)); err != nil || u != r {
			t.Fatalf("%q: %d, %v", s, u, err)
		}
	})
}
