//go:build unix

package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/peerd/peerd/cmd/internal/config"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"

	"github.com/peerd/peerd/transfer"
)

// TestSeeEachOther: one joins the other, and each sees the other with what it offers.
func TestSeeEachOther(t *testing.T) {
	berta := start(t, "berta")
	berta.offer("docs", map[string]string{"plan": "x"}, open)
	berta.offer("money", nil, byPassword)
	anna := start(t, "anna", berta)
	anna.offer("photos", nil, open)
	anna.sees(berta)
	berta.sees(anna)
	for _, tc := range []struct {
		from, to *node
		want     map[string]control.Right
	}{
		{anna, berta, map[string]control.Right{"docs": control.Read, "money": control.None}},
		{berta, anna, map[string]control.Right{"photos": control.Read}},
	} {
		all, err := tc.from.Peers(t.Context(), true)
		if err != nil || len(all) != 1 {
			t.Fatalf("%s sees %v, %v", tc.from.cfg.Name, all, err)
		}
		got := make(map[string]control.Right)
		for _, s := range all[0].Shares {
			got[s.Name] = s.Right
		}
		if all[0].ID != tc.to.id || all[0].Name != string(tc.to.cfg.Name) || all[0].Verified != "handshake" || !maps.Equal(got, tc.want) {
			t.Errorf("%s sees %+v, want shares %v", tc.from.cfg.Name, all[0], tc.want)
		}
	}
	if got, err := anna.list("//", false); err != nil || !slices.Equal(got, []string{"//berta", "//berta/docs", "//berta/money"}) {
		t.Errorf("all: %v, %v", got, err)
	}
	if got, err := anna.list("//", true); err != nil || !slices.Contains(got, "//berta/docs/plan") {
		t.Errorf("all and below: %v, %v", got, err)
	}
	wants(t, "a peer that is not there", anna.look("//nobody/docs"), peer.NotFound)
	wants(t, "a share that is not there", anna.look("//berta/none"), peer.NotFound)
	wants(t, "a path that is not there", anna.look("//berta/docs/none"), peer.NotFound)
	wants(t, "a share without login", anna.look("//berta/money"), peer.Denied)
	works(t, "ourselves", anna.look("//anna/photos"))
	wants(t, "nothing", anna.look("//"), peer.Usage)

	// What is offered after the others looked is seen as well.
	berta.offer("more", nil, open)
	if got, err := anna.list("//berta", false); err != nil || !slices.Contains(got, "//berta/more") {
		t.Errorf("a share that came later: %v, %v", got, err)
	}
}

// TestStopped: a peer that was here and does not answer is unreachable, and what is known of it is shown.
func TestStopped(t *testing.T) {
	berta := start(t, "berta")
	berta.offer("docs", map[string]string{"plan": "x"}, open)
	anna := start(t, "anna", berta)
	anna.sees(berta)
	works(t, "before", anna.look("//berta/docs/plan"))
	berta.stop()
	wants(t, "stat", anna.look("//berta/docs/plan"), peer.Unreachable)
	_, err := anna.copy(control.CopyRequest{Dest: t.TempDir()}, "//berta/docs/plan")
	wants(t, "copy", err, peer.Unreachable)
	got, err := anna.list("//berta", false)
	wants(t, "ls", err, peer.Unreachable)
	if !slices.Equal(got, []string{"//berta/docs"}) {
		t.Errorf("what it offered: %v", got)
	}
	if strings.Count(err.Error(), "peerd doctor") > 1 {
		t.Errorf("the hint comes twice: %v", err)
	}
	berta.run()
	works(t, "back again", anna.look("//berta/docs/plan"))
}

