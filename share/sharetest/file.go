package sharetest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/transfer"
)

func testRead(t *testing.T, f fixture) {
	content := make([]byte, 300_000)
	for i := range content {
		content[i] = byte(i * 7 >> 3)
	}
	f.write(t, "file", string(content))
	file := f.open(t, "file")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			b := make([]byte, 10_000)
			for off := i * 1000; off+len(b) <= len(content); off += 8000 {
				if n, err := file.ReadAt(b, int64(off)); n != len(b) || err != nil && err != io.EOF || !bytes.Equal(b, content[off:off+n]) {
					t.Errorf("at %d: %d bytes, %v", off, n, err)
				}
			}
		})
	}
	wg.Wait()
	end := int64(len(content))
	for _, c := range []struct {
		off  int64
		want int
	}{{end - 5, 5}, {end, 0}, {end + 100, 0}} {
		if n, err := file.ReadAt(make([]byte, 10), c.off); n != c.want || err != io.EOF {
			t.Errorf("at %d of %d: %d bytes, %v", c.off, end, n, err)
		}
	}
	if n, err := file.ReadAt(make([]byte, 1), -1); n != 0 || err == nil {
		t.Errorf("before the beginning: %d bytes, %v", n, err)
	}
	e, err := file.Entry()
	must(t, err)
	if want := f.stat(t, "file"); !equal(e, want) {
		t.Errorf("Entry gives %+v, Stat gives %+v", e, want)
	}
	must(t, file.Close())
	if _, err := file.ReadAt(make([]byte, 1), 0); err == nil {
		t.Error("a closed file can be read")
	}
	if _, err := file.Entry(); err == nil {
		t.Error("a closed file has an entry")
	}
}

func testOpenFileStays(t *testing.T, f fixture) {
	for _, c := range []struct {
		name string
		do   func(path string) error
	}{
		{"renamed", func(p string) error { return os.Rename(p, p+".old") }},
		{"removed", os.Remove},
		{"replaced", func(p string) error {
			if err := os.WriteFile(p+".new", []byte("other"), 0o644); err != nil {
				return err
			}
			return os.Rename(p+".new", p)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.write(t, c.name, "first")
			file := f.open(t, c.name)
			before, err := file.Entry()
			must(t, err)
			if err := c.do(f.path(c.name)); err != nil {
				t.Skipf("this system does not let go of open files: %v", err)
			}
			b := make([]byte, 5)
			if n, err := file.ReadAt(b, 0); string(b[:n]) != "first" || err != nil && err != io.EOF {
				t.Errorf("it reads %q, %v", b[:n], err)
			}
			after, err := file.Entry()
			must(t, err)
			if after.Size != before.Size || !after.ModTime.Equal(before.ModTime) {
				t.Errorf("it was %+v and is %+v", before, after)
			}
		})
	}
}

func testVersion(t *testing.T, f fixture) {
	long := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		do   func(path string) error
	}{
		{"write", func(p string) error { return os.WriteFile(p, []byte("other"), 0o644) }},
		{"write the same", func(p string) error { return os.WriteFile(p, []byte("first"), 0o644) }},
		{"append", func(p string) error { return os.WriteFile(p, []byte("first and more"), 0o644) }},
		{"truncate", func(p string) error { return os.Truncate(p, 2) }},
		{"utimes", func(p string) error { return os.Chtimes(p, long, time.Now()) }},
		{"write, and set the time back", func(p string) error {
			return doAll(os.WriteFile(p, []byte("other"), 0o644), os.Chtimes(p, long, long))
		}},
		{"replace by one of the same size and time", func(p string) error {
			return doAll(os.WriteFile(p+".new", []byte("other"), 0o644), os.Chtimes(p+".new", long, long), os.Rename(p+".new", p))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.write(t, c.name, "first")
			must(t, os.Chtimes(f.path(c.name), long, long))
			before := f.stat(t, c.name)
			if again := f.stat(t, c.name); again.Version != before.Version {
				t.Fatal("the version changes by itself")
			}
			for e := range f.List(t.Context(), share.Path{}) {
				if e.Path == before.Path && e.Version != before.Version {
					t.Error("List gives another version than Stat")
				}
			}
			if before.Version == (transfer.Version{}) {
				t.Error("the version is zero")
			}
			// Two changes within a tick of the clock may look as one, so the change is made until the clock has moved.
			for end := time.Now().Add(5 * time.Second); f.stat(t, c.name).Version == before.Version; {
				if time.Now().After(end) {
					t.Fatal("the version stays")
				}
				must(t, c.do(f.path(c.name)))
			}
		})
	}
	versions := map[transfer.Version]string{}
	for i := range 100 {
		name := fmt.Sprintf("same/%d", i)
		f.write(t, name, "same")
		must(t, os.Chtimes(f.path(name), long, long))
		v := f.stat(t, name).Version
		if versions[v] != "" {
			t.Errorf("%s and %s have one version", name, versions[v])
		}
		versions[v] = name
	}
}

// doAll gives the first error.
func doAll(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
