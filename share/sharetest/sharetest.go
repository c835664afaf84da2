// Package sharetest is what every [share.FS] must do, as tests that any of them can be put through. Only tests import it.
package sharetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
)

// Maker gives an FS, put through the tests of [share.Files] as well if it is one, and the real folder that it shows, empty at first. What is done to the folder must be seen at once. It
// frees both by t.Cleanup.
type Maker func(t *testing.T) (fs share.FS, real string)

// Run puts what maker makes through all tests.
func Run(t *testing.T, maker Maker) {
	for _, c := range []struct {
		name string
		test func(*testing.T, fixture)
	}{
		{"Tree", testTree},
		{"Empty", testEmpty},
		{"Order", testOrder},
		{"NastyNames", testNastyNames},
		{"LeftOut", testLeftOut},
		{"Links", testLinks},
		{"ErrorKinds", testErrorKinds},
		{"Cancel", testCancel},
		{"Stop", testStop},
		{"Depth", testDepth},
		{"Read", testRead},
		{"OpenFileStays", testOpenFileStays},
		{"Version", testVersion},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs, real := maker(t)
			files, _ := fs.(share.Files)
			c.test(t, fixture{fs, files, real})
		})
	}
}

// P makes a path of what is written with slashes.
func P(t testing.TB, s string) share.Path {
	t.Helper()
	p, err := share.SplitPath(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Collect gives the paths of a sequence, or fails the test.
func Collect(t testing.TB, seq iter.Seq2[share.Entry, error]) (paths []string) {
	t.Helper()
	for e, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, e.Path.String())
	}
	return paths
}

// fixture is a share and the folder behind it.
type fixture struct {
	share.FS
	files share.Files // nil where files can't be opened
	real  string
}

func (f fixture) path(name string) string { return filepath.Join(f.real, filepath.FromSlash(name)) }

func (f fixture) mkdir(t *testing.T, name string) {
	t.Helper()
	must(t, os.MkdirAll(f.path(name), 0o755))
}

func (f fixture) write(t *testing.T, name, content string) {
	t.Helper()
	f.mkdir(t, filepath.Dir(name))
	must(t, os.WriteFile(f.path(name), []byte(content), 0o644))
}

func (f fixture) stat(t *testing.T, name string) share.Entry {
	t.Helper()
	e, err := f.Stat(t.Context(), P(t, name))
	must(t, err)
	return e
}

// open opens a file, and skips the test where that can't be.
func (f fixture) open(t *testing.T, name string) share.OpenFile {
	t.Helper()
	if f.files == nil {
		t.Skip("its files can't be opened")
	}
	file, err := f.files.Open(t.Context(), P(t, name))
	must(t, err)
	t.Cleanup(func() { file.Close() })
	return file
}

func (f fixture) list(t *testing.T, name string) []string {
	t.Helper()
	return Collect(t, f.List(t.Context(), P(t, name)))
}

func (f fixture) walk(t *testing.T, name string) []string {
	t.Helper()
	return Collect(t, f.Walk(t.Context(), P(t, name)))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s gives %q, want %q", what, got, want)
	}
}

// first gives the error that a sequence starts with, or nil.
func first(seq iter.Seq2[share.Entry, error]) error {
	for _, err := range seq {
		return err
	}
	return nil
}

func testTree(t *testing.T, f fixture) {
	f.write(t, "b/deep/x.txt", "12345")
	f.write(t, "b/a.txt", "")
	f.write(t, "a.txt", "hello")
	f.mkdir(t, "c")
	must(t, os.Chmod(f.path("b/a.txt"), 0o755))
	when := time.Date(2020, 2, 29, 12, 0, 0, 0, time.UTC)
	must(t, os.Chtimes(f.path("a.txt"), when, when))

	same(t, "List", f.list(t, ""), []string{"a.txt", "b", "c"})
	same(t, "List b", f.list(t, "b"), []string{"b/a.txt", "b/deep"})
	same(t, "Walk", f.walk(t, ""), []string{"a.txt", "b", "b/a.txt", "b/deep", "b/deep/x.txt", "c"})
	same(t, "Walk b/deep", f.walk(t, "b/deep"), []string{"b/deep/x.txt"})

	for e, err := range f.Walk(t.Context(), share.Path{}) {
		must(t, err)
		if s := f.stat(t, e.Path.String()); !equal(s, e) {
			t.Errorf("Walk gives %+v, Stat gives %+v", e, s)
		}
	}
	if e := f.stat(t, "a.txt"); e.Kind != share.File || e.Size != 5 || !e.ModTime.Equal(when) || e.Exec || e.Name() != "a.txt" {
		t.Errorf("a.txt is %+v", e)
	}
	if e := f.stat(t, "b/a.txt"); e.Kind != share.File || e.Size != 0 || !e.Exec {
		t.Errorf("b/a.txt is %+v", e)
	}
	if e := f.stat(t, ""); e.Kind != share.Dir || e.Size != 0 || !e.Path.IsRoot() || e.Exec {
		t.Errorf("the root is %+v", e)
	}
}

