package ui

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
)

// captured is a Terminal that writes into memory.
func captured(in *os.File) (t *Terminal, out, err *bytes.Buffer) {
	out, err = new(bytes.Buffer), new(bytes.Buffer)
	now := time.Unix(0, 0)
	return &Terminal{in: in, out: bufio.NewWriter(out), err: err, columns: func() int { return 60 },
		now: func() time.Time { now = now.Add(time.Second); return now }}, out, err
}

func flush(t *testing.T, term *Terminal) {
	t.Helper()
	if err := term.Flush(); err != nil {
		t.Fatal(err)
	}
}

func TestNothingForeignReachesTheTerminal(t *testing.T) {
	const nasty = "a\x1b[2Jb\nc\u202ed\u009b31m\U000E0041e\xff"
	term, out, errs := captured(nil)
	term.Println(nasty)
	term.Printf("%s", nasty)
	term.Table([][]string{{nasty, nasty}, {"x", "y"}})
	term.Row([]int{3}, []string{nasty, nasty})
	if err := term.Object(map[string]string{"name": nasty}); err != nil {
		t.Fatal(err)
	}
	term.Note("%s", nasty)
	term.Say("%s", nasty)
	term.Error(&peer.Error{Path: nasty, Err: errors.New(nasty), Hint: nasty})
	term.errTTY = true
	term.Progress().Set(1, 0, 2, nasty)
	flush(t, term)
	screen := strings.NewReplacer("\r\x1b[K", "", "\n", "").Replace(out.String() + errs.String())
	if got := peer.Quote(screen); got != screen {
		t.Errorf("it prints %s", got)
	}
	if !strings.Contains(out.String(), `{"name":"a\u001b[2Jb\nc\u202ed\u009b31m\udb40\udc41e`) {
		t.Errorf("the JSON is %s", out)
	}
	line := out.String()
	line = line[strings.Index(line, `{"name"`):]
	var read map[string]string
	if err := json.Unmarshal([]byte(line), &read); err != nil || read["name"] != strings.ToValidUTF8(nasty, "\ufffd") {
		t.Errorf("the JSON reads as %q, %v", read["name"], err)
	}
}

func TestQuietAndVerbose(t *testing.T) {
	for _, tc := range []struct {
		quiet, verbose bool
		want           string
	}{
		{false, false, "peerd: note\npeerd: say\n"},
		{true, false, "peerd: say\n"},
		{false, true, "peerd: note\npeerd: detail\npeerd: say\n"},
	} {
		term, _, errs := captured(nil)
		term.Quiet, term.Verbose = tc.quiet, tc.verbose
		term.Note("note")
		term.Detail("detail")
		term.Say("say")
		if errs.String() != tc.want {
			t.Errorf("quiet %v, verbose %v: %q", tc.quiet, tc.verbose, errs)
		}
	}
}

