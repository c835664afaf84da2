// Package ui is how commands talk to people and to programs.
//
// Answers go to the standard output, everything else to the standard error, where a line of ours starts with "peerd: ".
// Text that others chose is escaped before it reaches a terminal. Passwords are asked for without echo, on the standard
// input, and only if that is a terminal: a script never hangs in a prompt that nobody sees.
package ui

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf16"

	"golang.org/x/term"

	"github.com/peerd/peerd/peer"
)

// Terminal is where one command reads and writes. It is for one goroutine.
type Terminal struct {
	JSON    bool // answers are JSON, one object a line
	Quiet   bool // nothing but answers and errors
	Verbose bool // more than that

	in      *os.File
	lines   *bufio.Reader // of in, made when first needed
	out     *bufio.Writer
	err     io.Writer
	outTTY  bool
	errTTY  bool
	columns func() int // of the standard error
	now     func() time.Time
}

// New makes a Terminal of a process's standard files.
func New(in, out, err *os.File) *Terminal {
	return &Terminal{
		in: in, out: bufio.NewWriterSize(out, 64<<10), err: err,
		outTTY: isTerminal(out), errTTY: isTerminal(err), now: time.Now,
		columns: func() int {
			if n, _, e := term.GetSize(int(err.Fd())); e == nil && n > 0 {
				return n
			}
			return 80
		},
	}
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// Println prints one line of an answer, escaped.
func (t *Terminal) Println(line string) {
	// The first error of a bufio.Writer stays; Flush tells of it.
	_, _ = t.out.WriteString(peer.Quote(line) + "\n")
	if t.outTTY {
		_ = t.out.Flush()
	}
}

// Printf prints one line of an answer, escaped.
func (t *Terminal) Printf(format string, args ...any) { t.Println(fmt.Sprintf(format, args...)) }

// Text prints several lines of the program's own words as they are.
func (t *Terminal) Text(s string) { _, _ = t.out.WriteString(s) }

// Object prints an answer as one line of JSON. Characters that do not show, or that a terminal could obey, are written as \u escapes, which
// mean the same to every reader of JSON.
func (t *Terminal) Object(v any) error {
	var text strings.Builder
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	for _, r := range text.String() {
		if r != '\n' && !peer.Printable(r) {
			for _, unit := range utf16.Encode([]rune{r}) { // JSON knows no other way beyond the first 65,536
				fmt.Fprintf(t.out, `\u%04x`, unit)
			}
			continue
		}
		_, _ = t.out.WriteRune(r)
	}
	if t.outTTY {
		return t.out.Flush()
	}
	return nil
}

// Raw is the standard output itself, for the bytes of a file.
func (t *Terminal) Raw() io.Writer { return t.out }

// Flush writes out what was printed; it is the one place where errors of printing are seen.
func (t *Terminal) Flush() error {
	if err := t.out.Flush(); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	return nil
}

// Note tells something that is no answer, unless the user wants quiet.
func (t *Terminal) Note(format string, args ...any) {
	if !t.Quiet {
		t.warn(fmt.Sprintf(format, args...))
	}
}

// Hint tells what may be done next to somebody who sits at a terminal and did not ask for less or for JSON.
func (t *Terminal) Hint(format string, args ...any) {
	if t.errTTY && !t.JSON {
		t.Note(format, args...)
	}
}

// Say tells something that is no answer, even to who wants quiet.
func (t *Terminal) Say(format string, args ...any) { t.warn(fmt.Sprintf(format, args...)) }

// Detail tells something that only the curious want to know.
func (t *Terminal) Detail(format string, args ...any) {
	if t.Verbose {
		t.warn(fmt.Sprintf(format, args...))
	}
}

// Error tells of an error.
func (t *Terminal) Error(err error) { t.warn(err.Error()) }

func (t *Terminal) warn(line string) {
	_ = t.out.Flush()
	fmt.Fprintf(t.err, "peerd: %s\n", peer.Quote(line))
}

// Interactive reports whether there is somebody to ask.
func (t *Terminal) Interactive() bool { return isTerminal(t.in) }
