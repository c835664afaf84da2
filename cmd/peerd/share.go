package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/cmd/internal/ui"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share"
)

func newShare(e *env) *cli.Command {
	return &cli.Command{
		Name:      "share",
		Usage:     "offer folders to the workgroup",
		UsageText: "peerd share add|ls|set|passwd|allow|deny|resume|undo|rm",
		Description: `A share is a folder under a name. It has two slots: one for reading, one for full access. Each is open to everybody, or
opened by a password, or closed. Beside them single peers may be allowed to enter without a password, or be refused.`,
		Subcommands: []*cli.Command{newShareAdd(e), newShareLs(e), newShareSet(e), newSharePasswd(e), newShareAllow(e), newShareDeny(e),
			newShareResume(e), newShareUndo(e), newShareRm(e)},
	}
}

func newShareLs(e *env) *cli.Command {
	var long bool
	return &cli.Command{
		Name:      "ls",
		Usage:     "show what this peer offers",
		UsageText: "peerd share ls [-l] [--json]",
		Description: `Shows the shares of this peer: how each is read, how it is changed, and its folder. With -l also what was said of
single peers: who is allowed to enter without a password, who is denied, and whose full access is suspended; and what was set
of room, versions and the brake.

Examples:
  peerd share ls
  peerd share ls -l`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "long", Aliases: []string{"l"}, Usage: "show what was said of single peers, and what was set", Destination: &long}},
		Action: func(c *cli.Context) error {
			if _, err := arguments(c, 0, 0); err != nil {
				return err
			}
			return runShareLs(c.Context, e, long)
		},
	}
}

func runShareLs(ctx context.Context, e *env, long bool) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	shares, err := d.ShareList(ctx)
	if err != nil {
		return err
	}
	if len(shares) == 0 {
		e.Note(`nothing is shared yet; "peerd share add DIR" does it`)
	}
	return e.answer(sharesAnswer{shares}, func() {
		if len(shares) > 0 {
			printShares(e, shares)
		}
		if long {
			printDevices(e, shares)
			printSettings(e, shares)
		}
	})
}

// sharesAnswer is what "share ls" answers in JSON.
type sharesAnswer struct {
	Shares control.List[control.Share] `json:"shares"`
}

func printShares(e *env, shares []control.Share) {
	rows := [][]string{{"NAME", "READ", "FULL", "FOLDER", "COMMENT"}}
	for _, s := range shares {
		comment := s.Comment
		if s.Hidden {
			comment = "(hidden) " + comment
		}
		if s.Temporary {
			comment = "(this run) " + comment
		}
		rows = append(rows, []string{s.Name, string(s.Read), string(s.Full), s.Dir, comment})
	}
	e.Table(rows)
}

// printDevices shows what was said of single peers.
func printDevices(e *env, shares []control.Share) {
	rows := [][]string{{"SHARE", "PEER", "IS", "SINCE", "ID"}}
	for _, s := range shares {
		row := func(d control.Device, is string) {
			since := ""
			if !d.Since.IsZero() {
				since = ui.Time(d.Since.Time)
			}
			rows = append(rows, []string{s.Name, d.Name, is, since, d.ID})
		}
		for _, d := range s.Allowed {
			row(d, "allowed "+string(d.Right))
		}
		for _, d := range s.Denied {
			row(d, "denied")
		}
		for _, d := range s.Suspended {
			row(d, "suspended, reads at most")
		}
	}
	if len(rows) > 1 {
		e.Println("")
		e.Table(rows)
	}
}

// printState shows how much room old versions take, and why changes are seen late.
func printState(e *env, shares []control.Share) {
	var rows [][]string
	for _, s := range shares {
		if s.Versions.Count > 0 {
			rows = append(rows, []string{s.Name, fmt.Sprintf("%s, %s", ui.Plural(s.Versions.Count, "old version"), ui.Size(s.Versions.Bytes))})
		}
		if s.Watch != "" {
			rows = append(rows, []string{s.Name, s.Watch})
		}
	}
	if len(rows) > 0 {
		e.Println("")
		e.Table(rows)
	}
}

// printSettings shows what is not by default.
func printSettings(e *env, shares []control.Share) {
	rows := [][]string{{"SHARE", "SETTING", "VALUE"}}
	for _, s := range shares {
		for _, name := range slices.Sorted(maps.Keys(s.Settings.Set)) {
			rows = append(rows, []string{s.Name, name, s.Settings.Set[name]})
		}
	}
	if len(rows) > 1 {
		e.Println("")
		e.Table(rows)
	}
}

// ownShare says whether this peer has a share of a name, before anything is asked that would be asked in vain.
func ownShare(ctx context.Context, d control.Backend, name string) error {
	shares, err := d.ShareList(ctx)
	if err != nil || slices.ContainsFunc(shares, func(s control.Share) bool { return share.FoldKey(s.Name) == share.FoldKey(name) }) {
		return err
	}
	return &peer.Error{Path: name, Kind: peer.NotFound, Err: errors.New("no such share"), Hint: `run "peerd share ls"`}
}

func newShareRm(e *env) *cli.Command {
	return &cli.Command{
		Name:      "rm",
		Usage:     "offer a folder no longer",
		UsageText: "peerd share rm NAME",
		Description: `Takes a share away from the workgroup. The folder and what is in it stay as they are.

Examples:
  peerd share rm music`,
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 1, 1)
			if err != nil {
				return err
			}
			return runShareRm(c.Context, e, args[0])
		},
	}
}

func runShareRm(ctx context.Context, e *env, name string) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	return d.ShareRemove(ctx, name)
}
