package changing

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/peerd/peerd/cmd/internal/daemon/copying"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/watch"
)

// rewatch is how long a watch waits before it looks for an owner that went away.
const rewatch = time.Second

// WatchFiles yields what changes. While the owner is away it waits, and then goes on where it was or tells of a gap.
func (c *Changes) WatchFiles(ctx context.Context, ref control.Ref) iter.Seq2[control.FileEvent, error] {
	return func(yield func(control.FileEvent, error) bool) {
		begun := false
		for {
			at, err := c.world.Find(ctx, ref)
			if err == nil {
				if begun && !yield(control.FileEvent{Event: control.FileGap, Time: control.At(time.Now())}, nil) {
					return
				}
				err = c.watchOnce(ctx, at, func(e control.FileEvent) bool { begun = true; return yield(e, nil) })
				if err == nil {
					return
				}
			}
			switch {
			case ctx.Err() != nil:
				return
			case errors.Is(err, remote.ErrGap):
				begun = true
				continue
			case !begun || peer.KindOf(err) != peer.Unreachable:
				yield(control.FileEvent{}, c.world.Ended(at, err))
				return
			}
			select {
			case <-time.After(rewatch):
			case <-ctx.Done():
				return
			}
		}
	}
}

// watchOnce watches until the stream ends, or without an error once nobody listens.
func (c *Changes) watchOnce(ctx context.Context, at copying.Place, yield func(control.FileEvent) bool) error {
	for e, err := range c.world.FS(at).Watch(ctx, at.Path, watch.Cursor{}) {
		if err != nil {
			return err
		}
		ev := control.FileEvent{Seq: e.Seq, Time: control.At(e.Time)}
		switch e.Kind {
		case watch.Created:
			ev.Event = control.FileCreated
		case watch.Changed:
			ev.Event = control.FileChanged
		case watch.Removed:
			ev.Event = control.FileRemoved
		case watch.Moved:
			ev.Event, ev.From = control.FileMoved, refIn(at, e.From)
		default:
			ev = control.FileEvent{Event: control.FileWatching, Time: control.At(time.Now())}
			if !yield(ev) {
				return nil
			}
			continue
		}
		ev.Entry = copying.EntryOf(refIn(at, e.Entry.Path), e.Entry)
		if e.By != "" {
			ev.Peer, ev.Name = e.By.String(), string(e.Name)
		}
		if !yield(ev) {
			return nil
		}
	}
	return nil
}

func refIn(at copying.Place, p share.Path) control.Ref {
	return control.Ref{Peer: at.Ref.Peer, Share: at.Ref.Share, Path: p.String()}
}

// Lock tells all that this peer works on a file.
func (c *Changes) Lock(ctx context.Context, ref control.Ref) iter.Seq2[control.FileLock, error] {
	return func(yield func(control.FileLock, error) bool) {
		at, fs, err := c.writable(ctx, ref)
		if err == nil {
			err = inside(at, ref)
		}
		if err != nil {
			yield(control.FileLock{}, err)
			return
		}
		for other, err := range fs.Lock(ctx, at.Path) {
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(control.FileLock{}, c.world.Ended(at, err))
				return
			}
			if !yield(control.FileLock{Peer: c.self.ID.String(), Name: string(c.self.Name), Since: control.At(time.Now())}, nil) {
				return
			}
			if other != nil && !yield(copying.LockOf(*other), nil) {
				return
			}
		}
	}
}
