package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/cmd/internal/ui"
	"github.com/peerd/peerd/peer/control"
)

func newShareUndo(e *env) *cli.Command {
	var by, since string
	return &cli.Command{
		Name:      "undo",
		Usage:     "put back what a peer changed",
		UsageText: "peerd share undo NAME --peer PEER --since TIME",
		Description: `Puts a share of this peer back to what it was before another peer changed it: what that one overwrote, moved or removed
since TIME is back, what it made is gone, and all of that stays as versions. What somebody else changed after it is left,
the older content is put beside it, and the exit status is 6. PEER is a name, an ID, or the beginning or end of one. TIME
is a time of the day, 14:30 is the last half past two; a date with it, "2026-11-25 14:30"; RFC 3339; or an age, 10m, 2h, 3d.

Examples:
  peerd share undo docs --peer bob --since 20m
  peerd share undo docs --peer 12D3KooWBob55555bob --since "2026-11-25 14:30"`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "peer", Usage: "undo what `PEER` did", Destination: &by},
			&cli.StringFlag{Name: "since", Usage: "undo what was done since `TIME`", Destination: &since},
		},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 1, 1)
			if err != nil {
				return err
			}
			if by == "" || since == "" {
				return usage(c, "--peer and --since have to say whose changes are undone and since when")
			}
			t, err := parseSince(since, time.Now())
			if err != nil {
				return err
			}
			return runShareUndo(c.Context, e, control.UndoRequest{Share: args[0], Peer: by, Since: control.At(t)})
		},
	}
}

func runShareUndo(ctx context.Context, e *env, req control.UndoRequest) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	if err := ownShare(ctx, d, req.Share); err != nil {
		return err
	}
	done := make(map[string]int)
	total, beside := 0, 0
	err = e.changes(d.Undo(ctx, req), func(c control.Change) {
		total++
		if done[c.Done]++; c.Conflict {
			beside++
		}
		if !e.JSON {
			printUndone(e, c)
		}
	})
	switch {
	case e.JSON:
	case total > 0:
		e.Println(undone(done, beside))
	case err == nil:
		e.Note("%s: there is nothing to undo: %s changed nothing since %s", req.Share, req.Peer, ui.Clock(req.Since.Time))
	}
	return err
}

func printUndone(e *env, c control.Change) {
	line := fmt.Sprintf("%-8s  %s", c.Done, c.Ref.Path)
	if c.To != (control.Ref{}) && c.To != c.Ref {
		line += " -> " + c.To.Path
	}
	e.Println(line)
}

// undone says how much of what was done.
func undone(done map[string]int, beside int) string {
	var parts []string
	for _, word := range []string{control.Restored, control.Moved, control.Removed, control.Made, control.Copied} {
		if n := done[word]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, word))
		}
	}
	text := strings.Join(parts, ", ")
	if beside > 0 {
		text += fmt.Sprintf("; %d of them beside what others changed since", beside)
	}
	return text
}
