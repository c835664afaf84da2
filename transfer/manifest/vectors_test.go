package manifest_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
)

var update = flag.Bool("update", false, "write the vectors of docs/vectors anew")

const vectorFile = "../../docs/vectors/manifest.json"

// vectors are files whose byte i is i mod 251, with what must come of them.
type vectors struct {
	Comment string   `json:"comment"`
	Files   []vector `json:"files"`
}

type vector struct {
	Size      int      `json:"size"`
	PieceSize int64    `json:"piece_size"`
	Root      string   `json:"root"`
	Pieces    []string `json:"pieces"`
}

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var want vectors
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	for _, v := range want.Files {
		if got := vectorOf(t, v.Size); !equalJSON(t, got, v) {
			t.Errorf("size %d: got %+v, want %+v", v.Size, got, v)
		}
	}
}

func vectorOf(t *testing.T, size int) vector {
	t.Helper()
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i % 251)
	}
	l, err := transfer.LayoutOf(int64(size))
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Build(bytes.NewReader(b), l, func(int, transfer.Hash) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	v := vector{Size: size, PieceSize: 1 << l.Bits, Root: m.Root.String(), Pieces: []string{}}
	for _, p := range m.Pieces {
		v.Pieces = append(v.Pieces, hex.EncodeToString(p[:]))
	}
	return v
}

func writeVectors(t *testing.T) {
	t.Helper()
	v := vectors{Comment: "Byte i of each file is i mod 251. A file of one piece has no piece hashes; roots are what b3sum prints."}
	for _, size := range []int{0, 1, 1024, 1025, 1 << 20, 1<<20 + 1, 2 << 20, 3<<20 + 5} {
		v.Files = append(v.Files, vectorOf(t, size))
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vectorFile, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func equalJSON(t *testing.T, a, b any) bool {
	t.Helper()
	x, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(x, y)
}
