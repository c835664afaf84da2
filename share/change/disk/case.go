package disk

import (
	"strings"
	"unicode"
)

// OtherCase is a name with each letter in the other case, by which a disk without regard to case finds the same file.
func OtherCase(name string) string {
	return strings.Map(func(r rune) rune {
		if u := unicode.ToUpper(r); u != r {
			return u
		}
		return unicode.ToLower(r)
	}, name)
}
