package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/peer/control"
)

func newShareAllow(e *env) *cli.Command {
	return &cli.Command{
		Name:      "allow",
		Usage:     "let a peer in without a password",
		UsageText: "peerd share allow NAME PEER read|full",
		Description: `Gives a peer a right in a share, by its ID: it is asked for no password. Who is allowed already gets this right in place of
the one it had. PEER is the name of a peer that is here, its ID or 8 characters of it, or the whole ID of one that was
never seen.

Examples:
  peerd share allow music anna read
  peerd share allow docs 12D3KooWBmAwcd4PJNJvfV89HwE48nwkRmAgo8Vy3uQEyNNHBox2 full`,
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 3, 3)
			if err != nil {
				return err
			}
			right := control.Right(args[2])
			if right != control.Read && right != control.Full {
				return usage(c, "a peer is allowed to read or full access, not %q", args[2])
			}
			return changeShare(c.Context, e, func(ctx context.Context, d control.Backend) (control.Share, error) {
				return d.ShareAllow(ctx, args[0], args[1], right)
			})
		},
	}
}

// changeShare changes a share and shows all of it.
func changeShare(ctx context.Context, e *env, how func(context.Context, control.Backend) (control.Share, error)) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	s, err := how(ctx, d)
	if err != nil {
		return err
	}
	return e.answer(s, func() {
		printShares(e, []control.Share{s})
		printDevices(e, []control.Share{s})
	})
}
