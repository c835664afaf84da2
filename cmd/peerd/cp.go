package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/cmd/internal/ui"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/transfer"
)

type cpOptions struct {
	recursive bool
	force     bool
	limit     string
	sources   bool
}

func newCp(e *env) *cli.Command {
	var o cpOptions
	return &cli.Command{
		Name:      "cp",
		Usage:     "copy files and folders from shares",
		UsageText: "peerd cp [-r] [-f] [--limit RATE] //PEER/SHARE/PATH... DEST",
		Description: `Copies files, and with -r folders, from shares to this computer. If DEST is a folder they are put into it; else DEST is
the name that the one source gets. Every byte is verified before it is written, and a file has its name once it is
whole. A copy that was stopped goes on where it was when the same command is given again. A file that already has the
right bytes is not fetched; one with other bytes stands in the way unless -f is given. --limit keeps this copy below a rate: 10MB/s, 500k, 80Mbit. With --json every event is a line.

Examples:
  peerd cp //anna/docs/plan.pdf .
  peerd cp -r //anna/docs ~/from-anna
  peerd cp -r --limit 2MB/s //anna/disks /srv
  peerd cp //anna/docs/a.txt //bob/docs/b.txt /tmp/
  peerd cp --sources //anna/videos/party.mp4 .`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "recursive", Aliases: []string{"r"}, Usage: "copy folders with all that is in them", Destination: &o.recursive},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "replace files that stand in the way", Destination: &o.force},
			&cli.StringFlag{Name: "limit", Usage: "fetch no more than `RATE`", Destination: &o.limit},
			&cli.BoolFlag{Name: "sources", Usage: "tell at the end who gave how much", Destination: &o.sources},
		},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 2, -1)
			if err != nil {
				return err
			}
			last := len(args) - 1
			if args[last] == "" {
				return usage(c, "the destination is empty")
			}
			if control.IsRemote(args[last]) {
				return &peer.Error{Path: args[last], Op: "cp", Kind: peer.Other, Err: errors.New("writing to a share is not in this version")}
			}
			req := control.CopyRequest{Recursive: o.recursive, Force: o.force, Each: e.JSON || e.Verbose}
			if c.IsSet("limit") {
				limit, err := transfer.ParseRate(o.limit)
				if err != nil {
					return err
				}
				req.Limit = int64(limit)
			}
			for _, s := range args[:last] {
				ref, err := control.ParseRef(s)
				if err != nil {
					return err
				}
				req.Sources = append(req.Sources, ref)
			}
			if req.Dest, err = filepath.Abs(args[last]); err != nil {
				return err
			}
			req.Into = len(req.Sources) > 1 || os.IsPathSeparator(args[last][len(args[last])-1])
			return runCp(c.Context, e, req, o.sources)
		},
	}
}

func runCp(ctx context.Context, e *env, req control.CopyRequest, sources bool) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	progress := e.Progress()
	defer progress.Clear()
	var printErr, last error // last is the failure that is not printed yet, since it may be the outcome as well
	waiting := ""
	err = d.Copy(ctx, req, func(x control.CopyEvent) {
		if waiting != x.Waiting {
			if waiting = x.Waiting; waiting != "" {
				progress.Clear()
				e.Note("%s", waiting)
			}
		}
		if e.JSON {
			printErr = errors.Join(printErr, e.Object(x), e.Flush())
		}
		switch x.Event {
		case control.CopyProgress:
			progress.Set(x.Bytes, x.Had, x.TotalBytes, state(x))
		case control.CopyFile:
			progress.Clear()
			e.Detail("%s: %s to %s", x.Source, ui.Size(x.Size), x.Dest)
		case control.CopyError:
			progress.Clear()
			if last != nil {
				e.Error(last)
			}
			last = x.Error.Err()
		case control.CopyDone:
			progress.Clear()
			took := progress.Elapsed()
			e.Detail("%s, %s in %.1f s (%s), %s of it were here already", ui.Plural(int(x.Files), "file"), ui.Size(x.Bytes),
				took.Seconds(), ui.Rate(x.Bytes-x.Had, took), ui.Size(x.Had))
			if sources && !e.JSON {
				printSources(e, x)
			}
		}
	})
	progress.Clear()
	if last != nil && (err == nil || last.Error() != err.Error()) {
		e.Error(last)
	}
	return errors.Join(err, printErr)
}

// most is how many sources the progress line names.
const most = 3

// state is what the progress line says beside the figures: what is waited for, or who gives how much.
func state(x control.CopyEvent) string {
	if x.Waiting != "" {
		return x.Waiting
	}
	text := ui.Plural(int(x.Files), "file")
	fetched := x.Bytes - x.Had
	if len(x.Sources) < 2 || fetched <= 0 {
		return text
	}
	for i, s := range x.Sources {
		if i == most {
			return text + fmt.Sprintf(", %d more", len(x.Sources)-most)
		}
		sep := ", "
		if i == 0 {
			sep = "  from "
		}
		text += fmt.Sprintf("%s%s %d %%", sep, sourceName(s), 100*s.Bytes/fetched)
	}
	return text
}

// sourceName is what a source calls itself, or its ID where that is not known.
func sourceName(s control.CopySource) string {
	if s.Name != "" {
		return s.Name
	}
	return s.Peer[max(0, len(s.Peer)-peer.ShortLen):]
}

// printSources tells who gave how much.
func printSources(e *env, x control.CopyEvent) {
	rows := [][]string{{"SOURCE", "ID", "GAVE", "SHARE", ""}}
	fetched := max(x.Bytes-x.Had, 1)
	for _, s := range x.Sources {
		note := ""
		switch {
		case s.Banned:
			note = fmt.Sprintf("banned: %s wrong", ui.Plural(s.Bad, "piece"))
		case s.Owner:
			note = "owner"
		}
		rows = append(rows, []string{sourceName(s), s.Peer[max(0, len(s.Peer)-peer.ShortLen):], ui.Size(s.Bytes), fmt.Sprintf("%d %%", 100*s.Bytes/fetched), note})
	}
	e.Table(rows)
}
