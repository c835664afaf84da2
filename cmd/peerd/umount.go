package main

import (
	"context"

	"github.com/urfave/cli/v2"
)

func newUmount(e *env) *cli.Command {
	return &cli.Command{
		Name:      "umount",
		Usage:     "take a mounted folder away",
		UsageText: "peerd umount DIR",
		Description: `Takes away what "peerd mount" made, and forgets it if it was to come back. What was saved in it and is not at its owner
yet is delivered all the same; "peerd status" tells how much that is. Programs that still use what
is in it are waited for, two seconds at most; then they go on with the files that they have open, until they close them.

Examples:
  peerd umount ~/docs`,
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 1, 1)
			if err != nil {
				return err
			}
			dir, err := folderArgument(c, args[0])
			if err != nil {
				return err
			}
			return runUmount(c.Context, e, dir)
		},
	}
}

func runUmount(ctx context.Context, e *env, dir string) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	return d.Unmount(ctx, dir)
}
