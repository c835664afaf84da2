package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/cmd/internal/ui"
	"github.com/peerd/peerd/peer/control"
)

func newStat(e *env) *cli.Command {
	return &cli.Command{
		Name:      "stat",
		Usage:     "show all about one file, folder, share or peer",
		UsageText: "peerd stat //PEER[/SHARE[/PATH]]",
		Description: `Shows kind, size, time and version of a file or folder, and its BLAKE3 hash when that is known: the one that
"b3sum FILE" prints. If somebody works on the file just now, it says who and since when.

Examples:
  peerd stat //anna/docs/plan.pdf`,
		Action: func(c *cli.Context) error {
			if _, err := arguments(c, 1, 1); err != nil {
				return err
			}
			ref, err := refArgument(c, 0)
			if err != nil {
				return err
			}
			if ref.IsZero() {
				return usage(c, "// is the whole workgroup; name a peer at least")
			}
			return runStat(c.Context, e, ref)
		},
	}
}

func runStat(ctx context.Context, e *env, ref control.Ref) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	x, err := d.Stat(ctx, ref)
	if err != nil {
		return err
	}
	return e.answer(x, func() {
		rows := [][]string{{"name", x.Ref.String()}, {"kind", string(x.Kind)}}
		add := func(key, value string) {
			if value != "" {
				rows = append(rows, []string{key, value})
			}
		}
		if x.Kind == control.KindFile {
			add("size", fmt.Sprintf("%s (%d bytes)", ui.Size(x.Size), x.Size))
		}
		if !x.ModTime.IsZero() {
			add("modified", ui.Time(x.ModTime.Time))
		}
		if x.Lock != nil {
			add("open by", lockText(x.Lock))
		}
		add("right", string(x.Right))
		add("comment", x.Comment)
		add("version", x.Version)
		add("blake3", x.Root)
		e.Table(rows)
	})
}
