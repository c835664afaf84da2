package main

import (
	"iter"
	"strings"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// changes tells of what was done to shares, and calls done for each of it. What was not done is an error in the end, and so
// is what had to be put beside something that changed meanwhile.
func (e *env) changes(seq iter.Seq2[control.Change, error], done func(control.Change)) error {
	var last error // the failure that is not printed yet, since it may be the outcome as well
	beside := 0
	for c, err := range seq {
		if err != nil {
			if last != nil && last.Error() != err.Error() {
				e.Error(last)
			}
			return err
		}
		if e.JSON {
			if err := e.Object(c); err != nil {
				return err
			}
		}
		switch {
		case c.Error != nil:
			if last != nil {
				e.Error(last)
			}
			last = c.Error.Err()
			continue
		case c.Conflict:
			beside++
			e.Say("%s: it changed meanwhile and stays as it is; the other is beside it, as %s", c.Ref, c.To)
		}
		done(c)
	}
	if last != nil {
		return last
	}
	return conflicts(beside)
}

// detail tells the curious of a change.
func (e *env) detail(c control.Change) {
	switch to := c.To; {
	case to.IsZero() || to == c.Ref:
		e.Detail("%s: %s", c.Ref, c.Done)
	default:
		e.Detail("%s: %s to %s", c.Ref, c.Done, to)
	}
}

// who is what to call somebody who did something: their own word, which proves nothing, with the end of the ID, which does;
// or the owner, where there is neither.
func who(id, name string) string {
	switch {
	case id == "":
		return "the owner"
	case name == "":
		return shortID(id)
	}
	return name + " (" + shortID(id) + ")"
}

func shortID(id string) string { return id[max(0, len(id)-peer.ShortLen):] }

// shellWord is s as a shell reads it as one word, for a command that people are told to copy. Others chose the name of a
// file: one that does not print is not for copying.
func shellWord(s string) (string, bool) {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("/._-+@,:", r)
	}
	switch {
	case peer.Quote(s) != s:
		return "", false
	case strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 && s != "":
		return s, true
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'", true
}
