package disktest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change/disk"
	"github.com/peerd/peerd/share/sharetest"
)

// Fixture is a disk to be tested, empty at first, and its owner's own programs.
type Fixture struct {
	disk.Disk
	Write func(t *testing.T, path, data string) // with the folders above it
	Read  func(t *testing.T, path string) string
	Swaps bool // names can be exchanged
}

// Run puts what maker makes through all tests.
func Run(t *testing.T, maker func(t *testing.T) Fixture) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Fixture)
	}{
		{"Open", testOpen}, {"Own", testOwn}, {"Stat", testStat}, {"Create", testCreate}, {"Copy", testCopy}, {"Fresh", testFresh},
		{"Exchange", testExchange}, {"Remove", testRemove}, {"Settle", testSettle}, {"Touch", testTouch}, {"Folders", testFolders},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, maker(t)) })
	}
}

func (f Fixture) open(t *testing.T, path string) disk.Folder {
	t.Helper()
	d, err := f.Open(sharetest.P(t, path))
	must(t, err)
	t.Cleanup(d.Close)
	return d
}

func (f Fixture) own(t *testing.T, names ...string) disk.Folder {
	t.Helper()
	d, err := f.Own(true, names...)
	must(t, err)
	t.Cleanup(d.Close)
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, what string, err, is error) {
	t.Helper()
	if !errors.Is(err, is) {
		t.Errorf("%s: %v, want %v", what, err, is)
	}
}

func wantKind(t *testing.T, what string, err error, kind peer.Kind) {
	t.Helper()
	if err == nil || peer.KindOf(err) != kind {
		t.Errorf("%s: %v, want kind %v", what, err, kind)
	}
}

func names(t *testing.T, d disk.Folder) []string {
	t.Helper()
	ns, err := d.Names(t.Context())
	must(t, err)
	slices.Sort(ns)
	return ns
}

func content(t *testing.T, d disk.Folder, name string) string {
	t.Helper()
	file, err := d.Open(name)
	must(t, err)
	defer file.Close()
	b, err := io.ReadAll(io.NewSectionReader(file, 0, 1<<20))
	must(t, err)
	return string(b)
}

func testOpen(t *testing.T, f Fixture) {
	f.Write(t, "a/b/file", "x")
	f.open(t, "")
	f.open(t, "a/b")
	_, err := f.Open(sharetest.P(t, "a/none"))
	want(t, "a folder that is not there", err, fs.ErrNotExist)
	_, err = f.Open(sharetest.P(t, "none/none"))
	want(t, "below a folder that is not there", err, fs.ErrNotExist)
	_, err = f.Open(sharetest.P(t, "a/b/file"))
	wantKind(t, "a file", err, peer.Conflict)
	_, err = f.Open(sharetest.P(t, "a/b/file/x"))
	wantKind(t, "below a file", err, peer.Conflict)
}

func testOwn(t *testing.T, f Fixture) {
	_, err := f.Own(false, "x")
	want(t, "Own that makes nothing", err, fs.ErrNotExist)
	if ns := names(t, f.open(t, "")); len(ns) > 0 {
		t.Errorf("it made %q", ns)
	}
	must(t, f.own(t, "x", "y").Create("file", []byte("1")))
	if got := content(t, f.own(t, "x", "y"), "file"); got != "1" {
		t.Errorf("it holds %q", got)
	}
	st, err := f.open(t, "").Stat(share.Reserved)
	if err != nil || st.Kind != share.Dir || st.Perm&0o077 != 0 {
		t.Errorf("it is %+v, %v", st, err)
	}
	must(t, f.Sync())
	if _, _, ok := f.Space(); !ok {
		t.Log("it does not tell its space")
	}
}

