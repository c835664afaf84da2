package share

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/peerd/peerd/peer"
	"golang.org/x/text/unicode/norm"
)

func TestParsePath(t *testing.T) {
	long := strings.Repeat("x", MaxComponent)
	deep := slices.Repeat([]string{"d"}, MaxDepth)
	for _, c := range []struct {
		name string
		in   []string
		ok   bool
	}{
		{"root", nil, true},
		{"plain", []string{"docs", "plan.pdf"}, true},
		{"a dot file", []string{".git", "config"}, true},
		{"dots that are a name", []string{"...", "..a", "a.."}, true},
		{"what Windows can't hold", []string{"a:b", "what?", "con", "end."}, true},
		{"spaces", []string{" a ", "b c"}, true},
		{"other scripts", []string{"Größe", "файл", "文件", "\U0001F600"}, true},
		{"longest component", []string{long}, true},
		{"deepest", deep, true},
		{"longest path", slices.Repeat([]string{long}, 16), true},

		{"what does not show", []string{"so\u00adft", "\u3164", "葛\U000E0100", "a\U000E0041"}, true},
		{"emoji with selectors and joiners", []string{"❤\ufe0f", "🏳\ufe0f\u200d🌈"}, true},
		{"a joiner in Persian", []string{"\u06a9\u062a\u0627\u0628\u200c\u0647\u0627"}, true},

		{"dot", []string{"a", "."}, false},
		{"dot dot", []string{"a", "..", "b"}, false},
		{"empty", []string{"a", "", "b"}, false},
		{"absolute", []string{"/etc/passwd"}, false},
		{"slash inside", []string{"a/../../x"}, false},
		{"slash behind", []string{"link/"}, false},
		{"backslash", []string{`a\b`}, false},
		{"NUL", []string{"a\x00b"}, false},
		{"newline", []string{"a\nb"}, false},
		{"escape", []string{"\x1b[2J"}, false},
		{"delete", []string{"a\x7f"}, false},
		{"C1", []string{"a\u009b2J"}, false},
		{"bidi override", []string{"gpj.\u202eexe"}, false},
		{"bidi isolate", []string{"\u2066a"}, false},
		{"zero width", []string{"a\u200bb"}, false},
		{"left-to-right mark", []string{"a\u200e"}, false},
		{"Arabic letter mark", []string{"a\u061c"}, false},
		{"HFS+ ignores it", []string{".g\u200cit"}, false},
		{"deprecated format", []string{"a\u206a"}, false},
		{"byte order mark", []string{"\ufeffa"}, false},
		{"line separator", []string{"a\u2028b"}, false},
		{"not UTF-8", []string{"a\xffb"}, false},
		{"surrogate", []string{"\xed\xa0\x80"}, false},
		{"overlong slash", []string{"\xc0\xaf"}, false},
		{"not NFC", []string{"o\u0308"}, false},
		{"not NFC, singleton", []string{"\u212b"}, false},
		{"too long", []string{long + "x"}, false},
		{"too deep", append(deep, "d"), false},
		{"too long in all", slices.Repeat([]string{long}, 17), false},
		{"one too long in all", append(slices.Repeat([]string{long}, 15), strings.Repeat("x", 254), "y"), false},
		{"reserved", []string{".peerd-tmp-1"}, false},
		{"reserved in other case", []string{".PeErD"}, false},
		{"reserved below", []string{"a", ".peerd", "key"}, false},
		{"reserved, with what casefold ext4 ignores", []string{".pe\u00aderd-tmp-1"}, false},
		{"reserved, with a variation selector", []string{"\ufe0f.peerd"}, false},
		{"reserved, 8.3", []string{"PEERD-~1"}, false},
		{"reserved, 8.3 in small letters", []string{"peerd-~12.tmp"}, false},
		{"reserved, 8.3 with hash", []string{"PE3F0A~1"}, false},
		{"like 8.3", []string{"PEARS~1", "PETERS~1", "peerd", "a~1", "PE3F0A~", "PE3F0A~x", "perfect~1"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := ParsePath(c.in)
			if (err == nil) != c.ok {
				t.Fatalf("ParsePath(%q) gives error %v, want one: %v", c.in, err, !c.ok)
			}
			if err != nil {
				if peer.KindOf(err) != peer.Usage || p != (Path{}) {
					t.Errorf("ParsePath(%q) = %q, %v of kind %v", c.in, p, err, peer.KindOf(err))
				}
				return
			}
			if got := p.Components(); !slices.Equal(got, c.in) {
				t.Errorf("Components() = %q, want %q", got, c.in)
			}
			if joined := joinAll(t, c.in); joined != p {
				t.Errorf("joined one by one it is %q, want %q", joined, p)
			}
		})
	}
}

