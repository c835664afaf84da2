package copying

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/transfer/fetch"
	"github.com/peerd/peerd/transfer/store"
)

// between copies from one share to another, or within one. Within one the owner copies; from one to another the files come here
// first, since each owner gives to those alone that hold a right.
func (c *copying) between(ctx context.Context, ref control.Ref, into bool) error {
	from, err := c.world.Find(ctx, ref)
	if err != nil {
		return err
	}
	to, err := c.world.FindFull(ctx, c.req.To)
	if err != nil {
		return err
	}
	if from.Peer.ID == to.Peer.ID && from.Access.Share == to.Access.Share && from.Version == "" {
		return c.within(ctx, from, to, into)
	}
	dir, err := c.world.Temp()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := c.bring(ctx, from, dir); err != nil {
		return err
	}
	return c.up(ctx, filepath.Join(dir, from.Path.Base()), into)
}

// bring fetches a source into a folder of its own.
func (c *copying) bring(ctx context.Context, from Place, dir string) error {
	fsys := c.world.FS(from)
	e, err := Stat(ctx, fsys, from)
	if err != nil {
		return err
	}
	if e.Kind == share.Dir && !c.req.Recursive {
		return &peer.Error{Path: fsys.Full(from.Path), Kind: peer.Usage, Err: errors.New("it is a folder"), Hint: "copy it with -r"}
	}
	dst, err := store.OpenDir(dir)
	if err != nil {
		return err
	}
	defer dst.Close()
	c.mu.Lock()
	sum := c.sum
	c.at = from
	c.mu.Unlock()
	quiet := &copying{world: c.world, log: c.log, req: c.req, event: func(control.CopyEvent) {}, started: c.started, at: from, sources: make(map[peer.ID]*control.CopySource)}
	quiet.end = func(error) {}
	f := c.world.Fetch(ctx, from, c.req.Limit, fetch.Options{Lanes: lanes, First: 1, Patience: patience, Progress: quiet, Waiting: c.wait})
	defer f.Close()
	items := func(yield func(fetch.Item, error) bool) { quiet.items(ctx, from, e, fsys, from.Path.Base(), yield) }
	err = c.world.Ended(from, f.Tree(ctx, items, dst, true, quiet))
	if err == nil {
		err = quiet.first
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum = sum
	c.moves++
	return err
}

// within has the owner copy in its share.
func (c *copying) within(ctx context.Context, from, to Place, into bool) error {
	fsys := c.world.FS(to)
	e, err := fsys.Stat(ctx, from.Path)
	if err != nil {
		return err
	}
	if e.Kind == share.Dir && !c.req.Recursive {
		return &peer.Error{Path: fsys.Full(from.Path), Kind: peer.Usage, Err: errors.New("it is a folder"), Hint: "copy it with -r"}
	}
	top := to.Path
	if into, err = Target(ctx, fsys, top, into); err != nil {
		return err
	}
	if into {
		if top, err = top.Join(from.Path.Base()); err != nil {
			return err
		}
	}
	if _, inside := top.Below(from.Path); inside && e.Kind == share.Dir {
		return &peer.Error{Path: fsys.Full(top), Kind: peer.Usage, Err: errors.New("a folder can't be copied into itself")}
	}
	c.mu.Lock()
	c.at = to
	c.mu.Unlock()
	if err := c.copyOne(ctx, fsys, e, top); err != nil || e.Kind != share.Dir {
		return err
	}
	for sub, err := range fsys.WalkOn(ctx, e.Path, patience) {
		if err != nil {
			return err
		}
		at := top
		below, _ := sub.Path.Below(e.Path)
		for _, name := range below {
			if at, err = at.Join(name); err != nil {
				return err
			}
		}
		if err := c.copyOne(ctx, fsys, sub, at); err != nil {
			return err
		}
	}
	return nil
}

// copyOne has the owner copy one file, or make one folder. Its error ends all of it.
func (c *copying) copyOne(ctx context.Context, fsys *remote.FS, e share.Entry, to share.Path) error {
	if e.Kind == share.Dir {
		if err := fsys.Mkdir(ctx, to, true); err != nil {
			return err
		}
		return nil
	}
	c.mu.Lock()
	c.moves++
	c.sum.TotalFiles++
	c.sum.TotalBytes += e.Size
	c.mu.Unlock()
	base := change.Base{}
	was, err := fsys.Stat(ctx, to)
	switch {
	case err == nil && !c.req.Force:
		err = &peer.Error{Path: fsys.Full(to), Kind: peer.Conflict, Err: errors.New("it exists already"), Hint: "use -f to replace it; what is there stays as a version"}
	case err == nil:
		base.Version = was.Version
	case peer.KindOf(err) == peer.NotFound:
		err = nil
	}
	var done remote.Changed
	if err == nil {
		done, err = fsys.Copy(ctx, e.Path, to, base)
	}
	if err == nil && done.Conflict {
		err = &peer.Error{Path: fsys.Full(to), Kind: peer.Conflict, Err: errors.New("it changed meanwhile"), Hint: "the copy is kept beside it as " + done.Entry.Path.Base()}
	}
	if kind := peer.KindOf(err); err != nil && (kind == peer.Denied || kind == peer.Unreachable) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moves++
	ev := c.sum
	ev.Size, ev.Source, ev.To = e.Size, c.ref(e.Path), c.ref(to)
	if err != nil {
		if c.failed++; c.first == nil {
			c.first = err
		}
		ev.Event, ev.Error = control.CopyError, control.FromError(err)
		c.event(ev)
		return nil
	}
	c.sum.Files++
	c.sum.Bytes += e.Size
	if c.req.Each {
		ev.Event, ev.Bytes, ev.Files = control.CopyFile, c.sum.Bytes, c.sum.Files
		c.event(ev)
	}
	return nil
}

// ref is a path of the share that the copy is about.
func (c *copying) ref(p share.Path) control.Ref {
	return control.Ref{Peer: c.at.Ref.Peer, Share: c.at.Ref.Share, Path: p.String()}
}
