package controltest

import (
	"context"
	"errors"
	"slices"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// Suspend suspends a peer in a share, which nobody can do by the API.
func (f *Fake) Suspend(name, who string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.find(name); s != nil {
		s.Suspended = append(s.Suspended, control.Device{ID: who, Since: When()})
	}
}

// device finds a peer by its name or ID. f.mu is held.
func (f *Fake) device(who string) (control.Device, error) {
	for _, p := range f.others {
		if p.Name == who || p.ID == who {
			return control.Device{ID: p.ID, Name: p.Name}, nil
		}
	}
	return control.Device{}, &peer.Error{Path: who, Kind: peer.NotFound, Err: errors.New("no such peer"), Hint: `run "peerd peers"`}
}

// named finds the share and the peer that a call is about. f.mu is held.
func (f *Fake) named(name, who string) (*control.Share, control.Device, error) {
	s := f.find(name)
	if s == nil {
		return nil, control.Device{}, noShare(name)
	}
	d, err := f.device(who)
	return s, d, err
}

func without(list control.List[control.Device], id string) control.List[control.Device] {
	return slices.DeleteFunc(slices.Clone(list), func(d control.Device) bool { return d.ID == id })
}

// ShareAllow allows a peer.
func (f *Fake) ShareAllow(_ context.Context, name, who string, right control.Right) (control.Share, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, d, err := f.named(name, who)
	if err != nil {
		return control.Share{}, err
	}
	d.Right = right
	s.Allowed, s.Denied = append(without(s.Allowed, d.ID), d), without(s.Denied, d.ID)
	return *s, nil
}

// ShareDeny denies a peer.
func (f *Fake) ShareDeny(_ context.Context, name, who string, deny bool) (control.Share, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, d, err := f.named(name, who)
	if err != nil {
		return control.Share{}, err
	}
	if s.Denied = without(s.Denied, d.ID); deny {
		d.Since = When()
		s.Allowed, s.Denied = without(s.Allowed, d.ID), append(s.Denied, d)
	}
	return *s, nil
}

// ShareResume ends a suspension.
func (f *Fake) ShareResume(_ context.Context, name, who string) (control.Share, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, d, err := f.named(name, who)
	if err != nil {
		return control.Share{}, err
	}
	left := without(s.Suspended, d.ID)
	if len(left) == len(s.Suspended) {
		return control.Share{}, &peer.Error{Path: who, Kind: peer.NotFound, Err: errors.New("the peer is not suspended")}
	}
	s.Suspended = left
	return *s, nil
}

// Block blocks a peer.
func (f *Fake) Block(_ context.Context, who string, block bool) (control.Device, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, err := f.device(who)
	if err != nil {
		return d, err
	}
	d.Since = When()
	if f.blocked = without(f.blocked, d.ID); block {
		f.blocked = append(f.blocked, d)
	}
	return d, nil
}

// Blocked lists those that are blocked.
func (f *Fake) Blocked(context.Context) ([]control.Device, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.blocked), nil
}
