package share

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the vectors of docs/vectors anew")

const vectorFile = "../docs/vectors/path.json"

// vectors are lists of components with what ParsePath, and CheckCreate of the last one, must say of them.
type vectors struct {
	Comment string            `json:"comment"`
	Reasons map[string]string `json:"reasons"`
	Paths   []vector          `json:"paths"`
}

// vector holds components as text, or in hexadecimal when they are no UTF-8, which JSON can't hold.
type vector struct {
	Components []string `json:"components"`
	Hex        bool     `json:"hex,omitempty"`
	Refused    string   `json:"refused,omitempty"`
}

// reasons are why a path is refused; a vector names one. The texts of errors are no part of the protocol.
func reasons() map[string]string {
	return map[string]string{
		"empty":    "a component is empty",
		"dots":     "a component is . or ..",
		"slash":    "a component holds a slash or a backslash",
		"utf8":     "a component is not UTF-8",
		"nfc":      "a component is not in Unicode normal form C",
		"print":    "a component holds a control, a separator of lines, a bidi control, or something of zero width that joins nothing",
		"long":     "a component is longer than 255 bytes, or all with a separator after each than 4096",
		"deep":     "there are more than 64 components",
		"reserved": "a component is, or may stand on Windows for, a name that starts with .peerd",
		"create":   "it can be read, but a peer may not create the last component",
	}
}

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var have vectors
	if err := json.Unmarshal(b, &have); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, v := range have.Paths {
		components := slices.Clone(v.Components)
		if v.Hex {
			for i, c := range components {
				b, err := hex.DecodeString(c)
				if err != nil {
					t.Fatal(err)
				}
				components[i] = string(b)
			}
		}
		seen[v.Refused] = true
		if got := refusal(components); got != v.Refused {
			t.Errorf("%.100q is refused as %q, want %q", components, got, v.Refused)
		}
	}
	for r := range have.Reasons {
		if !seen[r] || reasons()[r] != have.Reasons[r] {
			t.Errorf("the reason %s has no vector, or another text", r)
		}
	}
	if !seen[""] || len(have.Reasons) != len(reasons()) {
		t.Errorf("%d reasons, accepted ones %v", len(have.Reasons), seen[""])
	}
}

// refusal is the class of the error that components give.
func refusal(components []string) string {
	_, err := ParsePath(components)
	if err == nil {
		if n := len(components); n > 0 && CheckCreate(components[n-1]) != nil {
			return "create"
		}
		return ""
	}
	for _, c := range []struct{ text, class string }{
		{"is empty", "empty"}, {"is no name", "dots"}, {"holds a slash", "slash"}, {"not UTF-8", "utf8"}, {"normal form", "nfc"},
		{"does not print", "print"}, {"is longer than", "long"}, {"is deeper than", "deep"}, {"starts with", "reserved"}, {"start with", "reserved"},
	} {
		if strings.Contains(err.Error(), c.text) {
			return c.class
		}
	}
	return err.Error()
}

func writeVectors(t *testing.T) {
	t.Helper()
	long := strings.Repeat("x", MaxComponent)
	deep := slices.Repeat([]string{"d"}, MaxDepth)
	v := vectors{
		Comment: "Components from the root of a share down, and why they are refused: both by who serves and by who receives.",
		Reasons: reasons(),
	}
	for _, components := range [][]string{
		{}, {"docs", "plan.pdf"}, {".git", "config"}, {"..a"}, {" a ", "b c"}, {"Größe", "файл", "文件", "\U0001F600"}, {"con", "a:b", "end.", "x"},
		{"so\u00adft"}, {"\u3164"}, {"a\U000E0041"}, {"❤\ufe0f"}, {"🏳\ufe0f\u200d🌈"}, {"\u06a9\u062a\u0627\u0628\u200c\u0647\u0627"}, {"\u09b0\u200d\u09cd\u09af"},
		{long}, deep, slices.Repeat([]string{long}, 16), {"PEARS~1"}, {"PE3F0A~x"}, {"peerd"},
		{"a", "", "b"}, {""}, {"."}, {"a", "..", "b"},
		{"/etc/passwd"}, {"link/"}, {`a\b`}, {"a\xffb"}, {"\xed\xa0\x80"}, {"\xc0\xaf"}, {"o\u0308"}, {"\u212b"},
		{"a\x00b"}, {"a\nb"}, {"\x1b[2J"}, {"a\u009b2J"}, {"gpj.\u202eexe"}, {"a\u200bb"}, {"\ufeffa"}, {".g\u200cit"}, {"a\u200d"}, {"🌈\u200d"},
		{long + "x"}, slices.Repeat([]string{long}, 17), append(slices.Repeat([]string{long}, 15), long[1:], "y"), append(deep, "d"),
		{".peerd-tmp-1"}, {".PeErD"}, {"a", ".peerd", "key"}, {".pe\u00aderd"}, {"\ufe0f.peerd"}, {"PEERD-~1"}, {"peerd-~12.tmp"}, {"PE3F0A~1"},
		{"a", "con"}, {"nul.txt"}, {"COM¹"}, {"a:b"}, {"what?"}, {"end."}, {"end "}, {"..."},
	} {
		entry := vector{Components: components, Refused: refusal(components)}
		if joined := strings.Join(components, ""); strings.ToValidUTF8(joined, "") != joined {
			entry.Hex, entry.Components = true, nil
			for _, c := range components {
				entry.Components = append(entry.Components, hex.EncodeToString([]byte(c)))
			}
		}
		v.Paths = append(v.Paths, entry)
	}
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var ascii []byte // so that a reader sees what does not print
	for _, r := range string(text) + "\n" {
		switch {
		case r < utf8.RuneSelf && r != 0x7f:
			ascii = append(ascii, byte(r))
		default:
			for _, u := range utf16.Encode([]rune{r}) {
				ascii = fmt.Appendf(ascii, `\u%04x`, u)
			}
		}
	}
	if err := os.WriteFile(vectorFile, ascii, 0o644); err != nil {
		t.Fatal(err)
	}
}
