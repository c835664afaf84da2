package control_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

func TestParseRef(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want control.Ref
		text string // "" when in is the text form already
	}{
		{"//", control.Ref{}, ""},
		{"//anna", control.Ref{Peer: "anna"}, ""},
		{"//anna/", control.Ref{Peer: "anna"}, "//anna"},
		{"//anna/docs", control.Ref{Peer: "anna", Share: "docs"}, ""},
		{"//anna//docs///a//b/", control.Ref{Peer: "anna", Share: "docs", Path: "a/b"}, "//anna/docs/a/b"},
		{"//anna/my docs/a b", control.Ref{Peer: "anna", Share: "my docs", Path: "a b"}, ""},
		{"//anna/d/e\u0301", control.Ref{Peer: "anna", Share: "d", Path: "\u00e9"}, "//anna/d/\u00e9"},
		{"//anna/d/...", control.Ref{Peer: "anna", Share: "d", Path: "..."}, ""},
	} {
		got, err := control.ParseRef(tc.in)
		if err != nil || got != tc.want {
			t.Errorf("ParseRef(%q) = %+v, %v; want %+v", tc.in, got, err, tc.want)
		}
		if tc.text == "" {
			tc.text = tc.in
		}
		if got.String() != tc.text {
			t.Errorf("ParseRef(%q).String() = %q, want %q", tc.in, got, tc.text)
		}
	}
	for _, in := range []string{"", "/", "anna/docs", "///docs", "//.", "//../docs", "//anna/..", "//anna/docs/./a", "//anna/docs/../b", "//a\xff",
		"//" + strings.Repeat("a", control.MaxRef)} {
		if got, err := control.ParseRef(in); peer.KindOf(err) != peer.Usage {
			t.Errorf("ParseRef(%q) = %+v, %v; want wrong use", in, got, err)
		}
	}
}

func TestSplitVersion(t *testing.T) {
	for _, tc := range []struct{ in, plain, version string }{
		{"//anna/docs/plan.txt@20261125-204356-9f3c", "//anna/docs/plan.txt", "20261125-204356-9f3c"},
		{"//anna/docs/a/b@c@20261125-204356-9f3c", "//anna/docs/a/b@c", "20261125-204356-9f3c"},
		{"//anna/docs/plan.txt", "", ""},
		{"//anna/docs/plan.txt@", "", ""},
		{"//anna/docs/plan.txt@20261125-204356-9F3C", "", ""},
		{"//anna/docs/plan.txt@20261125-204356-9f3c0", "", ""},
		{"//anna/docs/plan.txt@20261125-204356-9f3c/x", "", ""},
		{"//anna/docs/@20261125-204356-9f3c", "", ""},
		{"//anna/docs/a/@20261125-204356-9f3c", "", ""},
		{"//anna/docs@20261125-204356-9f3c", "", ""},
		{"//anna@20261125-204356-9f3c", "", ""},
	} {
		ref, err := control.ParseRef(tc.in)
		if err != nil {
			t.Fatal(err)
		}
		plain, version, ok := control.SplitVersion(ref)
		switch {
		case ok != (tc.version != "") || version != tc.version || ok && plain.String() != tc.plain || !ok && plain != ref:
			t.Errorf("SplitVersion(%q) = %q, %q, %v", tc.in, plain, version, ok)
		case ok && control.WithVersion(plain, version) != tc.in:
			t.Errorf("%q and %q together are %q", plain, version, control.WithVersion(plain, version))
		}
	}
}

func FuzzParseRef(f *testing.F) {
	for _, s := range []string{"//", "//anna/docs/a/b", "//a//b/../c", "//\u0344/a", "//a\xff/b", "//ａ/ﬁ/e\u0301"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := control.ParseRef(s)
		if err != nil {
			return
		}
		again, err := control.ParseRef(ref.String())
		if err != nil || again != ref {
			t.Fatalf("%q is %+v, and its text %q is %+v, %v", s, ref, ref, again, err)
		}
		var depth int
		walked := control.Ref{}
		for c := range strings.SplitSeq(strings.TrimPrefix(ref.String(), "//"), "/") {
			if c == "." || c == ".." || c == "" && !ref.IsZero() || !utf8.ValidString(c) {
				t.Fatalf("%q keeps the component %q", s, c)
			}
			if c != "" {
				walked = walked.Join(c)
				depth++
			}
		}
		if walked != ref || depth != ref.Depth() {
			t.Fatalf("joined anew, %+v is %+v; depth %d and %d", ref, walked, ref.Depth(), depth)
		}
	})
}

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		pattern, name string
		want          bool
	}{
		{"plan", "The PLAN.pdf", true},
		{"plan*", "The PLAN.pdf", false},
		{"*.PDF", "plan.pdf", true},
		{"*a*b*", "xxaxxbxx", true},
		{"*a*b", "xxaxxbxx", false},
		{"a?c", "abc", true},
		{"a?c", "a日c", true},
		{"a?c", "ac", false},
		{"*", "", true},
		{"", "any", true},
		{"[a]", "a", false},
		{"ÄRGER", "ärger.txt", true},
		{"e\u0301t\u00e9", "\u00e9te\u0301", true},
		{strings.Repeat("*a", 500), strings.Repeat("a", 2000) + "b", false},
	} {
		if got := control.Match(tc.pattern, tc.name); got != tc.want {
			t.Errorf("Match(%.20q, %.20q) = %v", tc.pattern, tc.name, got)
		}
	}
}