func testStat(t *testing.T, f Fixture) {
	f.Write(t, "d/file", "12345")
	d := f.open(t, "d")
	st, err := d.Stat("file")
	if err != nil || st.Kind != share.File || st.Size != 5 || st.Exec || st.Version == (share.Entry{}).Version || st.Perm&0o600 != 0o600 {
		t.Errorf("%+v, %v", st, err)
	}
	_, err = d.Stat("none")
	want(t, "what is not there", err, fs.ErrNotExist)
	if st, err := f.open(t, "").Stat("d"); err != nil || st.Kind != share.Dir {
		t.Errorf("%+v, %v", st, err)
	}
	if got := names(t, d); !slices.Equal(got, []string{"file"}) {
		t.Errorf("names %q", got)
	}
	if got := names(t, d); !slices.Equal(got, []string{"file"}) {
		t.Errorf("names again %q", got)
	}
}

func testCreate(t *testing.T, f Fixture) {
	d := f.own(t)
	must(t, d.Create("file", []byte("one")))
	want(t, "a name that is taken", d.Create("file", []byte("two")), fs.ErrExist)
	if got := content(t, d, "file"); got != "one" {
		t.Errorf("it holds %q", got)
	}
	_, err := d.Open("none")
	want(t, "what is not there", err, fs.ErrNotExist)
	must(t, d.Mkdir("dir"))
	_, err = d.Open("dir")
	wantKind(t, "a folder as a file", err, peer.Usage)
}

func testCopy(t *testing.T, f Fixture) {
	f.Write(t, "file", "content")
	top, d := f.open(t, ""), f.own(t, "x")
	before, err := top.Stat("file")
	must(t, err)
	st, err := top.Copy(t.Context(), "file", d, "copy")
	must(t, err)
	if st.Version != before.Version {
		t.Errorf("it copied %+v, not %+v", st, before)
	}
	got, err := d.Stat("copy")
	if err != nil || content(t, d, "copy") != "content" || !got.ModTime.Equal(before.ModTime) || got.Perm != before.Perm || got.Node == before.Node && got.Node != (disk.Node{}) {
		t.Errorf("the copy is %+v, %v", got, err)
	}
	_, err = top.Copy(t.Context(), "file", d, "copy")
	want(t, "a copy to a name that is taken", err, fs.ErrExist)
	_, err = top.Copy(t.Context(), "none", d, "other")
	want(t, "a copy of nothing", err, fs.ErrNotExist)
	if got := names(t, d); !slices.Equal(got, []string{"copy"}) {
		t.Errorf("left %q", got)
	}
}

func testFresh(t *testing.T, f Fixture) {
	f.Write(t, "d/a", "a")
	f.Write(t, "e/b", "b")
	d, e := f.open(t, "d"), f.open(t, "e")
	before, err := d.Stat("a")
	must(t, err)
	want(t, "a name that is taken", d.Rename("a", e, "b", disk.Fresh), fs.ErrExist)
	want(t, "nothing", d.Rename("none", e, "c", disk.Fresh), fs.ErrNotExist)
	must(t, d.Rename("a", e, "c", disk.Fresh))
	if got := f.Read(t, "e/c") + f.Read(t, "e/b"); got != "ab" {
		t.Errorf("they hold %q", got)
	}
	if st, err := e.Stat("c"); err != nil || st.Node != before.Node {
		t.Errorf("%+v became %+v, %v", before, st, err)
	}
	_, err = d.Stat("a")
	want(t, "the old name", err, fs.ErrNotExist)
	must(t, f.open(t, "").Rename("d", e, "d", disk.Fresh))
	f.open(t, "e/d")
	want(t, "a folder to a name that is taken", f.open(t, "").Rename("e", f.open(t, "e"), "b", disk.Fresh), fs.ErrExist)
	must(t, f.Sync())
}

func testExchange(t *testing.T, f Fixture) {
	f.Write(t, "a", "a")
	f.Write(t, "d/b", "b")
	top, d := f.open(t, ""), f.open(t, "d")
	err := top.Rename("a", d, "b", disk.Exchange)
	if !f.Swaps {
		want(t, "an exchange", err, errors.ErrUnsupported)
		return
	}
	must(t, err)
	if got := f.Read(t, "a") + f.Read(t, "d/b"); got != "ba" {
		t.Errorf("they hold %q", got)
	}
	want(t, "with nothing", top.Rename("a", d, "none", disk.Exchange), fs.ErrNotExist)
}

