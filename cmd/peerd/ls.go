package main

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/cmd/internal/ui"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

type lsOptions struct {
	long      bool
	recursive bool
	watch     bool
}

func newLs(e *env) *cli.Command {
	var o lsOptions
	return &cli.Command{
		Name:      "ls",
		Usage:     "list peers, shares, folders",
		UsageText: "peerd ls [-l] [-R] [--watch] [//PEER[/SHARE[/PATH]]]",
		Description: `Lists a folder of a share, the shares of a peer, or without an argument all peers and their shares with the right
that this peer holds in each. Folders have a slash behind their names. -l also tells who works on a file just now.
With --watch nothing is listed, and changes are shown as they happen, as by "peerd watch".

Examples:
  peerd ls
  peerd ls //anna
  peerd ls -l //anna/docs
  peerd ls -R --json //anna/docs
  peerd ls --watch //anna/docs`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "long", Aliases: []string{"l"}, Usage: "show kind or right, size and time", Destination: &o.long},
			&cli.BoolFlag{Name: "recursive", Aliases: []string{"R"}, Usage: "list all below as well", Destination: &o.recursive},
			&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "show what changes, until it is stopped", Destination: &o.watch},
		},
		Action: func(c *cli.Context) error {
			if _, err := arguments(c, 0, 1); err != nil {
				return err
			}
			ref, err := refArgument(c, 0)
			if err != nil {
				return err
			}
			if o.watch {
				return runWatch(c.Context, e, ref)
			}
			return runLs(c.Context, e, o, ref)
		},
	}
}

func runLs(ctx context.Context, e *env, o lsOptions, ref control.Ref) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	if ref.IsZero() && !o.recursive {
		return lsWorkgroup(ctx, e, d)
	}
	return e.entries(d.List(ctx, ref, o.recursive), func(x control.Entry) {
		name := nameBelow(ref, x)
		switch {
		case o.long:
			e.Println(longLine(x, name))
		case x.Kind == control.KindShare:
			e.Println(strings.TrimRight(fmt.Sprintf("%-4s  %s  %s", x.Right, name, x.Comment), " "))
		default:
			e.Println(name)
		}
	})
}

func lsWorkgroup(ctx context.Context, e *env, d control.Backend) error {
	peers, err := d.Peers(ctx, true)
	if err != nil {
		return err
	}
	if len(peers) == 0 {
		e.alone()
	}
	return e.answer(peersAnswer{peers}, func() {
		var rows [][]string
		named := make(map[string]int)
		for _, p := range peers {
			named[p.Name]++
		}
		for _, p := range peers {
			ref := control.Ref{Peer: p.Name}
			if named[p.Name] > 1 {
				ref.Peer = p.ID // the name alone would not do
			}
			for _, s := range p.Shares {
				rows = append(rows, []string{string(s.Right), ref.Join(s.Name).String(), s.Comment})
			}
			switch {
			case len(p.Shares) > 0:
			case p.Count == 0:
				rows = append(rows, []string{"-", ref.String(), "offers nothing"})
			case p.Count > 0:
				rows = append(rows, []string{"-", ref.String(), "offers " + ui.Plural(p.Count, "share")})
			default:
				rows = append(rows, []string{"-", ref.String(), "does not say what it offers"})
			}
		}
		e.Table(rows)
	})
}

// entries prints a sequence. What could not be entered is told of, and is an error in the end; but a share that wants a
// password is no more than noted, when it was met on the way and not asked for.
func (e *env) entries(seq iter.Seq2[control.Entry, error], print func(control.Entry)) error {
	var first error
	failed := 0
	for x, err := range seq {
		if err != nil {
			return err
		}
		if err := e.answer(x, func() { print(x) }); err != nil {
			return err
		}
		switch err := x.Error.Err(); {
		case err == nil:
		case x.Kind == control.KindShare && peer.KindOf(err) == peer.Denied:
			e.Note("%v", err)
		default:
			e.Error(err)
			if failed++; first == nil {
				first = err
			}
		}
	}
	if first != nil {
		return &peer.Error{Kind: peer.KindOf(first), Err: fmt.Errorf("%d of the folders could not be entered", failed)}
	}
	return nil
}

// nameBelow is the name of an entry as seen from where the listing began, with a slash behind all but files.
func nameBelow(base control.Ref, x control.Entry) string {
	name := x.Ref.Base()
	parts := strings.Split(strings.TrimPrefix(x.Ref.String(), "//"), "/")
	if n := base.Depth(); n < len(parts) {
		name = strings.Join(parts[n:], "/")
	}
	if x.Kind != control.KindFile {
		name += "/"
	}
	return name
}

func longLine(x control.Entry, name string) string {
	kind, size := string(x.Kind), "-"
	switch x.Kind {
	case control.KindShare:
		kind = string(x.Right)
	case control.KindFile:
		size = ui.Size(x.Size)
	}
	line := fmt.Sprintf("%-5s  %10s  %16s  %s", kind, size, ui.Time(x.ModTime.Time), name)
	if x.Lock != nil {
		line += "  open by " + lockText(x.Lock)
	}
	return line
}