// TestSameName: two peers of one name are told apart by their IDs, and a user is told how.
func TestSameName(t *testing.T) {
	one, two := start(t, "twin"), start(t, "twin")
	one.offer("first", map[string]string{"f": "1"}, open)
	two.offer("second", map[string]string{"f": "2"}, open)
	anna := start(t, "anna", one, two)
	anna.sees(one, two)
	err := anna.look("//twin/first/f")
	wants(t, "by name", err, peer.Usage)
	for _, n := range []*node{one, two} {
		if short := n.id[len(n.id)-peer.ShortLen:]; !strings.Contains(err.Error(), short) {
			t.Errorf("%q does not name the candidate %s", err, short)
		}
	}
	for _, who := range []string{one.id, one.id[len(one.id)-peer.ShortLen:]} {
		if text, err := anna.text("//" + who + "/first/f"); err != nil || text != "1" {
			t.Errorf("by %s: %q, %v", who, text, err)
		}
	}
	if got, err := anna.list("//", true); err != nil || !slices.Contains(got, "//"+two.id+"/second/f") {
		t.Errorf("all: %v, %v", got, err)
	}
}

func TestSecondDaemon(t *testing.T) {
	anna := start(t, "anna")
	err := Run(t.Context(), anna.cfg, slog.New(slog.DiscardHandler), func(Ready) { t.Error("it is ready") })
	wants(t, "a second daemon", err, peer.Conflict)
	if _, err := anna.Status(t.Context()); err != nil {
		t.Errorf("the first one afterwards: %v", err)
	}
}

// nasty are names that are none of a user's typing.
var nasty = []string{
	"a b", " leading", "trailing ", "dot.", "...", ".hidden", "-rf", "--", "'\"`$(x)", "%41%2f", "C:", "CON", "a*b?c", "~", "#x",
	"äöü ßẞ", "日本語", "🦦", strings.Repeat("n", 255), strings.Repeat("日", 85), "deep/" + strings.Repeat("d/", 60) + "f", "exec",
}

func nastyTree(t *testing.T, dir string) {
	t.Helper()
	when := time.Date(2001, 2, 3, 4, 5, 6, 789, time.UTC)
	for i, name := range nasty {
		file := filepath.Join(dir, name)
		write(t, file, strings.Repeat(name+"\n", i*100))
		if err := os.Chtimes(file, when, when); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "large"), strings.Repeat("0123456789abcdef", 200_000))
	left := errors.Join(
		os.Chmod(filepath.Join(dir, "exec"), 0o755),
		os.Mkdir(filepath.Join(dir, "empty folder"), 0o755),
		os.Symlink("/etc/passwd", filepath.Join(dir, "link")),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644),
		os.WriteFile(filepath.Join(dir, "not \xff UTF-8"), nil, 0o644),
		os.WriteFile(filepath.Join(dir, "escape \x1b[2J"), nil, 0o644),
	)
	if left != nil {
		t.Fatal(left)
	}
}

