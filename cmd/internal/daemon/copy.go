package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch"
	"github.com/peerd/peerd/transfer/store"
)

// copyLanes is how many connections a copy uses: a second one is worth it, more are not.
const copyLanes = 2

// Copy brings files here.
func (d *daemon) Copy(ctx context.Context, req control.CopyRequest, event func(control.CopyEvent)) error {
	if len(req.Sources) == 0 {
		return &peer.Error{Op: "copy", Kind: peer.Usage, Err: errors.New("there is nothing to copy")}
	}
	c := &copying{d: d, req: req, event: event, started: time.Now()}
	defer d.copies.add(c)()
	stop := c.tick(ctx)
	err := c.all(ctx)
	stop()
	if err == nil && c.failed > 0 {
		err = c.first
		if total := c.sum.TotalFiles + c.failedDirs; total > 1 {
			err = &peer.Error{Op: "copy", Kind: peer.KindOf(c.first), Err: fmt.Errorf("%d of %d files failed", c.failed, total)}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.sum
	last.Event = control.CopyProgress
	if err == nil {
		last.Event = control.CopyDone
	}
	event(last)
	return err
}

// copying is one running copy.
type copying struct {
	d       *daemon
	req     control.CopyRequest
	event   func(control.CopyEvent)
	started time.Time

	mu         sync.Mutex
	sum        control.CopyEvent // running sums
	failed     int64
	failedDirs int64                   // of these
	first      error                   // of the failures
	at         place                   // the source under way
	target     string                  // its local folder
	end        context.CancelCauseFunc // ends it
}

// tick tells how far the copy is, ten times a second while something moves.
func (c *copying) tick(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(100 * time.Millisecond)
		defer t.Stop()
		var told control.CopyEvent
		for {
			select {
			case <-t.C:
			case <-ctx.Done():
				return
			}
			c.mu.Lock()
			if now := c.sum; now != told {
				told = now
				now.Event = control.CopyProgress
				c.event(now)
			}
			c.mu.Unlock()
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func (c *copying) all(ctx context.Context) error {
	into, err := c.destination()
	if err != nil {
		return err
	}
	for _, ref := range c.req.Sources {
		if err := c.source(ctx, ref, into); err != nil {
			return err
		}
	}
	return nil
}

// destination reports whether Dest is a folder to put the sources into.
func (c *copying) destination() (bool, error) {
	bad := func(kind peer.Kind, what, hint string) (bool, error) {
		return false, &peer.Error{Path: c.req.Dest, Kind: kind, Err: errors.New(what), Hint: hint}
	}
	if !filepath.IsAbs(c.req.Dest) {
		return bad(peer.Usage, "it is no absolute path", "")
	}
	info, err := os.Stat(c.req.Dest)
	switch {
	case err == nil && info.IsDir():
		return true, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return bad(peer.Other, err.Error(), "")
	case c.req.Into || len(c.req.Sources) > 1:
		return bad(peer.Usage, "there is no such folder", "make it first")
	}
	if info, err := os.Stat(filepath.Dir(c.req.Dest)); err != nil || !info.IsDir() {
		return bad(peer.Usage, "the folder that it should lie in is not there", "make it first")
	}
	return false, nil
}

// rightTries is how often a right that ends meanwhile is asked for anew, as after the owner started again.
const rightTries = 3

// source copies one file or folder. What is here already when the right is had anew is not fetched again.
func (c *copying) source(ctx context.Context, ref control.Ref, into bool) error {
	c.mu.Lock()
	before := c.sum
	c.mu.Unlock()
	for try := 1; ; try++ {
		err := c.try(ctx, ref, into)
		if try == rightTries || peer.KindOf(err) != peer.Denied || ctx.Err() != nil {
			return err
		}
		c.mu.Lock()
		had := c.at.peer.ID != ""
		if had {
			c.sum = before
		}
		c.mu.Unlock()
		if !had {
			return err // there never was a right
		}
		if _, again := c.d.find(ctx, ref); again != nil {
			return err
		}
	}
}

func (c *copying) try(ctx context.Context, ref control.Ref, into bool) error {
	at, err := c.d.find(ctx, ref)
	if err != nil {
		return err
	}
	fsys := c.d.client.FS(at.access, at.label())
	e, err := fsys.Stat(ctx, at.path)
	if err != nil {
		return err
	}
	if e.Kind == share.Dir && !c.req.Recursive {
		return &peer.Error{Path: ref.String(), Kind: peer.Usage, Err: errors.New("it is a folder"), Hint: "copy it with -r"}
	}
	folder, name := c.req.Dest, ref.Base()
	if !into {
		folder, name = filepath.Split(c.req.Dest)
	}
	dst, err := store.OpenDir(folder)
	if err != nil {
		return err
	}
	defer dst.Close()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	c.mu.Lock()
	c.at, c.target, c.end = at, folder, end
	c.mu.Unlock()
	f := fetch.New(ctx, c.d.source(at), fetch.Options{Lanes: copyLanes, Patience: patience, Progress: c, Log: c.d.log})
	defer f.Close()
	items := func(yield func(fetch.Item, error) bool) { c.items(ctx, e, fsys, name, yield) }
	return c.d.ended(at, f.Tree(ctx, items, dst, c.req.Force, c))
}

// patience is how long a copy waits for a peer that went away.
const patience = 2 * time.Minute

// items yields what a source is made of. A listing that breaks off goes on where it was.
func (c *copying) items(ctx context.Context, e share.Entry, fsys *remote.FS, name string, yield func(fetch.Item, error) bool) {
	if !yield(c.item(e, e.Path, name), nil) || e.Kind != share.Dir {
		return
	}
	for e2, err := range fsys.WalkOn(ctx, e.Path, patience) {
		if err != nil {
			yield(fetch.Item{}, err)
			return
		}
		it := c.item(e2, e.Path, name)
		if err := localName(e2.Name()); err != nil {
			c.Failed(it, &peer.Error{Path: c.at.label() + "/" + e2.Path.String(), Kind: peer.Other, Err: err, Hint: "this computer can't hold such a name"})
			continue
		}
		if !yield(it, nil) {
			return
		}
	}
}

// item adds an entry to the totals.
func (c *copying) item(e share.Entry, base share.Path, name string) fetch.Item {
	below, _ := e.Path.Below(base)
	it := fetch.Item{
		Path: e.Path.Components(), Dest: append([]string{name}, below...), Dir: e.Kind == share.Dir,
		Size: e.Size, ModTime: e.ModTime, Exec: e.Exec,
	}
	if !it.Dir {
		c.mu.Lock()
		c.sum.TotalFiles++
		c.sum.TotalBytes += e.Size
		c.mu.Unlock()
	}
	return it
}

// localName says why this computer can't hold a name that others can.
func localName(name string) error {
	if runtime.GOOS == "windows" {
		return share.CheckCreate(name)
	}
	return nil
}

// Got adds bytes that were fetched.
func (c *copying) Got(_ string, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum.Bytes += n
}

// Had adds bytes that were here already.
func (c *copying) Had(_ string, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum.Bytes += n
	c.sum.Had += n
}

// Done tells of a file that has its name.
func (c *copying) Done(it fetch.Item, root transfer.Hash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum.Files++
	if !c.req.Each {
		return
	}
	ev := c.about(control.CopyFile, it)
	if !root.IsZero() {
		ev.Root = root.String()
	}
	c.event(ev)
}

// Failed tells of a file or folder that could not be had. Where it is the peer that denies it, it will deny all others too.
func (c *copying) Failed(it fetch.Item, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var e *peer.Error
	if errors.As(err, &e) && e.Kind == peer.Denied && control.IsRemote(e.Path) {
		c.end(err)
		return
	}
	if c.failed++; c.first == nil {
		c.first = err
	}
	if it.Dir {
		c.failedDirs++
	}
	ev := c.about(control.CopyError, it)
	ev.Error = control.FromError(err)
	c.event(ev)
}

func (c *copying) about(event string, it fetch.Item) control.CopyEvent {
	ev := c.sum
	ev.Event, ev.Size = event, it.Size
	ev.Source = c.at.ref
	for _, name := range it.Path {
		ev.Source = ev.Source.Join(name)
	}
	ev.Dest = filepath.Join(append([]string{c.target}, it.Dest...)...)
	return ev
}

// copies are the running copies. The zero copies is ready.
type copies struct {
	mu  sync.Mutex
	all map[*copying]struct{}
}

func (s *copies) add(c *copying) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[*copying]struct{})
	}
	s.all[c] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.all, c)
	}
}

func (s *copies) list() []control.Transfer {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []control.Transfer{}
	for c := range s.all {
		c.mu.Lock()
		out = append(out, control.Transfer{
			Direction: "in", Ref: c.req.Sources[0], Peer: c.at.peer.ID.String(), Bytes: c.sum.Bytes, Total: c.sum.TotalBytes, Started: control.At(c.started),
		})
		c.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b control.Transfer) int { return a.Started.Compare(b.Started.Time) })
	return out
}
