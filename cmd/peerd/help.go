package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/peer"
)

func newHelp(e *env) *cli.Command {
	return &cli.Command{
		Name:      "help",
		Usage:     "show what a command does",
		UsageText: "peerd help [COMMAND]",
		Description: `Shows the commands, or one of them with its options and examples. "peerd COMMAND --help" shows the same.

Examples:
  peerd help cp
  peerd help share add`,
		Action: func(c *cli.Context) error {
			var command *cli.Command
			commands := c.App.Commands
			for _, name := range c.Args().Slice() {
				if command = find(commands, name); command == nil {
					return &peer.Error{Op: "help", Path: strings.Join(c.Args().Slice(), " "), Kind: peer.Usage,
						Err: errors.New("no such command"), Hint: didYouMean(name, commandNames(commands), `run "peerd help"`)}
				}
				commands = command.Subcommands
			}
			if command == nil {
				e.Text(appHelp(c.App))
			} else {
				e.Text(commandHelp(command))
			}
			return nil
		},
	}
}

func appHelp(app *cli.App) string {
	var b strings.Builder
	fmt.Fprintf(&b, "peerd: %s\n\n%s\n\nCommands:\n", app.Usage, app.Description)
	writeCommands(&b, app.Commands)
	b.WriteString("\nOptions of all commands:\n")
	writeFlags(&b, app.Flags)
	b.WriteString("\n\"peerd help COMMAND\" shows more.\n")
	return b.String()
}

func commandHelp(c *cli.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s\n\n%s\n", c.UsageText, c.Description)
	if len(c.Subcommands) > 0 {
		b.WriteString("\nCommands:\n")
		writeCommands(&b, c.Subcommands)
	}
	if len(c.Flags) > 0 {
		b.WriteString("\nOptions:\n")
		writeFlags(&b, c.Flags)
	}
	return b.String()
}

func writeCommands(b *strings.Builder, commands []*cli.Command) {
	for _, c := range commands {
		if !c.Hidden {
			fmt.Fprintf(b, "  %-11s %s\n", c.Name, c.Usage)
		}
	}
}

func writeFlags(b *strings.Builder, flags []cli.Flag) {
	for _, f := range flags {
		names, usage := flagText(f)
		fmt.Fprintf(b, "  %-27s %s\n", names, usage)
	}
}

// flagText is how an option is written, and what it does. The word between backquotes stands for its value.
func flagText(f cli.Flag) (names, usage string) {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return "--" + f.Names()[0], ""
	}
	before, rest, _ := strings.Cut(doc.GetUsage(), "`")
	value, after, _ := strings.Cut(rest, "`")
	for _, n := range f.Names() {
		if len(n) == 1 {
			names = "-" + n + ", " + names
		} else {
			names += "--" + n
		}
	}
	if value != "" {
		names += " " + value
	}
	return names, before + value + after
}
