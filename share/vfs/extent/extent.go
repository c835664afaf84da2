// Package extent is sets of byte ranges: which parts of a file were written, and which still come from what it was made of.
package extent

import "slices"

// Range is the bytes From ≤ i < To.
type Range struct{ From, To int64 }

// Set is ranges in order, none of which is empty or touches another. The zero Set is empty.
type Set []Range

// Add puts a range in.
func (s Set) Add(r Range) Set {
	if r.From >= r.To {
		return s
	}
	// i is the first that reaches r, j the first behind it.
	i, _ := slices.BinarySearchFunc(s, r.From, func(x Range, from int64) int {
		if x.To < from {
			return -1
		}
		return 1
	})
	j := i
	for ; j < len(s) && s[j].From <= r.To; j++ {
		r.From, r.To = min(r.From, s[j].From), max(r.To, s[j].To)
	}
	return slices.Replace(s, i, j, r)
}

// Cut takes out all from a place on.
func (s Set) Cut(from int64) Set {
	for i, r := range s {
		if r.To > from {
			if r.From < from {
				s[i].To = from
				i++
			}
			return s[:i]
		}
	}
	return s
}

// Next is whether a byte is in the set, and where the run of such bytes ends; after the last range it does not.
func (s Set) Next(at int64) (in bool, end int64) {
	i, _ := slices.BinarySearchFunc(s, at, func(x Range, at int64) int {
		if x.To <= at {
			return -1
		}
		return 1
	})
	switch {
	case i == len(s):
		return false, 1<<63 - 1
	case s[i].From <= at:
		return true, s[i].To
	}
	return false, s[i].From
}

// Holes are the ranges below end that are not in the set.
func (s Set) Holes(end int64) (holes []Range) {
	for at := int64(0); at < end; {
		in, to := s.Next(at)
		to = min(to, end)
		if !in {
			holes = append(holes, Range{at, to})
		}
		at = to
	}
	return holes
}

// Len is how many bytes are in the set.
func (s Set) Len() (n int64) {
	for _, r := range s {
		n += r.To - r.From
	}
	return n
}

// Missing is how many bytes of a range are not in the set.
func (s Set) Missing(r Range) (n int64) {
	for at := r.From; at < r.To; {
		in, to := s.Next(at)
		to = min(to, r.To)
		if !in {
			n += to - at
		}
		at = to
	}
	return n
}
