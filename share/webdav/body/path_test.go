package body

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/peerd/peerd/share"
)

func TestParsePath(t *testing.T) {
	for in, want := range map[string][]string{
		"":                     nil,
		"/":                    nil,
		"/a/b":                 {"a", "b"},
		"/a/b/":                {"a", "b"},
		"//a//b":               {"a", "b"},
		"/a%20b/%c3%bc":        {"a b", "ü"},
		"/u%cc%88":             {"ü"},
		"/a+b;c=d":             {"a+b;c=d"},
		"/..a/.b/...":          {"..a", ".b", "..."},
		"/%252e%252e/%252fetc": {"%2e%2e", "%2fetc"},
	} {
		if got, err := ParsePath(in); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{
		"/..", "/.", "/a/../b", "/%2e%2e", "/%2E.", "/a%2fb", "/a%5cb", `/a\b`, "/%00", "/a%0d%0ab", "/%7f", "/%c2%80", "/%ff", "/%c0%af", "/%e0%80%af", "/%", "/%g0",
		strings.Repeat("/a", share.MaxDepth+3), "/" + strings.Repeat("a", maxPath),
	} {
		if got, err := ParsePath(in); err == nil {
			t.Errorf("%.80s: %q", in, got)
		}
	}
}

// FuzzParsePath holds that a path that is accepted has only names, and is the same when it is written and read again.
func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"/a/b%20c/", "/..%2f", "/%00", "//x//", "/%c3%a4", "/a%cc%88", "/%2e/%2e%2e", "/%E2%80%AE", strings.Repeat("/x", 70)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		path, err := ParsePath(s)
		if err != nil {
			return
		}
		for _, c := range path {
			if c == "" || c == "." || c == ".." || strings.ContainsAny(c, "/\\\x00\r\n") || !utf8.ValidString(c) || !norm.NFC.IsNormalString(c) {
				t.Errorf("%q has the part %q", s, c)
			}
		}
		for _, dir := range []bool{false, true} {
			href := Href("/m/x", path, dir)
			u, err := url.Parse(href)
			if err != nil || strings.ContainsAny(href, "<>&\"' ?#") {
				t.Fatalf("%q is written %q, %v", s, href, err)
			}
			if again, err := ParsePath(strings.TrimPrefix(u.EscapedPath(), "/m/x")); err != nil || !slices.Equal(again, path) {
				t.Errorf("%q is written %q and read %q, %v", s, href, again, err)
			}
		}
	})
}