func joinAll(t *testing.T, components []string) (p Path) {
	t.Helper()
	for _, c := range components {
		var err error
		if p, err = p.Join(c); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestJoinRefuses(t *testing.T) {
	deep, err := ParsePath(slices.Repeat([]string{"d"}, MaxDepth))
	if err != nil {
		t.Fatal(err)
	}
	long, err := ParsePath(append(slices.Repeat([]string{strings.Repeat("x", MaxComponent)}, 15), strings.Repeat("x", 254)))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		p    Path
		name string
	}{
		{Path{}, ".."}, {Path{}, "a/b"}, {Path{}, ""}, {deep.Dir(), "../x"}, {deep.Dir(), ".peerd"}, {deep, "x"}, {long, "y"},
	} {
		if p, err := c.p.Join(c.name); err == nil || p != (Path{}) {
			t.Errorf("%.20q joined with %q = %.20q, %v", c.p, c.name, p, err)
		}
	}
}

func TestPathParts(t *testing.T) {
	for _, c := range []struct{ path, base, dir string }{
		{"", "", ""}, {"a", "a", ""}, {"a/b", "b", "a"}, {"a/b/c", "c", "a/b"},
	} {
		p, err := SplitPath(c.path)
		if err != nil {
			t.Fatal(err)
		}
		if p.String() != c.path || p.Base() != c.base || p.Dir().String() != c.dir || p.IsRoot() != (c.path == "") {
			t.Errorf("%q: base %q, dir %q, root %v", p, p.Base(), p.Dir(), p.IsRoot())
		}
	}
	if p, err := SplitPath("//a///b/"); err != nil || p.String() != "a/b" {
		t.Errorf("SplitPath drops empty components: got %q, %v", p, err)
	}
	if _, err := SplitPath("a/../b"); err == nil {
		t.Error("SplitPath takes ..")
	}
}

func TestBelow(t *testing.T) {
	for _, c := range []struct {
		path, dir string
		want      []string
		ok        bool
	}{
		{"a/b", "", []string{"a", "b"}, true}, {"", "", nil, true}, {"a/b", "a/b", nil, true}, {"a/b/c", "a", []string{"b", "c"}, true},
		{"ab", "a", nil, false}, {"a", "a/b", nil, false}, {"", "a", nil, false},
	} {
		p, _ := SplitPath(c.path)
		dir, _ := SplitPath(c.dir)
		if got, ok := p.Below(dir); ok != c.ok || !slices.Equal(got, c.want) {
			t.Errorf("%q below %q: %q, %v", p, dir, got, ok)
		}
	}
}

func TestCheckCreate(t *testing.T) {
	for _, c := range strings.Fields("a a.txt .git conx console com com10 COMA lpt aux1 nulls CON-1 $Recycle a$ naïve COM⁴") {
		if err := CheckCreate(c); err != nil {
			t.Errorf("%q: %v", c, err)
		}
	}
	for _, c := range []string{
		"", ".", "..", "a/b", ".peerd", // as CheckComponent
		"a<b", "a>b", "a:b", "x::$INDEX_ALLOCATION", `a"b`, "a|b", "a?b", "a*b",
		"a.", "a ", "...", "CON", "con", "Con.txt", "con.tar.gz", "CON .txt", "PRN", "AUX", "NUL", "nul.", "CONIN$", "conout$.x",
		"COM0", "COM1", "com9.log", "LPT0", "lpt3", "COM¹", "com².txt", "LPT³",
	} {
		if err := CheckCreate(c); err == nil {
			t.Errorf("%q may be created", c)
		}
	}
}

func TestParseName(t *testing.T) {
	for _, c := range []struct {
		name       string
		ok, hidden bool
	}{
		{"docs", true, false}, {"Alte Fotos", true, false}, {"❤\ufe0f", true, false}, {"so\u00adft", false, false}, {"backup$", true, true}, {strings.Repeat("x", MaxName), true, false},
		{strings.Repeat("x", MaxName+1), false, false}, {"", false, false}, {"a/b", false, false}, {"con", false, false}, {"a:b", false, false},
	} {
		n, err := ParseName(c.name)
		if (err == nil) != c.ok || n.Hidden() != c.hidden {
			t.Errorf("ParseName(%q) = %q, %v; hidden %v", c.name, n, err, n.Hidden())
		}
	}
}

func TestFoldKey(t *testing.T) {
	for _, same := range [][]string{
		{"readme", "README", "ReadMe"},
		{"straße", "STRASSE", "STRAẞE"},
		{"größe", "GRÖSSE", "gro\u0308ße"},
		{"σας", "ΣΑΣ", "σασ"},
		{"K", "k", "\u212a"},
		{"Ꭱ", "ꭱ"},             // cases.Fold exchanges them
		{"ᾳ\u0323", "ᾼ\u0323"}, // an iota below beside another mark
		{"a\u00adb", "ab", "a\u034fb", "a\ufe0fb"},
	} {
		for _, name := range same[1:] {
			if FoldKey(name) != FoldKey(same[0]) {
				t.Errorf("%q and %q differ: %q, %q", same[0], name, FoldKey(same[0]), FoldKey(name))
			}
		}
	}
	if FoldKey("a") == FoldKey("á") || FoldKey("a.txt") == FoldKey("a-txt") {
		t.Error("different names have one key")
	}
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !unicode.IsGraphic(r) || unicode.In(r, unicode.Han, unicode.Hangul, unicode.Tangut, unicode.Yi, unicode.Egyptian_Hieroglyphs) {
			continue // many, and without case
		}
		key := FoldKey(string(r))
		for _, other := range []string{string(unicode.ToLower(r)), string(unicode.ToUpper(r)), norm.NFD.String(string(r)), key} {
			if FoldKey(other) != key && r != 'İ' { // its small letter is i for unicode.ToLower, which knows no dot above
				t.Errorf("%U has the key %q, and %q has %q", r, key, other, FoldKey(other))
			}
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{
		"", "a", "docs\nplan.pdf", "..", "a\n..\nb", "a/b", `a\b`, ".peerd-tmp", ".PEERD", ".pe\u00aderd", "o\u0308", "\u202e", "con", "a:b", "\xff",
		"PEERD-~1", strings.Repeat("x", 256), strings.Repeat("d\n", 65), "\ufeff", "İ", "Ꭱ",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		components := strings.Split(s, "\n")
		p, err := ParsePath(components)
		if err != nil {
			if p != (Path{}) {
				t.Fatalf("%q with %v", p, err)
			}
			return
		}
		if got := p.Components(); !slices.Equal(got, components) {
			t.Fatalf("%q became %q", components, got)
		}
		again, err := SplitPath(p.String())
		if err != nil || again != p {
			t.Fatalf("%q parsed again is %q, %v", p, again, err)
		}
		if joinAll(t, components) != p {
			t.Fatalf("%q joined one by one is another path", p)
		}
		if len(p.String()) >= MaxPath || len(components) > MaxDepth || strings.HasPrefix(p.String(), "/") {
			t.Fatalf("%q is beyond the limits", p)
		}
		for _, c := range components {
			forbid(t, c)
		}
	})
}

// forbid fails on what no component may hold, told in other words than CheckComponent's.
func forbid(t *testing.T, c string) {
	t.Helper()
	if c == "" || c == "." || c == ".." || len(c) > 255 || strings.ToValidUTF8(c, "") != c || norm.NFC.String(c) != c {
		t.Fatalf("%q was accepted", c)
	}
	var shown strings.Builder
	for _, r := range c {
		switch {
		case r < 0x20, r >= 0x7f && r <= 0x9f, strings.ContainsRune("/\\\u061c\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\ufeff", r),
			r >= 0x2060 && r <= 0x206f:
			t.Fatalf("%q with %U was accepted", c, r)
		case r != 0xad:
			shown.WriteRune(r)
		}
	}
	for _, joiner := range []string{"\u200c", "\u200d"} { // HFS+ takes no notice of them
		for _, part := range strings.Split(c, joiner)[1:] {
			if part == "" || part[0] < 0x80 {
				t.Fatalf("%q was accepted", c)
			}
		}
	}
	if s := shown.String(); len(s) >= 6 && strings.EqualFold(s[:6], ".peerd") {
		t.Fatalf("%q was accepted", c)
	}
}

func FuzzFoldKey(f *testing.F) {
	for _, s := range []string{"README", "straße", "ᾳ\u0323", "Ꭱ\u034fꭱ", "a\u0345\u0301", "\xff", "İI\u0307"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key := FoldKey(s)
		if norm.NFC.IsNormalString(s) && FoldKey(norm.NFD.String(s)) != key {
			t.Fatalf("%q: another key when decomposed", s)
		}
		if FoldKey(key) != key {
			t.Fatalf("%q: the key of %q is %q", s, key, FoldKey(key))
		}
	})
}
