package main

import (
	"context"
	"errors"
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
  peerd cp //anna/docs/a.txt //bob/docs/b.txt /tmp/`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "recursive", Aliases: []string{"r"}, Usage: "copy folders with all that is in them", Destination: &o.recursive},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "replace files that stand in the way", Destination: &o.force},
			&cli.StringFlag{Name: "limit", Usage: "fetch no more than `RATE`", Destination: &o.limit},
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
			return runCp(c.Context, e, req)
		},
	}
}

func runCp(ctx context.Context, e *env, req control.CopyRequest) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	progress := e.Progress()
	defer progress.Clear()
	var printErr, last error // last is the failure that is not printed yet, since it may be the outcome as well
	err = d.Copy(ctx, req, func(x control.CopyEvent) {
		if e.JSON {
			printErr = errors.Join(printErr, e.Object(x), e.Flush())
		}
		switch x.Event {
		case control.CopyProgress:
			progress.Set(x.Bytes, x.Had, x.TotalBytes, ui.Plural(int(x.Files), "file"))
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
		}
	})
	progress.Clear()
	if last != nil && (err == nil || last.Error() != err.Error()) {
		e.Error(last)
	}
	return errors.Join(err, printErr)
}
