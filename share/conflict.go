package share

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/peerd/peerd/peer"
)

// ConflictName is the name of the n-th copy of a moment that is kept beside a file since somebody else, or the owner, changed it
// meanwhile: "plan (conflict anna 2026-11-25 20.43.56).pdf".
func ConflictName(name string, who peer.Name, now time.Time, n int) string {
	note := clean(string(who))
	if note == "" {
		note = "owner"
	}
	note = " (conflict " + note + " " + now.UTC().Format("2006-01-02 15.04.05")
	if n > 1 {
		note += " " + strconv.Itoa(n)
	}
	note += ")"
	name = clean(name)
	stem, ext := name, ""
	if i := strings.LastIndexByte(name, '.'); i > 0 && len(name)-i <= 32 {
		stem, ext = name[:i], name[i:]
	}
	room := MaxComponent - len(note) - len(ext)
	for len(stem) > room {
		_, size := utf8.DecodeLastRuneInString(stem)
		stem = stem[:len(stem)-size]
	}
	out := norm.NFC.String(stem + note + ext)
	if CheckCreate(out) != nil {
		return "file" + note
	}
	return out
}

// clean drops what no peer may put into a name.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune(`<>:"|?*/\`, r) {
			return '_'
		}
		return r
	}, s)
	return strings.TrimRight(s, ". ")
}
