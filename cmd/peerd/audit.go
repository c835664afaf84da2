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

func newAudit(e *env) *cli.Command {
	var filter control.AuditFilter
	var since string
	var events cli.StringSlice
	return &cli.Command{
		Name:      "audit",
		Usage:     "show who did what in the shares of this peer",
		UsageText: "peerd audit [--follow] [--share NAME] [--peer PEER] [--since TIME] [--event EVENT]...",
		Description: `Shows what was done in the shares of this peer, and what was refused, oldest first: when, by whom, what, how it ended, how
many bytes it took, and where. Names are what peers call themselves; the ID beside them is proven. PEER is a name, an ID,
or the beginning or end of one. TIME is a time of the day, a date and a time, RFC 3339, or an age: 10m, 2h, 3d. With
--follow it goes on until it is stopped. "peerd audit verify" tells whether anybody changed the record.

Examples:
  peerd audit --since 2h
  peerd audit --share docs --peer bob --event write --event delete
  peerd audit --follow --json | jq 'select(.result != "ok")'`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on and show what happens", Destination: &filter.Follow},
			&cli.StringFlag{Name: "share", Usage: "show what was done in the share `NAME`", Destination: &filter.Share},
			&cli.StringFlag{Name: "peer", Usage: "show what `PEER` did", Destination: &filter.Peer},
			&cli.StringFlag{Name: "since", Usage: "show what was done since `TIME`", Destination: &since},
			&cli.StringSliceFlag{Name: "event", Usage: "show `EVENT`s alone: read, write, delete, refused …", Destination: &events},
		},
		Subcommands: []*cli.Command{newAuditVerify(e)},
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				err := usage(c, "there is no command %q", c.Args().First())
				err.Hint = didYouMean(c.Args().First(), []string{"verify"}, err.Hint)
				return err
			}
			filter.Events = events.Value()
			if c.IsSet("since") {
				t, err := parseSince(since, time.Now())
				if err != nil {
					return err
				}
				filter.Since = control.At(t)
			}
			return runAudit(c.Context, e, filter)
		},
	}
}

func runAudit(ctx context.Context, e *env, filter control.AuditFilter) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	widths := []int{len(time.DateTime), 12, 8, 10, 8, 9} // enough for most; nothing is cut off
	found := false
	for r, err := range d.AuditRecords(ctx, filter) {
		switch {
		case ctx.Err() != nil && filter.Follow:
			return nil // stopping it is how it ends
		case err != nil:
			return err
		}
		err := e.answer(r, func() {
			if !found {
				e.Row(widths, []string{"TIME", "WHO", "ID", "WHAT", "RESULT", "BYTES", "WHERE"})
			}
			e.Row(widths, auditRow(r))
		})
		if err != nil {
			return err
		}
		if found = true; filter.Follow {
			if err := e.Flush(); err != nil {
				return err
			}
		}
	}
	if !found && !filter.Follow {
		e.Note("the audit has no such records")
	}
	return nil
}

// auditRow is a record as people read it.
func auditRow(r control.AuditRecord) []string {
	name, id, bytes := "the owner", "-", "-"
	if r.Peer != "" {
		name, id = r.Name, shortID(r.Peer)
	}
	if r.Bytes > 0 {
		bytes = ui.Size(r.Bytes)
	}
	where := strings.TrimSuffix(r.Share+"/"+r.Path, "/")
	if r.To != "" {
		where += " -> " + r.To
	}
	var notes []string
	if r.Why != "" {
		notes = append(notes, r.Why)
	}
	if r.Count > 1 {
		notes = append(notes, fmt.Sprintf("%d times", r.Count))
	}
	if r.Dropped > 0 {
		notes = append(notes, ui.Plural(r.Dropped, "record")+" before this one could not be written")
	}
	if len(notes) > 0 {
		where = strings.TrimLeft(where+"  ("+strings.Join(notes, "; ")+")", " ")
	}
	return []string{ui.Clock(r.Time.Time), name, id, r.Event, r.Result, bytes, where}
}

func newAuditVerify(e *env) *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "see whether the audit was tampered with",
		UsageText: "peerd audit verify [--json]",
		Description: `Reads the whole audit and checks its chain of hashes and its signatures. If a record was changed, removed or put in
another order, or the end was cut off, it says where, and the exit status is 8.

Examples:
  peerd audit verify`,
		Action: func(c *cli.Context) error {
			if _, err := arguments(c, 0, 0); err != nil {
				return err
			}
			return runAuditVerify(c.Context, e)
		},
	}
}

func runAuditVerify(ctx context.Context, e *env) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	r, err := d.AuditVerify(ctx)
	if err != nil {
		return err
	}
	return e.answer(r, func() {
		if r.Records == 0 {
			e.Println("the audit is empty")
			return
		}
		e.Printf("the audit is as it was written: %s in %s, %s to %s, signed up to record %d", ui.Plural(int(r.Records), "record"),
			ui.Plural(r.Files, "file"), ui.Clock(r.From.Time), ui.Clock(r.To.Time), r.Signed)
	})
}
