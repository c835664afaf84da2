package main

import (
	"context"
	"runtime"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/peer/control"
)

func newMount(e *env) *cli.Command {
	var req control.MountRequest
	var all bool
	return &cli.Command{
		Name:      "mount",
		Usage:     "show shares as a folder of this computer",
		UsageText: "peerd mount [--read-only] [--allow-other] [--persist] //PEER[/SHARE] DIR\npeerd mount [...] --all DIR",
		Description: `Shows a share, all shares of a peer, or with --all those of the whole workgroup as the folder DIR, which has to be empty; one
that is missing is made. On Windows DIR is a drive, such as P:. Programs use what is in it as they use any file: they list, read, seek, and with the full right write. The daemon
does it, so the folder stays until it stops or "peerd umount" takes it away; with --persist it is back whenever the
daemon starts.

What is saved is on this computer's disk at once and at its owner soon after, when the owner is away as soon as it is back;
"peerd mounts" tells what waits. A file that changed at its owner meanwhile is not overwritten: what was saved lies
beside it under a name with "conflict" in it. While a peer is away, what was seen of it before can be read, and the rest
fails with an input/output error, at once or after 20 seconds at most. Only your own programs get in, unless --allow-other lets in
everybody on this computer, with your rights.

On a system without FUSE it says what is missing, and the daemon serves the same by WebDAV and mounts that, or says by which
command you can. The manual tells which errors mean what, and what a mount can't do.

Examples:
  peerd mount //anna/docs ~/docs
  peerd mount --persist --all ~/Peers
  peerd mount --read-only //anna ~/anna`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "show the whole workgroup, a folder for each peer", Destination: &all},
			&cli.BoolFlag{Name: "read-only", Usage: "refuse all changes", Destination: &req.ReadOnly},
			&cli.BoolFlag{Name: "allow-other", Usage: "let the other users of this computer in", Destination: &req.AllowOther},
			&cli.BoolFlag{Name: "persist", Usage: "mount it again whenever the daemon starts", Destination: &req.Persist},
		},
		Action: func(c *cli.Context) error {
			names := 2
			if all {
				names = 1
			}
			args, err := arguments(c, names, names)
			if err != nil {
				return err
			}
			if !all {
				if req.Ref, err = placeArgument(c, args[0]); err != nil {
					return err
				}
			}
			if req.Dir, err = folderArgument(c, args[names-1]); err != nil {
				return err
			}
			return runMount(c.Context, e, req)
		},
	}
}

// placeArgument is the name of a peer or a share.
func placeArgument(c *cli.Context, text string) (control.Ref, error) {
	ref, err := control.ParseRef(text)
	switch {
	case err != nil:
		return ref, err
	case ref.Peer == "":
		return ref, usage(c, "%s names no peer; use --all for the whole workgroup", ref)
	case ref.Path != "":
		return ref, usage(c, "%s is in a share; a peer or a whole share can be had: %s", ref, ref.ShareRef())
	}
	return ref, nil
}

// folderArgument is the absolute name of a local folder.
func folderArgument(c *cli.Context, text string) (string, error) {
	switch {
	case text == "":
		return "", usage(c, "the folder's name is empty")
	case control.IsRemote(text):
		return "", usage(c, "%s is in a share; a folder of this computer is wanted", text)
	case runtime.GOOS == "windows" && len(text) == 2 && text[1] == ':':
		return text, nil // a drive
	}
	return localPath(c, text)
}

func runMount(ctx context.Context, e *env, req control.MountRequest) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	m, err := d.Mount(ctx, req)
	if err != nil {
		return err
	}
	return e.answer(m, func() {
		if m.State != control.ViaWebdav {
			e.Detail("%s is at %s", mountName(m.Ref), m.Dir)
			return
		}
		if err := m.Error.Err(); err != nil {
			e.Note("%v", err)
		}
		e.Note("%s is served by WebDAV instead, until \"peerd umount %s\"", mountName(m.Ref), m.Dir)
		printWebdav(e, *m.Webdav)
	})
}

// mountName is what is mounted, in words.
func mountName(ref control.Ref) string {
	if ref.IsZero() {
		return "the workgroup"
	}
	return ref.String()
}
