// Package changing changes what lies in shares for the user of this peer, and watches it.
package changing

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/peerd/peerd/cmd/internal/daemon/copying"
	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/offer"
	"github.com/peerd/peerd/share/remote"
)

// World is what changing needs of the daemon.
type World interface {
	// Find resolves a Ref with a share in it and gets in.
	Find(ctx context.Context, ref control.Ref) (copying.Place, error)
	// FindFull is Find for who wants to change something, and fails without the full right.
	FindFull(ctx context.Context, ref control.Ref) (copying.Place, error)
	// FS is the share, to be changed.
	FS(at copying.Place) *remote.FS
	// Ended says what an error of the share means to the user.
	Ended(at copying.Place, err error) error
	// Copy copies files from one share to another.
	Copy(ctx context.Context, req control.CopyRequest, event func(control.CopyEvent)) error
	// Lookup finds a peer.
	Lookup(ctx context.Context, who string) (discovery.Peer, error)
}

// Changes is the part of the API that changes shares, and watches them; see [control.Changes].
type Changes struct {
	world  World
	self   peer.Info
	offers *offer.Offers
	audit  string // the folder of the audit
}

// New makes the Changes of the peer self, whose own shares are offers.
func New(w World, self peer.Info, offers *offer.Offers, auditDir string) *Changes {
	return &Changes{world: w, self: self, offers: offers, audit: auditDir}
}

// writable finds what shall be changed, and checks that it may be.
func (c *Changes) writable(ctx context.Context, ref control.Ref) (copying.Place, *remote.FS, error) {
	at, err := c.world.FindFull(ctx, ref)
	if err == nil && at.Version != "" {
		err = &peer.Error{Path: ref.String(), Kind: peer.Usage, Err: errors.New("an old version can't be changed"), Hint: "put it back with peerd restore"}
	}
	if err != nil {
		return at, nil, err
	}
	return at, c.world.FS(at), nil
}

// inside says why something can't be done to a share itself.
func inside(at copying.Place, ref control.Ref) error {
	if !at.Path.IsRoot() {
		return nil
	}
	return &peer.Error{Path: ref.String(), Kind: peer.Usage, Err: errors.New("it is a share, not a file or folder in it")}
}

// each makes changes to several things one after the other, as [control.Changes] says.
func each(refs []control.Ref, do func(control.Ref, func(control.Change) bool) error) iter.Seq2[control.Change, error] {
	return func(yield func(control.Change, error) bool) {
		var first error
		failed, total := 0, 0
		left := false
		told := func(c control.Change) bool {
			total++
			if c.Error != nil {
				if failed++; first == nil {
					first = c.Error.Err()
				}
			}
			left = left || !yield(c, nil)
			return !left
		}
		for _, ref := range refs {
			if err := do(ref, told); err != nil && !left {
				told(control.Change{Ref: ref, Error: control.FromError(err)})
			}
			if left {
				return
			}
		}
		if first != nil && total > 1 {
			first = &peer.Error{Kind: peer.KindOf(first), Err: fmt.Errorf("%d of %d failed", failed, total)}
		}
		if first != nil {
			yield(control.Change{}, first)
		}
	}
}

// Remove removes files and folders.
func (c *Changes) Remove(ctx context.Context, refs []control.Ref, recursive bool) iter.Seq2[control.Change, error] {
	return each(refs, func(ref control.Ref, told func(control.Change) bool) error {
		at, fs, err := c.writable(ctx, ref)
		if err == nil {
			err = inside(at, ref)
		}
		if err != nil {
			return err
		}
		e, err := fs.Stat(ctx, at.Path)
		if err != nil {
			return err
		}
		if e.Kind == share.Dir && !recursive {
			return &peer.Error{Path: ref.String(), Kind: peer.Usage, Err: errors.New("it is a folder"), Hint: "remove it with -r"}
		}
		base := change.Base{Any: true}
		if e.Kind == share.File {
			base = change.Base{Version: e.Version}
		}
		for r, err := range fs.Remove(ctx, at.Path, base, recursive) {
			if err != nil {
				return c.world.Ended(at, err)
			}
			out := changed(at, control.Removed, r)
			switch { // its owner says nothing more of what is gone
			case r.Err != nil:
				out.Ref = ref
			case r.Entry.Path == at.Path:
				out.Kind = copying.KindOf(e)
			}
			if !told(out) {
				return nil
			}
		}
		return nil
	})
}

