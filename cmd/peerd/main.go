// Command peerd shares folders with the other computers of the local network, and uses theirs.
//
// Without a command, or with run, it is the daemon. Every other command asks the daemon over its control socket, prints
// the answer and holds no logic of its own.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/peerd/peerd/cmd/internal/ui"
	"github.com/peerd/peerd/peer"
)

// interrupted is the exit status of a command that a signal ended: 128 and the number of SIGINT, as shells have it.
const interrupted = 130

func main() {
	os.Exit(run(&env{Terminal: ui.New(os.Stdin, os.Stdout, os.Stderr), getenv: os.Getenv, unhurried: unhurried}, os.Args))
}

// run runs a command and gives the exit status.
func run(e *env, args []string) int {
	app := newApp(e)
	arranged := arrange(app, args[1:])
	if e.unhurried != nil && runs(arranged) {
		e.unhurried() // before signals are caught: one that was would be forgotten
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal ends the process at once

	err := app.RunContext(ctx, append(args[:1:1], arranged...))
	if flushErr := e.Flush(); err == nil {
		err = flushErr
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return interrupted
	}
	return e.exit(err)
}

// runs reports whether an arranged line starts the daemon, or has an option of which "run" is the value, which does no harm.
func runs(arranged []string) bool {
	run, end := slices.Index(arranged, "run"), slices.Index(arranged, "--")
	return run >= 0 && run < end
}

// exit tells of an error and gives the exit status.
func (e *env) exit(err error) int {
	if err == nil {
		return 0
	}
	if child, ok := errors.AsType[childStatus](err); ok {
		return int(child)
	}
	e.Error(err)
	return peer.KindOf(err).ExitStatus()
}
