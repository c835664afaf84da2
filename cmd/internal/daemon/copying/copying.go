// Package copying brings files and folders of shares here: it finds them, walks them, has them fetched, and tells how it goes.
package copying

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/remote"
	shareserve "github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch"
	"github.com/peerd/peerd/transfer/store"
)

// Place is a share of a peer that is here, entered, and a path in it.
type Place struct {
	Peer   discovery.Peer
	Access remote.Access
	Path   share.Path
	Ref    control.Ref // of the share, as the user wrote it
	// Version is the old version of the file that is meant, "" for the one that is there.
	Version string
}

// Components are how the owner is asked for what is at the place.
func (p Place) Components() []string {
	if p.Version != "" {
		return share.VersionPath(p.Path, p.Version)
	}
	return p.Path.Components()
}

// Label is how the share is called in messages.
func (p Place) Label() string { return p.Ref.String() }

// World is what a copy needs of the daemon.
type World interface {
	// Find resolves a Ref with a share in it and gets in.
	Find(ctx context.Context, ref control.Ref) (Place, error)
	// FindFull is Find for who wants to change something, and fails without the full right.
	FindFull(ctx context.Context, ref control.Ref) (Place, error)
	// FS is the share, to look at.
	FS(at Place) *remote.FS
	// Fetch starts to fetch from the share, at no more than limit bytes a second if that is not 0.
	Fetch(ctx context.Context, at Place, limit int64, o fetch.Options) *fetch.Fetcher
	// Ended says what an error of a transfer means to the user.
	Ended(at Place, err error) error
	// NameOf is what a peer calls itself, or "".
	NameOf(id peer.ID) string
	// Uploads are what owners may fetch from here.
	Uploads() *shareserve.Uploads
	// Temp makes a folder for files that only pass.
	Temp() (string, error)
}

// lanes is how many connections to the owner a copy uses: a second one is worth it, more are not.
const lanes = 2

// Copies are the running copies. It is safe for concurrent use.
type Copies struct {
	world World
	log   *slog.Logger

	mu  sync.Mutex
	all map[*copying]struct{}
}

// New makes Copies, of which none runs.
func New(w World, log *slog.Logger) *Copies {
	return &Copies{world: w, log: log, all: make(map[*copying]struct{})}
}

// Copy brings files here, see [control.Files].
func (s *Copies) Copy(ctx context.Context, req control.CopyRequest, event func(control.CopyEvent)) error {
	if len(req.Sources)+len(req.Local) == 0 {
		return &peer.Error{Op: "copy", Kind: peer.Usage, Err: errors.New("there is nothing to copy")}
	}
	c := &copying{world: s.world, log: s.log, req: req, event: event, started: time.Now(), sources: make(map[peer.ID]*control.CopySource)}
	defer s.add(c)()
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
	last := c.now()
	last.Waiting = ""
	if err == nil {
		last.Event = control.CopyDone
	}
	event(last)
	return err
}

