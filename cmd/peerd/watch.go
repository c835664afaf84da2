package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/cmd/internal/ui"
	"github.com/peerd/peerd/peer/control"
)

func newWatch(e *env) *cli.Command {
	return &cli.Command{
		Name:      "watch",
		Usage:     "show what changes in shares",
		UsageText: "peerd watch [//PEER[/SHARE[/PATH]]]",
		Description: `Shows what is created, changed, removed and moved below a place as it happens, a line each, until it is stopped: when,
what, where, how large it is now, and who did it; "the owner" also stands for programs on the owner's computer. If
some of it was missed, after a cut of the network, it says so: list the place again then. It takes the right to read.

Examples:
  peerd watch //anna/docs
  peerd watch --json //anna/docs | jq -r .entry.ref`,
		Action: func(c *cli.Context) error {
			if _, err := arguments(c, 0, 1); err != nil {
				return err
			}
			ref, err := refArgument(c, 0)
			if err != nil {
				return err
			}
			return runWatch(c.Context, e, ref)
		},
	}
}

func runWatch(ctx context.Context, e *env, ref control.Ref) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	for x, err := range d.WatchFiles(ctx, ref) {
		switch {
		case ctx.Err() != nil:
			return nil // stopping it is how it ends
		case err != nil:
			return err
		}
		if err := e.answer(x, func() { printFileEvent(e, ref, x) }); err != nil {
			return err
		}
		if err := e.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func printFileEvent(e *env, ref control.Ref, x control.FileEvent) {
	switch x.Event {
	case control.FileWatching:
		e.Detail("%s: from here on nothing is missed", ref)
		return
	case control.FileGap:
		at := x.Entry.Ref
		if at.IsZero() {
			at = ref
		}
		e.Note("%s: some changes were missed; what was listed before holds no more", at)
		return
	}
	name, size := x.Entry.Ref.String(), "-"
	if x.Entry.Kind == control.KindDir {
		name += "/"
	}
	if x.Event == control.FileMoved {
		name = x.From.String() + " -> " + name
	}
	if x.Entry.Kind == control.KindFile && x.Event != control.FileRemoved {
		size = ui.Size(x.Entry.Size)
	}
	e.Printf("%s  %-7s  %10s  %s  by %s", ui.Clock(x.Time.Time), x.Event, size, name, who(x.Peer, x.Name))
}
