package main

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/peer/control"
)

func newDoctor(e *env) *cli.Command {
	return &cli.Command{
		Name:      "doctor",
		Usage:     "look for what is wrong",
		UsageText: "peerd doctor [--json]",
		Description: `Examines why a peer may not be seen and where time goes, and says what to do about it. The exit status is 1 if
something is really wrong.

Examples:
  peerd doctor`,
		Action: func(c *cli.Context) error {
			if _, err := arguments(c, 0, 0); err != nil {
				return err
			}
			return runDoctor(c.Context, e)
		},
	}
}

func runDoctor(ctx context.Context, e *env) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	wrong := false
	for f, err := range d.Doctor(ctx) {
		if err != nil {
			return err
		}
		wrong = wrong || f.Level == control.Bad
		err := e.answer(f, func() {
			e.Printf("%-4s  %s: %s", f.Level, f.Check, f.Text)
			if f.Hint != "" {
				e.Printf("      -> %s", f.Hint)
			}
		})
		if err != nil {
			return err
		}
		if err := e.Flush(); err != nil {
			return err
		}
	}
	if wrong {
		return errors.New("something is wrong, see above")
	}
	return nil
}
