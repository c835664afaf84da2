// Package guess estimates how many guesses find a password that somebody made up. A guesser who knows how people make them
// tries common words, names and passwords, with capitals and digits for letters, rows of keys, counting, repeating, years,
// and what is known of the place; the estimate is the product of the cheapest way to put the password together from those
// (after D. Wheeler, "zxcvbn: Low-Budget Password Strength Estimation", USENIX Security 2016).
//
// The list of words lies packed in the program and is unpacked as a stream for each estimate, a few milliseconds long:
// nothing of it costs a program that checks no password.
package guess

import (
	"math"
	"slices"
	"strings"
	"unicode"
)

// MaxLength is how many characters are looked at; the estimate of a longer password is that of its beginning.
const MaxLength = 72

// Pattern is what a part of a password is.
type Pattern uint8

// The patterns. None is a character that stands for itself.
const (
	None Pattern = iota
	Word
	Known
	Keys
	Repeat
	Count
	Year
	patterns
)

// String says it of a password.
func (p Pattern) String() string {
	return [patterns]string{
		None:   "it is too short for what it is made of",
		Word:   "it is built on a common word, name or password",
		Known:  "it is built on a name that others see",
		Keys:   "it is a row of keys",
		Repeat: "it repeats",
		Count:  "it counts",
		Year:   "it is built on a year",
	}[p]
}

// Estimate is how hard a password is to guess.
type Estimate struct {
	Guesses float64 // until it is found, at least 1
	Pattern Pattern // what most of it is, None if nothing is known of it
}

// Of estimates a password in Unicode normal form C. Words of the known texts are the first that are tried.
func Of(password string, known ...string) Estimate {
	t := newText(password)
	names := namesOf(known)
	for _, name := range names {
		find(t, []rune(name), float64(len(names)), Known)
	}
	words(func(word []byte, rank float64) { find(t, word, rank, Word) })
	t.findKeys()
	t.findCounts()
	t.findYears()
	t.findRepeats() // last, since what repeats may be any of the others
	guesses, pattern := t.cheapest(0, len(t.lower))
	return Estimate{guesses, pattern}
}

// namesOf are the texts, their words, and the texts written as one word, in lower case.
func namesOf(known []string) []string {
	var names []string
	for _, text := range known {
		text = strings.ToLower(text)
		parts := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		names = append(append(names, text, strings.Join(parts, "")), parts...)
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(s string) bool { return len(s) < 2 })
}

// text is a password and what was found in it.
type text struct {
	lower []rune
	upper []bool
	leet  []uint32  // of each character, which of the letters a to z it may stand for
	from  [][]piece // what was found, by where it begins
}

// piece is a part of a text that ends before to.
type piece struct {
	to      int
	guesses float64
	pattern Pattern
}

func newText(password string) *text {
	runes := []rune(password)
	runes = runes[:min(len(runes), MaxLength)]
	t := &text{from: make([][]piece, len(runes))}
	for _, r := range runes {
		lower := unicode.ToLower(r)
		t.lower = append(t.lower, lower)
		t.upper = append(t.upper, lower != r)
		t.leet = append(t.leet, leet(lower))
	}
	return t
}

func (t *text) add(from, to int, guesses float64, p Pattern) {
	t.from[from] = append(t.from[from], piece{to, guesses, p})
}

// cheapest puts the characters from i up to j together at the least price, and says which pattern covers most of them.
func (t *text) cheapest(i, j int) (guesses float64, most Pattern) {
	type step struct {
		guesses float64 // for all up to here
		back    int     // where the last piece began
		pattern Pattern // of the last piece
	}
	steps := make([]step, j-i+1)
	for k := range steps {
		steps[k].guesses = math.Inf(1)
	}
	steps[0].guesses = 1
	for k := i; k < j; k++ {
		here := steps[k-i].guesses
		take := func(p piece) {
			if p.to <= j && here*p.guesses < steps[p.to-i].guesses {
				steps[p.to-i] = step{here * p.guesses, k, p.pattern}
			}
		}
		take(piece{k + 1, t.price(k), None})
		for _, p := range t.from[k] {
			take(p)
		}
	}
	var covered [patterns]int
	for k := j; k > i; k = steps[k-i].back {
		covered[steps[k-i].pattern] += k - steps[k-i].back
	}
	for p := Word; p < patterns; p++ {
		if covered[p] > covered[most] || most == None && covered[p] > 0 {
			most = p
		}
	}
	return steps[j-i].guesses, most
}

// The prices of characters that are no part of a pattern: far below what a random one costs, since a guesser may know
// more patterns than we do.
const (
	priceSeparator = 2
	priceOther     = 10
	priceNext      = 5 // in a row of more than three of a kind: words of other languages, numbers of telephones
)

func (t *text) price(i int) float64 {
	kind := t.kind(i)
	switch {
	case kind == separator:
		return priceSeparator
	case kind != other && i >= 3 && t.kind(i-1) == kind && t.kind(i-2) == kind && t.kind(i-3) == kind:
		return priceNext
	}
	return priceOther
}

const (
	other = iota
	separator
	digit
	small
	capital
)

func (t *text) kind(i int) int {
	switch r := t.lower[i]; {
	case strings.ContainsRune(" -_.,", r):
		return separator
	case unicode.IsDigit(r):
		return digit
	case t.upper[i]:
		return capital
	case unicode.IsLower(r):
		return small
	}
	return other // also letters of scripts without case, which have many
}
