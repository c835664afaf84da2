package guess

import (
	"math"
	"strings"
	"testing"
)

func TestOf(t *testing.T) {
	for _, test := range []struct {
		password string
		less     float64 // than so many guesses; 0 is at least 1e10
		pattern  Pattern
	}{
		{"", 2, None},
		{"password", 10, Word},
		{"password123", 100, Word},
		{"Summer2024!", 1e7, Word},
		{"P@ssw0rd2024", 1e4, Word},
		{"drowssap", 10, Word},
		{"iloveyou12", 1e4, Word},
		{"letmein1234", 1e3, Word},
		{"monkey dragon blue", 1e7, Word},
		{"pässwörd", 100, Word},
		{"ｐａｓｓｗｏｒｄ", 2000, Word},
		{"qwertyuiop", 100, Word},
		{"poiuytrewq", 100, Word},
		{"zaq12wsx", 1e4, Word},
		{"RTYFGHVBN", 1e7, Keys},
		{"@#$%^&", 1e4, Keys},
		{"1234567890", 200, Count},
		{"abcdefghij", 100, Count},
		{"86420", 200, Count},
		{"абвгдежзий", 500, Count},
		{"aaaaaaaaaa", 200, Repeat},
		{"xkqxkqxkqxkq", 1e5, Repeat},
		{"abcabcabcabcabc", 200, Repeat},
		{strings.Repeat("a", 1000), 1000, Repeat},
		{"19871999", 1e5, Year},
		{"12.03.1987", 1e7, Year},
		{"0171 2345678", 1e9, Count},
		{"blumenkohl", 1e9, Word},
		{"qjxvkwzpfb", 1e9, None},
		{"docs2024", 1e4, Known},
		{"Familie-Müller-1999", 1e6, Known},
		{"familiemüller", 100, Known},
		{"fotos der familie müller 12", 1e4, Known},
		{"correct horse battery staple", 0, Word},
		{"tidy otter beyond lunch", 0, Word},
		{"quixotic walrus hums baroque", 0, Word},
		{"xk29-qpw7-mzt4", 0, Word},
		{"7fKq-2mPx-9s", 0, None},
		{"Xq7$Lw9#Rt", 0, None},
	} {
		got := Of(test.password, "docs", "Fotos der Familie Müller")
		t.Logf("%-30.30q %.3g %v", test.password, got.Guesses, got.Pattern)
		if ok := got.Guesses < test.less; ok != (test.less > 0) || test.less == 0 && got.Guesses < 1e10 || got.Pattern != test.pattern {
			t.Errorf("%.30q: %.3g guesses, %d", test.password, got.Guesses, got.Pattern)
		}
	}
}

func FuzzOf(f *testing.F) {
	for _, s := range []string{"", "password", "P@ss", "aaaa", "abcabcabc", "\xff\xfe", "İß€", "docs", "1999", "qwe!@#"} {
		f.Add(s, "docs")
	}
	f.Fuzz(func(t *testing.T, password, known string) {
		got := Of(password, known)
		if got.Guesses < 1 || math.IsNaN(got.Guesses) || math.IsInf(got.Guesses, 0) || got.Pattern >= patterns {
			t.Fatalf("%q: %+v", password, got)
		}
		if more := Of(password, known, password); len([]rune(password)) <= MaxLength && more.Guesses > 2*max(1, got.Guesses)*float64(3+len(password)) {
			t.Fatalf("%q: known, it takes %g guesses, else %g", password, more.Guesses, got.Guesses)
		}
	})
}

func BenchmarkOf(b *testing.B) {
	for name, password := range map[string]string{"usual": "correct horse battery staple", "worst": strings.Repeat("a", MaxLength)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Of(password, "docs")
			}
		})
	}
}
