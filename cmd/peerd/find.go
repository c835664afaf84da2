package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/peer/control"
)

func newFind(e *env) *cli.Command {
	return &cli.Command{
		Name:      "find",
		Usage:     "find files and folders by name",
		UsageText: "peerd find PATTERN [//PEER[/SHARE[/PATH]]]",
		Description: `Finds what has a matching name, below a place or in the whole workgroup. In PATTERN * stands for any characters and ?
for one; a pattern with neither matches names that it is a part of. Upper and lower case are the same.

Examples:
  peerd find budget
  peerd find '*.pdf' //anna/docs`,
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 1, 2)
			if err != nil {
				return err
			}
			ref, err := refArgument(c, 1)
			if err != nil {
				return err
			}
			return runFind(c.Context, e, args[0], ref)
		},
	}
}

func runFind(ctx context.Context, e *env, pattern string, ref control.Ref) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	return e.entries(d.Find(ctx, ref, pattern), func(x control.Entry) {
		if x.Error == nil {
			e.Println("//" + nameBelow(control.Ref{}, x))
		}
	})
}
