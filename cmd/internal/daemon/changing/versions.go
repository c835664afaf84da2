package changing

import (
	"context"
	"errors"
	"iter"

	"github.com/peerd/peerd/cmd/internal/daemon/copying"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share/change"
)

// Versions yields the versions that are kept of a file, or of all below a folder.
func (c *Changes) Versions(ctx context.Context, ref control.Ref, recursive bool) iter.Seq2[control.Version, error] {
	return func(yield func(control.Version, error) bool) {
		at, fs, err := c.writable(ctx, ref)
		if err != nil {
			yield(control.Version{}, err)
			return
		}
		for k, err := range fs.Versions(ctx, at.Path, recursive) {
			if err != nil {
				yield(control.Version{}, c.world.Ended(at, err))
				return
			}
			v := control.Version{
				Ref: control.Ref{Peer: ref.Peer, Share: ref.Share, Path: k.Entry.Path.String()}, ID: k.ID, Kind: copying.KindOf(k.Entry), Size: k.Entry.Size,
				ModTime: control.At(k.Entry.ModTime), Until: control.At(k.When), Peer: k.Peer, Name: string(k.Name), By: k.Verb,
			}
			if !yield(v, nil) {
				return
			}
		}
	}
}

// Restore puts a version back.
func (c *Changes) Restore(ctx context.Context, req control.RestoreRequest) (control.Change, error) {
	at, fs, err := c.writable(ctx, req.Ref)
	if err == nil {
		err = inside(at, req.Ref)
	}
	if err != nil {
		return control.Change{}, err
	}
	to := at.Path
	elsewhere := !req.Dest.IsZero() && req.Dest != req.Ref
	if elsewhere {
		dest, _, err := c.writable(ctx, req.Dest)
		if err != nil {
			return control.Change{}, err
		}
		if dest.Peer.ID != at.Peer.ID || dest.Access.Share != at.Access.Share {
			return control.Change{}, &peer.Error{Path: req.Dest.String(), Kind: peer.Usage, Err: errors.New("it is in another share"), Hint: "copy the version with peerd cp"}
		}
		to = dest.Path
		into, err := copying.Target(ctx, fs, to, false)
		if err != nil {
			return control.Change{}, err
		}
		if into {
			if to, err = to.Join(at.Path.Base()); err != nil {
				return control.Change{}, err
			}
		}
	}
	base := change.Base{}
	if !elsewhere || req.Force {
		was, err := fs.Stat(ctx, to)
		switch {
		case err == nil:
			base.Version = was.Version
		case peer.KindOf(err) != peer.NotFound:
			return control.Change{}, err
		}
	}
	done, err := fs.Restore(ctx, at.Path, req.Version, to, base)
	if err != nil {
		return control.Change{}, c.world.Ended(at, err)
	}
	out := changed(at, control.Restored, done)
	out.To, out.Ref = out.Ref, req.Ref
	return out, nil
}
