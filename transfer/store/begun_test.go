package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/store"
)

// TestBegun: a file that was begun becomes the partial file of a key, whose pieces are found by their hashes, unless that is there
// already; and it can be dropped.
func TestBegun(t *testing.T) {
	dir := t.TempDir()
	d, err := store.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	l, _ := transfer.LayoutOf(3 << 20)
	begin := func(name string, bytes int) {
		t.Helper()
		f, err := d.Begin([]string{name})
		if err == nil {
			_, err = f.WriteAt(make([]byte, bytes), 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	begin("begun", 5<<20)
	if _, err := d.Begin([]string{"begun"}); err == nil {
		t.Error("a name was given twice")
	}
	if err := d.Adopt([]string{"f"}, "key", "begun"); err != nil {
		t.Fatal(err)
	}
	var h manifest.Hasher
	zeros := h.Subtree(make([]byte, l.Length(1)), l.Offset(1))
	p, err := d.Partial([]string{"f"}, "key", l, store.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	if buf := make([]byte, manifest.Step); !p.Has(&h, 1, zeros, buf) || p.Has(&h, 0, zeros, buf) {
		t.Error("its pieces are not known by their hashes")
	}
	begin("second", 10)
	if err := d.Adopt([]string{"f"}, "key", "second"); err != nil {
		t.Errorf("beside a partial file: %v", err)
	}
	for range 2 {
		if err := d.Drop([]string{"second"}); err != nil {
			t.Error(err)
		}
	}
	if err := p.Promote(true); err != nil {
		t.Fatal(err)
	}
	p.Close()
	if info, err := os.Stat(filepath.Join(dir, "f")); err != nil || info.Size() != l.Size {
		t.Errorf("%v, %v", info, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("%d files are left", len(left))
	}
	if err := d.Adopt([]string{"f"}, "another", "second"); err == nil {
		t.Error("what is not there was taken")
	}
}
