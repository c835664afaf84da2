package mount_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/mount"
	"github.com/peerd/peerd/share/vfs/vfstest"
)

// look reads a file, "" if it is not there.
func look(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}

func missing(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, os.ErrNotExist)
}

// settled has the share watched, so that the kernel may believe for long what it is told.
func settled(t *testing.T, s *vfstest.Share, dir string) {
	t.Helper()
	s.Write("settled", []byte("0"))
	eventually(t, "the share is watched", func() bool { return look(filepath.Join(dir, "settled")) == "0" })
	_, _ = os.ReadDir(dir)
	s.Write("settled", []byte("yes"))
	eventually(t, "a change is told", func() bool { return look(filepath.Join(dir, "settled")) == "yes" })
}

// What others change is seen, whatever the kernel was told of it before.
func TestChangesElsewhere(t *testing.T) {
	s, dir := docs(t, share.Full)
	at := func(name string) string { return filepath.Join(dir, name) }
	settled(t, s, dir)
	for _, c := range []struct {
		name           string
		before, change func()
		seen           func() bool
	}{
		{"a name that was missing", func() { missing(at("new")) }, func() { s.Write("new", []byte("1")) }, func() bool { return look(at("new")) == "1" }},
		{"content of another size", func() { look(at("new")) }, func() { s.Write("new", []byte("longer")) }, func() bool {
			i, err := os.Stat(at("new"))
			return err == nil && i.Size() == 6 && look(at("new")) == "longer"
		}},
		{"content of the same size", func() { look(at("new")) }, func() { s.Write("new", []byte("LONGER")) }, func() bool { return look(at("new")) == "LONGER" }},
		{"times", func() { _, _ = os.Stat(at("new")) }, func() { s.WriteAt("new", []byte("LONGER"), time.Unix(1e9, 0)) }, func() bool {
			i, err := os.Stat(at("new"))
			return err == nil && i.ModTime().Unix() == 1e9
		}},
		{"a rename", func() { missing(at("moved")) }, func() { s.Rename("new", "moved") }, func() bool { return look(at("moved")) == "LONGER" && missing(at("new")) }},
		{"a removal", func() { _, _ = os.ReadDir(dir) }, func() { s.Remove("moved") }, func() bool {
			entries, err := os.ReadDir(dir)
			return err == nil && len(entries) == 1 && missing(at("moved"))
		}},
		{"a folder", func() { missing(at("d")) }, func() { s.Write("d/e/f", []byte("deep")) }, func() bool { return look(at("d/e/f")) == "deep" }},
		{"a folder's listing", func() { _, _ = os.ReadDir(at("d/e")) }, func() { s.Write("d/e/g", nil) }, func() bool {
			entries, err := os.ReadDir(at("d/e"))
			return err == nil && len(entries) == 2
		}},
		{"a folder's rename", func() { look(at("d/e/f")) }, func() { s.Rename("d", "D") }, func() bool { return missing(at("d/e/f")) && look(at("D/e/f")) == "deep" }},
		{"a folder's removal", func() { look(at("D/e/f")) }, func() { s.Remove("D") }, func() bool { return missing(at("D/e/f")) && missing(at("D")) }},
		{"a file where a folder was", func() { s.Mkdir("x"); look(at("x/y")) }, func() { s.Remove("x"); s.Write("x", []byte("file")) }, func() bool { return look(at("x")) == "file" }},
	} {
		c.before()
		c.change()
		eventually(t, c.name+" is seen", c.seen)
	}
}

// Who has a file open reads what it opened; who opens it after the change reads what is there then.
func TestOpenWhileItChanges(t *testing.T) {
	s, dir := docs(t, share.Full)
	settled(t, s, dir)
	s.Write("f", []byte("version one"))
	path := filepath.Join(dir, "f")
	eventually(t, "it is there", func() bool { return look(path) == "version one" })
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	read := func() string {
		b, err := io.ReadAll(io.NewSectionReader(f, 0, 100))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if got := read(); got != "version one" {
		t.Fatalf("%q", got)
	}
	s.Write("f", []byte("VERSION TWO"))
	eventually(t, "who opens it reads the new one", func() bool { return look(path) == "VERSION TWO" })
	for range 3 {
		if got := read(); got != "version one" && got != "VERSION TWO" {
			t.Fatalf("versions were mixed: %q", got)
		}
		if got := look(path); got != "VERSION TWO" {
			t.Fatalf("%q after the new one was seen", got)
		}
	}
}

// Where events were lost, all is asked for anew.
func TestLostEvents(t *testing.T) {
	s, dir := docs(t, share.Full)
	settled(t, s, dir)
	s.Write("f", []byte("before"))
	path := filepath.Join(dir, "f")
	eventually(t, "it is there", func() bool { return look(path) == "before" })
	missing(filepath.Join(dir, "absent"))
	s.Unwatched(true)
	s.Write("f", []byte("meanwhile"))
	s.Write("absent", []byte("no more"))
	s.Miss()
	s.Unwatched(false)
	eventually(t, "what was missed is seen", func() bool {
		return look(path) == "meanwhile" && look(filepath.Join(dir, "absent")) == "no more"
	})
}

// What one mount changes the other shows.
func TestTwoMounts(t *testing.T) {
	w := vfstest.NewWorld()
	w.Add("anna").Share("docs", share.Full)
	fs := vfstest.Running(t, w)
	one, two := show(t, fs, mount.Options{Root: []string{"anna", "docs"}}), show(t, fs, mount.Options{})
	path := filepath.Join(two, "anna", "docs", "f")
	for n, text := range []string{"a", "bb", "cc", ""} {
		missing(path)
		look(path)
		if err := os.WriteFile(filepath.Join(one, "f"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the other shows it", func() bool {
			b, err := os.ReadFile(path)
			return err == nil && string(b) == text
		})
		if n == 2 {
			if err := os.Remove(filepath.Join(one, "f")); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the other misses it", func() bool { return missing(path) })
		}
	}
}

// What a mount is told of its own changes must not take the ground from under those who work in them.
func TestFolderStays(t *testing.T) {
	_, dir := docs(t, share.Full)
	run(t, child(t, "work", dir))
}

// Memory that maps a file shows it, and what is written to it is written to the file.
func TestMapped(t *testing.T) {
	s, dir := docs(t, share.Full)
	b := make([]byte, 200*4096)
	for i := range b {
		b[i] = byte(i / 4096)
	}
	s.Write("f", b)
	run(t, child(t, "map", filepath.Join(dir, "f")))
	for i := 0; i < len(b); i += 4096 {
		b[i] = 0xee
	}
	if got := look(filepath.Join(dir, "f")); got != string(b) {
		t.Error("the mount does not show what was written to memory")
	}
	eventually(t, "the owner has it", func() bool {
		got, ok := s.Read("f")
		return ok && string(got) == string(b)
	})
}
