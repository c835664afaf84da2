package rules

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// report takes what breaks a rule, with the reason for the rule.
type report func(format string, args ...any)

// rule is one rule, and for each way to break it a small tree that does.
type rule struct {
	name   string
	check  func(tr tree, bad report)
	broken []map[string]string // path → text
}

func rules() []rule {
	doc := func(body string) string { return "// Package p is documented.\npackage p\n" + body }
	lines := func(n int) string { return strings.Repeat("\n", n) }
	return []rule{
		{"imports run downward", importsRunDownward, []map[string]string{
			{"peer/a.go": doc(`import _ "github.com/peerd/peerd/share"`)},
			{"transfer/a.go": doc(`import _ "github.com/peerd/peerd/discovery"`)},
			{"share/vfs/a.go": doc(`import _ "github.com/peerd/peerd/share/mount"`)},
			{"share/mount/a.go": doc(`import _ "github.com/peerd/peerd/share/webdav"`)},
			{"other/a.go": doc("")},
		}},
		{"one owner per module", oneOwnerPerModule, []map[string]string{
			{"peer/wire/a.go": doc(`import _ "github.com/libp2p/go-libp2p"`)},
			{"peer/wire/a.go": doc(`import _ "github.com/libp2p/go-libp2p/core/network"`)},
			{"share/serve/a.go": doc(`import _ "github.com/bytemare/opaque"`)},
			{"cmd/internal/ui/a.go": doc(`import _ "github.com/urfave/cli/v2"`)},
		}},
		{"faces know vocabularies only", facesKnowVocabulariesOnly, []map[string]string{
			{"share/webdav/a.go": doc(`import _ "github.com/peerd/peerd/share/local"`)},
			{"cmd/peerd/a.go": doc(`import _ "github.com/peerd/peerd/peer/host"`)},
		}},
		{"helpers for tests stay in tests", helpersForTestsStayInTests, []map[string]string{
			{"share/a.go": doc(`import _ "github.com/peerd/peerd/peer/peertest"`)},
			{"share/a.go": doc(`import _ "testing"`)},
			{"share/a.go": doc(`import "github.com/peerd/peerd/peer/auth"; func f(p auth.Password) { p.WeakenedForTests() }`)},
		}},
		{"pure packages", purePackages, []map[string]string{
			{"peer/auth/a.go": doc(`import "time"; func f() { time.Now() }`)},
			{"peer/auth/a.go": doc(`import clock "time"; var now = clock.Now`)},
			{"share/grant/a.go": doc(`func f() { go f() }`)},
			{"transfer/swarm/a.go": doc(`import _ "net/http"`)},
			{"transfer/manifest/a.go": doc(`import _ "os"`)},
		}},
		{"files are opened by few", filesAreOpenedByFew, []map[string]string{
			{"share/serve/a.go": doc(`import "os"; func f() { os.Open("x") }`)},
			{"share/a.go": doc(`import "golang.org/x/sys/unix"; func f() { unix.Openat2(0, "", nil) }`)},
		}},
		{"no init, no global logger", noInitNoGlobalLogger, []map[string]string{
			{"share/a.go": doc(`func init() {}`)},
			{"share/a.go": doc(`import "log"; func f() { log.Print() }`)},
			{"share/a.go": doc(`import "log/slog"; func f() { slog.Info("x") }`)},
		}},
		{"no mutable package variables", noMutablePackageVariables, []map[string]string{
			{"share/a.go": doc(`var n int`)},
			{"share/a.go": doc(`var m = make(map[string]int)`)},
			{"share/a.go": doc(`import "sync"; var mu = sync.Mutex{}`)},
			{"share/a.go": doc("var table = []int{1}"), "share/b.go": "package p\nfunc f() { table[0] = 2 }"},
			{"share/a.go": doc(`var table = map[int]int{}; func f() { delete(table, 1) }`)},
			{"share/a.go": doc(`var pair = struct{ a, b int }{}; func f() *int { return &pair.a }`)},
		}},
		{"sizes", sizes, []map[string]string{
			{"share/a.go": doc(lines(fileLimit))},
			{"share/a.go": doc(lines(499 - 3)), "share/b.go": doc(lines(499 - 3)), "share/c.go": doc(lines(499 - 3)), "share/d.go": doc(lines(120))},
			{"share/a.go": doc("func f() {" + lines(functionLimit) + "}")},
		}},
		{"the root holds only what is known", rootHoldsOnlyWhatIsKnown, []map[string]string{{"notes.txt": "x"}}},
		{"packages are documented", packagesAreDocumented, []map[string]string{
			{"share/a.go": "package p"},
			{"share/a.go": doc(""), "share/b.go": doc("")},
		}},
		{"exported names are documented", exportedNamesAreDocumented, []map[string]string{
			{"share/a.go": doc(`func F() {}`)},
			{"share/a.go": doc("// T is.\ntype T int\nfunc (T) M() {}")},
			{"share/a.go": doc(`const A = 1`)},
			{"share/a.go": doc("// Types.\ntype (\nA int\n)")},
		}},
	}
}

func TestRules(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatalf("this is not the root of the project: %v", err)
	}
	tr := load(t, root)
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) { r.check(tr, t.Errorf) })
	}
}

// TestRulesBite breaks every rule in every way listed, one at a time.
func TestRulesBite(t *testing.T) {
	for _, r := range rules() {
		for _, files := range r.broken {
			root := t.TempDir()
			for name, text := range files {
				name = filepath.Join(root, filepath.FromSlash(name))
				if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			found := 0
			r.check(load(t, root), func(string, ...any) { found++ })
			if found != 1 {
				t.Errorf("%s: %d reports, want 1, on %q", r.name, found, files)
			}
		}
	}
}
