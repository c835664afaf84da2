package daemon

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/auth"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/offer"
	"github.com/peerd/peerd/share/registry"
)

// ShareList lists the shares of this peer.
func (d *daemon) ShareList(ctx context.Context) ([]control.Share, error) {
	out := []control.Share{}
	for _, s := range d.offers.Registry.List() {
		out = append(out, d.shareOf(ctx, s))
	}
	return out, nil
}

// ShareAdd offers a folder.
func (d *daemon) ShareAdd(ctx context.Context, add control.ShareAdd) (control.Share, error) {
	if add.Name == "" {
		add.Name = filepath.Base(add.Dir)
	}
	name, err := share.ParseName(add.Name)
	if err != nil {
		return control.Share{}, err
	}
	s := registry.Share{Name: name, Dir: add.Dir, Comment: add.Comment, Hidden: add.Hidden}
	if s.Slots.Read, err = registry.ParseMode(string(add.Read.Mode)); err != nil {
		return control.Share{}, err
	}
	if s.Slots.Full, err = registry.ParseMode(string(add.Full.Mode)); err != nil {
		return control.Share{}, err
	}
	if err := d.checkSlots(&s, add.Read, add.Full); err != nil {
		return control.Share{}, err
	}
	s.ID = registry.NewID()
	read, err := d.password(add.Read.Password)
	if err != nil {
		return control.Share{}, err
	}
	full, err := d.password(add.Full.Password)
	if err != nil {
		return control.Share{}, err
	}
	sec, err := offer.NewSecrets(s.ID, read, full)
	if err != nil {
		return control.Share{}, err
	}
	s, err = d.offers.Registry.Add(s, sec, time.Now())
	for _, right := range []share.Right{share.Read, share.Full} {
		if err == nil && s.Slots.Of(right) == registry.ModePassword {
			d.Book.Password(s, right, true)
		}
	}
	return d.shareOf(ctx, s), err
}

// password reads a password that may be missing; the zero one is one that nobody has.
func (d *daemon) password(text string) (auth.Password, error) {
	if text == "" {
		return auth.Password{}, nil
	}
	return d.typed(text)
}

// checkSlots refuses passwords that are missing, superfluous, weak or equal.
func (d *daemon) checkSlots(s *registry.Share, read, full control.Slot) error {
	for _, slot := range []struct {
		mode registry.Mode
		text string
		name string
	}{{s.Slots.Read, read.Password, "read"}, {s.Slots.Full, full.Password, "full"}} {
		bad := func(what, hint string) error {
			return &peer.Error{Op: "share", Path: string(s.Name), Kind: peer.Usage, Err: errors.New("the " + slot.name + " right " + what), Hint: hint}
		}
		switch {
		case slot.mode == registry.ModePassword && slot.text == "":
			return bad("has no password", "give one with --"+slot.name+"-password-file, or let peerd make one")
		case slot.mode != registry.ModePassword && slot.text != "":
			return bad("has a password but is not by password", "set --"+slot.name+" password")
		case slot.text != "":
			p, err := d.typed(slot.text)
			if err == nil {
				err = d.offers.CheckPassword(p, nil, 0)
			}
			if err != nil {
				return ofRight(err, slot.name)
			}
		}
	}
	if read.Password != "" && read.Password == full.Password {
		return samePasswords(s.Name)
	}
	return nil
}

// ofRight has an error of a password say for which of a share's two rights it is.
func ofRight(err error, right string) error {
	e, ok := errors.AsType[*peer.Error](err)
	if !ok {
		return err
	}
	of := *e
	of.Op = "choose the " + right + " password"
	return &of
}

