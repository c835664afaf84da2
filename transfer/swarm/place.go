package swarm

import "github.com/peerd/peerd/transfer"

// ownPart is what fetcher number index of so many asks an origin for first. The fetchers' parts are disjoint, as large as one
// another but for a piece, and together the file. Each that comes takes what it is to have evenly from those that were there
// before it, and nothing else moves: what was asked for stays asked for, as in consistent hashing (Karger et al., 1997).
func ownPart(pieces, index, of int) transfer.Set {
	parts := []transfer.Set{transfer.FullSet(pieces)}
	for n := 1; n <= index; n++ {
		came := transfer.NewSet(pieces)
		for i := range parts {
			yield(&parts[i], size(pieces, i, n+1), &came)
		}
		parts = append(parts, came)
	}
	own, others := parts[index], transfer.NewSet(pieces)
	for n := index + 1; n < of; n++ {
		yield(&own, size(pieces, index, n+1), &others)
	}
	return own
}

// size is how many pieces part i of so many has.
func size(pieces, i, of int) int { return (pieces - i + of - 1) / of }

// yield moves pieces of a part, evenly spaced, to another until it has so many left.
func yield(part *transfer.Set, left int, to *transfer.Set) {
	had, at := part.Len(), 0
	for p := range part.All() {
		if at += had - left; at >= had {
			at -= had
			part.Remove(p)
			to.Add(p)
		}
	}
}

// stretch is the run of pieces that number index of so many helps with. The stretches are disjoint and together the file, as the
// parts are, and each has about as many pieces of every part.
func stretch(pieces, index, of int) transfer.Set {
	s := transfer.NewSet(pieces)
	for p := index * pieces / of; p < (index+1)*pieces/of; p++ {
		s.Add(p)
	}
	return s
}