// TestNastyTree: names that are hard for others go through all verbs, and what is no file or has no printable name stays.
func TestNastyTree(t *testing.T) {
	berta := start(t, "berta")
	dir := berta.offer("docs", nil, open)
	nastyTree(t, dir)
	anna := start(t, "anna", berta)
	anna.sees(berta)

	want := []string{}
	for name := range snapshot(t, dir) {
		if name != "." && name != "link" && name != "pipe" {
			want = append(want, "//berta/docs/"+filepath.ToSlash(name))
		}
	}
	slices.Sort(want)
	got, err := anna.list("//berta/docs", true)
	works(t, "ls -R", err)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("ls -R:\n%q\nwant\n%q", got, want)
	}
	for i, name := range nasty {
		at := control.Ref{Peer: "berta", Share: "docs", Path: name}
		e, err := anna.Stat(t.Context(), at)
		if err != nil || e.Kind != control.KindFile || e.Size != int64(i*100*(len(name)+1)) {
			t.Errorf("stat %q: %+v, %v", name, e, err)
		}
		if text, err := anna.text(at.String()); err != nil || text != strings.Repeat(name+"\n", i*100) {
			t.Errorf("cat %q: %d bytes, %v", name, len(text), err)
		}
	}
	found, err := texts(anna.Find(t.Context(), ref(t, "//berta/docs"), "*日*"))
	if works(t, "find", err); len(found) != 2 {
		t.Errorf("found %q", found)
	}
	var out strings.Builder
	works(t, "cat a range", anna.Cat(t.Context(), ref(t, "//berta/docs/large"), 1<<20-3, 7, &out))
	if out.String() != "def0123" {
		t.Errorf("a range: %q", out.String())
	}
	wants(t, "cat from -1", anna.Cat(t.Context(), ref(t, "//berta/docs/large"), -1, 7, io.Discard), peer.Usage)
	_, err = anna.text("//berta/docs/deep")
	wants(t, "cat a folder", err, peer.Usage)
	for _, gone := range []string{"link", "pipe"} {
		wants(t, "stat "+gone, anna.look("//berta/docs/"+gone), peer.NotFound)
	}

	dst := t.TempDir()
	_, err = anna.copy(control.CopyRequest{Dest: dst}, "//berta/docs")
	wants(t, "a folder without -r", err, peer.Usage)
	last, err := anna.copy(control.CopyRequest{Dest: dst, Recursive: true, Each: true}, "//berta/docs")
	works(t, "cp -r", err)
	if last.Event != control.CopyDone || last.Files != last.TotalFiles || last.Bytes != last.TotalBytes || last.Had != 2*transfer.MinPiece {
		t.Errorf("the last event, of a tree of which two pieces were read already: %+v", last)
	}
	sent, arrived := snapshot(t, dir), snapshot(t, filepath.Join(dst, "docs"))
	if !maps.Equal(sent, arrived) {
		t.Errorf("sent %d, arrived %d:\n%q\n%q", len(sent), len(arrived), sent, arrived)
	}
	last, err = anna.copy(control.CopyRequest{Dest: dst, Recursive: true}, "//berta/docs")
	if err != nil || last.Had != last.TotalBytes {
		t.Errorf("once more: %+v, %v", last, err)
	}
}

// TestCopyTargets: where copies go, what stands in their way, and what becomes of the rest when one file fails.
func TestCopyTargets(t *testing.T) {
	berta := start(t, "berta")
	dir := berta.offer("docs", map[string]string{"a": "one", "b": "two", "sub/c": "three"}, open)
	anna := start(t, "anna", berta)
	anna.sees(berta)
	dst := t.TempDir()
	holds := func(name, want string) {
		t.Helper()
		if b, err := os.ReadFile(filepath.Join(dst, name)); err != nil || string(b) != want {
			t.Errorf("%s holds %q, %v; want %q", name, b, err, want)
		}
	}
	_, err := anna.copy(control.CopyRequest{Dest: filepath.Join(dst, "new name")}, "//berta/docs/a")
	works(t, "under a new name", err)
	holds("new name", "one")
	_, err = anna.copy(control.CopyRequest{Dest: filepath.Join(dst, "tree"), Recursive: true}, "//berta/docs")
	works(t, "a folder under a new name", err)
	holds("tree/sub/c", "three")

	for name, req := range map[string]control.CopyRequest{
		"no source":            {Dest: dst},
		"a relative target":    {Dest: "x", Sources: control.List[control.Ref]{ref(t, "//berta/docs/a")}},
		"a folder not there":   {Dest: filepath.Join(dst, "none"), Into: true, Sources: control.List[control.Ref]{ref(t, "//berta/docs/a")}},
		"two to one name":      {Dest: filepath.Join(dst, "x"), Sources: control.List[control.Ref]{ref(t, "//berta/docs/a"), ref(t, "//berta/docs/b")}},
		"a source of no share": {Dest: dst, Sources: control.List[control.Ref]{ref(t, "//berta")}},
	} {
		_, err := anna.copy(req)
		wants(t, name, err, peer.Usage)
	}
	_, err = anna.copy(control.CopyRequest{Dest: dst}, "//berta/docs/none")
	wants(t, "a source that is not there", err, peer.NotFound)

	write(t, filepath.Join(dst, "docs/b"), "is different")
	var failed []string
	err = anna.Copy(t.Context(), control.CopyRequest{Sources: control.List[control.Ref]{ref(t, "//berta/docs")}, Dest: dst, Recursive: true}, func(e control.CopyEvent) {
		if e.Event == control.CopyError {
			failed = append(failed, e.Source.String()+" "+e.Error.Kind)
		}
	})
	wants(t, "into a different file", err, peer.Conflict)
	if !slices.Equal(failed, []string{"//berta/docs/b conflict"}) || !strings.Contains(err.Error(), "1 of 3") {
		t.Errorf("failed: %q, %v", failed, err)
	}
	holds("docs/a", "one")
	holds("docs/b", "is different")
	holds("docs/sub/c", "three")
	_, err = anna.copy(control.CopyRequest{Dest: dst, Recursive: true, Force: true}, "//berta/docs")
	works(t, "by force", err)
	holds("docs/b", "two")

	if err := os.Chmod(filepath.Join(dir, "b"), 0); err != nil {
		t.Fatal(err)
	}
	if f, err := os.Open(filepath.Join(dir, "b")); err == nil {
		f.Close()
		return // root reads everything
	}
	if err := os.RemoveAll(filepath.Join(dst, "docs")); err != nil {
		t.Fatal(err)
	}
	_, err = anna.copy(control.CopyRequest{Dest: dst, Recursive: true}, "//berta/docs")
	wants(t, "a file that its owner can't read", err, peer.Other)
	holds("docs/sub/c", "three")
}

