package edit

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/sharepb"
	"github.com/peerd/peerd/share/watch"
)

// watch tells of what changes at and below a path, until the right or the stream ends. The first message says where in the
// sequence of events it begins.
func (c *session) watch(ctx context.Context, sh Share, top share.Path, after *sharepb.Cursor, ended func()) error {
	return c.lasting(ctx, share.Read, ended, func(ctx context.Context) error {
		select {
		case <-sh.Watcher.Ready():
		case <-ctx.Done():
			return ctx.Err()
		}
		feed := sh.Feed
		from := feed.Now()
		if len(after.GetEpoch()) == len(from.Epoch) {
			from = watch.Cursor{Epoch: [8]byte(after.Epoch), Seq: after.Seq}
		}
		if err := c.send(&sharepb.Changed{Cursor: cursor(from)}); err != nil {
			return err
		}
		for e, err := range feed.Follow(ctx, from) {
			switch {
			case errors.Is(err, watch.ErrGap):
				return &peer.Error{Op: "watch", Kind: peer.Conflict, Err: errors.New("some changes were missed"), Hint: "list it again"}
			case err != nil:
				return err
			}
			_, here := e.Entry.Path.Below(top)
			_, was := e.From.Below(top)
			if !here && (e.Kind != watch.Moved || !was) {
				continue
			}
			if err := c.holds(share.Read); err != nil {
				return err
			}
			if err := c.send(&sharepb.Changed{Event: c.event(e)}); err != nil {
				return err
			}
		}
		return nil
	})
}

// event is an event as it is sent, with what the owner calls who did it.
func (c *session) event(e watch.Event) *sharepb.Event {
	m := &sharepb.Event{
		Seq: e.Seq, Kind: uint32(e.Kind), Entry: serve.EntryPB(e.Entry, share.Path{}), Peer: idText(e.By), Time: e.Time.UnixNano(),
	}
	if e.Kind == watch.Moved {
		m.From = e.From.Components()
	}
	if e.By != "" {
		m.Name = string(c.Name(e.By))
	}
	return m
}

// Noted is a change that was made just now as a watcher is told of it.
func Noted(c change.Change, now time.Time) watch.Event {
	ev := watch.Event{Kind: watch.Changed, Entry: c.After, By: c.By.Peer, Time: now}
	switch {
	case !c.To.IsRoot():
		ev.Kind, ev.From = watch.Moved, c.Path
	case c.After.Kind == 0:
		ev.Kind, ev.Entry = watch.Removed, c.Before
		ev.Entry.Path = c.Path
	case c.Before.Kind == 0:
		ev.Kind = watch.Created
	}
	return ev
}

func cursor(c watch.Cursor) *sharepb.Cursor { return &sharepb.Cursor{Epoch: c.Epoch[:], Seq: c.Seq} }

// lock holds a lock for as long as the other side says, every now and then, that it still works on the file.
func (c *session) lock(ctx context.Context, o serve.Offer, p share.Path, ended func()) error {
	e, err := o.FS.Stat(ctx, p)
	if err != nil {
		return serve.FileError(err)
	}
	who := share.Lock{Peer: c.st.Peer(), Name: c.Name(c.st.Peer()), Since: time.Now()}
	others, release, ok := c.Locks.Take(o.ID, p, who)
	if !ok {
		return &peer.Error{Op: "lock", Path: p.String(), Kind: peer.Busy, Err: errors.New("you hold too many locks")}
	}
	defer release()
	if len(others) > 0 {
		e.Lock = &others[0]
	}
	if err := c.send(&sharepb.Changed{Entry: serve.EntryPB(e, share.Path{})}); err != nil {
		return err
	}
	c.has().Record(o, audit.Event{Kind: audit.KindLock, Path: p.String(), Result: audit.OK})
	return c.lasting(ctx, share.Full, ended, func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	})
}

// lasting runs what goes on until the other side ends it, by closing its half of the stream or by saying nothing for [idle]. It
// says every [beat] that this side is there, and ends when the right does: since nothing else is asked for on the stream, the other
// side shows a fresh grant before the old one is too old.
func (c *session) lasting(ctx context.Context, need share.Right, ended func(), run func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel(nil)
	tasks.Go(func() {
		for ctx.Err() == nil {
			var m sharepb.Change
			err := c.receive(ctx, &m, idle)
			if err == nil {
				err = c.renew(&m, need, ended)
			}
			if err != nil {
				cancel(err)
			}
		}
	})
	tasks.Go(func() {
		t := time.NewTicker(beat)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			_, err := c.has().Allow(need)
			if err == nil {
				err = c.send(&sharepb.Changed{})
			}
			if err != nil {
				cancel(err)
				return
			}
		}
	})
	err := run(ctx)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// verbText is a verb in messages.
func verbText(v sharepb.Verb) string {
	if name, ok := strings.CutPrefix(v.String(), "VERB_"); ok {
		return strings.ToLower(name)
	}
	return "what there is not"
}
