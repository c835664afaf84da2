package ui

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/peerd/peerd/peer"
)

// maxLine is the longest line that is read as a password or an answer, in bytes.
const maxLine = 4096

// Ask asks for a line. An empty one gives fallback.
func (t *Terminal) Ask(ctx context.Context, question, fallback string) (string, error) {
	if !t.Interactive() {
		return "", noTerminal()
	}
	fmt.Fprint(t.err, peer.Quote(question)+" ")
	if t.lines == nil {
		t.lines = bufio.NewReaderSize(t.in, maxLine)
	}
	line, err := await(ctx, func() (string, error) { return t.lines.ReadString('\n') })
	switch line = strings.TrimSpace(line); {
	case err != nil && line == "":
		return "", fmt.Errorf("read the answer: %w", err)
	case line == "":
		return fallback, nil
	}
	return line, nil
}

// Choose asks until the answer is one of choices; the first is what an empty answer means.
func (t *Terminal) Choose(ctx context.Context, question string, choices ...string) (string, error) {
	for {
		answer, err := t.Ask(ctx, fmt.Sprintf("%s [%s]", question, strings.Join(choices, "/")), choices[0])
		if err != nil {
			return "", err
		}
		for _, c := range choices {
			if strings.HasPrefix(c, strings.ToLower(answer)) {
				return c, nil
			}
		}
	}
}

// Password asks for a password without echo.
func (t *Terminal) Password(ctx context.Context, question string) (string, error) {
	if !t.Interactive() {
		return "", noTerminal()
	}
	fd := int(t.in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("ask for a password: %w", err)
	}
	fmt.Fprint(t.err, peer.Quote(question)+" ")
	text, err := await(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	if ctx.Err() != nil {
		err = errors.Join(err, term.Restore(fd, before)) // the reader still sits there, with the echo off
	}
	fmt.Fprintln(t.err)
	if err != nil {
		return "", fmt.Errorf("ask for a password: %w", err)
	}
	return string(text), nil
}

// NewPassword asks twice, until both are the same. An empty answer is given back at once.
func (t *Terminal) NewPassword(ctx context.Context, question string) (string, error) {
	for {
		first, err := t.Password(ctx, question)
		if err != nil || first == "" {
			return "", err
		}
		again, err := t.Password(ctx, "The same once more:")
		if err != nil || first == again {
			return first, err
		}
		t.Error(errors.New("these were not the same"))
	}
}

// PasswordFile reads the first line of a file, or of the standard input if path is "-".
func (t *Terminal) PasswordFile(path string) (string, error) {
	f := t.in
	if path != "-" {
		var err error
		if f, err = os.Open(path); err != nil {
			if e, ok := errors.AsType[*fs.PathError](err); ok {
				err = e.Err // the rest is said by ours
			}
			return "", &peer.Error{Op: "read the password", Path: path, Kind: peer.KindOf(err), Err: err}
		}
		defer f.Close()
	}
	line, err := bufio.NewReader(io.LimitReader(f, maxLine+1)).ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	switch {
	case err != nil && err != io.EOF:
		return "", &peer.Error{Op: "read the password", Path: path, Kind: peer.KindOf(err), Err: err}
	case len(line) > maxLine:
		return "", &peer.Error{Op: "read the password", Path: path, Kind: peer.Usage, Err: fmt.Errorf("its first line is longer than %d bytes", maxLine)}
	case line == "":
		return "", &peer.Error{Op: "read the password", Path: path, Kind: peer.Usage, Err: errors.New("its first line is empty")}
	}
	return line, nil
}

func noTerminal() error {
	return &peer.Error{Op: "read the password", Kind: peer.Usage, Err: errors.New("the standard input is no terminal"),
		Hint: "give the password with --password-file FILE"}
}

// await runs f, which can't be stopped, and leaves it behind if ctx ends first.
func await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
