package guess

import (
	"bytes"
	"compress/flate"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var lists = flag.String("lists", "", "make words.flate anew from the lists in this folder, see words.txt")

const (
	wordCount = 40_000
	maxPacked = 100_000 // bytes
	maxWord   = 24
)

func TestWords(t *testing.T) {
	if *lists != "" {
		sorted, ranks := rankedWords(t, *lists)
		if err := os.WriteFile("words.flate", pack(t, sorted, ranks), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Skip("words.flate is new; test again")
	}
	seen := make(map[string]float64)
	last := 0.0
	words(func(word []byte, rank float64) {
		if len(word) > maxWord || !plain(string(word)) || seen[string(word)] != 0 || rank < last {
			t.Errorf("%q of rank %g after %g", word, rank, last)
		}
		seen[string(word)], last = rank, rank
	})
	if len(seen) != wordCount || len(packed) > maxPacked {
		t.Errorf("%d words in %d bytes", len(seen), len(packed))
	}
	for word, rank := range map[string]float64{"password": 2, "123456": 0, "qwerty": 4, "michael": 1 << 2, "summer": 1 << 6, "staple": 1 << 13} {
		if seen[word] != rank {
			t.Errorf("%s has rank %g, want %g", word, seen[word], rank)
		}
	}
}

// rankedWords gives the words by how common they are, with the rank of the list where they stand highest.
func rankedWords(t *testing.T, dir string) (sorted []string, ranks map[string]int) {
	t.Helper()
	ranks = make(map[string]int)
	for _, list := range []string{"passwords", "us_tv_and_film", "english_wikipedia", "female_names", "male_names", "surnames"} {
		b, err := os.ReadFile(filepath.Join(dir, list+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		rank := 0
		for line := range strings.Lines(string(b)) {
			rank++
			word := strings.ToLower(strings.Fields(line)[0])
			if old, ok := ranks[word]; (!ok || rank < old) && plain(word) {
				ranks[word] = rank
			}
		}
	}
	sorted = slices.DeleteFunc(slices.Collect(maps.Keys(ranks)), func(word string) bool { return !worthwhile(ranks, word) })
	slices.SortFunc(sorted, func(a, b string) int {
		if ranks[a] != ranks[b] {
			return ranks[a] - ranks[b]
		}
		return strings.Compare(a, b)
	})
	return sorted[:wordCount], ranks
}

func plain(word string) bool {
	return strings.Trim(word, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// worthwhile is false for what is found as soon without the list: a word so rare that its letters are tried before it, one
// that only repeats a letter, and one with digits behind a commoner word.
func worthwhile(ranks map[string]int, word string) bool {
	rank := float64(ranks[word])
	stem := strings.TrimRight(word, "0123456789")
	switch {
	case len(word) < 2, len(word) > maxWord, rank >= math.Pow10(len(word)), strings.Trim(word, word[:1]) == "", stem == "":
		return false
	case stem != word && ranks[stem] > 0:
		return rank < float64(ranks[stem])*math.Pow10(len(word)-len(stem))
	}
	return true
}

func pack(t *testing.T, sorted []string, ranks map[string]int) []byte {
	t.Helper()
	bands := make([][]string, 32)
	for _, word := range sorted {
		band := bits.Len(uint(ranks[word])) - 1
		bands[band] = append(bands[band], word)
	}
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	for _, band := range bands {
		slices.Sort(band)
		last := ""
		for _, word := range band {
			same := 0
			for same < min(len(last), len(word)) && last[same] == word[same] {
				same++
			}
			fmt.Fprintf(w, "%c%s", 'A'+same, word[same:])
			last = word
		}
		fmt.Fprintln(w)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
