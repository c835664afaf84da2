package changing

import (
	"context"
	"errors"
	"iter"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit/journal"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	shareserve "github.com/peerd/peerd/share/serve"
)

// Undo puts back what a peer changed in a share of this one.
func (c *Changes) Undo(ctx context.Context, req control.UndoRequest) iter.Seq2[control.Change, error] {
	return func(yield func(control.Change, error) bool) {
		s, err := c.offers.Registry.Get(req.Share)
		if err != nil {
			yield(control.Change{}, err)
			return
		}
		who, err := c.whoDid(ctx, s.Name, req.Peer)
		if err != nil {
			yield(control.Change{}, err)
			return
		}
		sh, err := c.offers.Edit(shareserve.Offer{Info: s.Info()})
		if err != nil {
			yield(control.Change{}, err)
			return
		}
		ref := control.Ref{Peer: string(c.self.Name), Share: string(s.Name)}
		for r, err := range sh.Editor.Undo(ctx, who, req.Since.Time, change.By{}) {
			if err != nil {
				yield(control.Change{}, err)
				return
			}
			if !yield(undone(ref, r), nil) {
				return
			}
		}
	}
}

// undone is what became of one path.
func undone(ref control.Ref, r change.Result) control.Change {
	ref.Path = r.Entry.Path.String()
	c := control.Change{Done: control.Restored, Ref: ref, To: ref, Size: r.Entry.Size, Conflict: r.Conflict, Error: control.FromError(r.Err)}
	switch r.Entry.Kind {
	case share.File:
		c.Kind = control.KindFile
	case share.Dir:
		c.Kind = control.KindDir
	default:
		c.Done, c.To = control.Removed, control.Ref{}
	}
	if r.Kept != 0 {
		c.Kept = r.Kept.String()
	}
	return c
}

// whoDid finds a peer by name or ID: one that is here, or one that the audit knows, since who is gone may have to be undone as well.
func (c *Changes) whoDid(ctx context.Context, name share.Name, text string) (peer.ID, error) {
	p, err := c.world.Lookup(ctx, text)
	if err == nil {
		return p.ID, nil
	}
	if id, bad := peer.ParseID(text); bad == nil {
		return id, nil
	}
	found := make(map[peer.ID]bool)
	for r, err := range journal.Read(ctx, c.audit, journal.Filter{Share: string(name), Peer: text}) {
		if err != nil {
			return "", err
		}
		if r.Peer != "" {
			found[r.Peer] = true
		}
	}
	if len(found) > 1 {
		return "", &peer.Error{Path: text, Kind: peer.Usage, Err: errors.New("several computers called themselves so"), Hint: "give the ID; peerd audit --json shows it"}
	}
	for id := range found {
		return id, nil
	}
	return "", err
}
