// Package faces keeps what shows the tree to other programs of this computer: folders that are mounted, some of them whenever
// the daemon runs, and listeners of WebDAV.
package faces

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share/mount"
	"github.com/peerd/peerd/share/mounted"
	"github.com/peerd/peerd/share/vfs"
)

// Times of a Table.
const (
	retryEvery = 3 * time.Second  // of what can't be mounted now
	drainTime  = 10 * time.Second // for what waits for its owner, when the daemon stops
	endTime    = 5 * time.Second  // for programs to leave a folder, after which it is taken from them
	turnTime   = 5 * time.Second  // for a mount that is under way to be made, or not, before somebody is told that it is
)

// Folder is a folder that is mounted.
type Folder interface {
	// Unmount takes it away, after a while also from programs that use it.
	Unmount(ctx context.Context) error
	// Done is closed when it is away, whoever did it.
	Done() <-chan struct{}
}

// Place is a part of the workgroup.
type Place struct {
	Peer peer.ID // "" for all of it
	Name string  // of the peer, as the tree calls it
	Root []string
}

// Config says what a Table stands on. All must be set.
type Config struct {
	State string // the folder for what is kept over restarts
	Tree  *vfs.FS
	// Mount shows a part of the tree as a folder; see [mount.New].
	Mount func(ctx context.Context, dir string, o mount.Options) (Folder, error)
	// Release takes away a peerd mount that the Table does not know, and reports whether there was one; see [mount.Release].
	Release func(dir string) (bool, error)
	// Find says where a Ref is in the tree, once it is sure that this peer may look at it.
	Find func(ctx context.Context, ref control.Ref) (Place, error)
	// Pin has a peer keep its name in the tree, be it here or not.
	Pin func(id peer.ID, name string)
	// Away reports whether a peer is known to be away.
	Away func(id peer.ID) bool
	// Note writes down that something was mounted or served in a place, or is not any more, or could not be.
	Note func(label, at, why string, err error)
	// Shared are the folders that this peer offers.
	Shared func() []string
	Log    *slog.Logger
}

// Table is all faces of this peer. It is safe for concurrent use.
type Table struct {
	cfg Config
	ctx context.Context // ends with Close
	end context.CancelFunc

	tasks sync.WaitGroup
	props properties

	mu     sync.Mutex
	mounts map[string]*face // by folder
	closed bool
}

// face is one mount, or one that shall be.
type face struct {
	control.Mount
	place  Place
	folder Folder
	serves *served // instead, where there is no FUSE
	// busy is set while it is being mounted or unmounted, and closed when that is over.
	busy chan struct{}
}

// idleLocked lets others have a face that its caller took. t.mu is held.
func (f *face) idleLocked() {
	close(f.busy)
	f.busy = nil
}

// Open reads what is to be mounted whenever the daemon runs. Nothing is before [Table.Start].
func Open(cfg Config) (*Table, error) {
	t := &Table{cfg: cfg, mounts: make(map[string]*face)}
	t.ctx, t.end = context.WithCancel(context.Background())
	kept, err := t.load()
	if err != nil {
		return nil, err
	}
	t.props.load(filepath.Join(cfg.State, propertiesName), cfg.Log)
	for _, k := range kept {
		f := k.face()
		if f.place.Peer != "" {
			cfg.Pin(f.place.Peer, f.place.Name)
		}
		t.mounts[f.Dir] = f
	}
	return t, nil
}

// Start mounts what persists, and goes on trying what can't be mounted now.
func (t *Table) Start() {
	t.tasks.Go(func() {
		tick := time.NewTicker(retryEvery)
		defer tick.Stop()
		for {
			for _, f := range t.waiting() {
				t.tasks.Go(func() { t.retry(f) })
			}
			t.props.save(time.Now().Add(-saveEvery))
			select {
			case <-tick.C:
			case <-t.ctx.Done():
				return
			}
		}
	})
}

// Close takes all mounts away, and waits a while until what was saved in them is at its owners.
func (t *Table) Close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.end()
	t.tasks.Wait() // with what is under way: it is taken away once it is there
	var left sync.WaitGroup
	for _, f := range t.mounts {
		left.Go(func() {
			if err := t.leave(f); err != nil {
				t.cfg.Log.Warn("a folder stays mounted", "dir", f.Dir, "err", err)
			}
		})
	}
	left.Wait()
	t.props.save(time.Now())
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if err := t.cfg.Tree.Drain(ctx); err != nil {
		t.cfg.Log.Warn("what was saved is not at its owners yet; it will be sent when peerd runs again", "changes", len(t.cfg.Tree.Pending()))
	}
}

