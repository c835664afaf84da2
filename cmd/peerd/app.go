package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/cmd/internal/config"
	"github.com/peerd/peerd/cmd/internal/ui"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/peer/control/client"
)

// env is what every command works with.
type env struct {
	*ui.Terminal
	getenv    func(string) string
	unhurried func() // has a daemon begin anew where that spares processor time; nil does not
	home      string
}

// newApp puts the commands together.
func newApp(e *env) *cli.App {
	app := &cli.App{
		Name:  "peerd",
		Usage: "the workgroup without a server: share folders with the computers of your network",
		Description: "Without a command, peerd starts the daemon in the foreground. The other commands talk to it.\n" +
			"A remote thing is written //PEER/SHARE/PATH.",
		Version:     version().Version,
		HideVersion: true,
		HideHelp:    true, // arrange sends --help to our own help command
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "home", Usage: "keep state, keys and socket in `DIR`", EnvVars: []string{"PEERD_HOME"}, Value: e.home, Destination: &e.home},
			&cli.BoolFlag{Name: "json", Usage: "answer in JSON", Destination: &e.JSON},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print answers and errors alone", Destination: &e.Quiet},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "tell more", Destination: &e.Verbose},
		},
		Commands: []*cli.Command{
			newRun(e), newStatus(e), newPeers(e),
			newLs(e), newTree(e), newStat(e), newFind(e), newCp(e), newCat(e),
			newRm(e), newMv(e), newMkdir(e), newVersions(e), newRestore(e), newWatch(e), newLock(e),
			newLogin(e), newLogout(e), newWhoami(e),
			newMount(e), newUmount(e), newMounts(e), newWebdav(e),
			newShare(e), newBlock(e), newUnblock(e), newAudit(e), newDoctor(e), newVersion(e),
			newHelp(e), newCompletion(e), newComplete(e), newDocs(e),
		},
		Action: func(c *cli.Context) error {
			word := c.Args().First()
			return &peer.Error{Path: word, Kind: peer.Usage, Err: errors.New("no such command"),
				Hint: didYouMean(word, commandNames(c.App.Commands), `run "peerd help"`)}
		},
		OnUsageError:              usageError,
		ExitErrHandler:            func(*cli.Context, error) {}, // run decides
		DisableSliceFlagSeparator: true,                         // folders may have commas in their names
	}
	settle(app.Commands)
	return app
}

// settle gives every command what all have in common.
func settle(commands []*cli.Command) {
	for _, c := range commands {
		c.HideHelp = true
		c.OnUsageError = usageError
		if len(c.Subcommands) > 0 {
			settle(c.Subcommands)
		}
		if len(c.Subcommands) > 0 && c.Action == nil {
			c.Action = func(ctx *cli.Context) error {
				if ctx.NArg() == 0 {
					return usage(ctx, "say what to do")
				}
				err := usage(ctx, "there is no command %q", ctx.Args().First())
				err.Hint = didYouMean(ctx.Args().First(), commandNames(c.Subcommands), err.Hint)
				return err
			}
		}
	}
}

// usageError tells in our words what the library has to say of options.
func usageError(c *cli.Context, err error, _ bool) error {
	if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
		written := "--" + name
		if len(name) == 1 || findFlag(c.Command.Flags, name[:1]) != nil {
			written = "-" + name // one letter, or several of which the first is known
		}
		e := usage(c, "there is no option %s", written)
		e.Hint = didYouMean(written, optionNames(slices.Concat(c.Command.Flags, c.App.Flags)), e.Hint)
		return e
	}
	if name, ok := strings.CutPrefix(err.Error(), "flag needs an argument: -"); ok {
		return usage(c, "the option --%s lacks its value", strings.TrimPrefix(name, "-"))
	}
	return usage(c, "%s", err)
}

// usage is the error of a command that was called in a wrong way.
func usage(c *cli.Context, format string, args ...any) *peer.Error {
	name := strings.TrimPrefix(c.Command.HelpName, "peerd ")
	hint := `run "peerd help"`
	switch {
	case name == "peerd":
		name = ""
	case name != "":
		hint = fmt.Sprintf(`run "peerd help %s"`, name)
	}
	return &peer.Error{Op: name, Kind: peer.Usage, Err: fmt.Errorf(format, args...), Hint: hint}
}

// arguments checks how many there are; a negative most is no limit.
func arguments(c *cli.Context, least, most int) ([]string, error) {
	args := c.Args().Slice()
	switch {
	case len(args) < least:
		err := usage(c, "an argument is missing")
		if text := c.Command.UsageText; text != "" && !strings.Contains(text, "\n") {
			err.Hint = fmt.Sprintf("write %q", text)
		}
		return nil, err
	case most == 0 && len(args) > 0:
		return nil, usage(c, "it takes no arguments, and %q is one", args[0])
	case most >= 0 && len(args) > most:
		return nil, usage(c, "%q is one argument too many", args[most])
	}
	return args, nil
}

// refArgument is the remote name that is argument i, or the whole workgroup where there is none.
func refArgument(c *cli.Context, i int) (control.Ref, error) {
	if i >= c.NArg() {
		return control.Ref{}, nil
	}
	return control.ParseRef(c.Args().Get(i))
}

// fileArguments are the arguments from number i to the one before end, which name things in shares.
func fileArguments(c *cli.Context, i, end int) ([]control.Ref, error) {
	var refs []control.Ref
	for ; i < end; i++ {
		ref, err := refArgument(c, i)
		if err != nil {
			return nil, err
		}
		if ref.Path == "" {
			return nil, usage(c, "%s names nothing in a share; that is written //PEER/SHARE/PATH", ref)
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// shareArgument is the one argument, which names a share.
func shareArgument(c *cli.Context) (control.Ref, error) {
	if _, err := arguments(c, 1, 1); err != nil {
		return control.Ref{}, err
	}
	ref, err := refArgument(c, 0)
	if err == nil && ref.Share == "" {
		err = usage(c, "%s names no share; one is written //PEER/SHARE", ref)
	}
	return ref.ShareRef(), err
}

// localPath is the absolute name of something on this computer.
func localPath(c *cli.Context, text string) (string, error) {
	return config.Abs(strings.TrimPrefix(c.Command.HelpName, "peerd "), text)
}

// daemon is the running peerd.
func (e *env) daemon() (control.Backend, error) {
	paths, err := config.FindPaths(e.home, e.getenv)
	if err != nil {
		return nil, err
	}
	return client.New(paths.Socket), nil
}

// answer prints v as JSON, or calls text to print it for people.
func (e *env) answer(v any, text func()) error {
	if e.JSON {
		return e.Object(v)
	}
	text()
	return nil
}
