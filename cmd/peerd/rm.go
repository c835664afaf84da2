package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/peer/control"
)

func newRm(e *env) *cli.Command {
	var recursive bool
	return &cli.Command{
		Name:      "rm",
		Usage:     "remove files and folders from shares",
		UsageText: "peerd rm [-r] //PEER/SHARE/PATH...",
		Description: `Removes files, and with -r folders, from shares in which this peer has the full right. It asks nothing: what is removed
stays as a version, "peerd versions" shows it, and "peerd restore" brings it back. One that can't be removed does not
stop the others. With --verbose it tells of each, with --json in a line.

Examples:
  peerd rm //anna/docs/draft.txt
  peerd rm -r //anna/docs/old //anna/docs/older`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "recursive", Aliases: []string{"r"}, Usage: "remove folders with all that is in them", Destination: &recursive}},
		Action: func(c *cli.Context) error {
			if _, err := arguments(c, 1, -1); err != nil {
				return err
			}
			refs, err := fileArguments(c, 0, c.NArg())
			if err != nil {
				return err
			}
			return runRm(c.Context, e, refs, recursive)
		},
	}
}

func runRm(ctx context.Context, e *env, refs []control.Ref, recursive bool) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	var removed []control.Change
	err = e.changes(d.Remove(ctx, refs, recursive), func(c control.Change) {
		e.detail(c)
		if len(removed) < 2 { // one and many is all that the hint tells apart
			removed = append(removed, c)
		}
	})
	if way := wayBack(removed); way != "" {
		e.Hint("%s", way)
	}
	return err
}

// wayBack says how to get back what was removed.
func wayBack(removed []control.Change) string {
	switch len(removed) {
	case 0:
		return ""
	case 1:
		c := removed[0]
		if word, ok := shellWord(control.WithVersion(c.Ref, c.Kept)); ok && c.Kept != "" && c.Kind != control.KindDir {
			return "it is kept; this brings it back: peerd restore " + word
		}
		if word, ok := shellWord(c.Ref.String()); ok {
			return "it is kept; this shows what can be restored: peerd versions -r " + word
		}
	}
	if word, ok := shellWord(removed[0].Ref.ShareRef().String()); ok {
		return "all of it is kept; this shows what can be restored: peerd versions -r " + word
	}
	return `what was removed is kept: "peerd versions" shows it`
}
