package lock

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func path(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "/")
}

func add(t *testing.T, table *Table, token, root string, deep, shared bool) {
	t.Helper()
	if _, err := table.Add(now, Lock{Token: token, Root: path(root), Deep: deep, Shared: shared, Timeout: time.Minute}); err != nil {
		t.Fatalf("%s at %q: %v", token, root, err)
	}
}

func TestConflicts(t *testing.T) {
	for _, c := range []struct {
		held        string // path, with "deep" and "shared"
		asked       string
		ok          bool
		description string
	}{
		{"a", "a", false, "the same"},
		{"a shared", "a", false, "exclusive on shared"},
		{"a", "a shared", false, "shared on exclusive"},
		{"a shared", "a shared", true, "shared on shared"},
		{"a", "a/b", true, "below a shallow one"},
		{"a deep", "a/b", false, "below a deep one"},
		{"a deep", "a/b/c shared", false, "far below a deep one"},
		{"a deep shared", "a/b deep shared", true, "shared below a deep shared one"},
		{"a/b", "a deep", false, "deep above one"},
		{"a/b", "a", true, "shallow above one"},
		{"a deep", "ab", true, "a name that begins alike"},
		{"ab", "a deep", true, "above a name that begins alike"},
		{" deep", "x", false, "below the root"},
		{"x", " deep", false, "the root above one"},
	} {
		table := NewTable(10)
		word := func(s string) (string, bool, bool) {
			p, _, _ := strings.Cut(s, " ")
			return p, strings.Contains(s, "deep"), strings.Contains(s, "shared")
		}
		root, deep, shared := word(c.held)
		add(t, table, "t1", root, deep, shared)
		root, deep, shared = word(c.asked)
		_, err := table.Add(now, Lock{Token: "t2", Root: path(root), Deep: deep, Shared: shared, Timeout: time.Minute})
		var held *Held
		if c.ok != (err == nil) || err != nil && (!errors.As(err, &held) || held.By.Token != "t1") {
			t.Errorf("%s: %v", c.description, err)
		}
	}
}