func testRemove(t *testing.T, f Fixture) {
	f.Write(t, "d/file", "x")
	top, d := f.open(t, ""), f.open(t, "d")
	want(t, "a folder with a file", top.Rmdir("d"), fs.ErrExist)
	if top.Remove("d") == nil || d.Rmdir("file") == nil {
		t.Error("a folder is removed as a file, or the other way")
	}
	if got := f.Read(t, "d/file"); got != "x" {
		t.Errorf("the file holds %q", got)
	}
	must(t, d.Remove("file"))
	want(t, "nothing", d.Remove("file"), fs.ErrNotExist)
	must(t, top.Rmdir("d"))
	want(t, "no folder", top.Rmdir("d"), fs.ErrNotExist)
	must(t, f.Sync())
}

func testSettle(t *testing.T, f Fixture) {
	f.Write(t, "file", "x")
	top := f.open(t, "")
	must(t, top.Settle("file", 0o600))
	if st, err := top.Stat("file"); err != nil || st.Perm != 0o600 {
		t.Logf("%+v, %v", st, err) // not everywhere
	}
	must(t, top.Mkdir("d"))
	wantKind(t, "a folder", top.Settle("d", 0o600), peer.Usage)
	want(t, "nothing", top.Settle("none", 0o600), fs.ErrNotExist)
	for range 20 { // more than are made to last one by one
		name := "f" + time.Now().Format("150405.000000000")
		must(t, f.own(t).Create(name, nil))
	}
	must(t, f.Sync())
	must(t, f.Sync())
}

func testTouch(t *testing.T, f Fixture) {
	f.Write(t, "d/file", "12345")
	d := f.open(t, "d")
	before, err := d.Stat("file")
	must(t, err)
	when := time.Date(2001, 2, 3, 4, 5, 6, 700, time.UTC)
	yes, no := true, false
	must(t, d.Touch("file", disk.Set{ModTime: &when}))
	st, err := d.Stat("file")
	if err != nil || !st.ModTime.Equal(when) || st.Exec || st.Perm != before.Perm || st.Node != before.Node || st.Version == before.Version {
		t.Errorf("its time: %+v, %v", st, err)
	}
	must(t, d.Touch("file", disk.Set{Exec: &yes}))
	if st, err := d.Stat("file"); err != nil || !st.ModTime.Equal(when) || !st.Exec || st.Perm != disk.Executable(before.Perm, true) {
		t.Logf("to be run: %+v, %v", st, err) // not everywhere
	}
	must(t, d.Touch("file", disk.Set{ModTime: &before.ModTime, Exec: &no}))
	if st, err := d.Stat("file"); err != nil || !st.ModTime.Equal(before.ModTime) || st.Exec || st.Perm != before.Perm {
		t.Errorf("both back: %+v, %v", st, err)
	}
	top := f.open(t, "")
	must(t, top.Touch("d", disk.Set{ModTime: &when}))
	if st, err := top.Stat("d"); err != nil || !st.ModTime.Equal(when) || st.Kind != share.Dir {
		t.Errorf("a folder: %+v, %v", st, err)
	}
	want(t, "nothing", d.Touch("none", disk.Set{ModTime: &when}), fs.ErrNotExist)
	must(t, f.Sync())
	if got := f.Read(t, "d/file"); got != "12345" {
		t.Errorf("it holds %q", got)
	}
}

func testFolders(t *testing.T, f Fixture) {
	top := f.open(t, "")
	must(t, top.Mkdir("d"))
	want(t, "a name that is taken", top.Mkdir("d"), fs.ErrExist)
	d := f.open(t, "d")
	must(t, d.Mkdir("e"))
	must(t, top.Rename("d", top, "f", disk.Fresh)) // what is open stays what it is
	if got := names(t, d); !slices.Equal(got, []string{"e"}) {
		t.Errorf("it holds %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Names(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
