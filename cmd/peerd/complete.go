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
		return withPrefix(current, c.optionValues(strings.Join(path, " "), awaits))
	case strings.HasPrefix(current, "-"):
		return withPrefix(current, optionNames(known))
	case len(commands) > 0 && args == 0:
		return withPrefix(current, commandNames(commands))
	}
	return c.argument(strings.Join(path, " "), args, current)
}

// argument completes argument number i of a command.
func (c *completer) argument(command string, i int, current string) []string {
	all := []string{"cp", "rm", "mv", "mkdir"}                                             // each argument is a remote name
	first := []string{"ls", "tree", "stat", "cat", "watch", "versions", "restore", "lock"} // the first is
	versions := []string{"cp", "cat", "restore"}                                           // and takes @VERSION
	switch {
	case (command == "cp" || command == "restore" && i == 1) && !strings.HasPrefix(current, "/"):
		return nil // a local file
	case slices.Contains(versions, command) && strings.Contains(current, "@"):
		return append(c.remote(current, 0), c.versions(current)...)
	case slices.Contains(all, command), i == 0 && slices.Contains(first, command), (command == "find" || command == "restore") && i == 1:
		return c.remote(current, 0)
	case i == 0 && slices.Contains([]string{"login", "logout", "whoami"}, command):
		return c.remote(current, 2)
	case i == 0 && slices.Contains([]string{"mount", "webdav"}, command):
		return c.remote(current, 2)
	case i == 0 && command == "umount":
		return withPrefix(current, c.mountedFolders())
	case i == 0 && slices.Contains([]string{"share set", "share passwd", "share undo", "share rm", "share allow", "share deny", "share resume"}, command):
		return withPrefix(current, c.shareNames())
	case i == 1 && slices.Contains([]string{"share allow", "share deny", "share resume"}, command), i == 0 && command == "block":
		return withPrefix(current, c.peerNames())
	case i == 0 && command == "unblock":
		return withPrefix(current, c.blockedNames())
	case i == 1 && command == "share passwd", i == 2 && command == "share allow":
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

// versions completes the version behind the last @ of a remote name.
func (c *completer) versions(current string) []string {
	file := current[:strings.LastIndexByte(current, '@')]
	ref, err := control.ParseRef(file)
	if err != nil || ref.Path == "" {
		return nil
	}
	d, err := c.e.daemon()
	if err != nil {
		return nil
	}
	var out []string
	for v, err := range d.Versions(c.ctx, ref, false) {
		if err != nil {
			break
		}
		out = append(out, file+"@"+v.ID)
	}
	return withPrefix(current, out)
}

func (c *completer) peerNames() []string {
	d, err := c.e.daemon()
	if err != nil {
		return nil
	}
	peers, err := d.Peers(c.ctx, false)
	if err != nil {
		return nil
	}
	var out []string
	for _, p := range peers {
		out = append(out, p.Name)
	}
	return out
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

func (c *completer) mountedFolders() []string {
	d, err := c.e.daemon()
	if err != nil {
		return nil
	}
	list, err := d.MountList(c.ctx)
	if err != nil {
		return nil
	}
	var out []string
	for _, m := range list.Mounts {
		out = append(out, m.Dir)
	}
	return out
}

func (c *completer) blockedNames() []string {
	d, err := c.e.daemon()
	if err != nil {
		return nil
	}
	blocked, err := d.Blocked(c.ctx)
	if err != nil {
		return nil
	}
	var out []string
	for _, b := range blocked {
		if b.Name != "" {
			out = append(out, b.Name)
		} else {
			out = append(out, b.ID)
		}
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

func (c *completer) optionValues(command, option string) []string {
	switch option {
	case "peer":
		return c.peerNames()
	case "share":
		if command == "audit" { // else it is a folder
			return c.shareNames()
		}
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