// begin has Close wait for what begins, until done, and gives a ctx that ends with the Table too. t.mu is not held.
func (t *Table) begin(ctx context.Context, op, dir string) (_ context.Context, done func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, nil, stops(op, dir)
	}
	t.tasks.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(t.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
		t.tasks.Done()
	}, nil
}

// stops is the error of what begins, or has not ended, when the daemon stops.
func stops(op, dir string) error {
	return &peer.Error{Op: op, Path: dir, Kind: peer.NotRunning, Err: errors.New("peerd stops")}
}

// waiting are the mounts that are to be tried.
func (t *Table) waiting() (out []*face) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	for _, f := range t.mounts {
		if f.State == control.Waiting && f.busy == nil {
			f.busy = make(chan struct{})
			out = append(out, f)
		}
	}
	return out
}

// retry tries to mount what waits. Its peer may be away.
func (t *Table) retry(f *face) {
	folder, serves, err := t.show(t.ctx, f, true)
	t.mu.Lock()
	defer t.mu.Unlock()
	f.idleLocked()
	if err != nil {
		if f.Error == nil && t.ctx.Err() == nil {
			t.cfg.Log.Warn("a folder waits to be mounted", "dir", f.Dir, "err", err)
		}
		f.Error = control.FromError(err)
		return
	}
	t.shownLocked(f, folder, serves)
}

// show mounts, or serves where that can't be done.
func (t *Table) show(ctx context.Context, f *face, away bool) (Folder, *served, error) {
	folder, err := t.cfg.Mount(ctx, f.Dir, mount.Options{
		Root: f.place.Root, Away: away, AllowOther: f.AllowOther, ReadOnly: f.ReadOnly, Shared: t.cfg.Shared(), Log: t.cfg.Log,
	})
	if err == nil || !errors.Is(err, mount.ErrUnavailable) {
		return folder, nil, err
	}
	s, e := t.serveFolder(ctx, f)
	if e != nil {
		return nil, nil, e
	}
	s.why = err
	return nil, s, nil
}

