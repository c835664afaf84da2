package body

import (
	"errors"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
)

const maxPath = 16 << 10 // bytes, escaped

// ParsePath splits an escaped path. Names are brought into the form that shares have them in: macOS writes accents apart. What no
// name can be is refused, whatever way it was escaped; the rest is for the tree to judge.
func ParsePath(escaped string) ([]string, error) {
	bad := func(why string) error {
		return &peer.Error{Op: "parse URL", Kind: peer.Usage, Err: errors.New(why)}
	}
	if len(escaped) > maxPath {
		return nil, bad("it is too long")
	}
	var out []string
	for part := range strings.SplitSeq(escaped, "/") {
		c, err := url.PathUnescape(part)
		switch {
		case err != nil:
			return nil, bad("it is not escaped well")
		case c == "":
			continue
		case c == "." || c == ".." || strings.ContainsAny(c, "/\\"):
			return nil, bad("a part of it is no name")
		case !utf8.ValidString(c) || strings.ContainsFunc(c, unicode.IsControl):
			return nil, bad("it holds a character that no name has")
		case len(out) == share.MaxDepth+2:
			return nil, bad("it is too deep")
		}
		out = append(out, norm.NFC.String(c))
	}
	return out, nil
}

// Href is the path of a URL as it stands in XML and in HTML's attributes. It is made of the prefix, which is such already, and of
// components; that of a folder ends in a slash. All is escaped but letters, digits and -._~ so that no client can be confused.
func Href(prefix string, path []string, dir bool) string {
	var b strings.Builder
	b.WriteString(prefix)
	for _, c := range path {
		b.WriteByte('/')
		b.WriteString(Escape(c))
	}
	if dir {
		b.WriteByte('/')
	}
	return b.String()
}

// Escape writes a component of a path as Href does.
func Escape(c string) string { return strings.ReplaceAll(url.QueryEscape(c), "+", "%20") }
