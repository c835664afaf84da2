package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/peer/control"
)

func newShareSet(e *env) *cli.Command {
	var slots slotOptions
	return &cli.Command{
		Name:  "set",
		Usage: "change a share",
		UsageText: "peerd share set NAME [--name NEW] [--comment TEXT] [--hidden[=false]] [--read MODE] [--full MODE]\n" +
			"      [--read-password-file FILE] [--full-password-file FILE]",
		Description: `Changes what the options say and leaves the rest. Who came in by a slot that is closed or gets another password is cut off.

Examples:
  peerd share set music --comment "now with lyrics"
  peerd share set music --full none
  peerd share set music --hidden=false`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "call it `NEW`"},
			&cli.StringFlag{Name: "comment", Usage: "show `TEXT` beside the name"},
			&cli.BoolFlag{Name: "hidden", Usage: "do not announce it"},
		}, slots.flags()...),
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 1, 1)
			if err != nil {
				return err
			}
			if err := slots.check(c); err != nil {
				return err
			}
			var set control.ShareSet
			if c.IsSet("name") {
				set.Name = new(c.String("name"))
			}
			if c.IsSet("comment") {
				set.Comment = new(c.String("comment"))
			}
			if c.IsSet("hidden") {
				set.Hidden = new(c.Bool("hidden"))
			}
			if set == (control.ShareSet{}) && slots == (slotOptions{}) {
				return usage(c, "nothing to change was said")
			}
			return runShareSet(c.Context, e, args[0], set, slots)
		},
	}
}

func runShareSet(ctx context.Context, e *env, name string, set control.ShareSet, slots slotOptions) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	if err := ownShare(ctx, d, name); err != nil {
		return err
	}
	if set.Read, set.Full, err = e.slots(ctx, d, name, slots); err != nil {
		return err
	}
	share, err := d.ShareSet(ctx, name, set)
	if err != nil {
		return err
	}
	return e.answer(share, func() { printShares(e, []control.Share{share}) })
}
