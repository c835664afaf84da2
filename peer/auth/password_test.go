package auth_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/auth"
)

func TestNewPassword(t *testing.T) {
	keys := auth.NewServerKeys()
	have := func(p string) auth.Credential {
		record, err := auth.Register(keys, docs, auth.Read, weak(t, p))
		if err != nil {
			t.Fatal(err)
		}
		return auth.Credential{Keys: keys, Record: record}
	}
	for _, test := range []struct {
		set, typed string
		same       bool
	}{
		{"Zo\u00eb's house", "Zoe\u0308's house", true}, // composed and decomposed
		{"a\u00a0b c", "a b c", true},                   // spaces of other kinds
		{"Password", "password", false},
		{"ﬁne", "fine", false}, // no compatibility forms
		{" a", "a", false},
	} {
		if got := auth.Matches(have(test.set), docs, auth.Read, weak(t, test.typed)); got != test.same {
			t.Errorf("%q and %q: same %v", test.set, test.typed, got)
		}
	}
	for name, typed := range map[string]string{
		"empty": "", "too long": strings.Repeat("x", 257), "much too long": strings.Repeat("x", 1<<20),
		"control": "a\x00b", "line": "a\nb", "no text": "a\xff",
	} {
		if _, err := auth.NewPassword(typed); peer.KindOf(err) != peer.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := auth.NewPassword(strings.Repeat("x", 256)); err != nil {
		t.Error(err)
	}
}

// A password never stands in a message or a log.
func TestPasswordHidden(t *testing.T) {
	var log strings.Builder
	p := strong(t, "open sesame")
	logger := slog.New(slog.NewTextHandler(&log, nil))
	logger.Info("x", "password", p, "in", struct{ P auth.Password }{p})
	for _, format := range []string{"%v", "%s", "%q", "%+v", "%#v"} {
		fmt.Fprintf(&log, format+" "+format, p, struct{ P auth.Password }{p})
	}
	if _, err := auth.Register(auth.ServerKeys{}, docs, auth.Read, p); err != nil {
		log.WriteString(err.Error())
	}
	if err := auth.CheckChosen(strong(t, "open sesame")); err != nil {
		log.WriteString(err.Error())
	}
	if s := log.String(); strings.Contains(s, "sesame") || strings.Contains(s, "115 101 115") {
		t.Errorf("it stands in %q", s)
	}
}

func TestGenerate(t *testing.T) {
	seen := make(map[string]bool)
	for i := range 100 {
		s, err := auth.Generate()
		if err != nil {
			t.Fatal(err)
		}
		if words := strings.Fields(s); len(words) != 5 {
			t.Errorf("%d words", len(words))
		}
		if i < 30 { // to guess at one takes much longer than to make it
			if err := auth.CheckChosen(strong(t, s)); err != nil {
				t.Error(err)
			}
		}
		seen[s] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d different ones of 100", len(seen))
	}
}

func TestCheckChosen(t *testing.T) {
	for _, test := range []struct {
		password string
		says     string // "" is accepted
	}{
		{"short", "shorter than 10 characters"},
		{"äöüäöüäöü", "shorter than 10 characters"},
		{"7fKq-2mPx", "shorter than 10 characters"},
		{"password123", "common word"},
		{"P@ssw0rd2024", "common word"},
		{"Summer2024!", "common word"},
		{"iloveyou12", "common word"},
		{"letmein1234", "common word"},
		{"qwertyuiop", "common word"},
		{"zxcvbnmasdfghjkl", "guesses"},
		{"1234567890", "counts"},
		{"abcdefghij", "counts"},
		{"aaaaaaaaaa", "repeats"},
		{"aaaaaaaaaaaaaaaaaaaaaaaa", "repeats"},
		{"abcabcabcabcabc", "repeats"},
		{"holidaysholidays", "guesses"},
		{"holidays 2024!", "common word"},
		{"workgroup-docs", "a name that others see"},
		{"Workgroup2024", "a name that others see"},
		{"annasfotos123", "a name that others see"},
		{"Anna's Fotos 1", "a name that others see"},
		{"correct horse battery staple", ""},
		{"tidy otter beyond lunch", ""},
		{"seven lilac tractors yodel", ""},
		{"xk29-qpw7-mzt4", ""},
		{"7fKq-2mPx-9s", ""},
		{strings.Repeat("tidy otter beyond lunch ", 10), ""},
	} {
		err := auth.CheckChosen(strong(t, test.password), "docs", "workgroup", "Anna's Fotos")
		switch {
		case test.says == "" && err != nil:
			t.Errorf("%q: %v", test.password, err)
		case test.says == "":
		case err == nil || !strings.Contains(err.Error(), test.says) || peer.KindOf(err) != peer.Usage:
			t.Errorf("%q: %v, want %q", test.password, err, test.says)
		default:
			var e *peer.Error
			if !errors.As(err, &e) || !strings.Contains(e.Hint, "four or more words") {
				t.Errorf("%q: %v says not what to do", test.password, err)
			}
		}
	}
}

func FuzzNewPassword(f *testing.F) {
	for _, s := range []string{"open sesame", "a\u00a0b", "Zoe\u0308", "\x00", "a\xff", "İstanbul'da yağmur", "ＦＵＬＬ width pass"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		p, err := auth.NewPassword(typed)
		if err != nil {
			return
		}
		if !utf8.ValidString(typed) {
			t.Errorf("%q is no text", typed)
		}
		err = auth.CheckChosen(p, "docs")
		if err == nil && len(typed) < auth.MinChosen {
			t.Errorf("%q is too short", typed)
		}
	})
}
