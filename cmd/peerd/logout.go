package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/peer/control"
)

func newLogout(e *env) *cli.Command {
	return &cli.Command{
		Name:      "logout",
		Usage:     "forget the login to a share",
		UsageText: "peerd logout //PEER/SHARE",
		Description: `Forgets here what login got from the owner. Files that were copied stay.

Examples:
  peerd logout //anna/safe`,
		Action: func(c *cli.Context) error {
			ref, err := shareArgument(c)
			if err != nil {
				return err
			}
			return runLogout(c.Context, e, ref)
		},
	}
}

func runLogout(ctx context.Context, e *env, ref control.Ref) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	return d.Logout(ctx, ref)
}