// ShareSet changes a share. All of it is checked before any of it is done.
func (d *daemon) ShareSet(ctx context.Context, name string, set control.ShareSet) (control.Share, error) {
	reg := d.offers.Registry
	s, err := reg.Get(name)
	if err != nil {
		return control.Share{}, err
	}
	var changes []slotChange
	for right, slot := range map[share.Right]*control.Slot{share.Read: set.Read, share.Full: set.Full} {
		if slot == nil {
			continue
		}
		c, err := d.slotChange(s, right, *slot)
		if err != nil {
			return control.Share{}, err
		}
		changes = append(changes, c)
	}
	if set.Read != nil && set.Full != nil && set.Read.Password != "" && set.Read.Password == set.Full.Password {
		return control.Share{}, samePasswords(s.Name)
	}
	settings := s.Settings
	for _, name := range slices.Sorted(maps.Keys(set.Settings)) {
		if err := settings.Set(name, set.Settings[name]); err != nil {
			return control.Share{}, err
		}
	}
	s, err = reg.Set(s.ID, func(s *registry.Share) {
		s.Settings = settings
		if set.Name != nil {
			s.Name = share.Name(*set.Name)
		}
		if set.Comment != nil {
			s.Comment = *set.Comment
		}
		if set.Hidden != nil {
			s.Hidden = *set.Hidden
		}
	}, time.Now())
	for _, c := range changes {
		if err == nil && !c.none {
			s, err = d.setSecret(s.ID, c)
		}
	}
	return d.shareOf(ctx, s), err
}

// slotChange is a new state of a slot.
type slotChange struct {
	right  share.Right
	was    registry.Mode
	mode   registry.Mode
	secret registry.Secret
	none   bool // it is in that state already
}

// slotChange checks what is to become of a slot, and makes the secret for it.
func (d *daemon) slotChange(s registry.Share, right share.Right, slot control.Slot) (slotChange, error) {
	c := slotChange{right: right, was: s.Slots.Of(right)}
	bad := func(what, hint string) (slotChange, error) {
		return c, &peer.Error{Op: "share", Path: string(s.Name), Kind: peer.Usage, Err: errors.New("the " + right.String() + " right " + what), Hint: hint}
	}
	var err error
	if c.mode, err = registry.ParseMode(string(slot.Mode)); err != nil {
		return c, err
	}
	p, err := d.password(slot.Password)
	if err != nil {
		return c, ofRight(err, right.String())
	}
	switch {
	case slot.Password != "" && c.mode != registry.ModePassword:
		return bad("has a password but is not by password", "set --"+right.String()+" password")
	case slot.Password != "":
		err = ofRight(d.offers.CheckPassword(p, &s, slotOf(right)), right.String())
	case c.mode == c.was:
		c.none = true
		return c, nil
	case c.mode == registry.ModePassword:
		return bad("has no password yet", `set one with "peerd share passwd `+string(s.Name)+" "+right.String()+`"`)
	}
	if err == nil { // without a password one that nobody has: the old one shall not come back with the mode
		c.secret, err = offer.NewSecret(s.ID, slotOf(right), p)
	}
	return c, err
}

func (d *daemon) setSecret(id share.ID, c slotChange) (registry.Share, error) {
	s, err := d.offers.Registry.SetSecret(id, c.right, c.secret, c.mode, time.Now())
	d.throttle.Forget(id)
	if set := c.mode == registry.ModePassword; err == nil && (set || c.was == registry.ModePassword) {
		d.Book.Password(s, c.right, set)
	}
	return s, err
}

func samePasswords(name share.Name) error {
	return &peer.Error{Op: "share", Path: string(name), Kind: peer.Usage, Err: errors.New("both passwords are the same"), Hint: "choose another for one of them"}
}

// ShareRemove takes a share away.
func (d *daemon) ShareRemove(_ context.Context, name string) error {
	s, err := d.offers.Registry.Get(name)
	if err != nil {
		return err
	}
	return d.offers.Registry.Remove(s.ID)
}

// SharePasswd sets a password, which ends what was granted by the old one.
func (d *daemon) SharePasswd(_ context.Context, name string, right control.Right, password string) error {
	s, err := d.offers.Registry.Get(name)
	if err != nil {
		return err
	}
	r, err := share.ParseRight(string(right))
	if err != nil || r == share.None {
		return &peer.Error{Op: "set password", Path: string(right), Kind: peer.Usage, Hint: "it is for read or full"}
	}
	if password == "" { // which in a change of the slot means none
		return &peer.Error{Op: "set password", Path: string(s.Name), Kind: peer.Usage, Err: errors.New("it is empty")}
	}
	c, err := d.slotChange(s, r, control.Slot{Mode: control.Password, Password: password})
	if err != nil {
		return err
	}
	_, err = d.setSecret(s.ID, c)
	return err
}

// GeneratePassword makes a password that is easy to say and hard to guess.
func (d *daemon) GeneratePassword(context.Context) (string, error) { return auth.Generate() }

func slotOf(r share.Right) auth.Slot {
	if r == share.Full {
		return auth.Full
	}
	return auth.Read
}
