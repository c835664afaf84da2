package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/cmd/internal/ui"
	"github.com/peerd/peerd/peer/control"
)

func newMounts(e *env) *cli.Command {
	return &cli.Command{
		Name:      "mounts",
		Usage:     "show what is mounted",
		UsageText: "peerd mounts [--json]",
		Description: `Shows the folders that "peerd mount" made: what they show, since when, and how much of what was saved in them is not at
its owner yet. Below it says which changes wait and why, whether some lie beside their files since those had changed
meanwhile, and how much of what was read is kept. "waiting" is a folder that can't be mounted now and is tried again.

Examples:
  peerd mounts
  peerd mounts --json | jq .pending`,
		Action: func(c *cli.Context) error {
			if _, err := arguments(c, 0, 0); err != nil {
				return err
			}
			return runMounts(c.Context, e)
		},
	}
}

func runMounts(ctx context.Context, e *env) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	list, err := d.MountList(ctx)
	if err != nil {
		return err
	}
	return e.answer(list, func() { printMounts(e, list) })
}

// printMounts tells of mounts, and of what waits.
func printMounts(e *env, list control.MountList) {
	if len(list.Mounts) == 0 {
		e.Note(`nothing is mounted; "peerd mount //PEER/SHARE DIR" does`)
	} else {
		rows := [][]string{{"FOLDER", "SHOWS", "STATE", "SINCE", "PENDING", ""}}
		for _, m := range list.Mounts {
			rows = append(rows, []string{m.Dir, mountName(m.Ref), m.State, ui.Time(m.Since.Time), pendingText(m.Pending), mountNotes(m)})
		}
		e.Table(rows)
	}
	for _, m := range list.Mounts {
		if err := m.Error.Err(); err != nil {
			e.Note("%s: %v", m.Dir, err)
		}
		if m.Webdav != nil {
			e.Note("%s is served at %s", mountName(m.Ref), m.Webdav.URL)
		}
	}
	for _, p := range list.Pending {
		if err := p.Error.Err(); err != nil {
			e.Note("%s (%s) waits since %s: %v", p.Path, ui.Size(p.Bytes), ui.Time(p.Since.Time), err)
		} else {
			e.Detail("%s (%s) waits since %s", p.Path, ui.Size(p.Bytes), ui.Time(p.Since.Time))
		}
	}
	switch {
	case list.Conflicts == 1:
		e.Note("1 saved file has a conflict: what it was to replace had changed meanwhile, and it lies beside that")
	case list.Conflicts > 1:
		e.Note("%d saved files have conflicts: what they were to replace had changed meanwhile, and they lie beside that", list.Conflicts)
	}
	c := list.Cache
	if asked := c.Hits + c.Misses; len(list.Mounts) > 0 && c.Limit > 0 {
		text := ""
		if asked > 0 {
			text = fmt.Sprintf(", which had %d %% of what was asked for", 100*c.Hits/asked)
		}
		e.Detail("%s of %s are in the cache%s", ui.Size(c.Bytes), ui.Size(c.Limit), text)
	}
}

// pendingText is how much waits for its owners.
func pendingText(p control.Pending) string {
	if p.Count == 0 {
		return "-"
	}
	return fmt.Sprintf("%s, %s", ui.Plural(p.Count, "change"), ui.Size(p.Bytes))
}

// mountNotes are what is special about a mount.
func mountNotes(m control.Mount) string {
	var notes []string
	for _, n := range []struct {
		is   bool
		text string
	}{{m.Away, "the peer is away"}, {m.ReadOnly, "read-only"}, {m.AllowOther, "for all users"}, {m.Persist, "persists"}} {
		if n.is {
			notes = append(notes, n.text)
		}
	}
	return strings.Join(notes, ", ")
}
