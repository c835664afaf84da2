package peer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// Kind is what to do about an error. The set is closed: exit status, wire code, HTTP status and errno are each made from
// it by one table.
type Kind uint8

// The kinds. Their numbers are wire codes and never change.
const (
	Other       Kind = 0  // it failed; Err says why
	Usage       Kind = 2  // the caller's words are off
	NotFound    Kind = 3  // no such peer, share or path
	Denied      Kind = 4  // no or wrong password, right too low, revoked
	Unreachable Kind = 5  // the peer does not answer
	Conflict    Kind = 6  // it changed meanwhile, or stands in the way
	NotRunning  Kind = 7  // the daemon does not run
	Integrity   Kind = 8  // no source could give the true bytes
	Busy        Kind = 9  // a limit was reached: later again
	Full        Kind = 10 // no room is left: on the disk, in a quota, or for what must be kept
)

var kindText = [...]string{
	Other: "failed", Usage: "wrong use", NotFound: "not found", Denied: "not permitted", Unreachable: "unreachable",
	Conflict: "conflict", NotRunning: "not running", Integrity: "integrity failure", Busy: "busy",
	Full: "disk full",
}

func (k Kind) String() string {
	if int(k) < len(kindText) && kindText[k] != "" {
		return kindText[k]
	}
	return "failed"
}

// ExitStatus is the table from kinds to the exit status of a command: 0 done, 1 failed, and the kinds' own numbers.
func (k Kind) ExitStatus() int {
	switch k {
	case Usage, NotFound, Denied, Unreachable, Conflict, NotRunning, Integrity:
		return int(k)
	}
	return 1
}

// ParseKind reads a kind from the wire; what is not known is Other.
func ParseKind(n uint32) Kind {
	if n < uint32(len(kindText)) && kindText[n] != "" {
		return Kind(n)
	}
	return Other
}

// Error is a failed operation, on what, of which kind, and what to do next.
type Error struct {
	Op   string // e.g. "open", or "" when the path says enough
	Path string // e.g. "//anna/docs/plan.pdf"
	Kind Kind
	Err  error  // the cause, or nil
	Hint string // what to do next, e.g. `run "peerd login //anna/docs"`
}

func (e *Error) Error() string {
	var parts []string
	if e.Path != "" {
		parts = append(parts, Quote(e.Path))
	}
	if e.Op != "" {
		parts = append(parts, e.Op)
	}
	if e.Err != nil {
		if e.Kind == Denied || e.Kind == NotFound {
			parts = append(parts, e.Kind.String())
		}
		parts = append(parts, e.Err.Error())
	} else {
		parts = append(parts, e.Kind.String())
	}
	s := strings.Join(parts, ": ")
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf is the kind of the outermost Error in err's chain, and otherwise what the standard errors mean.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case err == nil:
		return Other
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, fs.ErrNotExist):
		return NotFound
	case errors.Is(err, fs.ErrPermission):
		return Denied
	case errors.Is(err, fs.ErrExist):
		return Conflict
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EHOSTUNREACH):
		return Unreachable
	}
	return Other
}
