package daemon

import (
	"context"
	"errors"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share/remote"
)

// Login proves the knowledge of a password to a share's owner.
func (d *daemon) Login(ctx context.Context, ref control.Ref, password string) (control.Login, error) {
	p, err := d.lan.Lookup(ctx, ref.Peer)
	if err != nil {
		return control.Login{}, err
	}
	pw, err := d.typed(password)
	if err != nil {
		return control.Login{}, err
	}
	a, err := d.client.Login(ctx, p.ID, ref.Share, pw)
	d.Faces.Changed()
	if err != nil {
		return control.Login{}, wrong(err, ref.ShareRef().String())
	}
	return d.loginOf(ref, a), nil
}

// wrong says to whom a login was refused what may be done about it.
func wrong(err error, label string) error {
	err = named(err, label)
	if e, ok := errors.AsType[*peer.Error](err); ok && e.Kind == peer.Denied && e.Hint == "" {
		e.Hint = "ask the owner of the share for its password"
	}
	return err
}

// Logout forgets what a login gave.
func (d *daemon) Logout(ctx context.Context, ref control.Ref) error {
	p, err := d.lan.Lookup(ctx, ref.Peer)
	if err != nil {
		return err
	}
	had, err := d.client.Logout(p.ID, ref.Share)
	d.Faces.Changed()
	if err == nil && !had {
		err = &peer.Error{Path: ref.ShareRef().String(), Kind: peer.NotFound, Err: errors.New("nobody is logged in there")}
	}
	return err
}

// Whoami says what right this peer holds in a share, by its owner's word of now.
func (d *daemon) Whoami(ctx context.Context, ref control.Ref) (control.Login, error) {
	at, err := d.findBy(ctx, ref, d.client.Ask)
	if err != nil {
		if peer.KindOf(err) == peer.Denied {
			return control.Login{Ref: ref.ShareRef(), ID: d.host.ID().String(), Right: control.None, By: "none"}, nil
		}
		return control.Login{}, err
	}
	return d.loginOf(ref, at.Access), nil
}

func (d *daemon) loginOf(ref control.Ref, a remote.Access) control.Login {
	l := control.Login{Ref: ref.ShareRef(), ID: d.host.ID().String(), Right: control.Right(a.Right.String()), By: a.By}
	if !a.Until.IsZero() {
		l.Until = control.At(a.Until)
	}
	return l
}
