package main

import (
	"fmt"
	"strings"
)

// didYouMean begins a hint with what may have been meant by a word, if something is near.
func didYouMean(word string, choices []string, hint string) string {
	best, least := "", 0
	for _, c := range choices {
		d := distance(word, c)
		if len(word) > 2 && strings.HasPrefix(strings.TrimLeft(c, "-"), strings.TrimLeft(word, "-")) {
			d = 1
		}
		if (best == "" || d < least) && 3*d < max(len(word), 4) {
			best, least = c, d
		}
	}
	if best == "" {
		return hint
	}
	return fmt.Sprintf("did you mean %s? %s", best, hint)
}

// distance is how many letters have to be changed, put in, left out or exchanged with the next to make b of a.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		for j := range rows[i] {
			switch {
			case i == 0 || j == 0:
				rows[i][j] = i + j
				continue
			case a[i-1] == b[j-1]:
				rows[i][j] = rows[i-1][j-1]
			default:
				rows[i][j] = 1 + min(rows[i-1][j], rows[i][j-1], rows[i-1][j-1])
			}
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
