package guess

import (
	"bufio"
	"compress/flate"
	_ "embed" // the list
	"strings"
)

// packed is the list of words, in deflate (RFC 1951). One line holds the words of ranks 2^n to 2^(n+1)-1, n from 0, in
// alphabetical order; each begins with a capital that says how many letters it shares with the one before it, A for none.
// The list and its licence: words.txt.
//
//go:embed words.flate
var packed string

// words calls with every word of the list, which is overwritten afterwards, and its rank: how many are tried before it.
func words(call func(word []byte, rank float64)) {
	r := bufio.NewReader(flate.NewReader(strings.NewReader(packed)))
	var word []byte
	rank := 1.0
	for {
		c, err := r.ReadByte()
		end := err != nil || c == '\n'
		if (end || c >= 'A' && c <= 'Z') && len(word) > 0 {
			call(word, rank)
		}
		switch {
		case err != nil:
			return // the end: a test has read the list
		case end:
			word = word[:0]
			rank *= 2
		case c >= 'A' && c <= 'Z':
			word = word[:c-'A']
		default:
			word = append(word, c)
		}
	}
}