func equal(a, b share.Entry) bool {
	return a.Path == b.Path && a.Kind == b.Kind && a.Size == b.Size && a.ModTime.Equal(b.ModTime) && a.Version == b.Version && a.Exec == b.Exec
}

func testEmpty(t *testing.T, f fixture) {
	same(t, "List of an empty share", f.list(t, ""), nil)
	same(t, "Walk of an empty share", f.walk(t, ""), nil)
	f.mkdir(t, "empty")
	f.write(t, "file", "")
	same(t, "List of an empty folder", f.list(t, "empty"), nil)
	same(t, "Walk", f.walk(t, ""), []string{"empty", "file"})
	file := f.open(t, "file")
	if n, err := file.ReadAt(make([]byte, 1), 0); n != 0 || err != io.EOF {
		t.Errorf("an empty file gives %d bytes and %v", n, err)
	}
}

func testOrder(t *testing.T, f fixture) {
	var want []string
	for i := range 5000 { // in another order than that of their names
		name := fmt.Sprintf("file %d", i*1777%5000)
		want = append(want, name)
		f.write(t, name, "")
	}
	for _, name := range []string{"A", "a", "B", "ä", "z", "~", "file", "file 1.", "file 1\u00a0"} {
		if !slices.ContainsFunc(f.list(t, ""), func(s string) bool { return strings.EqualFold(s, name) }) {
			want = append(want, name)
			f.write(t, name, "")
		}
	}
	slices.Sort(want)
	same(t, "List", f.list(t, ""), want)
	same(t, "Walk", f.walk(t, ""), want)
}

// testNastyNames is about names that are allowed and look as if they were not. What the system under the share can't hold
// is not asked for.
func testNastyNames(t *testing.T, f fixture) {
	var want []string
	for _, name := range []string{
		" ", " lead", "trail ", "dot.", "...", "..x", "-rf", "--help", "*", "?", "[a]", "a;b", "$HOME", "`id`", "'", `"`, "%2e%2e", "%s%n", "#",
		"con", "NUL.txt", "a:b", "~", "~root", "{}", "|", "<>", "&", "CVS", ".git", ".htaccess", "desktop.ini", ".DS_Store", "peerd", "peerd-tmp",
		"Größe", "日本語", "\U0001F4C4.txt", strings.Repeat("n", 255), strings.Repeat("ü", 127),
	} {
		if os.WriteFile(filepath.Join(f.real, name), []byte(name), 0o644) == nil {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	same(t, "List", f.list(t, ""), want)
	for _, name := range want {
		if e := f.stat(t, name); e.Size != int64(len(name)) {
			t.Errorf("%q has %d bytes", name, e.Size)
		}
		if f.files == nil {
			continue
		}
		b := make([]byte, len(name)+1)
		if n, err := f.open(t, name).ReadAt(b, 0); string(b[:n]) != name || err != io.EOF {
			t.Errorf("%q holds %q, %v", name, b[:n], err)
		}
	}
}

func testLeftOut(t *testing.T, f fixture) {
	f.write(t, "keep", "")
	for _, name := range []string{
		".peerd-tmp-1", ".PEERD", ".pe\u00aderd", "PEERD-~1", "new\nline", "esc\x1b[2J", "gpj.\u202eexe", "zero\u200bwidth", `back\slash`,
		"not\xffutf8", "decomposed o\u0308", "\u212b",
	} {
		_ = os.WriteFile(filepath.Join(f.real, name), []byte("secret"), 0o644) // where the system can't hold it all is well
	}
	must(t, os.Mkdir(filepath.Join(f.real, ".peerd-dir"), 0o755))
	must(t, os.WriteFile(filepath.Join(f.real, ".peerd-dir", "inside"), nil, 0o644))
	same(t, "List", f.list(t, ""), []string{"keep"})
	same(t, "Walk", f.walk(t, ""), []string{"keep"})
}

func testLinks(t *testing.T, f fixture) {
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("outside"), 0o644))
	f.write(t, "dir/file", "inside")
	f.write(t, ".peerd-secret", "inside")
	away, err := filepath.Rel(f.real, outside)
	if err != nil {
		away = outside
	}
	for link, target := range map[string]string{
		"out-rel": away, "dir/out-rel": filepath.Join("..", away, "secret"),
		"out": outside, "out-file": filepath.Join(outside, "secret"), "in": "dir", "in-file": "dir/file", "reserved": ".peerd-secret",
		"dangling": "nowhere", "self": "self", "dir/up": "..", "root": "/", "dir/here": ".",
	} {
		if err := os.Symlink(target, f.path(link)); err != nil {
			t.Skip(err)
		}
	}
	same(t, "List", f.list(t, ""), []string{"dir"})
	same(t, "Walk", f.walk(t, ""), []string{"dir", "dir/file"})
	for _, name := range []string{
		"out", "out/secret", "out-file", "out-rel", "out-rel/secret", "dir/out-rel", "in", "in/file", "in-file", "reserved", "dangling", "self", "dir/up", "dir/up/dir/file", "root", "root/etc", "dir/here",
		"dir/here/file",
	} {
		for what, err := range f.all(t.Context(), P(t, name)) {
			wantKind(t, what+" "+name, err, peer.NotFound)
		}
	}
	if err := os.Link(filepath.Join(outside, "secret"), f.path("hard")); err == nil {
		same(t, "List shows a hard link as the file that it is:", f.list(t, ""), []string{"dir", "hard"})
	}
}

