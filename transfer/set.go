package transfer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"math/bits"
)

// Set is a set of the pieces of one file, numbered from 0. It is not for use by several goroutines at once, and copies
// of it share what they hold: see Clone. The zero Set is that of a file without pieces.
type Set struct {
	words []uint64
	size  int // pieces of the file
	count int // pieces in the set
}

// NewSet is the empty set of a file of so many pieces.
func NewSet(pieces int) Set { return Set{words: make([]uint64, (pieces+63)/64), size: pieces} }

// FullSet is the set of all pieces of a file of so many.
func FullSet(pieces int) Set {
	s := NewSet(pieces)
	s.addRange(0, pieces)
	return s
}

// Clone is a set of its own with the same pieces.
func (s Set) Clone() Set {
	s.words = append([]uint64(nil), s.words...)
	return s
}

// Len is how many pieces are in the set.
func (s *Set) Len() int { return s.count }

// Size is how many pieces the file has.
func (s *Set) Size() int { return s.size }

// Full reports whether all pieces of the file are in the set.
func (s *Set) Full() bool { return s.count == s.size }

// Has reports whether piece i is in the set; what is no piece of the file never is.
func (s *Set) Has(i int) bool {
	return i >= 0 && i < s.size && s.words[i/64]&(1<<(i%64)) != 0
}

// Add puts piece i in and reports whether it was out; what is no piece of the file stays out.
func (s *Set) Add(i int) bool {
	if i < 0 || i >= s.size || s.Has(i) {
		return false
	}
	s.words[i/64] |= 1 << (i % 64)
	s.count++
	return true
}

// Remove takes piece i out and reports whether it was in.
func (s *Set) Remove(i int) bool {
	if !s.Has(i) {
		return false
	}
	s.words[i/64] &^= 1 << (i % 64)
	s.count--
	return true
}

// All gives the pieces in the set, lowest first. The piece that is at hand may be removed meanwhile.
func (s *Set) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, w := range s.words {
			for ; w != 0; w &= w - 1 {
				if !yield(i*64 + bits.TrailingZeros64(w)) {
					return
				}
			}
		}
	}
}

// NextIn is the lowest piece from on that is in this and all the other sets, or -1. They are sets of one file.
func (s *Set) NextIn(from int, others ...*Set) int {
	if from < 0 {
		from = 0
	}
	for _, o := range others {
		if o.size != s.size {
			return -1
		}
	}
	mask := ^uint64(0) << (from % 64)
	for i := from / 64; i < len(s.words); i++ {
		w := s.words[i] & mask
		for _, o := range others {
			w &= o.words[i]
		}
		if w != 0 {
			return i*64 + bits.TrailingZeros64(w)
		}
		mask = ^uint64(0)
	}
	return -1
}

func (s *Set) addRange(from, to int) {
	for i := from; i < to; i++ {
		if i%64 == 0 && to-i >= 64 && s.words[i/64] == 0 {
			s.words[i/64] = ^uint64(0)
			s.count += 64
			i += 63
			continue
		}
		s.Add(i)
	}
}

// The forms that a set has on the wire; its first byte.
const (
	setRuns = 0 // uvarints: how many pieces are out, how many are in, and so on; it ends with the last that is in
	setBits = 1 // one bit a piece, piece 0 the lowest bit of the first byte
)

// AppendBinary appends the set's form on the wire to b: runs or bits, whatever is shorter, and runs where both are as
// long. It has at most 1 + ⌈pieces/8⌉ bytes; that of an empty set has 1, that of a full one at most 5. It never fails.
func (s *Set) AppendBinary(b []byte) ([]byte, error) {
	start, limit := len(b), 1+(s.size+7)/8
	b = append(b, setRuns)
	for at := 0; ; {
		in := s.nextRun(at, 0)
		if in == s.size {
			return b, nil
		}
		out := s.nextRun(in, ^uint64(0))
		b = binary.AppendUvarint(b, uint64(in-at))
		b = binary.AppendUvarint(b, uint64(out-in))
		if at = out; len(b)-start > limit {
			break
		}
	}
	b = append(b[:start], setBits)
	for _, w := range s.words {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b[:start+limit], nil
}

// nextRun is the first piece from on whose bit differs from those of same, or the file's end.
func (s *Set) nextRun(from int, same uint64) int {
	mask := ^uint64(0) << (from % 64)
	for i := from / 64; i < len(s.words); i++ {
		if w := (s.words[i] ^ same) & mask; w != 0 {
			return min(i*64+bits.TrailingZeros64(w), s.size)
		}
		mask = ^uint64(0)
	}
	return s.size
}

// ParseSet reads the form on the wire of a set of pieces of a file of so many. It takes memory for no more than those
// pieces, and refuses every form but the one that AppendBinary gives.
func ParseSet(b []byte, pieces int) (Set, error) {
	bad := func(why string) (Set, error) {
		return Set{}, fmt.Errorf("%d bytes are no set of %d pieces: %s", len(b), pieces, why)
	}
	if pieces < 0 || pieces > MaxPieces {
		return bad("no file has so many")
	}
	if len(b) == 0 || len(b) > 1+(pieces+7)/8 {
		return bad("wrong length")
	}
	s := NewSet(pieces)
	switch b[0] {
	case setRuns:
		if !s.parseRuns(b[1:]) {
			return bad("a run is off")
		}
	case setBits:
		for i := range pieces {
			if at := 1 + i/8; at < len(b) && b[at]&(1<<(i%8)) != 0 {
				s.Add(i)
			}
		}
	default:
		return bad("unknown form")
	}
	if again, _ := s.AppendBinary(nil); !bytes.Equal(again, b) {
		return bad("not the shortest form")
	}
	return s, nil
}

func (s *Set) parseRuns(b []byte) bool {
	for at := 0; len(b) > 0; {
		var run [2]int
		for i := range run {
			n, size := binary.Uvarint(b)
			if size <= 0 || n > uint64(s.size-at) {
				return false
			}
			run[i], b = int(n), b[size:]
			at += run[i]
		}
		s.addRange(at-run[1], at)
	}
	return true
}
