package peer_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/peerd/peerd/peer"
)

func TestPrintable(t *testing.T) {
	for _, r := range "aZ ~é文ん\u00a0\u0301\u0600\u06dd\u2800\ufffd\U0001F600\U0001F3FF\ue000\uf8ff" {
		if !peer.Printable(r) {
			t.Errorf("%U does not print", r)
		}
	}
	for _, r := range []rune{
		0, '\n', 0x1b, 0x7f, 0x85, 0x9b, 0xad, 0x34f, 0x61c, 0x115f, 0x1160, 0x17b4, 0x17b5, 0x180b, 0x180e, 0x200b, 0x200c, 0x200d, 0x200e, 0x2028,
		0x2029, 0x202e, 0x2060, 0x2066, 0x206f, 0x3164, 0xfdd0, 0xfe00, 0xfe0f, 0xfeff, 0xffa0, 0xfff9, 0xfffe, 0x1bca0, 0x1d173, 0x1d17a, 0xe0001, 0xe0041,
		0xe0100, 0xe01ef, 0x10ffff,
	} {
		if peer.Printable(r) {
			t.Errorf("%U prints", r)
		}
	}
	for r := rune(0x20); r <= unicode.MaxRune; r++ { // what may only have been forgotten
		if !peer.Printable(r) && unicode.IsGraphic(r) && !unicode.In(r, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) {
			t.Errorf("%U is graphic, and does not print", r)
		}
	}
}

// texts are names, and whether they may stand as a name of a peer, and as one of a file.
func texts() map[string][2]bool {
	return map[string][2]bool{
		"plan.pdf":                   {true, true},
		"❤\ufe0f":                    {true, true},
		"a\ufe0f":                    {false, true},
		"1\ufe0f\u20e3":              {true, true},
		"1\ufe0f":                    {false, true},
		"\U0001F468\u200d\U0001F469": {true, true}, // a family
		"🏳\ufe0f\u200d🌈":             {true, true},
		"👩🏽\u200d🚀":                  {true, true},
		"\u06a9\u062a\u0627\u0628\u200c\u0647\u0627": {true, true}, // Persian: books
		"\u0915\u094d\u200d\u0937":                   {true, true}, // Devanagari
		"\u09b0\u200d\u09cd\u09af":                   {true, true}, // Bengali
		"葛\U000E0100":                                {true, true},
		"\u182d\u180e\u1820":                         {true, true}, // Mongolian
		"so\u00adft":                                 {false, true},
		"\u3164":                                     {false, true},
		"a\U000E0041":                                {false, true},
		"a\u034fb":                                   {false, true},
		"\ufe0f":                                     {false, true},
		"❤\ufe0f\ufe0f":                              {false, true},
		".g\u200cit":                                 {false, false}, // HFS+ takes it for .git
		"a\u200d":                                    {false, false},
		"\u200d🌈":                                    {false, false},
		"🌈\u200d":                                    {false, false},
		"\u0628\u200c":                               {false, false},
		"\u0628\u200c\u200c\u0628":                   {false, false},
		"a\ufe0f\u200d🌈":                             {false, false},
		"gpj.\u202eexe":                              {false, false},
		"a\u200bb":                                   {false, false},
		"\ufeffa":                                    {false, false},
		"a\nb":                                       {false, false},
		"a\u2028b":                                   {false, false},
		"a\xff":                                      {false, false},
		"":                                           {false, false},
		strings.Repeat("x", 64):                      {false, false},
	}
}

func TestCheckText(t *testing.T) {
	for text, want := range texts() {
		if err := peer.CheckText(text, 63); (err == nil) != want[0] {
			t.Errorf("as a name %q: %v", text, err)
		}
		if err := peer.CheckFileName(text, 63); (err == nil) != want[1] {
			t.Errorf("as a file's %q: %v", text, err)
		}
		if want[0] != (text != "" && len(text) < 64 && peer.Quote(text) == text) {
			t.Errorf("%q is printed as %s", text, peer.Quote(text))
		}
	}
}

func TestQuote(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "",
		"a\x1b[2J\xffb":         `a\u{1b}[2J\xffb`,
		"\ufffd\xf0\x9f":        "\ufffd" + `\xf0\x9f`,
		"❤\ufe0f\ufe0f":         "❤\ufe0f" + `\u{fe0f}`,
		"a\U000E0041\U0010FFFF": `a\u{e0041}\u{10ffff}`,
		"\xff\u200d🌈":           `\xff\u{200d}🌈`,
	} {
		if got := peer.Quote(text); got != want {
			t.Errorf("Quote(%q) = %s, want %s", text, got, want)
		}
	}
}

func FuzzQuote(f *testing.F) {
	for text := range texts() {
		f.Add(text)
	}
	f.Add("\xff\u200d🌈\xff")
	f.Fuzz(func(t *testing.T, s string) {
		q := peer.Quote(s)
		if again := peer.Quote(q); again != q {
			t.Fatalf("%q is quoted as %q, and that as %q", s, q, again)
		}
		if !utf8.ValidString(q) || strings.ContainsAny(q, "\x00\n\r\x1b\x7f\u009b\u202e\u2066\u200b\u200e\ufeff\u00ad") {
			t.Fatalf("%q is quoted as %q", s, q)
		}
		if peer.CheckText(s, len(s)) == nil && (q != s || peer.CheckFileName(s, len(s)) != nil) {
			t.Fatalf("%q is good and quoted as %q", s, q)
		}
	})
}