func TestCheck(t *testing.T) {
	table := NewTable(10)
	add(t, table, "deep", "a/deep", true, false)
	add(t, table, "file", "a/file", false, false)
	add(t, table, "s1", "a/shared", false, true)
	add(t, table, "s2", "a/shared", false, true)
	for _, c := range []struct {
		path   string
		deep   bool
		tokens string
		ok     bool
	}{
		{"a/other", true, "", true},
		{"a/file", false, "", false},
		{"a/file", false, "file", true},
		{"a/file", false, "deep", false},
		{"a/deep/x/y", false, "", false},
		{"a/deep/x/y", false, "deep", true},
		{"a", false, "", true},
		{"a", true, "", false},
		{"a", true, "file deep", false},
		{"a", true, "file deep s2", true},
		{"a/shared", false, "s1", true},
		{"a/shared", false, "", false},
		{"", true, "file", false},
	} {
		if err := table.Check(now, path(c.path), c.deep, strings.Fields(c.tokens)); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestTime(t *testing.T) {
	table := NewTable(10)
	add(t, table, "t", "a", false, false)
	if _, err := table.Refresh(now.Add(50*time.Second), path("a"), "t", time.Minute); err != nil {
		t.Fatal(err)
	}
	late := now.Add(100 * time.Second)
	if err := table.Check(late, path("a"), false, nil); err == nil {
		t.Error("a refreshed lock ended at its first time")
	}
	late = now.Add(110 * time.Second)
	if locks := table.Covering(late, path("a")); len(locks) != 0 {
		t.Errorf("an ended lock is told of: %+v", locks)
	}
	if _, err := table.Refresh(late, path("a"), "t", time.Minute); !errors.Is(err, ErrGone) {
		t.Errorf("an ended lock is refreshed: %v", err)
	}
	if err := table.Check(late, path("a"), false, nil); err != nil {
		t.Errorf("an ended lock stands in the way: %v", err)
	}
	if table.count != 0 || len(table.byRoot) != 0 {
		t.Errorf("an ended lock is kept: %+v", table.byRoot)
	}
}

func TestRemove(t *testing.T) {
	table := NewTable(10)
	add(t, table, "deep", "a", true, false)
	add(t, table, "other", "b", false, false)
	for _, c := range []struct{ path, token string }{{"b", "deep"}, {"a", "other"}, {"", "deep"}, {"a", "none"}} {
		if err := table.Remove(now, path(c.path), c.token); !errors.Is(err, ErrGone) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if err := table.Remove(now, path("a/below"), "deep"); err != nil {
		t.Error(err)
	}
	if err := table.Check(now, path("a"), true, nil); err != nil {
		t.Error(err)
	}
	add(t, table, "below", "b/c/d", false, false)
	add(t, table, "alike", "bb", false, false)
	table.Drop(path("b"), false)
	if table.count != 2 || len(table.Covering(now, path("b"))) != 1 {
		t.Errorf("after a drop below b these are left: %+v", table.byRoot)
	}
	table.Drop(path("b"), true)
	if table.count != 1 || len(table.Covering(now, path("bb"))) != 1 {
		t.Errorf("after a drop these are left: %+v", table.byRoot)
	}
}

func TestLimit(t *testing.T) {
	table := NewTable(3)
	for i := range 3 {
		add(t, table, fmt.Sprint(i), fmt.Sprint("p", i), false, false)
	}
	l := Lock{Token: "x", Root: path("x"), Timeout: time.Minute}
	if _, err := table.Add(now, l); !errors.Is(err, ErrFull) {
		t.Errorf("a fourth of three: %v", err)
	}
	if _, err := table.Add(now.Add(time.Minute), l); err != nil {
		t.Errorf("ended locks count: %v", err)
	}
}

// TestFloods holds that neither what is told of one place nor what is kept grows with what clients ask for.
func TestFloods(t *testing.T) {
	table := NewTable(1 << 20)
	for i := range maxShared {
		add(t, table, fmt.Sprint(i), "a", true, true)
	}
	if _, err := table.Add(now, Lock{Token: "x", Root: path("a"), Shared: true, Timeout: time.Minute}); !errors.Is(err, ErrFull) {
		t.Errorf("one shared lock more than %d at one place: %v", maxShared, err)
	}
	n, err := 0, error(nil)
	for ; err == nil && n < 10_000; n++ {
		_, err = table.Add(now, Lock{Token: "x", Root: path(fmt.Sprint("b", n)), Owner: make([]byte, 2048), Timeout: time.Minute})
	}
	if !errors.Is(err, ErrFull) || n*2048 > maxBytes {
		t.Errorf("%d locks with 2 KiB each: %v", n, err)
	}
	table.Drop(nil, true)
	if table.bytes != 0 || table.count != 0 {
		t.Errorf("without locks there are %d bytes of %d", table.bytes, table.count)
	}
}

func TestParseIf(t *testing.T) {
	long := "(" + strings.Repeat("<t> ", maxConds) + ")"
	for _, c := range []struct {
		in   string
		want If
		ok   bool
	}{
		{"", nil, true},
		{"(<urn:a>)", If{{"", []Cond{{Token: "urn:a"}}}}, true},
		{`(<a> ["x"]) (Not<b>)`, If{{"", []Cond{{Token: "a"}, {ETag: `"x"`}}}, {"", []Cond{{Not: true, Token: "b"}}}}, true},
		{`(["a]b"][W/"c"])`, If{{"", []Cond{{ETag: `"a]b"`}, {ETag: `W/"c"`}}}}, true},
		{`<http://h/p>(<a>)(NOT [ "x" ])<q>	(<b>)`, If{
			{"http://h/p", []Cond{{Token: "a"}}}, {"http://h/p", []Cond{{Not: true, ETag: `"x"`}}}, {"q", []Cond{{Token: "b"}}}}, true},
		{"()", nil, false},
		{"(<a>", nil, false},
		{"(<a)", nil, false},
		{"(a)", nil, false},
		{"(Not)", nil, false},
		{"(<>)", nil, false},
		{`(["a")`, nil, false},
		{`([a])`, nil, false},
		{"<a>", nil, false},
		{"<a><b>(<c>)", nil, false},
		{"(<a>) <b>(<c>)", nil, false},
		{"(<a>) x", nil, false},
		{long + "(<t>)", nil, false},
	} {
		got, err := ParseIf(c.in)
		if (err == nil) != c.ok || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%.50q: %+v, %v", c.in, got, err)
		}
	}
	if f, err := ParseIf(long); err != nil || len(f.Tokens()) != maxConds {
		t.Errorf("%d conditions: %v", maxConds, err)
	}
}

func TestIfHolds(t *testing.T) {
	state := func(resource string) ([]string, string) {
		switch resource {
		case "":
			return []string{"mine", "shared"}, `"e1"`
		case "http://h/free":
			return nil, ""
		}
		return nil, `"other"`
	}
	for in, want := range map[string]bool{
		"":                                  true,
		"(<mine>)":                          true,
		"(<shared>)":                        true,
		"(<none>)":                          false,
		"(<none>)(<mine>)":                  true,
		`(<mine> ["e1"])`:                   true,
		`(<mine> ["e2"])`:                   false,
		`(<mine> Not ["e2"])`:               true,
		"(Not <DAV:no-lock>)":               true,
		"(<DAV:no-lock>)":                   false,
		"(Not <mine>)":                      false,
		"<http://h/free>(<mine>)":           false,
		"<http://h/free>(Not <x>)":          true,
		`<http://h/free>(["e1"])`:           false,
		`<http://h/x>(["other"])`:           true,
		`(W/"e1")`:                          false,
		`([W/"e1"])`:                        false,
		`<http://h/x>(["e1"]) (["e2"])`:     false,
		`<http://h/x>(["e1"]) (["other"])`:  true,
		`(<mine>) (["e2"] <none> Not <no>)`: true,
	} {
		f, err := ParseIf(in)
		if got := err == nil && f.Holds(state); got != want {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
}

// String writes a header that is read as the same.
func (f If) String() string {
	var b strings.Builder
	for _, l := range f {
		if l.Resource != "" {
			b.WriteString("<" + l.Resource + ">")
		}
		b.WriteString("(")
		for _, c := range l.Conds {
			if c.Not {
				b.WriteString("Not ")
			}
			if c.Token != "" {
				b.WriteString("<" + c.Token + ">")
			} else {
				b.WriteString("[" + c.ETag + "]")
			}
		}
		b.WriteString(")")
	}
	return b.String()
}

func FuzzParseIf(f *testing.F) {
	for _, s := range []string{"(<a>)", `<x>(Not ["y]"] <z>)(<t>)`, "((", "(<a> [W/\"\"])", "<a>(<b>)<c>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		parsed, err := ParseIf(s)
		if err != nil {
			return
		}
		again, err := ParseIf(parsed.String())
		if err != nil || !reflect.DeepEqual(again, parsed) {
			t.Errorf("%q is read as %+v, and that as %+v, %v", s, parsed, again, err)
		}
		for _, l := range parsed {
			if len(l.Conds) == 0 || slices.ContainsFunc(l.Conds, func(c Cond) bool { return (c.Token == "") == (c.ETag == "") }) {
				t.Errorf("%q: %+v", s, l)
			}
		}
	})
}

func TestParseTimeout(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"":                               DefaultTimeout,
		"Infinite":                       MaxTimeout,
		"Infinite, Second-4100000000":    MaxTimeout,
		"Second-600":                     10 * time.Minute,
		"second-5, Infinite":             5 * time.Second,
		"Extend, Second-7":               7 * time.Second,
		"Second-0":                       time.Second,
		"Second-":                        DefaultTimeout,
		"Second--1":                      DefaultTimeout,
		"Second-99999999999999999999999": MaxTimeout,
	} {
		if got := ParseTimeout(in); got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}
