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
			"      [--read-password-file FILE] [--full-password-file FILE] [--quota SIZE] [--peer-quota SIZE] [--reserve SIZE]\n" +
			"      [--versions-age TIME] [--versions-count N] [--versions-share PERCENT] [--brake FILES,PERCENT,TIME]\n" +
			"      [--exec keep|never]",
		Description: `Changes what the options say and leaves the rest. Who came in by a slot that is closed or gets another password is cut off.
A SIZE is written 500MB, 10G or 2TiB, a TIME 30d, 12h, 5m or 90s. "default" undoes what was set, and "none" is without a limit,
where there may be none; "--brake off" is without a brake, which else suspends the full access of a peer that changes more than so many files and so
much of the share in a time.

Examples:
  peerd share set music --comment "now with lyrics"
  peerd share set music --full none
  peerd share set music --hidden=false
  peerd share set docs --quota 10G --peer-quota 1G --versions-age 90d --brake 50,10%,10m`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "call it `NEW`"},
			&cli.StringFlag{Name: "comment", Usage: "show `TEXT` beside the name"},
			&cli.BoolFlag{Name: "hidden", Usage: "do not announce it"},
		}, append(slots.flags(), settingFlags()...)...),
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
			for _, f := range settingFlags() {
				if name := f.Names()[0]; c.IsSet(name) {
					if set.Settings == nil {
						set.Settings = make(map[string]string)
					}
					set.Settings[name] = c.String(name)
				}
			}
			if set.Name == nil && set.Comment == nil && set.Hidden == nil && set.Settings == nil && slots == (slotOptions{}) {
				return usage(c, "nothing to change was said")
			}
			return runShareSet(c.Context, e, args[0], set, slots)
		},
	}
}

// settingFlags are named like the settings.
func settingFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "quota", Usage: "let files and versions take no more than `SIZE`; none is the default"},
		&cli.StringFlag{Name: "peer-quota", Usage: "let one peer upload no more than `SIZE` a day; none is the default"},
		&cli.StringFlag{Name: "reserve", Usage: "leave `SIZE` of the disk free; 1 GiB is the default, or 5 % of the disk if that is less"},
		&cli.StringFlag{Name: "versions-age", Usage: "drop versions that are older than `TIME`; 365d is the default"},
		&cli.StringFlag{Name: "versions-count", Usage: "keep `N` versions of a file; 100 is the default"},
		&cli.StringFlag{Name: "versions-share", Usage: "let versions take `PERCENT` of the disk; 10% is the default"},
		&cli.StringFlag{Name: "brake", Usage: "stop who changes more than `FILES,PERCENT,TIME`; 100,20%,5m is the default"},
		&cli.StringFlag{Name: "exec", Usage: "let those with full access make files executable: `WORD` is keep, which is the default, or never"},
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
	return e.answer(share, func() {
		printShares(e, []control.Share{share})
		if set.Settings != nil {
			printSettings(e, []control.Share{share})
		}
	})
}
