package main

import (
	"context"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/peer/control"
)

func newWebdav(e *env) *cli.Command {
	var req control.WebdavRequest
	return &cli.Command{
		Name:      "webdav",
		Usage:     "serve shares to file managers, browsers and players",
		UsageText: "peerd webdav [--listen ADDR] [--read-only] [//PEER[/SHARE]]",
		Description: `Serves the workgroup, a peer or a share by WebDAV, and to browsers and players, until it is stopped. Without --listen it
does so for this computer alone, at a URL that nobody can guess, and prints how to use it here. With the address of this
computer on its network others can use it as well, such as telephones: over TLS, by the user and password that it prints,
which are made anew each time. An app for telephones has to speak WebDAV, and to accept a certificate that is peerd's own:
the app or browser that asks whether to trust it should show the fingerprint that is printed. Whoever comes in has your
rights, or with --read-only those to read.

Examples:
  peerd webdav
  peerd webdav //anna/videos
  peerd webdav --listen 192.168.1.7:4443 --read-only`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Usage: "listen on `ADDR`: IP:PORT", Destination: &req.Listen},
			&cli.BoolFlag{Name: "read-only", Usage: "refuse all changes", Destination: &req.ReadOnly},
		},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 0, 1)
			if err != nil {
				return err
			}
			if len(args) > 0 {
				if req.Ref, err = placeArgument(c, args[0]); err != nil {
					return err
				}
			}
			return runWebdav(c.Context, e, req)
		},
	}
}

func runWebdav(ctx context.Context, e *env, req control.WebdavRequest) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	for w, err := range d.Webdav(ctx, req) {
		switch {
		case ctx.Err() != nil:
			return nil // stopping it is how it ends
		case err != nil:
			return err
		}
		if err := e.answer(w, func() { printWebdav(e, w); hintWebdav(e, w) }); err != nil {
			return err
		}
		if err := e.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// hintWebdav tells how it goes on.
func hintWebdav(e *env, w control.Webdav) {
	if w.Password != "" {
		e.Hint("on another computer open the URL, on a telephone give it to an app for WebDAV, with user and password")
		e.Hint("if it asks whether to trust the certificate: the SHA-256 fingerprint must be the one above")
	}
	e.Hint("it is served until you stop this command")
}

// fingerprint writes a sum in hex as most browsers and apps show it: 0A:1B:...
func fingerprint(sum string) string {
	var pairs []string
	for pair := range slices.Chunk([]byte(strings.ToUpper(sum)), 2) {
		pairs = append(pairs, string(pair))
	}
	return strings.Join(pairs, ":")
}

// printWebdav tells where something is served, and how to use it.
func printWebdav(e *env, w control.Webdav) {
	rows := [][]string{{"URL", w.URL}}
	for _, r := range [][]string{{"user", w.User}, {"password", w.Password}, {"fingerprint", fingerprint(w.Certificate)}} {
		if r[1] != "" {
			rows = append(rows, r)
		}
	}
	what := "use it by"
	for _, c := range w.Commands {
		rows = append(rows, []string{what, c})
		what = "or"
	}
	e.Table(rows)
}
