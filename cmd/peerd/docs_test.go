package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/peerd/peerd/cmd/internal/ui"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

const manual = "../../docs/manual.md"

func testApp() *env {
	return &env{Terminal: ui.New(os.Stdin, os.Stdout, os.Stderr), getenv: func(string) string { return "" }}
}

// TestManual keeps the parts of the manual that are made of the program's own words as they are.
func TestManual(t *testing.T) {
	var statuses strings.Builder
	statuses.WriteString("| status | |\n|---|---|\n")
	for _, s := range exitStatuses() {
		fmt.Fprintf(&statuses, "| %d | %s |\n", s.status, s.means)
	}
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	want := string(text)
	for part, content := range map[string]string{"commands": markdown(newApp(testApp())), "exit status": statuses.String()} {
		before, rest, ok1 := strings.Cut(want, "<!-- begin "+part)
		marker, rest, ok2 := strings.Cut(rest, "-->\n")
		_, after, ok3 := strings.Cut(rest, "<!-- end "+part)
		if !ok1 || !ok2 || !ok3 {
			t.Fatalf("the manual has no part for %s", part)
		}
		want = before + "<!-- begin " + part + marker + "-->\n\n" + strings.TrimSpace(content) + "\n\n<!-- end " + part + after
	}
	switch {
	case want == string(text):
	case *update:
		if err := os.WriteFile(manual, []byte(want), 0o666); err != nil {
			t.Fatal(err)
		}
	default:
		t.Error("docs/manual.md does not say what the program says; run go test ./cmd/peerd -update")
	}
}

// TestManualTellsOfJSON looks for every field that an answer can have.
func TestManualTellsOfJSON(t *testing.T) {
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{control.Status{}, control.Transfer{}, control.Part{}, control.Peer{}, control.PeerShare{}, control.PeerEvent{},
		control.Entry{}, control.CopyEvent{}, control.CopySource{}, control.Login{}, control.Share{}, control.Finding{}, control.Error{}, build{},
		control.Change{}, control.Version{}, control.FileEvent{}, control.FileLock{}, control.AuditRecord{}, control.AuditReport{}} {
		typ := reflect.TypeOf(v)
		for field := range typ.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name == "" || !strings.Contains(string(text), "`"+name+"`") {
				t.Errorf("the manual does not tell of %q of %s", name, typ.Name())
			}
		}
	}
}

// TestExitStatuses compares what people are told with what peer.Kind does.
func TestExitStatuses(t *testing.T) {
	told := make(map[int]bool)
	for _, s := range exitStatuses() {
		told[s.status] = true
	}
	for kind := range peer.Kind(32) {
		if status := kind.ExitStatus(); !told[status] {
			t.Errorf("%v gives the exit status %d, and nobody is told", kind, status)
		}
	}
}

func TestManPage(t *testing.T) {
	page := manPage(newApp(testApp()))
	for _, want := range []string{".TH PEERD 1", ".SS peerd share add\n", ".B \\-\\-range FROM\\-TO\n", ".SH EXIT STATUS\n", ".B 8\nintegrity failure"} {
		if !strings.Contains(page, want) {
			t.Errorf("the manual page lacks %q", want)
		}
	}
	mandoc, err := exec.LookPath("man")
	if err != nil {
		t.Skip("no man to read it")
	}
	path := filepath.Join(t.TempDir(), "peerd.1")
	if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(mandoc, "--warnings", "-l", path)
	cmd.Stdout = io.Discard
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if err := cmd.Run(); err != nil || complaints.Len() > 0 {
		t.Errorf("man complains: %v %s", err, complaints.String())
	}
}

// TestArrange brings lines into the library's order.
func TestArrange(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", "run --"},
		{"--share /x --name anna", "run --share /x --name anna --"},
		{"--home /h", "--home /h run --"},
		{"run --share /x -v", "-v run --share /x --"},
		{"ls //a -l --json", "--json ls -l -- //a"},
		{"ls -lR //a", "ls -l -R -- //a"},
		{"ls -lx //a", "ls -lx -- //a"},
		{"ls -lv", "-v ls -l --"},
		{"cp //a/b . -rf --home /h", "--home /h cp -r -f -- //a/b ."},
		{"cp //a/b -- -r", "cp -- //a/b -r"},
		{"cp //a/b -", "cp -- //a/b -"},
		{"lock //a/b -- sh -c x -- y", "lock -- //a/b sh -c x -- y"},
		{"lock --json //a/b", "--json lock -- //a/b"},
		{"audit -f verify", "audit verify -f --"},
		{"audit --since 1h --share verify", "audit --since 1h --share verify --"},
		{"cat --range 1-2 //a", "cat --range 1-2 -- //a"},
		{"cat //a --range=1-2", "cat --range=1-2 -- //a"},
		{"cat //a --range", "cat --range"},
		{"cat --range -- //a", "cat --range"},
		{"--share", "run --share"},
		{"--name --json", "run --name"},
		{"ls //a --home", "--home"},
		{"--nam x", "run --nam -- x"},
		{"--nam x ls", "run --nam -- x ls"},
		{"lx --nam", "-- lx"},
		{"share add . --read open", "share add --read open -- ."},
		{"share --json ls", "--json share ls --"},
		{"share set ls --hidden=false", "share set --hidden=false -- ls"},
		{"find ls", "find -- ls"},
		{"bogus ls", "-- bogus ls"},
		{"--help", "help --"},
		{"share add -h", "help -- share add"},
		{"help share add", "help -- share add"},
		{"--json --version", "--json version"},
		{"__complete bash ls --json", "__complete -- bash ls --json"},
	} {
		got := strings.Join(arrange(newApp(testApp()), strings.Fields(tc.in)), " ")
		if got != tc.want {
			t.Errorf("%q became %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestUnquote(t *testing.T) {
	for in, want := range map[string]string{`a\ b`: "a b", `'a b'c`: "a bc", `"a\"b`: `a"b`, `'a\b`: `a\b`, `a'b"c`: `ab"c`, `\`: "", `日\本`: "日本"} {
		if got := unquote(in); got != want {
			t.Errorf("unquote(%s) = %s, want %s", in, got, want)
		}
	}
}
