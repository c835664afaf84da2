package peer

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// CheckText refuses a text that is empty, longer than limit bytes, not UTF-8, not NFC, or holds a character that does not
// show: one that is not [Printable], unless its neighbours are written with it, as emoji, Persian and Indian scripts are.
func CheckText(s string, limit int) error {
	return check(s, limit, func(_ rune, shows bool) bool { return shows })
}

// CheckFileName is the more lenient [CheckText] for what files are called: it allows characters that merely do not show, such
// as a soft hyphen, since files have them without their owners' knowing; [Quote] makes them seen. Refused are those that a
// terminal obeys, that change the order of what is shown, and of zero width: they make one name pass for another
// (CVE-2014-9390, CVE-2020-26283).
func CheckFileName(s string, limit int) error {
	return check(s, limit, func(r rune, shows bool) bool { return shows || !deceives(r) })
}

func check(s string, limit int, good func(r rune, shows bool) bool) error {
	switch {
	case s == "":
		return fmt.Errorf("it is empty")
	case len(s) > limit:
		return fmt.Errorf("it is longer than %d bytes", limit)
	case strings.ToValidUTF8(s, "") != s:
		return fmt.Errorf("it is not UTF-8")
	case !norm.NFC.IsNormalString(s):
		return fmt.Errorf("it is not in Unicode normal form C")
	}
	var bad error
	each(s, func(_ int, r rune, shows bool) bool {
		if !good(r, shows) {
			bad = fmt.Errorf("it holds the character %U, which does not print", r)
		}
		return bad == nil
	})
	return bad
}

// each goes through the characters of a text until f says no. Those show that are [Printable], or join neighbours that do.
func each(s string, f func(i int, r rune, shows bool) bool) {
	var before, r rune // 0 at the ends, and for what does not show
	at := -1
	step := func(after rune) bool {
		if at < 0 {
			return true
		}
		shows := Printable(r) || joins(before, r, after)
		if before = 0; shows {
			before = r
		}
		return f(at, r, shows)
	}
	for i, after := range s {
		if !step(after) {
			return
		}
		at, r = i, after
	}
	step(0)
}

// Printable reports whether a character shows by itself: it is no control, no separator of lines, no non-character, and none
// of those that Unicode has programs ignore when they show a text (Default_Ignorable_Code_Point), such as bidi overrides,
// zero-width spaces, fillers, tags and variation selectors.
func Printable(r rune) bool {
	switch {
	case r < 0x7f:
		return r >= ' '
	case unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Noncharacter_Code_Point):
		return false
	case unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point):
		return unicode.Is(unicode.Prepended_Concatenation_Mark, r) // these are of Cf and do show
	}
	return true
}

// deceives reports whether a character is a control, a separator of lines, of the bidi algorithm, or of zero width.
func deceives(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) ||
		r == 0x061c || r >= 0x200b && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2060 && r <= 0x206f || r == 0xfeff
}

// The joiners, which have no width and change how their neighbours look.
const (
	zeroWidthNonJoiner = 0x200c
	zeroWidthJoiner    = 0x200d
	keycap             = 0x20e3
)

// joins reports whether a character that does not show by itself changes how its neighbours look, so that it does not hide: a
// joiner between emoji, between letters of a cursive script or beside a virama (as RFC 5892 appendix A has it, a little wider
// for Bengali), or a variation selector behind what has variations.
func joins(before, r, after rune) bool {
	switch {
	case r == zeroWidthJoiner && isEmoji(after) && (isEmoji(before) || before == 0xfe0f):
		return true
	case r == zeroWidthJoiner || r == zeroWidthNonJoiner:
		cursive := unicode.In(before, unicode.Arabic, unicode.Syriac, unicode.Nko) && unicode.In(after, unicode.Arabic, unicode.Syriac, unicode.Nko)
		return cursive && Printable(after) || isVirama(before) || isVirama(after) && unicode.IsLetter(before)
	case r == 0xfe0e || r == 0xfe0f:
		return isEmoji(before) || after == keycap && strings.ContainsRune("0123456789#*", before)
	case r >= 0xfe00 && r <= 0xfe0d || r >= 0xe0100 && r <= 0xe01ef:
		return unicode.Is(unicode.Han, before)
	case r >= 0x180b && r <= 0x180f:
		return unicode.Is(unicode.Mongolian, before) && unicode.IsLetter(before)
	}
	return false
}

// isEmoji reports whether a character is one of the symbols that emoji are made of. There are more of these symbols than emoji.
func isEmoji(r rune) bool {
	switch r {
	case '©', '®', 'ℹ', '\U0001f3fb', '\U0001f3fc', '\U0001f3fd', '\U0001f3fe', '\U0001f3ff': // the last five are tones of skin
		return true
	case unicode.ReplacementChar:
		return false
	}
	return r >= 0x2000 && unicode.In(r, unicode.So, unicode.Sm, unicode.Po, unicode.Pd)
}

// isVirama reports whether a character takes the vowel from the letter before it.
func isVirama(r rune) bool { return r > 0x7f && norm.NFC.PropertiesString(string(r)).CCC() == 9 }

// Quote makes a text from the network safe to print: characters that do not show (see [CheckText]) and bytes that are no
// UTF-8 are escaped as \u{…} and \x….
func Quote(s string) string {
	clean := true
	each(s, func(i int, r rune, shows bool) bool {
		clean = shows && !isStray(s, i, r)
		return clean
	})
	if clean {
		return s
	}
	var b strings.Builder
	each(s, func(i int, r rune, shows bool) bool {
		switch {
		case isStray(s, i, r):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !shows:
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			b.WriteRune(r)
		}
		return true
	})
	return b.String()
}

// isStray reports whether s[i], read as r, is a byte that is no UTF-8.
func isStray(s string, i int, r rune) bool {
	return r == unicode.ReplacementChar && !strings.HasPrefix(s[i:], string(unicode.ReplacementChar))
}
