package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/cmd/internal/ui"
	"github.com/peerd/peerd/peer/control"
)

func newLogin(e *env) *cli.Command {
	var file string
	return &cli.Command{
		Name:      "login",
		Usage:     "give the password of a share",
		UsageText: "peerd login //PEER/SHARE [--password-file FILE]",
		Description: `Asks for the password of a share and proves to its owner that it is known, without sending it. What the owner gives for
it is bound to this peer and kept, until the owner changes the password, or for 30 days.

Examples:
  peerd login //anna/safe
  pass show anna | peerd login //anna/safe --password-file -`,
		Flags: []cli.Flag{&cli.StringFlag{Name: "password-file", Usage: "read the password from the first line of `FILE`, - is the standard input", Destination: &file}},
		Action: func(c *cli.Context) error {
			ref, err := shareArgument(c)
			if err != nil {
				return err
			}
			return runLogin(c.Context, e, ref, file)
		},
	}
}

func runLogin(ctx context.Context, e *env, ref control.Ref, file string) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	var password string
	if file != "" {
		password, err = e.PasswordFile(file)
	} else {
		password, err = e.Password(ctx, fmt.Sprintf("Password for %s:", ref))
	}
	if err != nil {
		return err
	}
	l, err := d.Login(ctx, ref, password)
	if err != nil {
		return err
	}
	return e.answer(l, func() { printLogin(e, l) })
}

func printLogin(e *env, l control.Login) {
	line := fmt.Sprintf("%s: %s", l.Ref, l.Right)
	switch l.By {
	case "", string(control.None):
	case string(control.Open):
		line += ", open to everybody"
	default:
		line += ", by " + l.By
	}
	if !l.Until.IsZero() {
		line += ", until " + ui.Time(l.Until.Time)
	}
	e.Println(line)
}
