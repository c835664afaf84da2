package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

func newRestore(e *env) *cli.Command {
	var force bool
	return &cli.Command{
		Name:      "restore",
		Usage:     "put a version back",
		UsageText: "peerd restore [-f] //PEER/SHARE/PATH@VERSION [DST]",
		Description: `Puts a version of a file back in its place, or to DST, which is in the same share, in another, or on this computer. What
is in its place becomes a version itself, so that a restore can be undone by another; what stands at another DST is left
alone unless -f is given. "peerd versions" shows what there is. Restoring takes the full right.

Examples:
  peerd restore //anna/docs/plan.txt@20261125-204356-9f3c
  peerd restore //anna/docs/plan.txt@20261125-204356-9f3c //anna/docs/plan-before.txt
  peerd restore //anna/docs/plan.txt@20261125-204356-9f3c .`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "replace what stands at DST", Destination: &force}},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 1, 2)
			if err != nil {
				return err
			}
			refs, err := fileArguments(c, 0, 1)
			if err != nil {
				return err
			}
			req := control.RestoreRequest{Force: force}
			ok := false
			if req.Ref, req.Version, ok = control.SplitVersion(refs[0]); !ok {
				return noVersion(refs[0])
			}
			if len(args) == 1 {
				return runRestore(c.Context, e, req)
			}
			if control.IsRemote(args[1]) {
				if req.Dest, err = refArgument(c, 1); err != nil {
					return err
				}
			}
			if req.Dest.ShareRef() == req.Ref.ShareRef() {
				if req.Dest.Path == "" || strings.HasSuffix(args[1], "/") {
					req.Dest = req.Dest.Join(req.Ref.Base())
				}
				return runRestore(c.Context, e, req)
			}
			copied := control.CopyRequest{Force: force, Each: e.JSON || e.Verbose}
			if err := copySides(c, &copied, args[:1], args[1]); err != nil {
				return err
			}
			return runCp(c.Context, e, copied, false)
		},
	}
}

// noVersion is the error of a restore that does not say of what.
func noVersion(ref control.Ref) error {
	err := &peer.Error{Path: ref.String(), Op: "restore", Kind: peer.Usage, Err: errors.New("no version is named"),
		Hint: `write PATH@VERSION; "peerd versions PATH" shows them`}
	if word, ok := shellWord(ref.String()); ok {
		err.Hint = fmt.Sprintf(`write PATH@VERSION; this shows them: peerd versions %s`, word)
	}
	return err
}

func runRestore(ctx context.Context, e *env, req control.RestoreRequest) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	return e.changes(func(yield func(control.Change, error) bool) {
		yield(d.Restore(ctx, req))
	}, e.detail)
}
