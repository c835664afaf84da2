package manifest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/peerd/peerd/transfer"
)

// ErrRoot means that piece hashes don't add up to the root.
var ErrRoot = errors.New("the pieces' hashes do not add up to the file's root")

// Piece reads piece i of a file and gives its hash, as it stands in a manifest. buf holds at least [Step] bytes.
func Piece(h *Hasher, r io.ReaderAt, l transfer.Layout, i int, buf []byte) (transfer.Hash, error) {
	steps := make([]transfer.Hash, 0, 8)
	off, end := l.Offset(i), l.Offset(i)+l.Length(i)
	for off < end {
		b := buf[:min(Step, end-off)]
		if n, err := r.ReadAt(b, off); n < len(b) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return transfer.Hash{}, err
		}
		steps = append(steps, h.Subtree(b, off))
		off += int64(len(b))
	}
	return Join(steps), nil
}

// Build hashes a file of layout l, piece by piece in order, and calls each with every piece's hash once it is known. A file
// of one piece has no piece hashes: its root says it all, and each is not called.
func Build(r io.ReaderAt, l transfer.Layout, each func(i int, h transfer.Hash) error) (transfer.Manifest, error) {
	m := transfer.Manifest{Layout: l}
	if l.Pieces() == 1 {
		b := make([]byte, l.Size)
		if n, err := r.ReadAt(b, 0); n < len(b) {
			return m, fmt.Errorf("read %d of %d bytes: %w", n, len(b), short(err))
		}
		m.Root = Whole(b)
		return m, nil
	}
	var h Hasher
	buf := make([]byte, Step)
	for i := range l.Pieces() {
		hash, err := Piece(&h, r, l, i, buf)
		if err != nil {
			return m, err
		}
		m.Pieces = append(m.Pieces, hash)
		if err := each(i, hash); err != nil {
			return m, err
		}
	}
	m.Root = Root(m.Pieces)
	return m, nil
}

func short(err error) error {
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Verify proves the piece hashes against the root. It says nothing of one-piece files, which have none.
func Verify(m transfer.Manifest) error {
	want := m.Layout.Pieces()
	if want == 1 {
		want = 0
	}
	if len(m.Pieces) != want {
		return fmt.Errorf("%d piece hashes for a file of %d: %w", len(m.Pieces), want, ErrRoot)
	}
	if want > 0 && Root(m.Pieces) != m.Root {
		return ErrRoot
	}
	return nil
}

const (
	magic  = "peerd manifest 1\n"
	header = len(magic) + 8 + transfer.HashSize
)

// Encode gives the one encoding of a manifest: a line of text, the size (8 bytes, big-endian), the root, the piece hashes.
func Encode(m transfer.Manifest) []byte {
	b := make([]byte, 0, header+len(m.Pieces)*transfer.HashSize)
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint64(b, uint64(m.Size))
	b = append(b, m.Root[:]...)
	for _, p := range m.Pieces {
		b = append(b, p[:]...)
	}
	return b
}

// Decode reads what [Encode] wrote and verifies it.
func Decode(b []byte) (transfer.Manifest, error) {
	var m transfer.Manifest
	if len(b) < header || string(b[:len(magic)]) != magic {
		return m, errors.New("not a manifest")
	}
	size := binary.BigEndian.Uint64(b[len(magic):])
	if size > transfer.MaxFile {
		return m, fmt.Errorf("a manifest of %d bytes is beyond the limit", size)
	}
	m.Layout, _ = transfer.LayoutOf(int64(size))
	m.Root = transfer.Hash(b[header-transfer.HashSize:])
	hashes, err := Hashes(b[header:])
	if err != nil {
		return m, err
	}
	m.Pieces = hashes
	return m, Verify(m)
}

// Hashes cuts bytes into hashes.
func Hashes(b []byte) ([]transfer.Hash, error) {
	if len(b)%transfer.HashSize != 0 {
		return nil, fmt.Errorf("%d bytes are no list of hashes", len(b))
	}
	if len(b) == 0 {
		return nil, nil
	}
	out := make([]transfer.Hash, len(b)/transfer.HashSize)
	for i := range out {
		out[i] = transfer.Hash(b[i*transfer.HashSize:])
	}
	return out, nil
}
