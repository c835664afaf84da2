package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

func newDocs(e *env) *cli.Command {
	return &cli.Command{
		Name:        "docs",
		Usage:       "make documents of the help texts",
		UsageText:   "peerd docs man|markdown",
		Description: "Prints the manual page, or the part of docs/manual.md that tells of the commands.",
		Hidden:      true,
		Subcommands: []*cli.Command{
			{Name: "man", Usage: "the manual page", UsageText: "peerd docs man > peerd.1", Action: func(c *cli.Context) error {
				e.Text(manPage(c.App))
				return nil
			}},
			{Name: "markdown", Usage: "for the manual", UsageText: "peerd docs markdown", Action: func(c *cli.Context) error {
				e.Text(markdown(c.App))
				return nil
			}},
		},
	}
}

// eachCommand visits every command that people are told of, those with subcommands first.
func eachCommand(commands []*cli.Command, visit func(*cli.Command)) {
	for _, c := range commands {
		if !c.Hidden {
			visit(c)
			eachCommand(c.Subcommands, visit)
		}
	}
}

// splitExamples cuts a command's description in two.
func splitExamples(c *cli.Command) (text, examples string) {
	text, examples, _ = strings.Cut(c.Description, "\n\nExamples:\n")
	return text, examples
}

func markdown(app *cli.App) string {
	var b strings.Builder
	eachCommand(app.Commands, func(c *cli.Command) {
		text, examples := splitExamples(c)
		fmt.Fprintf(&b, "### %s\n\n```\n%s\n```\n\n%s\n\n", strings.TrimPrefix(synopsisName(c), "peerd "), c.UsageText, text)
		if len(c.Flags) > 0 {
			b.WriteString("| option | |\n|---|---|\n")
			for _, f := range c.Flags {
				names, usage := flagText(f)
				fmt.Fprintf(&b, "| `%s` | %s |\n", names, usage)
			}
			b.WriteString("\n")
		}
		if examples != "" {
			fmt.Fprintf(&b, "```\n%s\n```\n\n", strings.ReplaceAll(strings.TrimPrefix(examples, "  "), "\n  ", "\n"))
		}
	})
	return b.String()
}

// synopsisName is the command with those that it stands under, as "peerd share add".
func synopsisName(c *cli.Command) string {
	words := strings.Fields(strings.ReplaceAll(c.UsageText, "[run]", "run"))
	for i, w := range words {
		if w == c.Name {
			return strings.Join(words[:i+1], " ")
		}
	}
	return "peerd " + c.Name
}

// manPage is in the language of man(7).
func manPage(app *cli.App) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH PEERD 1 \"\" \"peerd %s\" \"User Commands\"\n.SH NAME\npeerd \\- %s\n", roff(app.Version), roff(app.Usage))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B peerd\n[options] [command] [arguments]\n.SH DESCRIPTION\n%s\n", roff(app.Description))
	b.WriteString(".SH OPTIONS\n")
	manFlags(&b, app.Flags)
	b.WriteString(".SH COMMANDS\n")
	eachCommand(app.Commands, func(c *cli.Command) {
		text, examples := splitExamples(c)
		fmt.Fprintf(&b, ".SS %s\n.nf\n%s\n.fi\n.PP\n%s\n", roff(synopsisName(c)), roff(c.UsageText), roff(text))
		manFlags(&b, c.Flags)
		if examples != "" {
			fmt.Fprintf(&b, ".PP\nExamples:\n.nf\n%s\n.fi\n", roff(examples))
		}
	})
	b.WriteString(".SH EXIT STATUS\n")
	for _, s := range exitStatuses() {
		fmt.Fprintf(&b, ".TP\n.B %d\n%s\n", s.status, roff(s.means))
	}
	return b.String()
}

func manFlags(b *strings.Builder, flags []cli.Flag) {
	for _, f := range flags {
		names, usage := flagText(f)
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(names), roff(usage))
	}
}

// roff escapes what man(7) would obey.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

type exitStatus struct {
	status int
	means  string
}

// exitStatuses are what docs/manual.md and the manual page say of them; peer.Kind makes the numbers.
func exitStatuses() []exitStatus {
	return []exitStatus{
		{0, "done"},
		{1, "failed"},
		{2, "wrong use of the command"},
		{3, "not found: peer, share or path"},
		{4, "not permitted: no or wrong password, right too low, or revoked"},
		{5, "the peer is unreachable"},
		{6, "conflict: the file changed meanwhile, or another stands in the way"},
		{7, "the daemon is not running"},
		{8, "integrity failure: no source could give the true bytes"},
		{interrupted, "stopped by a signal"},
	}
}
