package mdns

import (
	"strings"
	"unicode/utf8"
)

// escapeLabel writes any text as one label in the presentation form of miekg/dns, cut to 63 bytes on a rune's boundary.
func escapeLabel(s string) string {
	return strings.NewReplacer(`\`, `\\`, `.`, `\.`).Replace(cut(s, maxLabel))
}

// escapeText writes a text as a TXT string in the presentation form of miekg/dns.
func escapeText(s string) string { return strings.ReplaceAll(s, `\`, `\\`) }

// splitLabel takes the first label off a name in presentation form, and gives it as it is on the wire.
func splitLabel(name string) (label, rest string) {
	end := 0
	for end < len(name) && name[end] != '.' {
		if name[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(name) {
		return unescape(name), ""
	}
	return unescape(name[:end]), name[end+1:]
}

// sameName compares names in presentation form, however each of them is escaped.
func sameName(a, b string) bool {
	labelA, restA := splitLabel(a)
	labelB, restB := splitLabel(b)
	return strings.EqualFold(labelA, labelB) && strings.EqualFold(restA, restB)
}

// unescape undoes \DDD and \X of the presentation form.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		if n, ok := decimal(s[i+1:]); ok {
			b.WriteByte(n)
			i += 3
		} else if i+1 < len(s) {
			i++
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// decimal reads the three digits of \DDD.
func decimal(s string) (byte, bool) {
	if len(s) < 3 {
		return 0, false
	}
	n := 0
	for _, c := range []byte(s[:3]) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return byte(n), n < 256
}

// cut shortens a text to at most n bytes without splitting a rune.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
