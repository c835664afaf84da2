package mount_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/peerd/peerd/share"
)

// hostile are names that somebody may give a file to make trouble, or that another system does not mind.
var hostile = []string{
	"-rf", "--help", "~", "~root", "$HOME", "$(reboot)", "`reboot`", "a;b", "a|b", "a&b", "*", "?", "[a-z]", "{a,b}", "a\\b", "\\", "'", `"`,
	" leading", "trailing ", "trailing.", "...", "a\tb", "a\nb", "\n", "a\rb", "\x1b[31mred", "\a", "\x7f", "CON", "nul.txt", "a:b", "C:", "a<b>",
	"\xff\xfe", "caf\xe9", "e\u0301", "\u00e9", "\u202egpj.exe", "\u200b", "\ufeff", "日本語", "🎉", ".go-fuse-epoll-hack", "%2e%2e", "..%2f", "#",
	strings.Repeat("x", 255), strings.Repeat("ü", 127),
}

// TestHostileNames looks at each name that a share can hold: what is listed can be opened by the name that was listed.
func TestHostileNames(t *testing.T) {
	s, dir := docs(t, share.Full)
	var want []string
	for _, name := range hostile {
		if share.CheckComponent(name) != nil {
			continue // no share holds it
		}
		s.Write("d/"+name, []byte(name))
		want = append(want, name)
	}
	slices.Sort(want)
	t.Logf("%d of %d names can be", len(want), len(hostile))
	entries, err := os.ReadDir(filepath.Join(dir, "d"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
		if b, err := os.ReadFile(filepath.Join(dir, "d") + "/" + e.Name()); err != nil || string(b) != e.Name() {
			t.Errorf("%q holds %q, %v", e.Name(), b, err)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%q are listed, want %q", got, want)
	}
	for _, name := range hostile { // nothing crashes, and what is made is made as it was called
		path := filepath.Join(dir, "made") + name
		if os.WriteFile(path, []byte(name), 0o644) == nil && look(path) != name {
			t.Errorf("%q was made, and holds %q", name, look(path))
		}
	}
}

// TestManyEntries lists a large folder, with what each entry is, and looks how much memory that takes.
func TestManyEntries(t *testing.T) {
	s, dir := docs(t, share.Full)
	for i := range many {
		s.Write(fmt.Sprintf("d/file %06d", i), nil)
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	var d *os.File
	eventually(t, "the owner lists it", func() bool { // which takes longer than anybody waits, if the machine is busy
		f, err := os.Open(filepath.Join(dir, "d"))
		if err != nil {
			return false
		}
		if _, err := f.Readdirnames(1); err != nil {
			_ = f.Close()
			return false
		}
		_, err = f.Seek(0, io.SeekStart)
		d = f
		return err == nil
	})
	defer d.Close()
	seen := make([]bool, many)
	for {
		infos, err := d.Readdir(1000) // stats each: the kernel knows them from the listing
		for _, i := range infos {
			var n int
			if _, err := fmt.Sscanf(i.Name(), "file %d", &n); err != nil || seen[n] {
				t.Fatalf("%q, %v", i.Name(), err)
			}
			seen[n] = true
		}
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if i := slices.Index(seen, false); i >= 0 {
		t.Errorf("file %d is missing", i)
	}
	grown := int64(heap()) - int64(before)
	t.Logf("%d bytes for each entry", grown/many)
	if grown/many > 2000 {
		t.Errorf("%d bytes for each entry", grown/many)
	}
}
