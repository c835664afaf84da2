// Package manifest cuts files into pieces, hashes them, and proves piece hashes against a file's root.
//
// A piece's hash is the BLAKE3 chaining value of its subtree, so the pieces' hashes joined pairwise give the file's plain
// BLAKE3 hash: nobody is believed who can't show pieces that add up to the root. The package has no goroutine, clock or
// network.
package manifest

import (
	"encoding/binary"
	"math/bits"

	zeebo "github.com/zeebo/blake3"
	"lukechampine.com/blake3/guts"

	"github.com/peerd/peerd/transfer"
)

// simd is how many bytes guts hashes at once.
const simd = guts.MaxSIMD * guts.ChunkSize

// Step is how many bytes of a piece are best read, hashed and written in one go: they stay in a core's cache, where a
// whole piece would not.
const Step = 256 << 10

// Hasher computes chaining values. The zero Hasher is ready; it is not for several goroutines at once.
type Hasher struct {
	pad [simd]byte // the ragged end of a file, since guts reads whole vectors
}

// Subtree is the chaining value of b, which lies at offset in its file. Offset is a multiple of b's length rounded up to a
// power of two, as pieces and steps are. For a file's only piece use [Whole]: the root is finalised differently.
func (h *Hasher) Subtree(b []byte, offset int64) transfer.Hash {
	return pack(h.words(b, uint64(offset)/guts.ChunkSize))
}

func (h *Hasher) words(b []byte, chunk uint64) [8]uint32 {
	switch {
	case len(b) == simd:
		return guts.ChainingValue(guts.CompressBuffer((*[simd]byte)(b), simd, &guts.IV, chunk, 0))
	case len(b) < simd:
		n := copy(h.pad[:], b)
		return guts.ChainingValue(guts.CompressBuffer(&h.pad, n, &guts.IV, chunk, 0))
	}
	left := 1 << (bits.Len(uint(len(b)-1)) - 1)
	l := h.words(b[:left], chunk)
	r := h.words(b[left:], chunk+uint64(left)/guts.ChunkSize)
	return guts.ChainingValue(guts.ParentNode(l, r, &guts.IV, 0))
}

// Join is the chaining value above neighbouring subtrees of equal size, of which the last may be smaller.
func Join(subtrees []transfer.Hash) transfer.Hash {
	if len(subtrees) == 1 {
		return subtrees[0]
	}
	return pack(guts.ChainingValue(parent(subtrees)))
}

// Root is the root of a file whose pieces, two or more, have these hashes.
func Root(pieces []transfer.Hash) transfer.Hash {
	n := parent(pieces)
	n.Flags |= guts.FlagRoot
	out := guts.CompressNode(n)
	return pack([8]uint32(out[:8]))
}

// parent is the node above at least two subtrees. The left side of every BLAKE3 node is a whole power of two.
func parent(subtrees []transfer.Hash) guts.Node {
	left := 1 << (bits.Len(uint(len(subtrees)-1)) - 1)
	return guts.ParentNode(unpack(Join(subtrees[:left])), unpack(Join(subtrees[left:])), &guts.IV, 0)
}

// Whole is the root of a file that is all in b.
func Whole(b []byte) transfer.Hash { return zeebo.Sum256(b) }

func pack(words [8]uint32) (h transfer.Hash) {
	for i, w := range words {
		binary.LittleEndian.PutUint32(h[4*i:], w)
	}
	return h
}

func unpack(h transfer.Hash) (words [8]uint32) {
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(h[4*i:])
	}
	return words
}