// TestStopsInTheMidst: a daemon that is stopped while it copies ends the copy and itself.
func TestStopsInTheMidst(t *testing.T) {
	berta := start(t, "berta")
	sparse(t, filepath.Join(berta.offer("docs", nil, open), "big"), 8<<30)
	anna := start(t, "anna", berta)
	anna.sees(berta)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	began := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		told := false
		done <- anna.Copy(ctx, control.CopyRequest{Sources: control.List[control.Ref]{{Peer: "berta", Share: "docs", Path: "big"}}, Dest: t.TempDir()}, func(e control.CopyEvent) {
			if !told && e.Bytes > 0 {
				told = true
				close(began)
			}
		})
	}()
	<-began
	st, err := anna.Status(t.Context())
	if err != nil || len(st.Transfers) != 1 {
		t.Fatalf("transfers: %+v, %v", st.Transfers, err)
	}
	if tr := st.Transfers[0]; tr.Peer != berta.id || tr.Ref.String() != "//berta/docs/big" || tr.Total != 8<<30 || tr.Bytes == 0 || tr.Direction != "in" {
		t.Errorf("the transfer: %+v", tr)
	}
	begin := time.Now()
	anna.stop()
	if err := <-done; err == nil {
		t.Error("the copy ended well")
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %v to stop", took)
	}
}

// TestShareForRun: what --share names is there for the run, and the same folder may be offered for good, by whatever path.
func TestShareForRun(t *testing.T) {
	anna := start(t, "anna")
	dir := anna.offer("docs", nil, open)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	anna.stop()
	anna.cfg.Shares = []config.Share{{Dir: link, Name: "docs"}, {Dir: t.TempDir(), Name: "now"}}
	anna.run()
	names := func() (out []string) {
		t.Helper()
		all, err := anna.ShareList(t.Context())
		works(t, "share ls", err)
		for _, s := range all {
			out = append(out, s.Name)
		}
		return out
	}
	if got := names(); !slices.Equal(got, []string{"docs", "now"}) {
		t.Errorf("for the run: %v", got)
	}
	anna.cfg.Shares = nil
	anna.restart()
	if got := names(); !slices.Equal(got, []string{"docs"}) {
		t.Errorf("for good: %v", got)
	}
}
