// Package filestest is the suite of what programs do with files, which the tree and each of its faces must pass. See vfstest.
package filestest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// Info is what a face tells of a file or folder.
type Info struct {
	Name    string
	Dir     bool
	Size    int64 // 0 for a folder
	ModTime time.Time
}

// Files is a writable, empty folder of a share through a face. Names go from it, with slashes; "" is the folder. Errors are
// fs.ErrNotExist and fs.ErrExist by errors.Is where that is what is wrong.
type Files interface {
	Stat(name string) (Info, error)
	List(name string) ([]Info, error) // in any order
	Mkdir(name string) error
	Remove(name string) error // a file or an empty folder
	Rename(from, to string) error
	ReadFile(name string) ([]byte, error)
	ReadRange(name string, off int64, n int) ([]byte, error) // fewer at the end of the file
	WriteFile(name string, data []byte) error                // makes or replaces it
	WriteNew(name string, data []byte) error                 // fs.ErrExist if it is there
	SetTime(name string, modTime time.Time) error
}

// Handles are Files that can be held open.
type Handles interface {
	Files
	Open(name string, flag int) (Handle, error) // flags of package os
	Truncate(name string, size int64) error
	SetExec(name string, exec bool) error
	Exec(name string) (bool, error)
}

// Handle is an open file. [os.File] is one.
type Handle interface {
	io.ReaderAt
	io.WriterAt
	io.Writer // at the end of what was written by it, or of the file with os.O_APPEND
	Truncate(size int64) error
	Sync() error
	io.Closer
}

// Run puts a face through what programs do. make gives an empty folder; what can be held open is tested as that too.
func Run(t *testing.T, make func(t *testing.T) Files) {
	for _, c := range []struct {
		name string
		test func(*fixture)
	}{
		{"WriteAndRead", testWriteAndRead},
		{"Replace", testReplace},
		{"Ranges", testRanges},
		{"Exclusive", testExclusive},
		{"Folders", testFolders},
		{"NotThere", testNotThere},
		{"Rename", testRename},
		{"RenameOver", testRenameOver},
		{"RenameFolder", testRenameFolder},
		{"Times", testTimes},
		{"Names", testNames},
		{"Alike", testAlike},
		{"SaveByRename", testSaveByRename},
		{"ManyFiles", testManyFiles},
		{"Tree", testTree},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(&fixture{T: t, Files: make(t)}) })
	}
	for _, c := range []struct {
		name string
		test func(*held)
	}{
		{"WriteAt", testWriteAt},
		{"Append", testAppend},
		{"Truncate", testTruncate},
		{"OpenTruncate", testOpenTruncate},
		{"OpenSurvivesRename", testOpenSurvivesRename},
		{"OpenSurvivesRemove", testOpenSurvivesRemove},
		{"OpenSurvivesRenameOver", testOpenSurvivesRenameOver},
		{"TwoHandles", testTwoHandles},
		{"Sync", testSync},
		{"Sparse", testSparse},
		{"Exec", testExec},
		{"Random", testRandom},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, ok := make(t).(Handles)
			if !ok {
				t.Skip("this face has no files that are held open")
			}
			c.test(&held{fixture{T: t, Files: h}, h})
		})
	}
}

// fixture is a face with words for tests.
type fixture struct {
	*testing.T
	Files
}

type held struct {
	fixture
	h Handles
}

