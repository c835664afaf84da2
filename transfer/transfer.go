// Package transfer moves bytes: files cut into pieces, each with its own hash, that anybody who holds them can give and
// anybody who wants them can check. It knows no share and no right: who may have what is decided by an Authorizer that
// it is given.
//
// A file's root is its plain BLAKE3 hash, the same that b3sum prints. Pieces are aligned subtrees of that hash's tree
// (BLAKE3 paper section 2.1): a piece's hash is its subtree's chaining value, so the list of piece hashes is the tree cut
// at one level, and proves itself against the root.
package transfer

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"time"

	"github.com/peerd/peerd/peer"
)

// HashSize is the length of a Hash in bytes.
const HashSize = 32

// Hash is a BLAKE3 hash (a root) or a BLAKE3 chaining value (a piece's hash).
type Hash [HashSize]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether the hash was never set.
func (h Hash) IsZero() bool { return h == Hash{} }

// Sizes, in bytes.
const (
	// SmallFile is the largest file that is one piece, and asked for whole.
	SmallFile = 1 << 20
	// MinPiece and UsualPiece bound the pieces of all but small and very large files. A piece can be passed on once it is
	// whole, so its size is how far each peer of a chain is behind the one before; below 64 KiB the work per piece shows.
	MinPiece   = 64 << 10
	UsualPiece = 1 << 20
	// FewPieces is how many pieces a file has at least, as far as MinPiece lets it: N peers that share a link's worth of
	// sending are about N pieces later than one alone.
	FewPieces = 512
	// MaxPieces is how many pieces a file is cut into at most, so that its manifest stays below 2 MiB: beyond 64 GiB
	// pieces grow by powers of two.
	MaxPieces = 1 << 16
	// MaxFile is the largest file that can be described: 2^62 bytes are refused before anything is allocated.
	MaxFile = 1 << 46
)

// PieceBits is the binary logarithm of the piece size for a file of so many bytes.
func PieceBits(size int64) uint {
	if size <= SmallFile {
		return uint(bits.TrailingZeros64(SmallFile))
	}
	b := uint(bits.TrailingZeros64(MinPiece))
	for size > MaxPieces<<b || size > FewPieces<<b && b < uint(bits.TrailingZeros64(UsualPiece)) {
		b++
	}
	return b
}

// Layout is how a file of Size bytes is cut.
type Layout struct {
	Size int64
	Bits uint
}

// LayoutOf is the one layout of a file of size bytes.
func LayoutOf(size int64) (Layout, error) {
	if size < 0 || size > MaxFile {
		return Layout{}, fmt.Errorf("a file of %d bytes is beyond the limit of %d", size, int64(MaxFile))
	}
	return Layout{Size: size, Bits: PieceBits(size)}, nil
}

// Pieces is how many pieces there are; an empty file has one empty piece.
func (l Layout) Pieces() int {
	if l.Size == 0 {
		return 1
	}
	return int((l.Size + 1<<l.Bits - 1) >> l.Bits)
}

// Offset is where piece i begins.
func (l Layout) Offset(i int) int64 { return int64(i) << l.Bits }

// Length is how many bytes piece i has.
func (l Layout) Length(i int) int64 { return min(int64(1)<<l.Bits, l.Size-l.Offset(i)) }

// Version names one state of one path: equal versions have equal bytes. It is opaque to all but its owner.
type Version [16]byte

// ShareID names the share that a file is in, so that a right for one share never opens another.
type ShareID [16]byte

func (s ShareID) String() string { return hex.EncodeToString(s[:]) }

// File is one version of one file of one share, for everybody who has pieces of it.
type File struct {
	Owner   peer.ID // of the share, who gave the version its name
	Share   ShareID
	Path    []string // components already checked by whoever made the File
	Version Version
}

// FileID tells files apart.
type FileID [32]byte

func (id FileID) String() string { return hex.EncodeToString(id[:]) }

// ID is the file's ID: a hash of all that it is, each part after its length.
func (f File) ID() (id FileID) {
	h := sha256.New()
	part := func(b []byte) { _, _ = h.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)) }
	part([]byte(f.Owner))
	part(f.Share[:])
	part(f.Version[:])
	for _, p := range f.Path {
		part([]byte(p))
	}
	h.Sum(id[:0])
	return id
}

// State is what a source says of a file at one moment.
type State struct {
	Size    int64
	ModTime time.Time
	Version Version
}

// Manifest is a file's size, root and piece hashes. Pieces are empty when there is one piece: then the root says it all.
type Manifest struct {
	Layout
	Root   Hash
	Pieces []Hash
}

// Progress is told how a transfer goes, from any goroutine.
type Progress interface {
	// Got adds bytes that were fetched from a source and verified.
	Got(from peer.ID, path string, n int64)
	// Bad counts a piece that came wrong, and whether its source is asked for no more.
	Bad(from peer.ID, banned bool)
	// Had adds bytes that need not be fetched since they are here already.
	Had(path string, n int64)
}
