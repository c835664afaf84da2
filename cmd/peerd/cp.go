package main

import (
	"context"
	"errors"
	"fmt"
	"os"

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
		Usage:     "copy files and folders from shares and to them",
		UsageText: "peerd cp [-r] [-f] [--limit RATE] SRC... DST",
		Description: `Copies files, and with -r folders, from shares to this computer, from here to a share, or from one share to another. All
sources lie on one side. If DST is a folder they are put into it; else DST is the name that the one source gets. Every
byte is verified before it is written, and a file has its name once it is whole. A copy that was stopped goes on where
it was when the same command is given again. A file that already has the right bytes is not copied; one with other bytes
stands in the way unless -f is given. A source may be an old version, //PEER/SHARE/PATH@VERSION. --limit keeps this copy
below a rate: 10MB/s, 500k, 80Mbit. With --json every event is a line.

To copy to a share takes the full right. What is replaced there stays as a version. If a file changes there while it is
replaced, it is left as it is, yours is kept beside it under a name with "conflict" in it, and the exit status is 6.

Examples:
  peerd cp //anna/docs/plan.pdf .
  peerd cp -r //anna/docs ~/from-anna
  peerd cp -r --limit 2MB/s //anna/disks /srv
  peerd cp //anna/docs/a.txt //bob/docs/b.txt /tmp/
  peerd cp --sources //anna/videos/party.mp4 .
  peerd cp -f plan.pdf //anna/docs/
  peerd cp -r ~/photos //anna/pictures
  peerd cp //anna/docs/plan.pdf@20261125-204356-9f3c old-plan.pdf`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "recursive", Aliases: []string{"r"}, Usage: "copy folders with all that is in them", Destination: &o.recursive},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "replace files that stand in the way", Destination: &o.force},
			&cli.StringFlag{Name: "limit", Usage: "copy no more than `RATE`", Destination: &o.limit},
			&cli.BoolFlag{Name: "sources", Usage: "tell at the end who gave how much", Destination: &o.sources},
		},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 2, -1)
			if err != nil {
				return err
			}
			req := control.CopyRequest{Recursive: o.recursive, Force: o.force, Each: e.JSON || e.Verbose}
			if c.IsSet("limit") {
				limit, err := transfer.ParseRate(o.limit)
				if err != nil {
					return err
				}
				req.Limit = int64(limit)
			}
			last := len(args) - 1
			if err := copySides(c, &req, args[:last], args[last]); err != nil {
				return err
			}
			return runCp(c.Context, e, req, o.sources)
		},
	}
}

// copySides says in req what is copied and where to.
func copySides(c *cli.Context, req *control.CopyRequest, sources []string, dest string) error {
	var err error
	switch {
	case dest == "":
		return usage(c, "the destination is empty")
	case control.IsRemote(dest):
		if req.To, err = control.ParseRef(dest); err != nil {
			return err
		}
		if req.To.Share == "" {
			return usage(c, "%s names no share; one is written //PEER/SHARE", req.To)
		}
	default:
		if req.Dest, err = localPath(c, dest); err != nil {
			return err
		}
	}
	for _, s := range sources {
		if control.IsRemote(s) || req.To.IsZero() {
			ref, err := control.ParseRef(s)
			if err != nil {
				return err
			}
			req.Sources = append(req.Sources, ref)
			continue
		}
		if s == "" {
			return usage(c, "a source is empty")
		}
		path, err := localPath(c, s)
		if err != nil {
			return err
		}
		req.Local = append(req.Local, path)
	}
	if len(req.Sources) > 0 && len(req.Local) > 0 {
		err := usage(c, "%s is in a share and %s is here: a copy takes all its sources from one side, since one side sends and the other fetches",
			req.Sources[0], req.Local[0])
		err.Hint = "give a command for each side"
		return err
	}
	req.Into = len(sources) > 1 || os.IsPathSeparator(dest[len(dest)-1]) || req.To.Share != "" && req.To.Path == ""
	return nil
}

// copyReport tells of a copy while it goes on.
type copyReport struct {
	e         *env
	progress  *ui.Progress
	sources   bool
	waiting   string
	last      error // the failure that is not printed yet, since it may be the outcome as well
	conflicts int
	printErr  error
}

func runCp(ctx context.Context, e *env, req control.CopyRequest, sources bool) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	r := &copyReport{e: e, progress: e.Progress(), sources: sources}
	defer r.progress.Clear()
	err = d.Copy(ctx, req, r.event)
	r.progress.Clear()
	if r.last != nil && (err == nil || r.last.Error() != err.Error()) {
		e.Error(r.last)
	}
	if err == nil {
		err = conflicts(r.conflicts)
	}
	return errors.Join(err, r.printErr)
}

func (r *copyReport) event(x control.CopyEvent) {
	e := r.e
	if r.waiting != x.Waiting {
		if r.waiting = x.Waiting; r.waiting != "" {
			r.progress.Clear()
			e.Note("%s", r.waiting)
		}
	}
	if e.JSON {
		r.printErr = errors.Join(r.printErr, e.Object(x), e.Flush())
	}
	switch x.Event {
	case control.CopyProgress:
		r.progress.Set(x.Bytes, x.Had, x.TotalBytes, state(x))
	case control.CopyFile:
		r.progress.Clear()
		from, to := copyEnds(x)
		if e.Detail("%s: %s to %s", from, ui.Size(x.Size), to); x.Conflict {
			r.conflicts++
			e.Say("%s: the file that it was to replace changed meanwhile and stays; yours is beside it, as %s", from, to)
		}
	case control.CopySkipped:
		r.progress.Clear()
		e.Note("%v; it is left out", x.Error.Err())
	case control.CopyError:
		r.progress.Clear()
		if r.last != nil {
			e.Error(r.last)
		}
		r.last = x.Error.Err()
	case control.CopyDone:
		r.progress.Clear()
		took := r.progress.Elapsed()
		e.Detail("%s, %s in %.1f s (%s), %s of it were there already", ui.Plural(int(x.Files), "file"), ui.Size(x.Bytes),
			took.Seconds(), ui.Rate(x.Bytes-x.Had, took), ui.Size(x.Had))
		if r.sources && !e.JSON {
			printSources(e, x)
		}
	}
}

// copyEnds is where a file came from and where it is now.
func copyEnds(x control.CopyEvent) (from, to string) {
	from, to = x.From, x.Dest
	if from == "" {
		from = x.Source.String()
	}
	if to == "" {
		to = x.To.String()
	}
	return from, to
}

// conflicts is the outcome of a command that left so many files as they were, with a copy beside each; nil for none.
func conflicts(n int) error {
	if n == 0 {
		return nil
	}
	return &peer.Error{Kind: peer.Conflict, Err: fmt.Errorf("%s changed meanwhile, and nothing was overwritten", ui.Plural(n, "file"))}
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
