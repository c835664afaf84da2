package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

func newShareAdd(e *env) *cli.Command {
	var add control.ShareAdd
	var slots slotOptions
	return &cli.Command{
		Name:  "add",
		Usage: "offer a folder",
		UsageText: "peerd share add DIR [--name NAME] [--comment TEXT] [--hidden] [--read MODE] [--full MODE]\n" +
			"      [--read-password-file FILE] [--full-password-file FILE]",
		Description: `Offers a folder. MODE is open, password or none; a password file means password. What is not said is none, and if
nothing is said, the command asks, and offers to make good passwords. One of your own has at least 10 characters, and is not
found in ten thousand million guesses: four words, say. A share whose name ends in $ is hidden as well.

Examples:
  peerd share add ~/Public --read open
  peerd share add ~/music --name tunes --comment "all of it" --read password
  peerd share add /srv/docs --read-password-file r.txt --full-password-file f.txt`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "offer it as `NAME` instead of the folder's name", Destination: &add.Name},
			&cli.StringFlag{Name: "comment", Usage: "show `TEXT` beside the name", Destination: &add.Comment},
			&cli.BoolFlag{Name: "hidden", Usage: "do not announce it", Destination: &add.Hidden},
		}, slots.flags()...),
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 1, 1)
			if err != nil {
				return err
			}
			if err := slots.check(c); err != nil {
				return err
			}
			if add.Dir, err = localPath(c, args[0]); err != nil {
				return err
			}
			return runShareAdd(c.Context, e, add, slots)
		},
	}
}

func runShareAdd(ctx context.Context, e *env, add control.ShareAdd, slots slotOptions) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	name := add.Name
	if name == "" {
		name = filepath.Base(add.Dir)
	}
	if err := checkFolder(add.Dir); err != nil { // before anything is asked; the daemon has the last word
		return err
	}
	switch err := ownShare(ctx, d, name); {
	case err == nil:
		return &peer.Error{Op: "share add", Path: name, Kind: peer.Conflict, Err: errors.New("another share has this name"),
			Hint: "choose another with --name NAME"}
	case peer.KindOf(err) != peer.NotFound:
		return err
	}
	if slots == (slotOptions{}) {
		if !e.Interactive() {
			return &peer.Error{Op: "share add", Path: add.Dir, Kind: peer.Usage, Err: errors.New("who may read it is not said"),
				Hint: "say --read open, or --read-password-file FILE, or --read none"}
		}
		if slots.read, err = e.Choose(ctx, fmt.Sprintf("How may others read %s?", name), "password", "open", "none"); err != nil {
			return err
		}
		if slots.full, err = e.Choose(ctx, "How may others change it?", "none", "password", "open"); err != nil {
			return err
		}
	}
	read, full, err := e.slots(ctx, d, name, slots)
	if err != nil {
		return err
	}
	add.Read, add.Full = control.Slot{Mode: control.Closed}, control.Slot{Mode: control.Closed}
	if read != nil {
		add.Read = *read
	}
	if full != nil {
		add.Full = *full
	}
	share, err := d.ShareAdd(ctx, add)
	if err != nil {
		return err
	}
	return e.answer(share, func() { printShares(e, []control.Share{share}) })
}

// checkFolder says why a path is of no use as a share.
func checkFolder(dir string) error {
	bad := func(kind peer.Kind, text string) error {
		return &peer.Error{Op: "share add", Path: dir, Kind: kind, Err: errors.New(text)}
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return bad(peer.NotFound, "there is no such folder")
	case err == nil && !info.IsDir():
		return bad(peer.Usage, "it is no folder")
	case err == nil:
		var f *os.File
		if f, err = os.Open(dir); err == nil {
			return f.Close()
		}
	}
	return bad(peer.KindOf(err), "it can't be read")
}

// slotOptions say how the two rights are had.
type slotOptions struct {
	read, full         string // modes
	readFile, fullFile string // of passwords
}

func (o *slotOptions) flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "read", Usage: "how others may read: `MODE` is open, password or none", Destination: &o.read},
		&cli.StringFlag{Name: "full", Usage: "how others may change it: `MODE` is open, password or none", Destination: &o.full},
		&cli.StringFlag{Name: "read-password-file", Usage: "the password for reading is the first line of `FILE`, - is the standard input", Destination: &o.readFile},
		&cli.StringFlag{Name: "full-password-file", Usage: "the password for full access is the first line of `FILE`, - is the standard input", Destination: &o.fullFile},
	}
}

// check refuses what makes no sense, before anything is asked or done.
func (o *slotOptions) check(c *cli.Context) error {
	for _, s := range []struct{ flag, mode, file string }{{"read", o.read, o.readFile}, {"full", o.full, o.fullFile}} {
		switch control.Mode(s.mode) {
		case "", control.Open, control.Password, control.Closed:
		default:
			return usage(c, "--%s is open, password or none, not %q", s.flag, s.mode)
		}
		if s.file != "" && s.mode != "" && s.mode != string(control.Password) {
			return usage(c, "--%s %s and --%s-password-file exclude each other", s.flag, s.mode, s.flag)
		}
	}
	if o.readFile == "-" && o.fullFile == "-" {
		return usage(c, "only one password can come from the standard input")
	}
	return nil
}

// slots makes of the options what the daemon is told; a slot that no option speaks of is nil.
func (e *env) slots(ctx context.Context, d control.Backend, name string, o slotOptions) (read, full *control.Slot, err error) {
	if !e.Interactive() {
		for _, s := range []struct{ flag, mode, file string }{{"read", o.read, o.readFile}, {"full", o.full, o.fullFile}} {
			if s.mode == string(control.Password) && s.file == "" {
				return nil, nil, &peer.Error{Op: "read the password", Kind: peer.Usage, Err: errors.New("the standard input is no terminal"),
					Hint: fmt.Sprintf("give the password with --%s-password-file FILE", s.flag)}
			}
		}
	}
	if read, err = e.slot(ctx, d, fmt.Sprintf("reading %s", name), o.read, o.readFile); err != nil {
		return nil, nil, err
	}
	full, err = e.slot(ctx, d, fmt.Sprintf("full access to %s", name), o.full, o.fullFile)
	return read, full, err
}

func (e *env) slot(ctx context.Context, d control.Backend, what, mode, file string) (*control.Slot, error) {
	var err error
	switch {
	case file != "":
		s := &control.Slot{Mode: control.Password}
		s.Password, err = e.PasswordFile(file)
		return s, err
	case mode == "":
		return nil, nil
	case mode != string(control.Password):
		return &control.Slot{Mode: control.Mode(mode)}, nil
	}
	s := &control.Slot{Mode: control.Password}
	s.Password, err = e.newPassword(ctx, d, what)
	return s, err
}

// newPassword asks for a password that is to be set; an empty answer makes one and shows it.
func (e *env) newPassword(ctx context.Context, d control.Backend, what string) (string, error) {
	password, err := e.NewPassword(ctx, fmt.Sprintf("Password for %s (empty: make one):", what))
	if err != nil || password != "" {
		return password, err
	}
	if password, err = d.GeneratePassword(ctx); err == nil {
		e.Say("the password for %s is: %s", what, password)
	}
	return password, err
}
