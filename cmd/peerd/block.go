package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/cmd/internal/ui"
	"github.com/peerd/peerd/peer/control"
)

func newBlock(e *env) *cli.Command {
	return &cli.Command{
		Name:      "block",
		Usage:     "have nothing to do with a peer",
		UsageText: "peerd block [PEER]",
		Description: `Ends all connections with a peer, and makes and takes none any more, over restarts, until "peerd unblock". It is not
listed among the peers. Those that give on files of this peer are told to refuse it as well. Without PEER, shows who is
blocked. PEER is the name of a peer that is here, its ID or 8 characters of it, or the whole ID of one that was never seen.

Examples:
  peerd block eve
  peerd block`,
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 0, 1)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return runBlocked(c.Context, e)
			}
			return runBlock(c.Context, e, args[0], true)
		},
	}
}

func newUnblock(e *env) *cli.Command {
	return &cli.Command{
		Name:      "unblock",
		Usage:     "deal with a blocked peer again",
		UsageText: "peerd unblock PEER",
		Description: `Takes "peerd block" back. The peer is seen again when it is heard of next.

Examples:
  peerd unblock eve`,
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 1, 1)
			if err != nil {
				return err
			}
			return runBlock(c.Context, e, args[0], false)
		},
	}
}

func runBlock(ctx context.Context, e *env, who string, block bool) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	device, err := d.Block(ctx, who, block)
	if err != nil || !e.JSON {
		return err
	}
	return e.Object(device)
}

// blockedAnswer is what "block" without a peer answers in JSON.
type blockedAnswer struct {
	Blocked control.List[control.Device] `json:"blocked"`
}

func runBlocked(ctx context.Context, e *env) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	blocked, err := d.Blocked(ctx)
	if err != nil {
		return err
	}
	if len(blocked) == 0 {
		e.Note("nobody is blocked")
	}
	return e.answer(blockedAnswer{blocked}, func() {
		if len(blocked) == 0 {
			return
		}
		rows := [][]string{{"NAME", "SINCE", "ID"}}
		for _, b := range blocked {
			rows = append(rows, []string{b.Name, ui.Time(b.Since.Time), b.ID})
		}
		e.Table(rows)
	})
}
