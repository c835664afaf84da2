package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/peer/control"
)

func newWhoami(e *env) *cli.Command {
	return &cli.Command{
		Name:      "whoami",
		Usage:     "show the right held in a share",
		UsageText: "peerd whoami //PEER/SHARE",
		Description: `Asks the owner of a share for the right that this peer holds in it: none, read or full, and by what: it is open, or a
password was given, or the owner allows this device.

Examples:
  peerd whoami //anna/safe`,
		Action: func(c *cli.Context) error {
			ref, err := shareArgument(c)
			if err != nil {
				return err
			}
			return runWhoami(c.Context, e, ref)
		},
	}
}

func runWhoami(ctx context.Context, e *env, ref control.Ref) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	l, err := d.Whoami(ctx, ref)
	if err != nil {
		return err
	}
	return e.answer(l, func() { printLogin(e, l) })
}