// shownLocked takes in that a face is there, and looks after it. t.mu is held.
func (t *Table) shownLocked(f *face, folder Folder, serves *served) {
	f.folder, f.serves, f.Error, f.Since = folder, serves, nil, control.At(time.Now())
	f.State = control.Mounted
	t.cfg.Note(f.Ref.String(), f.Dir, "mounted", nil)
	if serves != nil {
		f.State, f.Error = control.ViaWebdav, control.FromError(serves.why)
		f.Webdav = &serves.Webdav
		return
	}
	t.tasks.Go(func() {
		select {
		case <-folder.Done():
		case <-t.ctx.Done():
			return
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.mounts[f.Dir] == f && f.folder == folder && f.busy == nil { // somebody else unmounted it
			t.cfg.Log.Info("a folder was unmounted, not by peerd", "dir", f.Dir)
			t.cfg.Note(f.Ref.String(), f.Dir, "unmounted", nil)
			delete(t.mounts, f.Dir)
		}
	})
}

// Mount makes a part of the workgroup a folder; see [control.Mounts].
func (t *Table) Mount(ctx context.Context, req control.MountRequest) (control.Mount, error) {
	if !clean(req.Dir) {
		return control.Mount{}, &peer.Error{Op: "mount", Path: req.Dir, Kind: peer.Usage, Err: errors.New("it is no absolute path")}
	}
	ctx, done, err := t.begin(ctx, "mount", req.Dir)
	if err != nil {
		return control.Mount{}, err
	}
	defer done()
	f := &face{Mount: control.Mount{
		Dir: req.Dir, Ref: req.Ref, ReadOnly: req.ReadOnly, AllowOther: req.AllowOther, State: control.Waiting,
	}, busy: make(chan struct{})}
	t.mu.Lock()
	if t.mounts[req.Dir] != nil {
		t.mu.Unlock()
		return control.Mount{}, &peer.Error{Op: "mount", Path: req.Dir, Kind: peer.Usage, Err: errors.New("something is mounted there already"),
			Hint: `run "peerd umount ` + req.Dir + `" first`}
	}
	t.mounts[req.Dir] = f
	t.mu.Unlock()
	drop := func(err error) (control.Mount, error) {
		if t.ctx.Err() != nil {
			err = stops("mount", req.Dir)
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		f.idleLocked()
		delete(t.mounts, req.Dir)
		t.cfg.Note(req.Ref.String(), req.Dir, "", err)
		return control.Mount{}, err
	}
	place, err := t.cfg.Find(ctx, req.Ref)
	if err != nil {
		return drop(err)
	}
	t.mu.Lock()
	f.place, f.Peer = place, peerText(place.Peer)
	t.mu.Unlock()
	folder, serves, err := t.show(ctx, f, false)
	if err != nil {
		return drop(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f.idleLocked()
	f.Persist = req.Persist // only now: what is written down can be mounted
	t.shownLocked(f, folder, serves)
	if place.Peer != "" {
		t.cfg.Pin(place.Peer, place.Name)
	}
	if f.Persist {
		if err := t.saveLocked(); err != nil {
			t.cfg.Log.Error("a folder will not be mounted again", "dir", f.Dir, "err", err)
			return f.Mount, err
		}
	}
	return f.Mount, nil
}

// Unmount takes a mount away, and one that persists for good. What is just being mounted it waits for.
func (t *Table) Unmount(ctx context.Context, dir string) error {
	ctx, done, err := t.begin(ctx, "umount", dir)
	if err != nil {
		return err
	}
	defer done()
	dir = t.known(dir)
	f, err := t.take(ctx, dir)
	if peer.KindOf(err) == peer.NotFound {
		if was, e := t.cfg.Release(dir); was {
			return e
		}
	}
	if err != nil {
		return err
	}
	err = t.leave(f)
	t.mu.Lock()
	defer t.mu.Unlock()
	f.idleLocked()
	if err != nil {
		return err
	}
	delete(t.mounts, dir)
	if f.Persist {
		return t.saveLocked()
	}
	return nil
}

// known is the name by which the Table has a folder, for one that may be another way to it, by links.
func (t *Table) known(dir string) string {
	dirs := t.Dirs()
	if slices.Contains(dirs, dir) {
		return dir
	}
	real := mounted.Resolve(dir)
	for _, d := range dirs {
		if mounted.Resolve(d) == real {
			return d
		}
	}
	return dir
}

// take is the face of a folder, once nobody else is at it. Its caller must let it go by idleLocked.
func (t *Table) take(ctx context.Context, dir string) (*face, error) {
	ctx, cancel := context.WithTimeout(ctx, turnTime)
	defer cancel()
	for {
		t.mu.Lock()
		f := t.mounts[dir]
		if f == nil {
			t.mu.Unlock()
			return nil, &peer.Error{Op: "umount", Path: dir, Kind: peer.NotFound, Err: errors.New("peerd mounted nothing there"), Hint: `run "peerd mounts"`}
		}
		busy := f.busy
		if busy == nil {
			f.busy = make(chan struct{})
			t.mu.Unlock()
			return f, nil
		}
		t.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			if t.ctx.Err() != nil {
				return nil, stops("umount", dir)
			}
			return nil, &peer.Error{Op: "umount", Path: dir, Kind: peer.Busy, Err: errors.New("it is being mounted just now"), Hint: "try again"}
		}
	}
}

// leave takes a mount away.
func (t *Table) leave(f *face) error {
	t.mu.Lock()
	folder, serves := f.folder, f.serves
	t.mu.Unlock()
	if serves != nil {
		serves.close()
	}
	if folder == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	err := folder.Unmount(ctx)
	t.cfg.Note(f.Ref.String(), f.Dir, "unmounted", err)
	return err
}

// Dirs are the folders of all mounts, also of those that wait.
func (t *Table) Dirs() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.mounts))
}

// List tells of all mounts, sorted by their folders.
func (t *Table) List() []control.Mount {
	pending := t.cfg.Tree.Pending()
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]control.Mount, 0, len(t.mounts))
	for _, f := range t.mounts {
		m := f.Mount
		m.Away = f.place.Peer != "" && t.cfg.Away(f.place.Peer)
		m.Pending = Sum(pending, f.place.Root...)
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b control.Mount) int { return cmp.Compare(a.Dir, b.Dir) })
	return out
}

// Sum tells how much waits for its owners, of all or of what lies below a root.
func Sum(pending []vfs.Pending, root ...string) control.Pending {
	var sum control.Pending
	top := "//" + strings.Join(root, "/")
	for _, p := range pending {
		if len(root) > 0 && p.Path != top && !strings.HasPrefix(p.Path, top+"/") {
			continue
		}
		sum.Count++
		sum.Bytes += p.Bytes
		if since := control.At(p.Since); sum.Oldest.IsZero() || since.Before(sum.Oldest.Time) {
			sum.Oldest = since
		}
	}
	return sum
}

// Changes tells of each change that waits for its owner.
func Changes(pending []vfs.Pending) []control.PendingChange {
	out := make([]control.PendingChange, 0, len(pending))
	for _, p := range pending {
		out = append(out, control.PendingChange{Path: p.Path, Bytes: p.Bytes, Since: control.At(p.Since), Error: control.FromError(p.Err)})
	}
	return out
}

func peerText(id peer.ID) string {
	if id == "" {
		return ""
	}
	return id.String()
}