func (x *fixture) ok(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

func (x *fixture) is(err, want error) {
	x.Helper()
	if !errors.Is(err, want) {
		x.Fatalf("error %v, want %v", err, want)
	}
}

func (x *fixture) write(name, data string) {
	x.Helper()
	x.ok(x.WriteFile(name, []byte(data)))
}

func (x *fixture) holds(name, want string) {
	x.Helper()
	got, err := x.ReadFile(name)
	if err != nil || string(got) != want {
		x.Fatalf("%s holds %.60q (%d bytes), %v; want %.60q (%d bytes)", name, got, len(got), err, want, len(want))
	}
	i, err := x.Stat(name)
	if err != nil || i.Size != int64(len(want)) || i.Dir {
		x.Fatalf("%s is %+v, %v; want a file of %d bytes", name, i, err, len(want))
	}
}

func (x *fixture) names(dir string, want ...string) {
	x.Helper()
	is, err := x.List(dir)
	x.ok(err)
	got := []string{}
	for _, i := range is {
		n := i.Name
		if i.Dir {
			n += "/"
		}
		got = append(got, n)
	}
	slices.Sort(got)
	if want == nil {
		want = []string{}
	}
	if !slices.Equal(got, want) {
		x.Fatalf("%q holds %q, want %q", dir, got, want)
	}
}

func (x *fixture) gone(name string) {
	x.Helper()
	_, err := x.Stat(name)
	x.is(err, fs.ErrNotExist)
	_, err = x.ReadFile(name)
	x.is(err, fs.ErrNotExist)
}

func testWriteAndRead(x *fixture) {
	x.names("")
	x.write("a.txt", "hello")
	x.holds("a.txt", "hello")
	x.write("empty", "")
	x.holds("empty", "")
	x.names("", "a.txt", "empty")
	x.ok(x.Remove("a.txt"))
	x.gone("a.txt")
	x.names("", "empty")
}

func testReplace(x *fixture) {
	for _, n := range []int{10, 100000, 0, 3, 70000} {
		s := strings.Repeat("x", n)
		x.write("f", s)
		x.holds("f", s)
	}
}

func testRanges(x *fixture) {
	data := make([]byte, 300_000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	x.ok(x.WriteFile("f", data))
	for _, c := range []struct{ off, n, want int }{{0, 1, 1}, {0, 300_000, 300_000}, {299_999, 1, 1}, {299_999, 10, 1}, {100, 5000, 5000}, {131_072, 131_072, 131_072}} {
		got, err := x.ReadRange("f", int64(c.off), c.n)
		if err != nil || !bytes.Equal(got, data[c.off:c.off+c.want]) {
			x.Fatalf("%d bytes at %d: %d, %v", c.n, c.off, len(got), err)
		}
	}
}

func testExclusive(x *fixture) {
	x.ok(x.WriteNew("f", []byte("one")))
	x.is(x.WriteNew("f", []byte("two")), fs.ErrExist)
	x.holds("f", "one")
	x.ok(x.Remove("f"))
	x.ok(x.WriteNew("f", []byte("three")))
	x.holds("f", "three")
}

func testFolders(x *fixture) {
	x.ok(x.Mkdir("d"))
	x.is(x.Mkdir("d"), fs.ErrExist)
	x.ok(x.Mkdir("d/e"))
	x.write("d/e/f", "deep")
	x.names("", "d/")
	x.names("d", "e/")
	x.names("d/e", "f")
	i, err := x.Stat("d/e")
	if err != nil || !i.Dir {
		x.Fatalf("%+v, %v", i, err)
	}
	if err := x.Remove("d/e"); err == nil {
		x.Fatal("a folder that holds a file was removed")
	}
	x.holds("d/e/f", "deep")
	x.ok(x.Remove("d/e/f"))
	x.ok(x.Remove("d/e"))
	x.ok(x.Remove("d"))
	x.gone("d")
	x.names("")
}

func testNotThere(x *fixture) {
	x.gone("nothing")
	x.is(x.Remove("nothing"), fs.ErrNotExist)
	x.is(x.Rename("nothing", "else"), fs.ErrNotExist)
	x.is(x.Mkdir("no/folder"), fs.ErrNotExist)
	if err := x.WriteFile("no/file", []byte("x")); err == nil {
		x.Fatal("a file was written into a folder that is not there")
	}
	_, err := x.List("nothing")
	x.is(err, fs.ErrNotExist)
	x.names("")
}

func testRename(x *fixture) {
	x.write("a", "1")
	x.ok(x.Mkdir("d"))
	x.ok(x.Rename("a", "b"))
	x.gone("a")
	x.holds("b", "1")
	x.ok(x.Rename("b", "d/c"))
	x.gone("b")
	x.holds("d/c", "1")
	x.ok(x.Rename("d/c", "a"))
	x.holds("a", "1")
	x.names("d")
	x.names("", "a", "d/")
}

func testRenameOver(x *fixture) {
	x.write("a", "old")
	x.write("b", "newer")
	x.ok(x.Rename("b", "a"))
	x.holds("a", "newer")
	x.gone("b")
	x.names("", "a")
}

func testRenameFolder(x *fixture) {
	x.ok(x.Mkdir("d"))
	x.ok(x.Mkdir("d/sub"))
	x.write("d/f", "1")
	x.write("d/sub/g", "2")
	x.ok(x.Rename("d", "e"))
	x.gone("d")
	x.holds("e/f", "1")
	x.holds("e/sub/g", "2")
	x.write("e/sub/h", "3")
	x.names("e/sub", "g", "h")
}

func testTimes(x *fixture) {
	x.write("f", "x")
	i, err := x.Stat("f")
	if age := time.Since(i.ModTime); err != nil || age > time.Minute || age < -time.Minute {
		x.Fatalf("written just now, at %v, %v", i.ModTime, err)
	}
	when := time.Date(2020, 2, 29, 12, 34, 56, 0, time.UTC)
	x.ok(x.SetTime("f", when))
	if i, err := x.Stat("f"); err != nil || !i.ModTime.Equal(when) {
		x.Fatalf("%v, %v; want %v", i.ModTime, err, when)
	}
	x.holds("f", "x")
	x.write("f", "xy")
	if i, err := x.Stat("f"); err != nil || i.ModTime.Equal(when) {
		x.Fatalf("%v, %v after it was written again", i.ModTime, err)
	}
}

func testNames(x *fixture) {
	var want []string
	for i, n := range []string{"Bericht 2026 ü.txt", "a b", "ä", "#x", "%41", "a&b", "'q'", "100%", "日本語.txt", "-f", ".hidden", "semi;colon", "plus+", "e=mc2", strings.Repeat("n", 255)} {
		data := fmt.Sprint("file ", i)
		x.write(n, data)
		x.holds(n, data)
		want = append(want, n)
	}
	slices.Sort(want)
	x.names("", want...)
	if err := x.WriteFile(strings.Repeat("n", 256), nil); err == nil {
		x.Error("a name of 256 bytes was taken")
	}
}

// testAlike makes names that differ from another in case alone: no owner takes them.
func testAlike(x *fixture) {
	x.write("Plan.txt", "1")
	x.write("other", "2")
	x.ok(x.Mkdir("Folder"))
	for what, err := range map[string]error{
		"written":       x.WriteFile("pLAN.txt", []byte("3")),
		"written new":   x.WriteNew("PLAN.TXT", []byte("3")),
		"a folder":      x.Mkdir("plan.txt"),
		"renamed":       x.Rename("other", "plan.txt"),
		"like a folder": x.WriteFile("folder", []byte("3")),
	} {
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			x.Errorf("%s: %v", what, err)
		}
	}
	x.names("", "Folder/", "Plan.txt", "other")
	x.holds("Plan.txt", "1")
	x.ok(x.Rename("Plan.txt", "PLAN.txt"))
	x.ok(x.Rename("Folder", "folder"))
	x.ok(x.Remove("PLAN.txt"))
	x.write("plan.TXT", "4")
	x.ok(x.Rename("other", "plan.TXT"))
	x.names("", "folder/", "plan.TXT")
	x.holds("plan.TXT", "2")
}

// testSaveByRename is what most editors do.
func testSaveByRename(x *fixture) {
	x.write("doc.txt", "old content")
	for i := range 5 {
		data := fmt.Sprint("saved ", i)
		x.write("doc.txt.tmp", data)
		x.ok(x.Rename("doc.txt.tmp", "doc.txt"))
		x.holds("doc.txt", data)
	}
	for i := range 3 { // or with a copy of what was there
		data := fmt.Sprint("again ", i)
		x.ok(x.Rename("doc.txt", "doc.txt~"))
		x.write("doc.txt", data)
		x.holds("doc.txt", data)
		x.ok(x.Remove("doc.txt~"))
	}
	x.names("", "doc.txt")
}

func testManyFiles(x *fixture) {
	var want []string
	for i := range 200 {
		n := fmt.Sprintf("f%03d", i)
		x.write(n, n)
		want = append(want, n)
	}
	x.names("", want...)
	for i, n := range want {
		if i%3 == 0 {
			x.ok(x.Remove(n))
		} else {
			x.holds(n, n)
		}
	}
	is, err := x.List("")
	if err != nil || len(is) != 133 {
		x.Fatalf("%d files, %v; want 133", len(is), err)
	}
}

func testTree(x *fixture) {
	var make func(dir string, depth int)
	make = func(dir string, depth int) {
		for i := range 3 {
			x.write(fmt.Sprintf("%sf%d", dir, i), dir)
			if depth > 0 {
				d := fmt.Sprintf("%sd%d", dir, i)
				x.ok(x.Mkdir(d))
				make(d+"/", depth-1)
			}
		}
	}
	make("", 2)
	x.holds("d2/d1/f0", "d2/d1/")
	var remove func(dir string)
	remove = func(dir string) { // as rm -r does
		is, err := x.List(dir)
		x.ok(err)
		for _, i := range is {
			n := i.Name
			if dir != "" {
				n = dir + "/" + n
			}
			if i.Dir {
				remove(n)
			}
			x.ok(x.Remove(n))
		}
	}
	remove("")
	x.names("")
}
