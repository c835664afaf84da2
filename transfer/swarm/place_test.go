package swarm

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/peerd/peerd/transfer"
)

// TestOwnPart: parts are disjoint, alike in size, and together the file; and when one more comes, none gains a piece but its.
// Stretches are disjoint, and together the file.
func TestOwnPart(t *testing.T) {
	for _, pieces := range []int{2, 511, 512, 4096} {
		before := []transfer.Set{}
		for of := 1; of <= 40; of++ {
			var parts []transfer.Set
			all, helped := transfer.NewSet(pieces), transfer.NewSet(pieces)
			least, most := pieces, 0
			for i := range of {
				p := ownPart(pieces, i, of)
				for piece := range p.All() {
					if !all.Add(piece) {
						t.Fatalf("piece %d of %d is in two parts of %d", piece, pieces, of)
					}
					if i < len(before) && !before[i].Has(piece) {
						t.Fatalf("%d came, and part %d has piece %d", of-1, i, piece)
					}
				}
				least, most = min(least, p.Len()), max(most, p.Len())
				parts = append(parts, p)
				s := stretch(pieces, i, of)
				for piece := range s.All() {
					if !helped.Add(piece) {
						t.Fatalf("piece %d of %d is in two stretches of %d", piece, pieces, of)
					}
				}
			}
			if !helped.Full() {
				t.Fatalf("%d stretches have %d of %d pieces", of, helped.Len(), pieces)
			}
			if !all.Full() {
				t.Fatalf("%d parts have %d of %d pieces", of, all.Len(), pieces)
			}
			if most-least > 1 {
				t.Errorf("%d parts of %d pieces have %d to %d", of, pieces, least, most)
			}
			before = parts
		}
	}
}

func TestOwnPartVectors(t *testing.T) {
	var vectors struct {
		Files []struct {
			Pieces int
			Parts  [][]int
		}
	}
	b, err := os.ReadFile("../../docs/vectors/parts.json")
	if err == nil {
		err = json.Unmarshal(b, &vectors)
	}
	if err != nil || len(vectors.Files) == 0 {
		t.Fatal(err)
	}
	for _, f := range vectors.Files {
		for i, want := range f.Parts {
			part := ownPart(f.Pieces, i, len(f.Parts))
			if got := slices.Collect(part.All()); !slices.Equal(got, want) {
				t.Errorf("part %d of %d of %d pieces: %v, want %v", i, len(f.Parts), f.Pieces, got, want)
			}
		}
	}
}
