package main

import (
	"context"
	"errors"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

func newMv(e *env) *cli.Command {
	var req control.MoveRequest
	return &cli.Command{
		Name:      "mv",
		Usage:     "move or rename files and folders in shares",
		UsageText: "peerd mv [-f] //PEER/SHARE/PATH... //PEER/SHARE/DST",
		Description: `Moves files and folders within a share, or from one share to another, which copies them and then removes them where they
were. If DST is a folder they are put into it; else DST is the new name of the one source. It takes the full right in
both shares. A file that stands in the way is left alone; with -f it is replaced and stays as a version.

Examples:
  peerd mv //anna/docs/plan.txt //anna/docs/plan-2025.txt
  peerd mv //anna/docs/a.txt //anna/docs/b.txt //anna/docs/old/
  peerd mv //anna/docs/film.mkv //bob/films/`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "replace files that stand in the way", Destination: &req.Force}},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 2, -1)
			if err != nil {
				return err
			}
			last := len(args) - 1
			for _, s := range args {
				if !control.IsRemote(s) {
					return &peer.Error{Path: s, Op: "mv", Kind: peer.Usage, Err: errors.New("it is not in a share, and mv moves from share to share"),
						Hint: `copy with "peerd cp", then remove what you do not want twice`}
				}
			}
			if req.Dest, err = refArgument(c, last); err != nil {
				return err
			}
			if req.Dest.Share == "" {
				return usage(c, "%s names no share; one is written //PEER/SHARE", req.Dest)
			}
			refs, err := fileArguments(c, 0, last)
			if err != nil {
				return err
			}
			req.Sources = refs
			req.Into = last > 1 || strings.HasSuffix(args[last], "/") || req.Dest.Path == ""
			return runMv(c.Context, e, req)
		},
	}
}

func runMv(ctx context.Context, e *env, req control.MoveRequest) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	return e.changes(d.Move(ctx, req), e.detail)
}
