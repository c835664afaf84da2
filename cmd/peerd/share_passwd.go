package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/peer/control"
)

type passwdOptions struct {
	file     string
	generate bool
}

func newSharePasswd(e *env) *cli.Command {
	var o passwdOptions
	return &cli.Command{
		Name:      "passwd",
		Usage:     "set a password of a share",
		UsageText: "peerd share passwd NAME read|full [--password-file FILE | --generate]",
		Description: `Sets the password for reading or for full access. Who came in by the old one is cut off and has to give the new one.

Examples:
  peerd share passwd music read
  peerd share passwd music full --generate`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "password-file", Usage: "the password is the first line of `FILE`, - is the standard input", Destination: &o.file},
			&cli.BoolFlag{Name: "generate", Usage: "make a password and print it", Destination: &o.generate},
		},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 2, 2)
			if err != nil {
				return err
			}
			right := control.Right(args[1])
			if right != control.Read && right != control.Full {
				return usage(c, "a password is for read or full, not for %q", args[1])
			}
			if o.generate && o.file != "" {
				return usage(c, "--generate and --password-file exclude each other")
			}
			return runSharePasswd(c.Context, e, args[0], right, o)
		},
	}
}

func runSharePasswd(ctx context.Context, e *env, name string, right control.Right, o passwdOptions) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	if err := ownShare(ctx, d, name); err != nil {
		return err
	}
	var password string
	switch {
	case o.generate:
		password, err = d.GeneratePassword(ctx)
	case o.file != "":
		password, err = e.PasswordFile(o.file)
	default:
		password, err = e.newPassword(ctx, d, fmt.Sprintf("%s access to %s", right, name))
	}
	if err != nil {
		return err
	}
	if err := d.SharePasswd(ctx, name, right, password); err != nil {
		return err
	}
	if !o.generate {
		return nil
	}
	return e.answer(struct {
		Name     string        `json:"name"`
		Right    control.Right `json:"right"`
		Password string        `json:"password"`
	}{name, right, password}, func() { e.Println(password) })
}
