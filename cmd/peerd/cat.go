package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/peer/control"
)

func newCat(e *env) *cli.Command {
	var span string
	return &cli.Command{
		Name:      "cat",
		Usage:     "print a file",
		UsageText: "peerd cat //PEER/SHARE/PATH [--range FROM-TO]",
		Description: `Writes the bytes of a file to the standard output, each verified before it is written. --range 0-99 are the first
hundred bytes, --range 100- all from the hundred-and-first on. PATH@VERSION is an old version, see "peerd help versions".

Examples:
  peerd cat //anna/docs/todo.txt
  peerd cat //anna/music/long.ogg | mpv -
  peerd cat --range 0-1023 //anna/disks/image.iso | file -`,
		Flags: []cli.Flag{&cli.StringFlag{Name: "range", Usage: "print the bytes `FROM-TO`, counted from 0, both included", Destination: &span}},
		Action: func(c *cli.Context) error {
			if _, err := arguments(c, 1, 1); err != nil {
				return err
			}
			ref, err := refArgument(c, 0)
			if err != nil {
				return err
			}
			offset, length, err := parseRange(span)
			if err != nil {
				return usage(c, "%v", err)
			}
			return runCat(c.Context, e, ref, offset, length)
		},
	}
}

func runCat(ctx context.Context, e *env, ref control.Ref, offset, length int64) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	return d.Cat(ctx, ref, offset, length, e.Raw())
}

// parseRange reads FROM-TO or FROM-, and gives offset and length; the length is negative for all the rest.
func parseRange(s string) (offset, length int64, err error) {
	if s == "" {
		return 0, -1, nil
	}
	from, to, ok := strings.Cut(s, "-")
	first, err := strconv.ParseUint(from, 10, 62)
	if !ok || err != nil {
		return 0, 0, fmt.Errorf("%q is no range; one is written FROM-TO or FROM-", s)
	}
	if to == "" {
		return int64(first), -1, nil
	}
	last, err := strconv.ParseUint(to, 10, 62)
	switch {
	case err != nil:
		return 0, 0, fmt.Errorf("%q is no range; one is written FROM-TO or FROM-", s)
	case last < first:
		return 0, 0, fmt.Errorf("the range %s ends before it begins", s)
	}
	return int64(first), int64(last - first + 1), nil
}