func TestErrorsSurviveTheWire(t *testing.T) {
	statuses := make(map[int]string)
	for kind := range peer.Kind(32) {
		if peer.ParseKind(uint32(kind)) != kind {
			continue
		}
		in := &peer.Error{Op: "open", Path: "//anna/docs/\u202ex", Kind: kind, Err: errors.New("cause\nof two lines"), Hint: "do this"}
		out := roundTrip(t, in)
		if peer.KindOf(out) != kind || out.Error() != in.Error() {
			t.Errorf("%v became %v", in, out)
		}
		e := control.FromError(in)
		if other, twice := statuses[e.HTTPStatus()]; twice || e.HTTPStatus() < 400 {
			t.Errorf("%s has the HTTP status %d, as has %q", e.Kind, e.HTTPStatus(), other)
		}
		statuses[e.HTTPStatus()] = e.Kind
	}
	for _, tc := range []struct {
		in   error
		kind peer.Kind
		text string
	}{
		{fs.ErrNotExist, peer.NotFound, "not found: file does not exist"},
		{errors.New("odd"), peer.Other, "odd"},
		{fmt.Errorf("while looking: %w", &peer.Error{Path: "//a", Kind: peer.Busy}), peer.Busy, "while looking: //a: busy"},
		{errors.Join(nil, &peer.Error{Path: "//a", Kind: peer.Busy}), peer.Busy, "//a: busy"},
	} {
		if out := roundTrip(t, tc.in); peer.KindOf(out) != tc.kind || out.Error() != tc.text {
			t.Errorf("%v became %v of kind %v", tc.in, out, peer.KindOf(out))
		}
	}
	if control.FromError(nil) != nil || (*control.Error)(nil).Err() != nil {
		t.Error("no error became one")
	}
	if e := (&control.Error{Kind: "news"}); peer.KindOf(e.Err()) != peer.Other || e.HTTPStatus() != http.StatusInternalServerError {
		t.Errorf("an unknown kind became %v", e.Err())
	}
}

func roundTrip(t *testing.T, err error) error {
	t.Helper()
	text, jsonErr := json.Marshal(control.FromError(err))
	var e control.Error
	if jsonErr = errors.Join(jsonErr, json.Unmarshal(text, &e)); jsonErr != nil {
		t.Fatal(jsonErr)
	}
	return e.Err()
}

func TestTimesAreUTC(t *testing.T) {
	when := time.Date(2026, 3, 1, 14, 30, 0, 5e8, time.FixedZone("far", 2*3600))
	for _, v := range []control.Time{control.At(when), {Time: when}} {
		if text, err := json.Marshal(v); err != nil || string(text) != `"2026-03-01T12:30:00.5Z"` {
			t.Errorf("%v became %s, %v", when, text, err)
		}
	}
}

func TestEmptyListsAreNotNull(t *testing.T) {
	for _, v := range []any{control.List[string](nil), control.List[string]{}, control.Peer{}.Ways} {
		if text, err := json.Marshal(v); err != nil || string(text) != "[]" {
			t.Errorf("%#v became %s, %v", v, text, err)
		}
	}
}

func TestSocketDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "run")
	if err := control.MakeSocketDir(dir); err != nil {
		t.Fatal(err)
	}
	if err := control.MakeSocketDir(dir); err != nil {
		t.Errorf("the second time: %v", err)
	}
	if runtime.GOOS == "windows" {
		t.Skip("folders have no mode on Windows")
	}
	link := filepath.Join(filepath.Dir(dir), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if err := control.MakeSocketDir(link); err == nil {
		t.Error("a link passed for a folder")
	}
	for _, mode := range []fs.FileMode{0o701, 0o770, 0o755} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if err := control.MakeSocketDir(dir); err == nil {
			t.Errorf("a folder of mode %o passed", mode)
		}
	}
	if err := control.CheckSocketDir(filepath.Join(dir, "none"), true); peer.KindOf(err) != peer.NotFound {
		t.Errorf("a missing folder: %v", err)
	}
	if os.Getuid() != 0 {
		t.Skip("only root can give a folder away")
	}
	if err := errors.Join(os.Chmod(dir, 0o700), os.Chown(dir, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	if err := control.CheckSocketDir(dir, false); err == nil {
		t.Error("the server took another user's folder")
	}
	if err := control.CheckSocketDir(dir, true); err != nil {
		t.Errorf("root as client: %v", err)
	}
}
