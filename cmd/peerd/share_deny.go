package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/peer/control"
)

func newShareDeny(e *env) *cli.Command {
	var undo bool
	return &cli.Command{
		Name:      "deny",
		Usage:     "refuse a peer, whatever it knows",
		UsageText: "peerd share deny [--undo] NAME PEER",
		Description: `Takes from a peer what it was allowed in a share, and refuses it from now on even if it knows a password or the share is
open to all. What it fetches just now is cut off; nobody else is disturbed. "share allow" lets it in again; --undo makes
it a peer like any other, which has to log in again.

Examples:
  peerd share deny music bob
  peerd share deny --undo music bob`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "undo", Usage: "refuse it no longer", Destination: &undo}},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 2, 2)
			if err != nil {
				return err
			}
			return changeShare(c.Context, e, func(ctx context.Context, d control.Backend) (control.Share, error) {
				return d.ShareDeny(ctx, args[0], args[1], !undo)
			})
		},
	}
}
