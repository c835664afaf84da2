package ui

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/width"

	"github.com/peerd/peerd/peer"
)

// Size is a number of bytes for people, in powers of 1024.
func Size(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, units := float64(n), "KMGTPE"
	for f /= 1024; f >= 1023.95 && len(units) > 1; f /= 1024 {
		units = units[1:]
	}
	return fmt.Sprintf("%.1f %ciB", f, units[0])
}

// Time is a moment for people, in their own time zone.
func Time(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04")
}

// Plural gives "1 share", "2 shares".
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Table prints rows in columns. Cells are escaped first, so that they are as wide as they will look.
func (t *Terminal) Table(rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			row[i] = peer.Quote(cell)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], columnsOf(row[i]))
		}
	}
	for _, row := range rows {
		t.Row(widths, row)
	}
}

// Row prints one row of a table that is not known as a whole, in columns that are as wide as widths say or wider.
func (t *Terminal) Row(widths []int, cells []string) {
	var line strings.Builder
	for i, cell := range cells {
		cell = peer.Quote(cell)
		line.WriteString(cell)
		if i < len(widths) {
			line.WriteString(strings.Repeat(" ", max(0, widths[i]-columnsOf(cell))+2))
		}
	}
	t.Println(strings.TrimRight(line.String(), " "))
}

// Clock is a moment to the second for people, in their own time zone.
func Clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

// columnsOf is how many columns of a terminal a text takes, by Unicode Standard Annex 11.
func columnsOf(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me):
		case isWide(r):
			n += 2
		default:
			n++
		}
	}
	return n
}

func isWide(r rune) bool {
	k := width.LookupRune(r).Kind()
	return k == width.EastAsianWide || k == width.EastAsianFullwidth
}
