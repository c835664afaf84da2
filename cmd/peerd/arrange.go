package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// arrange puts a command line into the one order that the library reads: global options, command, its options, "--",
// arguments. So people may write options where they think of them, as in "peerd cp //anna/docs . -r --json". Without a
// command it is run; --help and --version anywhere ask for these. An option that lacks its value ends the line, so that the
// library sees it: values that start with two dashes are written --name=--value.
func arrange(app *cli.App, args []string) []string {
	if len(args) > 0 && args[0] == completeCommand {
		return slices.Insert(args, 1, "--") // the words of another line
	}
	var global, path, own, rest []string
	var command *cli.Command
	known := append(slices.Clone(app.Flags), app.Command("run").Flags...)
	commands := app.Commands
	help, version, ended, slip := false, false, false, false
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if ended || len(arg) < 2 || arg[0] != '-' {
			if next := find(commands, arg); next != nil && !ended && len(rest) == 0 {
				command, commands = next, next.Subcommands
				known = append(slices.Clone(app.Flags), command.Flags...)
				path = append(path, arg)
				continue
			}
			rest = append(rest, arg)
			continue
		}
		if arg == "--" {
			ended = true
			continue
		}
		for _, arg := range unbundle(known, arg) {
			name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
			switch name {
			case "help", "h":
				help = true
				continue
			case "version":
				version = true
				continue
			}
			option, f := []string{arg}, findFlag(known, name)
			isGlobal := findFlag(app.Flags, name) != nil
			if f != nil && takesValue(f) && !hasValue {
				if i++; i == len(args) || strings.HasPrefix(args[i], "--") {
					return lacking(path, arg, isGlobal)
				}
				option = append(option, args[i])
			}
			slip = slip || f == nil && command == nil && len(rest) == 0
			if isGlobal {
				global = append(global, option...)
			} else {
				own = append(own, option...)
			}
		}
	}
	switch {
	case help:
		return slices.Concat(global, []string{"help", "--"}, path)
	case version:
		return append(global, "version")
	case command == nil && len(rest) > 0 && !slip: // else what follows may be the value of the option that nobody knows
		return append(append(global, "--"), rest...) // the app itself says that there is no such command
	case command == nil:
		path = []string{"run"}
	}
	return slices.Concat(global, path, own, []string{"--"}, rest)
}

// lacking is a line that has the library tell of an option without its value.
func lacking(path []string, option string, global bool) []string {
	switch {
	case global:
		return []string{option}
	case len(path) == 0:
		path = []string{"run"}
	}
	return append(path, option)
}

// unbundle gives -r -f for -rf, if that is what it stands for.
func unbundle(known []cli.Flag, arg string) []string {
	letters := arg[1:]
	if letters[0] == '-' || len(letters) == 1 || findFlag(known, letters) != nil {
		return []string{arg}
	}
	var out []string
	for _, r := range letters {
		f := findFlag(known, string(r))
		if f == nil || takesValue(f) {
			return []string{arg}
		}
		out = append(out, "-"+string(r))
	}
	return out
}

func find(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

func findFlag(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func takesValue(f cli.Flag) bool {
	doc, ok := f.(cli.DocGenerationFlag)
	return ok && doc.TakesValue()
}