// all gives the error of each operation on a path.
func (f fixture) all(ctx context.Context, p share.Path) map[string]error {
	_, err := f.Stat(ctx, p)
	errs := map[string]error{"Stat": err, "List": first(f.List(ctx, p)), "Walk": first(f.Walk(ctx, p))}
	if f.files != nil {
		file, err := f.files.Open(ctx, p)
		if err == nil {
			file.Close()
		}
		errs["Open"] = err
	}
	return errs
}

func wantKind(t *testing.T, what string, err error, kind peer.Kind) {
	t.Helper()
	var e *peer.Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Errorf("%s: error %v, want one of kind %q", what, err, kind)
	}
}

// testErrorKinds says which kinds errors have: what is not there is NotFound, also below a file, and a file taken for a folder
// or a folder for a file is Usage. No error tells where the share lies.
func testErrorKinds(t *testing.T, f fixture) {
	f.write(t, "dir/file", "x")
	for _, name := range []string{"none", "none/none", "dir/none", "dir/file/x", "dir/file/x/y", strings.Repeat("n", 255) + "/x"} {
		for what, err := range f.all(t.Context(), P(t, name)) {
			wantKind(t, what+" "+name, err, peer.NotFound)
			if err != nil && strings.Contains(err.Error(), f.real) {
				t.Errorf("%s %s tells of the real folder: %v", what, name, err)
			}
		}
	}
	for _, name := range []string{"", "dir"} {
		if f.files == nil {
			break
		}
		wantKind(t, "Open of folder "+name, f.all(t.Context(), P(t, name))["Open"], peer.Usage)
	}
	of := f.all(t.Context(), P(t, "dir/file"))
	wantKind(t, "List of a file", of["List"], peer.Usage)
	wantKind(t, "Walk of a file", of["Walk"], peer.Usage)
}

func testCancel(t *testing.T, f fixture) {
	f.write(t, "dir/a", "")
	f.write(t, "dir/b", "")
	f.write(t, "file", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, name := range []string{"dir", "file"} {
		for what, err := range f.all(ctx, P(t, name)) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s %s, cancelled: %v", what, name, err)
			}
		}
	}
	for what, seq := range map[string]func(context.Context, share.Path) iter.Seq2[share.Entry, error]{"List": f.List, "Walk": f.Walk} {
		ctx, cancel := context.WithCancel(t.Context())
		var last error
		n := 0
		for _, err := range seq(ctx, P(t, "dir")) {
			cancel()
			n, last = n+1, err
		}
		cancel()
		if n != 2 || !errors.Is(last, context.Canceled) {
			t.Errorf("%s, cancelled after one entry, goes on to %d with %v", what, n, last)
		}
	}
}

// testStop leaves sequences early, and uses one twice.
func testStop(t *testing.T, f fixture) {
	f.write(t, "a/b/c", "")
	f.write(t, "d", "")
	for stop := range 5 {
		n := 0
		for range f.Walk(t.Context(), share.Path{}) {
			if n++; n > stop {
				break
			}
		}
	}
	seq := f.List(t.Context(), share.Path{})
	same(t, "List", Collect(t, seq), []string{"a", "d"})
	same(t, "List again", Collect(t, seq), []string{"a", "d"})
}

func testDepth(t *testing.T, f fixture) {
	deep := strings.TrimSuffix(strings.Repeat("d/", share.MaxDepth), "/")
	f.mkdir(t, deep+"/beyond/and/more")
	if got := f.walk(t, ""); len(got) != share.MaxDepth || got[len(got)-1] != deep {
		t.Errorf("Walk goes %d deep, want %d", len(got), share.MaxDepth)
	}
	same(t, "List at the limit", f.list(t, deep), nil)
}