// copying is one running copy.
type copying struct {
	world   World
	log     *slog.Logger
	req     control.CopyRequest
	event   func(control.CopyEvent)
	started time.Time

	mu         sync.Mutex
	sum        control.CopyEvent // running sums
	moves      int               // counts what changed sum
	sources    map[peer.ID]*control.CopySource
	failed     int64
	failedDirs int64                   // of these
	first      error                   // of the failures
	at         Place                   // the source under way
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
		told := 0
		for {
			select {
			case <-t.C:
			case <-ctx.Done():
				return
			}
			c.mu.Lock()
			if c.moves != told {
				told = c.moves
				c.event(c.now())
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
	if !c.req.To.IsZero() {
		return c.allUp(ctx)
	}
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

// allUp copies all sources to a share.
func (c *copying) allUp(ctx context.Context) error {
	into := c.req.Into || len(c.req.Sources)+len(c.req.Local) > 1
	for _, src := range c.req.Local {
		if err := c.up(ctx, src, into); err != nil {
			return err
		}
	}
	for _, ref := range c.req.Sources {
		if err := c.between(ctx, ref, into); err != nil {
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
		had := c.at.Peer.ID != ""
		if had {
			c.sum = before
			c.moves++
		}
		c.mu.Unlock()
		if !had {
			return err // there never was a right
		}
		if _, again := c.world.Find(ctx, ref); again != nil {
			return err
		}
	}
}

func (c *copying) try(ctx context.Context, ref control.Ref, into bool) error {
	at, err := c.world.Find(ctx, ref)
	if err != nil {
		return err
	}
	fsys := c.world.FS(at)
	e, err := Stat(ctx, fsys, at)
	if err != nil {
		return err
	}
	if e.Kind == share.Dir && !c.req.Recursive {
		return &peer.Error{Path: ref.String(), Kind: peer.Usage, Err: errors.New("it is a folder"), Hint: "copy it with -r"}
	}
	folder, name := c.req.Dest, ref.Base()
	if at.Version != "" {
		name = at.Path.Base()
	}
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
	f := c.world.Fetch(ctx, at, c.req.Limit, fetch.Options{Lanes: lanes, First: 1, Patience: patience, Progress: c, Waiting: c.wait})
	defer f.Close()
	items := func(yield func(fetch.Item, error) bool) { c.items(ctx, at, e, fsys, name, yield) }
	return c.world.Ended(at, f.Tree(ctx, items, dst, c.req.Force, c))
}

// patience is how long a copy waits for a peer that went away.
const patience = 2 * time.Minute

// items yields what a source is made of. A listing that breaks off goes on where it was.
func (c *copying) items(ctx context.Context, at Place, e share.Entry, fsys *remote.FS, name string, yield func(fetch.Item, error) bool) {
	top := c.item(e, e.Path, name)
	top.Path = at.Components()
	if !yield(top, nil) || e.Kind != share.Dir {
		return
	}
	for e2, err := range fsys.WalkOn(ctx, e.Path, patience) {
		if err != nil {
			yield(fetch.Item{}, err)
			return
		}
		it := c.item(e2, e.Path, name)
		if err := localName(e2.Name()); err != nil {
			c.Failed(it, &peer.Error{Path: c.at.Label() + "/" + e2.Path.String(), Kind: peer.Other, Err: err, Hint: "this computer can't hold such a name"})
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
		c.moves++
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

// now is how far the copy is. c.mu is held.
func (c *copying) now() control.CopyEvent {
	ev := c.sum
	ev.Event = control.CopyProgress
	ev.Sources = make([]control.CopySource, 0, len(c.sources))
	for _, s := range c.sources {
		ev.Sources = append(ev.Sources, *s)
	}
	slices.SortFunc(ev.Sources, func(a, b control.CopySource) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Peer, b.Peer))
	})
	return ev
}

// from is what is known of a source. c.mu is held.
func (c *copying) from(id peer.ID) *control.CopySource {
	s := c.sources[id]
	if s == nil {
		s = &control.CopySource{Peer: id.String(), Name: c.world.NameOf(id), Owner: id == c.at.Peer.ID}
		c.sources[id] = s
	}
	return s
}

// Got adds bytes that were fetched.
func (c *copying) Got(from peer.ID, _ string, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moves++
	c.sum.Waiting = ""
	c.sum.Bytes += n
	c.from(from).Bytes += n
}

// Bad counts a piece that came wrong.
func (c *copying) Bad(from peer.ID, banned bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moves++
	if s := c.from(from); banned {
		s.Banned = true
	} else {
		s.Bad++
	}
}

// wait takes note of why nothing arrives.
func (c *copying) wait(why error) {
	if peer.KindOf(why) != peer.Unreachable {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moves++
	c.sum.Waiting = fmt.Sprintf("waiting for %s, who can't be reached", c.at.Ref.PeerRef())
	var e *peer.Error
	if errors.As(why, &e) && control.IsRemote(e.Path) {
		c.sum.Waiting += fmt.Sprintf(" (%s: %v)", e.Path, cause(e))
	}
}

// cause is what an error says first.
func cause(e *peer.Error) string {
	text, _, _ := strings.Cut(e.Err.Error(), ":")
	return text
}

// Had adds bytes that were here already.
func (c *copying) Had(_ string, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moves++
	c.sum.Bytes += n
	c.sum.Had += n
}

// Done tells of a file that has its name.
func (c *copying) Done(it fetch.Item, root transfer.Hash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moves++
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
	ev.Source = c.at.Ref
	if c.at.Version != "" { // which is asked for by another path
		ev.Source = ev.Source.Join(c.at.Path.String() + "@" + c.at.Version)
	} else {
		for _, name := range it.Path {
			ev.Source = ev.Source.Join(name)
		}
	}
	ev.Dest = filepath.Join(append([]string{c.target}, it.Dest...)...)
	return ev
}

// add enters a running copy.
func (s *Copies) add(c *copying) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[c] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.all, c)
	}
}

// List tells of all running copies, oldest first.
func (s *Copies) List() []control.Transfer {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []control.Transfer{}
	for c := range s.all {
		c.mu.Lock()
		direction, ref := "in", c.req.To
		if !ref.IsZero() {
			direction = "out"
		} else {
			ref = c.req.Sources[0]
		}
		out = append(out, control.Transfer{
			Direction: direction, Ref: ref, Peer: c.at.Peer.ID.String(), Bytes: c.sum.Bytes, Total: c.sum.TotalBytes, Started: control.At(c.started),
		})
		c.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b control.Transfer) int { return a.Started.Compare(b.Started.Time) })
	return out
}
