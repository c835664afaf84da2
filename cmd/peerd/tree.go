package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/cmd/internal/ui"
	"github.com/peerd/peerd/peer/control"
)

func newTree(e *env) *cli.Command {
	return &cli.Command{
		Name:      "tree",
		Usage:     "draw all below a folder",
		UsageText: "peerd tree [//PEER[/SHARE[/PATH]]]",
		Description: `Draws all that lies below a folder, a share, a peer, or in the whole workgroup. With --json the same as ls -R --json.

Examples:
  peerd tree //anna/docs`,
		Action: func(c *cli.Context) error {
			if _, err := arguments(c, 0, 1); err != nil {
				return err
			}
			ref, err := refArgument(c, 0)
			if err != nil {
				return err
			}
			return runTree(c.Context, e, ref)
		},
	}
}

// branch is one line of the tree.
type branch struct {
	depth int // below where the tree begins, from 1
	name  string
}

func runTree(ctx context.Context, e *env, ref control.Ref) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	var tree []branch
	files := 0
	err = e.entries(d.List(ctx, ref, true), func(x control.Entry) {
		name := x.Ref.Base()
		if x.Kind == control.KindFile {
			files++
		} else {
			name += "/"
		}
		tree = append(tree, branch{max(1, x.Ref.Depth()-ref.Depth()), name})
	})
	if e.JSON {
		return err
	}
	e.Println(ref.String())
	drawTree(e, tree)
	e.Printf("%s, %s", ui.Plural(len(tree)-files, "folder"), ui.Plural(files, "file"))
	return err
}

// drawTree draws from the end, since a line's look depends on what comes below it.
func drawTree(e *env, tree []branch) {
	lines := make([]string, len(tree))
	var more []bool // by depth: another line of that depth comes, before a shallower one
	for i := len(tree) - 1; i >= 0; i-- {
		b := tree[i]
		for len(more) <= b.depth {
			more = append(more, false)
		}
		more = more[:b.depth+1]
		var line string
		for depth := 1; depth < b.depth; depth++ {
			line += pick(more[depth], "│   ", "    ")
		}
		lines[i] = fmt.Sprint(line, pick(more[b.depth], "├── ", "└── "), b.name)
		more[b.depth] = true
	}
	for _, line := range lines {
		e.Println(line)
	}
}

func pick(cond bool, yes, no string) string {
	if cond {
		return yes
	}
	return no
}
