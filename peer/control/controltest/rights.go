package controltest

import (
	"context"
	"errors"
	"iter"
	"maps"
	"path/filepath"
	"slices"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// Status implements [control.Workgroup].
func (f *Fake) Status(context.Context) (control.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.State
	s.Shares = append(s.Shares, f.shares...)
	return s, nil
}

// Peers implements [control.Workgroup].
func (f *Fake) Peers(context.Context, bool) ([]control.Peer, error) { return f.peers(), nil }

// WatchPeers implements [control.Workgroup]. It ends when Events is closed.
func (f *Fake) WatchPeers(ctx context.Context) iter.Seq2[control.PeerEvent, error] {
	return func(yield func(control.PeerEvent, error) bool) {
		for _, p := range f.peers() {
			if !yield(control.PeerEvent{Event: control.PeerHere, Peer: p}, nil) {
				return
			}
		}
		for {
			select {
			case <-ctx.Done():
				return
			case e, ok := <-f.Events:
				if !ok || !yield(e, nil) {
					return
				}
			}
		}
	}
}

// Doctor implements [control.Workgroup].
func (f *Fake) Doctor(context.Context) iter.Seq2[control.Finding, error] {
	return func(yield func(control.Finding, error) bool) {
		for _, x := range f.Findings {
			if !yield(x, nil) {
				return
			}
		}
	}
}

// Login implements [control.Logins].
func (f *Fake) Login(ctx context.Context, ref control.Ref, password string) (control.Login, error) {
	if _, err := f.check(ref.ShareRef()); err != nil {
		return control.Login{}, err
	}
	if password != Secret {
		return control.Login{}, &peer.Error{Path: ref.String(), Kind: peer.Denied, Err: errors.New("wrong password")}
	}
	f.mu.Lock()
	f.loggedIn = true
	f.mu.Unlock()
	return f.Whoami(ctx, ref)
}

// Logout implements [control.Logins].
func (f *Fake) Logout(_ context.Context, ref control.Ref) error {
	if _, err := f.check(ref.ShareRef()); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loggedIn = false
	return nil
}

// Whoami implements [control.Logins].
func (f *Fake) Whoami(_ context.Context, ref control.Ref) (control.Login, error) {
	e, err := f.check(ref.ShareRef())
	if err != nil {
		return control.Login{}, err
	}
	l := control.Login{Ref: e.Ref, ID: f.State.ID, Right: e.Right, By: "open"}
	switch {
	case e.Right == control.None:
		l.By = "none"
	case ref.Share == "safe":
		l.By, l.Until = "password", When()
	}
	return l, nil
}

// ShareList implements [control.Shares].
func (f *Fake) ShareList(context.Context) ([]control.Share, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.shares), nil
}

// ShareAdd implements [control.Shares].
func (f *Fake) ShareAdd(_ context.Context, add control.ShareAdd) (control.Share, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := control.Share{Name: add.Name, ID: "0f0e0d0c0b0a09080706050403020100", Dir: add.Dir, Comment: add.Comment, Hidden: add.Hidden,
		Read: add.Read.Mode, Full: add.Full.Mode, Created: When()}
	if s.Name == "" {
		s.Name = filepath.Base(add.Dir)
	}
	if f.find(s.Name) != nil {
		return control.Share{}, &peer.Error{Path: s.Name, Kind: peer.Conflict, Err: errors.New("another share has this name")}
	}
	f.passwords[s.Name+" read"], f.passwords[s.Name+" full"] = add.Read.Password, add.Full.Password
	f.shares = append(f.shares, s)
	return s, nil
}

func (f *Fake) find(name string) *control.Share {
	i := slices.IndexFunc(f.shares, func(s control.Share) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return &f.shares[i]
}

func noShare(name string) error {
	return &peer.Error{Path: name, Kind: peer.NotFound, Err: errors.New("no such share"), Hint: `run "peerd share ls"`}
}

// ShareSet implements [control.Shares].
func (f *Fake) ShareSet(_ context.Context, name string, set control.ShareSet) (control.Share, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.find(name)
	if s == nil {
		return control.Share{}, noShare(name)
	}
	if set.Comment != nil {
		s.Comment = *set.Comment
	}
	if set.Hidden != nil {
		s.Hidden = *set.Hidden
	}
	if set.Read != nil {
		s.Read, f.passwords[name+" read"] = set.Read.Mode, set.Read.Password
	}
	if set.Full != nil {
		s.Full, f.passwords[name+" full"] = set.Full.Mode, set.Full.Password
	}
	for name, text := range set.Settings {
		if text == "bad" {
			return control.Share{}, &peer.Error{Op: "set " + name, Path: text, Kind: peer.Usage, Err: errors.New("it is no value"), Hint: "write another"}
		}
		if s.Settings.Set = maps.Clone(s.Settings.Set); s.Settings.Set == nil {
			s.Settings.Set = make(map[string]string)
		}
		s.Settings.Set[name] = text
	}
	if set.Name != nil {
		s.Name = *set.Name
	}
	return *s, nil
}

// ShareRemove implements [control.Shares].
func (f *Fake) ShareRemove(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.find(name) == nil {
		return noShare(name)
	}
	f.shares = slices.DeleteFunc(f.shares, func(s control.Share) bool { return s.Name == name })
	return nil
}

// SharePasswd implements [control.Shares].
func (f *Fake) SharePasswd(_ context.Context, name string, right control.Right, password string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.find(name) == nil {
		return noShare(name)
	}
	f.passwords[name+" "+string(right)] = password
	return nil
}

// GeneratePassword implements [control.Shares].
func (f *Fake) GeneratePassword(context.Context) (string, error) { return Generated, nil }