func TestTable(t *testing.T) {
	term, out, _ := captured(nil)
	term.Table([][]string{{"NAME", "SIZE", "TEXT"}, {"日本", "1", "wide"}, {"e\u0301te\u0301", "22", ""}, {"a\nb", "3", "escaped"}})
	flush(t, term)
	want := "NAME    SIZE  TEXT\n日本    1     wide\ne\u0301te\u0301     22\na\\u{a}b  3     escaped\n"
	want = strings.ReplaceAll(want, "NAME    ", "NAME     ")
	want = strings.ReplaceAll(want, "日本    1", "日本     1")
	want = strings.ReplaceAll(want, "e\u0301te\u0301     22", "e\u0301te\u0301      22")
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

func TestRow(t *testing.T) {
	term, out, _ := captured(nil)
	for _, cells := range [][]string{{"日本", "1", "last"}, {"too wide", "2", ""}, {"a\nb", "", "c"}} {
		term.Row([]int{6, 2}, cells)
	}
	flush(t, term)
	if want := "日本    1   last\ntoo wide  2\na\\u{a}b      c\n"; out.String() != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

// TestHint is for people at a terminal alone.
func TestHint(t *testing.T) {
	for _, tc := range []struct {
		tty, quiet, json bool
		want             string
	}{
		{true, false, false, "peerd: do this\n"},
		{false, false, false, ""},
		{true, true, false, ""},
		{true, false, true, ""},
	} {
		term, _, errs := captured(nil)
		term.errTTY, term.Quiet, term.JSON = tc.tty, tc.quiet, tc.json
		if term.Hint("do %s", "this"); errs.String() != tc.want {
			t.Errorf("%+v: %q", tc, errs)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1<<20 - 1: "1.0 MiB",
		1 << 30: "1.0 GiB", 5 << 40: "5.0 TiB", 1<<63 - 1: "8.0 EiB"} {
		if got := Size(n); got != want {
			t.Errorf("Size(%d) = %q, want %q", n, got, want)
		}
	}
	if Plural(1, "share") != "1 share" || Plural(0, "share") != "0 shares" {
		t.Error("Plural can't count")
	}
}

func TestProgress(t *testing.T) {
	term, _, errs := captured(nil)
	quiet := term.Progress()
	quiet.Set(1, 0, 2, "x")
	quiet.Clear()
	if errs.Len() != 0 {
		t.Errorf("without a terminal: %q", errs)
	}
	term.errTTY = true
	p := term.Progress() // each look at the clock takes a second
	p.Set(30<<20, 10<<20, 90<<20, "3 files")
	if want := "\r\x1b[K 33 % [######..............] 30.0 MiB of 90.0 MiB  20.0 MiB"; errs.String() != want {
		t.Errorf("drawn %q, want %q", errs, want)
	}
	errs.Reset()
	term.now = func() time.Time { return p.drawn.Add(redrawEvery / 2) }
	p.Set(40<<20, 10<<20, 90<<20, "")
	if errs.Len() != 0 {
		t.Errorf("drawn too soon: %q", errs)
	}
	p.Clear()
	if errs.String() != "\r\x1b[K" {
		t.Errorf("cleared by %q", errs)
	}
	if got := progressLine(30, 10, 90, 2*time.Second); !strings.HasSuffix(got, "6s left") {
		t.Errorf("20 in 2 s, 60 to come: %q", got)
	}
	if got := progressLine(0, 0, 0, 0); !strings.Contains(got, "100 %") {
		t.Errorf("an empty file: %q", got)
	}
}

func TestPasswordFile(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct {
		name, text, want string
		kind             peer.Kind
	}{
		{"plain", "secret\n", "secret", 0},
		{"no end of line", "secret", "secret", 0},
		{"windows", "secret\r\nmore", "secret", 0},
		{"spaces stay", " a b \n", " a b ", 0},
		{"empty", "", "", peer.Usage},
		{"empty line", "\nsecret\n", "", peer.Usage},
		{"endless", strings.Repeat("x", maxLine+1), "", peer.Usage},
	} {
		path := filepath.Join(dir, "pw")
		if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		term, _, _ := captured(f)
		for _, from := range []string{path, "-"} {
			if got, err := term.PasswordFile(from); got != tc.want || peer.KindOf(err) != tc.kind {
				t.Errorf("%s: PasswordFile(%.1s) = %q, %v", tc.name, from, got, err)
			}
		}
		f.Close()
	}
	term, _, _ := captured(nil)
	if _, err := term.PasswordFile(filepath.Join(dir, "none")); peer.KindOf(err) != peer.NotFound || strings.Count(err.Error(), dir) != 1 {
		t.Errorf("no file: %v", err)
	}
}

func TestFlushTellsOfErrors(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	term := New(w, w, w)
	if _, err := io.WriteString(term.Raw(), "x"); err != nil {
		t.Fatal(err)
	}
	if term.Flush() == nil {
		t.Error("nobody was told that nobody reads")
	}
}
