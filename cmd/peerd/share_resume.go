package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/peer/control"
)

func newShareResume(e *env) *cli.Command {
	return &cli.Command{
		Name:      "resume",
		Usage:     "let a suspended peer change files again",
		UsageText: "peerd share resume NAME PEER",
		Description: `Ends the suspension of a peer's full access, which peerd itself orders when a peer changes very much very quickly. What
the peer was granted counts again.

Examples:
  peerd share resume docs anna`,
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 2, 2)
			if err != nil {
				return err
			}
			return changeShare(c.Context, e, func(ctx context.Context, d control.Backend) (control.Share, error) {
				return d.ShareResume(ctx, args[0], args[1])
			})
		},
	}
}
