package main

import (
	"context"
	"errors"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share"
)

func newShare(e *env) *cli.Command {
	return &cli.Command{
		Name:      "share",
		Usage:     "offer folders to the workgroup",
		UsageText: "peerd share add|ls|set|passwd|rm",
		Description: `A share is a folder under a name. It has two slots: one for reading, one for full access. Each is open to everybody, or
opened by a password, or closed.`,
		Subcommands: []*cli.Command{newShareAdd(e), newShareLs(e), newShareSet(e), newSharePasswd(e), newShareRm(e)},
	}
}

func newShareLs(e *env) *cli.Command {
	return &cli.Command{
		Name:      "ls",
		Usage:     "show what this peer offers",
		UsageText: "peerd share ls [--json]",
		Description: `Shows the shares of this peer: how each is read, how it is changed, and its folder.

Examples:
  peerd share ls`,
		Action: func(c *cli.Context) error {
			if _, err := arguments(c, 0, 0); err != nil {
				return err
			}
			return runShareLs(c.Context, e)
		},
	}
}

func runShareLs(ctx context.Context, e *env) error {
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
