package seed

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
)

// TestLongPieces: a file of pieces that are too long to be held is given on, its last and shorter one as well.
func TestLongPieces(t *testing.T) {
	content := bytes.Repeat([]byte("peerd"), 600<<10)
	layout := transfer.Layout{Size: int64(len(content)), Bits: 21}
	m, err := manifest.Build(bytes.NewReader(content), layout, func(int, transfer.Hash) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	o := &opened{file: &file{layout: layout, name: name}, manifest: m, whole: f, piece: -1}
	defer o.Close()
	for i := range layout.Pieces() {
		if o.Lacks(i) {
			t.Errorf("piece %d of %d bytes is lacking", i, layout.Length(i))
		}
		got := make([]byte, layout.Length(i))
		if _, err := o.ReadAt(got, layout.Offset(i)); err != nil || !bytes.Equal(got, content[layout.Offset(i):][:len(got)]) {
			t.Errorf("piece %d reads as something else: %v", i, err)
		}
	}
}
