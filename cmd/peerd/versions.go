package main

import (
	"context"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/cmd/internal/ui"
	"github.com/peerd/peerd/peer/control"
)

func newVersions(e *env) *cli.Command {
	var recursive bool
	return &cli.Command{
		Name:      "versions",
		Usage:     "show what was replaced or removed and is kept",
		UsageText: "peerd versions [-r] //PEER/SHARE/PATH",
		Description: `Shows the versions that are kept of a file, newest first: the name that "restore" takes, its size, when its content was
written, until when the file was like that, and what ended it: who replaced, moved or removed it. With -r those of all
files below a folder or in a share, also of files that are gone. It takes the full right: who may only read does not see
what was removed.

A version is read as //PEER/SHARE/PATH@VERSION, by cat and cp, and put back by restore.

Examples:
  peerd versions //anna/docs/plan.txt
  peerd versions -r //anna/docs
  peerd cat //anna/docs/plan.txt@20261125-204356-9f3c`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "recursive", Aliases: []string{"r"}, Usage: "show those of all files below", Destination: &recursive}},
		Action: func(c *cli.Context) error {
			if _, err := arguments(c, 1, 1); err != nil {
				return err
			}
			ref, err := refArgument(c, 0)
			if err != nil {
				return err
			}
			switch plain, _, isVersion := control.SplitVersion(ref); {
			case isVersion:
				return usage(c, "%s is a version; name the file, %s", ref, plain)
			case ref.Share == "" || ref.Path == "" && !recursive:
				return usage(c, "%s names no file; one is written //PEER/SHARE/PATH, and -r takes a share as well", ref)
			}
			return runVersions(c.Context, e, ref, recursive)
		},
	}
}

func runVersions(ctx context.Context, e *env, ref control.Ref, recursive bool) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	rows := [][]string{{"VERSION", "SIZE", "WRITTEN", "UNTIL", "THEN", "BY"}}
	if recursive {
		rows[0] = append(rows[0], "PATH")
	}
	found := false
	for v, err := range d.Versions(ctx, ref, recursive) {
		if err != nil {
			return err
		}
		found = true
		if e.JSON {
			if err := e.Object(v); err != nil {
				return err
			}
			continue
		}
		size := "-"
		if v.Kind == control.KindFile {
			size = ui.Size(v.Size)
		}
		row := []string{v.ID, size, ui.Time(v.ModTime.Time), ui.Clock(v.Until.Time), ended(v.By), who(v.Peer, v.Name)}
		if recursive {
			row = append(row, strings.TrimPrefix(strings.TrimPrefix(v.Ref.String(), ref.String()), "/"))
		}
		rows = append(rows, row)
	}
	switch {
	case !found:
		e.Note("%s: no versions are kept", ref)
	case !e.JSON:
		e.Table(rows)
	}
	return nil
}

// ended says what became of a file, by what was done to it.
func ended(by string) string {
	switch by {
	case "put", "cp":
		return "replaced"
	case "rm":
		return "removed"
	case "mv":
		return "moved over"
	case "restore":
		return "restored over"
	case "undo":
		return "undone"
	}
	return by
}
