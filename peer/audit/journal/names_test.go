package journal

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
)

// TestNames records what hostile peers call themselves and their files: in the file each is on one line of printable ASCII.
func TestNames(t *testing.T) {
	dir := scratch(t)
	l := opened(t, dir, Options{})
	names := []string{
		"plain", "two\nlines", "cr\r\n", "\x1b]0;title\a\x1b[2J", `"quoted\`, "nul\x00", "del\x7f", "c1\u0085\u009b", "\u2028\u2029",
		"bidi\u202egnp.exe", "zero\u200bwidth", "ümläut", "😀 \U000e0041", "\ufffd", "not UTF-8 \xff\xc3", strings.Repeat("\n", 5000),
		strings.Repeat("é", 600), strings.Repeat("\xff", 5000), `{"seq":1}`, "</script>&",
	}
	for _, s := range names {
		l.Add(audit.Event{Kind: audit.Kind(s), Peer: peer.ID(s), Addr: s, Name: s, Share: s, ShareID: s, Path: s, To: s, Right: s, Serial: s,
			Before: s, After: s, Result: audit.OK, Why: s})
	}
	l.Add(audit.Event{Kind: audit.KindCheckpoint})
	l.Add(audit.Event{})
	must(t, l.Close())
	verified(t, dir)
	b, err := os.ReadFile(filepath.Join(dir, fileName(1)))
	must(t, err)
	for i, c := range b {
		if c != '\n' && (c < ' ' || c > '~') {
			t.Fatalf("byte %d is %#x", i, c)
		}
	}
	if n := bytes.Count(b, []byte("\n")); n != len(names)+3 {
		t.Errorf("%d lines", n)
	}
	got := read(t, dir, Filter{})
	for i, s := range names {
		if len(s) <= 128 && peer.Quote(s) == s && (got[i].Name != s || got[i].Path != s || got[i].Result != audit.OK) {
			t.Errorf("%q came back as %q and %q", s, got[i].Name, got[i].Path)
		}
		if len(got[i].Name) > 1<<10 || len(got[i].Path) > 4352 || len(got[i].Right) > 128 {
			t.Errorf("%q came back too long", s[:20])
		}
	}
	if name := got[14].Name; name != `not UTF-8 \xff\xc3` {
		t.Errorf("what is no UTF-8 came back as %q", name)
	}
	if k := got[len(names)].Kind; k != "unknown.audit.checkpoint" {
		t.Errorf("a checkpoint of somebody else's is recorded as %q", k)
	}
}

// FuzzLog puts anything in the place of a log's newest file and head, and has it verified, read and gone on with.
func FuzzLog(f *testing.F) {
	dir := filepath.Join(scratch(f), "log")
	opt := small()
	opt.Now = (&clock{at: time.Unix(1_800_000_000, 0)}).now // the processes that fuzz must agree on what is good
	write(f, dir, opt, 0, 12)
	file := filepath.Join(dir, fileName(1))
	goodLog, err := os.ReadFile(file)
	must(f, err)
	goodHead, err := os.ReadFile(filepath.Join(dir, headName))
	must(f, err)
	f.Add(goodLog, goodHead)
	f.Add(goodLog[:len(goodLog)-20], goodHead)
	f.Add(goodLog, []byte("{}"))
	f.Add([]byte("\n\n{\"seq\":9007199254740991,\n"), []byte(nil))
	f.Fuzz(func(t *testing.T, log, head []byte) {
		dir := scratch(t)
		must(t, os.WriteFile(filepath.Join(dir, fileName(1)), log, 0o600))
		must(t, os.WriteFile(filepath.Join(dir, headName), head, 0o600))
		_, err := Verify(dir, keyOf(t, 1).GetPublic())
		if err == nil && !bytes.HasPrefix(log, goodLog) {
			t.Errorf("passes: %q", log)
		}
		for range Read(t.Context(), dir, Filter{}) {
		}
		l := opened(t, dir, small())
		l.Add(event(t, 0))
		must(t, l.Close())
		var last audit.Record
		for r, err := range Read(t.Context(), dir, Filter{Kinds: []audit.Kind{audit.KindRead}}) {
			if err == nil {
				last = r
			}
		}
		if last.Path != event(t, 0).Path {
			t.Errorf("after %q the log does not go on", log)
		}
	})
}
