package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// completePatience is how long somebody waits after pressing the tab key.
const completePatience = 2 * time.Second

// completeCommand is the hidden command that the completion scripts call: the name of the shell, then the words of the
// line after "peerd", the last one being the word under the cursor.
const completeCommand = "__complete"

func newComplete(e *env) *cli.Command {
	return &cli.Command{
		Name:   completeCommand,
		Hidden: true,
		Action: func(c *cli.Context) error {
			words := c.Args().Slice()
			if len(words) < 2 {
				return nil
			}
			if words[0] == "bash" { // it passes words as they were typed
				for i := range words {
					words[i] = unquote(words[i])
				}
			}
			ctx, cancel := context.WithTimeout(c.Context, completePatience)
			defer cancel()
			for _, word := range (&completer{ctx, e, c.App}).complete(words[1:]) {
				if peer.Quote(word) == word { // a word that does not print is one that nobody should run
					e.Println(word)
				}
			}
			return nil
		},
	}
}

type completer struct {
	ctx context.Context
	e   *env
	app *cli.App
}

// complete gives what the last word could become. An error gives nothing, since there is nobody to tell.
func (c *completer) complete(words []string) []string {
	current := words[len(words)-1]
	var path []string
	args, commands, known := 0, c.app.Commands, c.app.Flags
	awaits := "" // the option whose value is the next word
	for _, word := range words[:len(words)-1] {
		next := find(commands, word)
		name, value, hasValue := strings.Cut(strings.TrimLeft(word, "-"), "=")
		switch {
		case awaits != "":
			if awaits == "home" {
				c.e.home = word
			}
			awaits = ""
		case strings.HasPrefix(word, "-"):
			if f := findFlag(known, name); f != nil && takesValue(f) && !hasValue {
				awaits = name
			} else if name == "home" {
				c.e.home = value
			}
		case next != nil && args == 0:
			path, commands, known = append(path, word), next.Subcommands, append(next.Flags[:len(next.Flags):len(next.Flags)], c.app.Flags...)
		default:
			args++
		}
	}
	switch {
	case awaits != "":
		return withPrefix(current, optionValues(awaits))
	case strings.HasPrefix(current, "-"):
		return withPrefix(current, optionNames(known))
	case len(commands) > 0:
		return withPrefix(current, commandNames(commands))
	}
	return c.argument(strings.Join(path, " "), args, current)
}

// argument completes argument number i of a command.
func (c *completer) argument(command string, i int, current string) []string {
	switch {
	case command == "cp" && !strings.HasPrefix(current, "/"):
		return nil // a local file
	case i == 0 && slices.Contains([]string{"ls", "tree", "stat", "cat"}, command), command == "cp", command == "find" && i == 1:
		return c.remote(current, 0)
	case i == 0 && slices.Contains([]string{"login", "logout", "whoami"}, command):
		return c.remote(current, 2)
	case i == 0 && slices.Contains([]string{"share set", "share passwd", "share rm"}, command):
		return withPrefix(current, c.shareNames())
	case i == 1 && command == "share passwd":
		return withPrefix(current, []string{string(control.Read), string(control.Full)})
	case command == "help":
		return withPrefix(current, commandNames(c.app.Commands))
	case i == 0 && command == "completion":
		return withPrefix(current, []string{"bash", "zsh", "fish"})
	}
	return nil
}

// remote completes a remote name, no deeper than so many components; 0 is no limit.
func (c *completer) remote(current string, deepest int) []string {
	if strings.HasPrefix("//", current) {
		current = "//"
	}
	folder := current[:strings.LastIndexByte(current, '/')+1]
	ref, err := control.ParseRef(folder)
	if err != nil || deepest > 0 && ref.Depth() >= deepest {
		return nil
	}
	d, err := c.e.daemon()
	if err != nil {
		return nil
	}
	var out []string
	for x, err := range d.List(c.ctx, ref, false) {
		if err != nil {
			break
		}
		word := folder + x.Ref.Base()
		if x.Kind != control.KindFile && (deepest == 0 || x.Ref.Depth() < deepest) {
			word += "/"
		}
		out = append(out, word)
	}
	return withPrefix(current, out)
}

func (c *completer) shareNames() []string {
	d, err := c.e.daemon()
	if err != nil {
		return nil
	}
	shares, err := d.ShareList(c.ctx)
	if err != nil {
		return nil
	}
	var out []string
	for _, s := range shares {
		out = append(out, s.Name)
	}
	return out
}

func commandNames(commands []*cli.Command) []string {
	var out []string
	for _, c := range commands {
		if !c.Hidden {
			out = append(out, c.Name)
		}
	}
	return out
}

func optionNames(flags []cli.Flag) []string {
	var out []string
	for _, f := range flags {
		out = append(out, "--"+f.Names()[0])
	}
	return out
}

func optionValues(option string) []string {
	switch option {
	case "read", "full":
		return []string{string(control.Open), string(control.Password), string(control.Closed)}
	case "advertise":
		return []string{"names", "count", "none"}
	}
	return nil
}

func withPrefix(prefix string, words []string) []string {
	var out []string
	for _, w := range words {
		if strings.HasPrefix(w, prefix) {
			out = append(out, w)
		}
	}
	return out
}

// unquote undoes the quoting of a word that may not be finished.
func unquote(s string) string {
	var b strings.Builder
	var quote rune // ' or ", or 0 outside
	escaped := false
	for _, r := range s {
		switch {
		case escaped:
			b.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped = true
		case quote == 0 && (r == '\'' || r == '"'):
			quote = r
		case quote != 0 && r == quote:
			quote = 0
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
