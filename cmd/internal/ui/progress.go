package ui

import (
	"fmt"
	"strings"
	"time"

	"github.com/peerd/peerd/peer"
)

// redrawEvery bounds how often a terminal is written to.
const redrawEvery = 100 * time.Millisecond

// Progress is one line at the bottom of a terminal that is drawn over and over. Elsewhere it draws nothing.
type Progress struct {
	t     *Terminal
	on    bool
	start time.Time
	drawn time.Time
}

// Progress begins a line.
func (t *Terminal) Progress() *Progress {
	return &Progress{t: t, on: t.errTTY && !t.Quiet && !t.JSON, start: t.now()}
}

// Set shows that done of total bytes are here. Those that already were, had, say nothing of the speed.
func (p *Progress) Set(done, had, total int64, what string) {
	now := p.t.now()
	if !p.on || now.Sub(p.drawn) < redrawEvery {
		return
	}
	p.drawn = now
	line := progressLine(done, had, total, now.Sub(p.start)) + "  " + peer.Quote(what)
	fmt.Fprintf(p.t.err, "\r\x1b[K%s", cutTo(line, p.t.columns()-1))
}

// Clear takes the line away, so that others can be written.
func (p *Progress) Clear() {
	if p.on && !p.drawn.IsZero() {
		fmt.Fprint(p.t.err, "\r\x1b[K")
		p.drawn = time.Time{}
	}
}

// Elapsed is the time since the beginning.
func (p *Progress) Elapsed() time.Duration { return p.t.now().Sub(p.start) }

// Rate is a speed for people.
func Rate(bytes int64, d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	return Size(int64(float64(bytes)/d.Seconds())) + "/s"
}

func progressLine(done, had, total int64, elapsed time.Duration) string {
	const cells = 20
	percent := int64(100)
	if total > 0 {
		percent = min(100, int64(float64(done)/float64(total)*100))
	}
	full := int(percent) * cells / 100
	line := fmt.Sprintf("%3d %% [%s%s] %s of %s  %s", percent, strings.Repeat("#", full), strings.Repeat(".", cells-full),
		Size(done), Size(total), Rate(done-had, elapsed))
	if fetched := done - had; fetched > 0 && total > done && elapsed > time.Second {
		left := time.Duration(float64(elapsed) * float64(total-done) / float64(fetched))
		line += fmt.Sprintf("  %s left", left.Round(time.Second))
	}
	return line
}

// cutTo shortens a text to so many columns.
func cutTo(s string, columns int) string {
	n := 0
	for i, r := range s {
		if n += columnsOf(string(r)); n > columns {
			return s[:i]
		}
	}
	return s
}
