package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/cmd/internal/ui"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

func newLock(e *env) *cli.Command {
	return &cli.Command{
		Name:      "lock",
		Usage:     "tell others that a file is being worked on",
		UsageText: "peerd lock //PEER/SHARE/PATH [-- COMMAND ARGUMENTS...]",
		Description: `Shows all who look at a file with "ls -l" or "stat" that this peer works on it, while COMMAND runs, or until it is stopped.
It forbids nobody anything, and ends by itself when this computer goes away. If somebody else works on the file already, it
says so. It takes the full right. The exit status is that of COMMAND, and 128 and the signal's number if a signal
ended it.

Examples:
  peerd lock //anna/docs/plan.odt
  peerd lock //anna/docs/todo.txt -- sh -c 'peerd cp -f //anna/docs/todo.txt . && vi todo.txt && peerd cp -f todo.txt //anna/docs/'`,
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 1, -1)
			if err != nil {
				return err
			}
			refs, err := fileArguments(c, 0, 1)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return runLock(c.Context, e, refs[0])
			}
			program, err := exec.LookPath(args[1])
			if err != nil {
				return &peer.Error{Path: args[1], Op: "lock", Kind: peer.NotFound, Err: errors.New("no such command")}
			}
			command := exec.Command(program, args[2:]...)
			command.Args[0] = args[1]
			command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
			return runLocked(c.Context, e, refs[0], command)
		},
	}
}

// runLock holds a lock until ctx ends.
func runLock(ctx context.Context, e *env, ref control.Ref) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	held := false
	for l, err := range d.Lock(ctx, ref) {
		switch {
		case ctx.Err() != nil:
			return nil // stopping it is how it ends
		case err != nil:
			return err
		}
		err := e.answer(l, func() {
			if held {
				noteOther(e, ref, l)
			} else {
				e.Note("%s: it shows that you work on it, until this is stopped", ref)
			}
		})
		held = true
		if err != nil {
			return err
		}
		if err := e.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// childStatus is the exit status of a command that ours ran. Whatever was to be said about it, the command said.
type childStatus int

func (s childStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// runLocked runs a command under a lock. Once it runs, signals are the command's business: the terminal sends it those of
// the keyboard, and SIGTERM is passed on.
func runLocked(ctx context.Context, e *env, ref control.Ref, command *exec.Cmd) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	holding, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	giveUp := context.AfterFunc(ctx, release)
	locks := hold(holding, d, ref)
	first, ok := <-locks
	switch {
	case !giveUp():
		return ctx.Err()
	case !ok:
		return &peer.Error{Path: ref.String(), Op: "lock", Kind: peer.Other}
	case first.err != nil:
		return first.err
	}
	if err := command.Start(); err != nil {
		return &peer.Error{Path: command.Args[0], Op: "lock", Kind: peer.KindOf(err), Err: err}
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	for {
		select {
		case err := <-ended:
			return statusOf(err)
		case s := <-signals:
			if s == syscall.SIGTERM {
				_ = command.Process.Signal(s) // it may be gone already
			}
		case l, ok := <-locks:
			switch {
			case !ok:
				locks = nil
				e.Say("%s: it no longer shows that you work on it", ref)
			case l.err != nil:
				e.Say("the lock is lost: %v", l.err)
			default:
				noteOther(e, ref, l.FileLock)
			}
		}
	}
}

// lockOrError is what a sequence of locks yields.
type lockOrError struct {
	control.FileLock
	err error
}

// hold holds a lock until ctx ends, and gives what is told meanwhile.
func hold(ctx context.Context, d control.Backend, ref control.Ref) <-chan lockOrError {
	out := make(chan lockOrError)
	go func() {
		defer close(out)
		for l, err := range d.Lock(ctx, ref) {
			select {
			case out <- lockOrError{l, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// statusOf is nil or the childStatus of a command that ended.
func statusOf(err error) error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return err
	}
	if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return childStatus(128 + int(s.Signal()))
	}
	return childStatus(exit.ExitCode())
}

func noteOther(e *env, ref control.Ref, l control.FileLock) {
	e.Note("%s: it is open by %s, too", ref, lockText(&l))
}

// lockText says who works on a file since when.
func lockText(l *control.FileLock) string {
	return fmt.Sprintf("%s since %s", who(l.Peer, l.Name), ui.Time(l.Since.Time))
}
