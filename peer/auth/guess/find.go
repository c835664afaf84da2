package guess

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// leet gives the letters that a character may stand for: by its look, or without its accent.
func leet(r rune) uint32 {
	letters := ""
	switch r {
	case '@', '4':
		letters = "a"
	case '8':
		letters = "b"
	case '(', '[', '{', '<':
		letters = "c"
	case '3', '€':
		letters = "e"
	case '6', '9':
		letters = "g"
	case '1', '!', '|':
		letters = "il"
	case '0':
		letters = "o"
	case '$', '5', 'ß':
		letters = "s"
	case '7':
		letters = "tl"
	case '+':
		letters = "t"
	case '%':
		letters = "x"
	case '2':
		letters = "z"
	default:
		if r >= 0x80 {
			letters = norm.NFKD.String(string(r))[:1]
		}
	}
	var set uint32
	for _, l := range letters {
		if l >= 'a' && l <= 'z' {
			set |= 1 << (l - 'a')
		}
	}
	return set
}

// find adds every place where a word stands, forward or backward, which costs its rank and twice that.
func find[C byte | rune](t *text, word []C, rank float64, p Pattern) {
	for i := range len(t.lower) - len(word) + 1 {
		if changed, ok := spells(t, i, word, false); ok {
			t.add(i, i+len(word), rank*t.variations(i, i+len(word), changed), p)
		}
		if changed, ok := spells(t, i, word, true); ok {
			t.add(i, i+len(word), 2*rank*t.variations(i, i+len(word), changed), p)
		}
	}
}

// spells reports whether a word stands at i, and how many of its letters are written as something else.
func spells[C byte | rune](t *text, i int, word []C, backward bool) (changed int, ok bool) {
	for k := range word {
		c := rune(word[k])
		if backward {
			c = rune(word[len(word)-1-k])
		}
		switch {
		case t.lower[i+k] == c:
		case c >= 'a' && c <= 'z' && t.leet[i+k]>>(c-'a')&1 == 1:
			changed++
		default:
			return 0, false
		}
	}
	return changed, true
}

// variations are the ways to write a word that are tried before this one: capitals, and other characters for letters.
func (t *text) variations(i, j, changed int) float64 {
	length, capitals := float64(j-i), 0.0
	for _, upper := range t.upper[i:j] {
		if upper {
			capitals++
		}
	}
	cases := 1.0
	switch {
	case capitals == 0:
	case capitals == length, capitals == 1 && t.upper[i]:
		cases = 2
	default:
		cases = min(math.Pow(length, min(capitals, length-capitals)), math.Exp2(length))
	}
	return cases * math.Exp2(float64(changed))
}

// findKeys adds rows of keys that lie side by side, as "qwert" and "1qaz".
func (t *text) findKeys() {
	const keys, ways = 47, 5 // to begin, and to go on
	for i := range t.lower {
		type direction struct{ x, y int }
		var last direction
		guesses := float64(keys)
		for j := i + 1; j < len(t.lower); j++ {
			x0, y0, ok0 := keyOf(t.lower[j-1])
			x1, y1, ok1 := keyOf(t.lower[j])
			way := direction{x1 - x0, y1 - y0}
			if !ok0 || !ok1 || way == (direction{}) || max(way.x, -way.x, way.y, -way.y) > 1 {
				break
			}
			if way != last {
				guesses *= ways
				last = way
			}
			if length := j + 1 - i; length >= 3 {
				t.add(i, j+1, guesses*float64(length), Keys)
			}
		}
	}
}

// keyOf is where a character lies on an English keyboard.
func keyOf(r rune) (x, y int, ok bool) {
	if i := strings.IndexRune("~!@#$%^&*()_+{}|:\"<>?", r); i >= 0 {
		r = rune("`1234567890-=[]\\;',./"[i])
	}
	for y, row := range []string{"`1234567890-=", "\x00qwertyuiop[]\\", "\x00asdfghjkl;'", "\x00zxcvbnm,./"} {
		if x := strings.IndexRune(row, r); x >= 0 {
			return x, y, true
		}
	}
	return 0, 0, false
}

// findCounts adds "abc", "13579", "cba".
func (t *text) findCounts() {
	for i := range t.lower {
		for j := i + 2; j < len(t.lower); j++ {
			step := t.lower[i+1] - t.lower[i]
			if t.lower[j]-t.lower[j-1] != step || step == 0 || step < -2 || step > 2 {
				break
			}
			guesses := 26.0
			switch r := t.lower[i]; {
			case strings.ContainsRune("az019", r):
				guesses = 4
			case r >= '0' && r <= '9':
				guesses = 10
			}
			if step != 1 {
				guesses *= 2
			}
			t.add(i, j+1, guesses*float64(j+1-i), Count)
		}
	}
}

// findYears adds the years from 1900 to 2049.
func (t *text) findYears() {
	for i := range len(t.lower) - 3 {
		if year, err := strconv.Atoi(string(t.lower[i : i+4])); err == nil && year >= 1900 && year < 2050 {
			t.add(i, i+4, 150, Year)
		}
	}
}

// findRepeats adds what is repeated, at the price of the part times how often it stands there. From the end, shortest
// first, so that a part may hold repeats itself.
func (t *text) findRepeats() {
	for i := len(t.lower) - 1; i >= 0; i-- {
		for n := 1; i+2*n <= len(t.lower); n++ {
			part := t.lower[i : i+n]
			if !slices.Equal(part, t.lower[i+n:i+2*n]) {
				continue
			}
			guesses, _ := t.cheapest(i, i+n)
			for k := 2; i+k*n <= len(t.lower) && slices.Equal(part, t.lower[i+(k-1)*n:i+k*n]); k++ {
				t.add(i, i+k*n, guesses*float64(k), Repeat)
			}
		}
	}
}
