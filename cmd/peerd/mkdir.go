package main

import (
	"context"
	"fmt"
	"iter"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

func newMkdir(e *env) *cli.Command {
	var parents bool
	return &cli.Command{
		Name:      "mkdir",
		Usage:     "make folders in shares",
		UsageText: "peerd mkdir [-p] //PEER/SHARE/PATH...",
		Description: `Makes folders in shares in which this peer has the full right. With -p the folders above are made as well where they
lack, and a folder that is there already is fine.

Examples:
  peerd mkdir //anna/docs/2026
  peerd mkdir -p //anna/docs/2026/spring/week-1`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "parents", Aliases: []string{"p"}, Usage: "make those above as well, and mind none that is there", Destination: &parents}},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 1, -1)
			if err != nil {
				return err
			}
			refs, err := fileArguments(c, 0, len(args))
			if err != nil {
				return err
			}
			return runMkdir(c.Context, e, refs, parents)
		},
	}
}

func runMkdir(ctx context.Context, e *env, refs []control.Ref, parents bool) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	return e.changes(mkdirs(ctx, d, refs, parents), e.detail)
}

// mkdirs makes one folder after the other, and tells of each as all other changes are told of.
func mkdirs(ctx context.Context, d control.Backend, refs []control.Ref, parents bool) iter.Seq2[control.Change, error] {
	return func(yield func(control.Change, error) bool) {
		var first error
		failed := 0
		for _, ref := range refs {
			c := control.Change{Done: control.Made, Ref: ref, Kind: control.KindDir}
			if err := d.Mkdir(ctx, ref, parents); err != nil {
				if kind := peer.KindOf(err); len(refs) == 1 || ctx.Err() != nil || kind == peer.NotRunning {
					yield(control.Change{}, err)
					return
				}
				c.Done, c.Error = "", control.FromError(err)
				if failed++; first == nil {
					first = err
				}
			}
			if !yield(c, nil) {
				return
			}
		}
		if first != nil {
			yield(control.Change{}, &peer.Error{Kind: peer.KindOf(first), Err: fmt.Errorf("%d of %d folders could not be made", failed, len(refs))})
		}
	}
}
