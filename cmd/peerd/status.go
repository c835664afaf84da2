package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/cmd/internal/ui"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/transfer"
)

func newStatus(e *env) *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "show this peer",
		UsageText: "peerd status [--json]",
		Description: `Shows this peer's name, ID and addresses, its shares, how many peers are here, and what is being transferred. With
--verbose also the versions of the parts that it is made of.

Examples:
  peerd status
  peerd status --json`,
		Action: func(c *cli.Context) error {
			if _, err := arguments(c, 0, 0); err != nil {
				return err
			}
			return runStatus(c.Context, e)
		},
	}
}

func runStatus(ctx context.Context, e *env) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	s, err := d.Status(ctx)
	if err != nil {
		return err
	}
	return e.answer(s, func() { printStatus(e, s) })
}

func printStatus(e *env, s control.Status) {
	rows := [][]string{
		{"name", s.Name},
		{"ID", s.ID},
		{"workgroup", s.Workgroup},
		{"peers", fmt.Sprint(s.Peers)},
		{"shares", fmt.Sprint(len(s.Shares))},
		{"version", s.Version},
		{"running since", ui.Time(s.Started.Time)},
	}
	if s.Home != "" {
		rows = append(rows, []string{"home", s.Home})
	}
	for _, a := range s.Addrs {
		rows = append(rows, []string{"address", a})
	}
	for _, l := range []struct {
		name string
		rate int64
	}{{"upload limit", s.Limits.Upload}, {"download limit", s.Limits.Download}} {
		if l.rate > 0 {
			rows = append(rows, []string{l.name, transfer.Rate(l.rate).String()})
		}
	}
	if s.Cache.Limit > 0 {
		rows = append(rows, []string{"cache", fmt.Sprintf("%s of %s, %s", ui.Size(s.Cache.Bytes), ui.Size(s.Cache.Limit), ui.Plural(s.Cache.Pieces, "piece"))})
	}
	if s.Seeding.Files > 0 {
		rows = append(rows, []string{"seeding", fmt.Sprintf("%s, %s", ui.Plural(s.Seeding.Files, "file"), ui.Size(s.Seeding.Bytes))})
	}
	if s.Mounts > 0 {
		rows = append(rows, []string{"mounted", ui.Plural(s.Mounts, "folder")})
	}
	if p := s.Pending; p.Count > 0 {
		rows = append(rows, []string{"pending", fmt.Sprintf("%s, the oldest since %s", pendingText(p), ui.Time(p.Oldest.Time))})
	}
	for _, t := range s.Transfers {
		what := fmt.Sprintf("%s, %s of %s", t.Ref, ui.Size(t.Bytes), ui.Size(t.Total))
		rows = append(rows, []string{strings.TrimSpace("transfer " + t.Direction), what})
	}
	if e.Verbose {
		for _, p := range s.Parts {
			rows = append(rows, []string{"part", p.Name + " " + p.Version})
		}
	}
	e.Table(rows)
	if len(s.Shares) > 0 {
		e.Println("")
		printShares(e, s.Shares)
		printDevices(e, s.Shares)
		printState(e, s.Shares)
	}
}