// changed is what was done to one thing.
func changed(at copying.Place, done string, c remote.Changed) control.Change {
	ref := control.Ref{Peer: at.Ref.Peer, Share: at.Ref.Share, Path: c.Entry.Path.String()}
	out := control.Change{Done: done, Ref: ref, Size: c.Entry.Size, Kept: c.Kept, Conflict: c.Conflict, Error: control.FromError(c.Err)}
	if c.Err == nil {
		out.Kind = copying.KindOf(c.Entry)
	}
	return out
}

// Mkdir makes a folder.
func (c *Changes) Mkdir(ctx context.Context, ref control.Ref, parents bool) error {
	at, fs, err := c.writable(ctx, ref)
	if err != nil {
		return err
	}
	if at.Path.IsRoot() {
		if parents {
			return nil
		}
		return &peer.Error{Path: ref.String(), Kind: peer.Conflict, Err: errors.New("it exists already")}
	}
	return c.world.Ended(at, fs.Mkdir(ctx, at.Path, parents))
}

// Move moves or renames files and folders.
func (c *Changes) Move(ctx context.Context, req control.MoveRequest) iter.Seq2[control.Change, error] {
	into := req.Into || len(req.Sources) > 1
	return each(req.Sources, func(ref control.Ref, told func(control.Change) bool) error {
		at, fs, err := c.writable(ctx, ref)
		if err == nil {
			err = inside(at, ref)
		}
		if err != nil {
			return err
		}
		to, _, err := c.writable(ctx, req.Dest)
		if err != nil {
			return err
		}
		if to.Peer.ID != at.Peer.ID || to.Access.Share != at.Access.Share {
			return c.moveAway(ctx, at, fs, ref, req, told)
		}
		moved, err := c.moveWithin(ctx, at, fs, to.Path, into, req.Force)
		if err != nil {
			return c.world.Ended(at, err)
		}
		told(moved)
		return nil
	})
}

func (c *Changes) moveWithin(ctx context.Context, at copying.Place, fs *remote.FS, to share.Path, into, force bool) (control.Change, error) {
	none := control.Change{}
	e, err := fs.Stat(ctx, at.Path)
	if err != nil {
		return none, err
	}
	into, err = copying.Target(ctx, fs, to, into)
	if err != nil {
		return none, err
	}
	if into && to != at.Path {
		if to, err = to.Join(at.Path.Base()); err != nil {
			return none, err
		}
	}
	base, toBase := change.Base{Any: true}, change.Base{}
	if e.Kind == share.File {
		base = change.Base{Version: e.Version}
	}
	switch was, err := fs.Stat(ctx, to); {
	case err == nil && force:
		toBase.Version = was.Version
	case err == nil && share.FoldKey(to.String()) != share.FoldKey(at.Path.String()): // or it gets its own name in another case
		return none, &peer.Error{Path: fs.Full(to), Kind: peer.Conflict, Err: errors.New("it exists already"), Hint: "use -f to replace it; what is there stays as a version"}
	case err != nil && peer.KindOf(err) != peer.NotFound:
		return none, err
	}
	done, err := fs.Move(ctx, at.Path, to, base, toBase)
	if err != nil {
		return none, err
	}
	out := changed(at, control.Moved, done)
	out.To, out.Ref = out.Ref, control.Ref{Peer: at.Ref.Peer, Share: at.Ref.Share, Path: at.Path.String()}
	return out, nil
}

// moveAway moves to another share: it copies, and removes what it copied once that is there for good.
func (c *Changes) moveAway(ctx context.Context, at copying.Place, fs *remote.FS, ref control.Ref, req control.MoveRequest, told func(control.Change) bool) error {
	e, err := fs.Stat(ctx, at.Path)
	if err != nil {
		return err
	}
	err = c.world.Copy(ctx, control.CopyRequest{
		Sources: []control.Ref{ref}, To: req.Dest, Into: req.Into || len(req.Sources) > 1, Recursive: true, Force: req.Force,
	}, func(control.CopyEvent) {})
	if err != nil {
		return err
	}
	base := change.Base{Any: true}
	if e.Kind == share.File {
		base = change.Base{Version: e.Version}
	}
	for r, err := range fs.Remove(ctx, at.Path, base, e.Kind == share.Dir) {
		if err == nil {
			err = r.Err
		}
		if err != nil {
			return c.world.Ended(at, fmt.Errorf("it is copied, but what was copied could not be removed: %w", err))
		}
	}
	told(control.Change{Done: control.Moved, Ref: ref, To: req.Dest, Kind: copying.KindOf(e), Size: e.Size})
	return nil
}
