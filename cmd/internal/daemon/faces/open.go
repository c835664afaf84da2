package faces

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/peerd/peerd/cmd/internal/daemon/copying"
	"github.com/peerd/peerd/cmd/internal/daemon/owners"
	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/mount"
	"github.com/peerd/peerd/share/vfs"
)

// Faces are the tree of all that the workgroup offers, and what shows it to other programs.
type Faces struct {
	*Table
	owners *owners.World
	tree   *vfs.FS
	log    *slog.Logger
	ctx    context.Context // ends with Close
	end    context.CancelFunc
	tasks  sync.WaitGroup
}

// beginTime is how long a share that was mounted may take to be listed first.
const beginTime = 10 * time.Second

// Daemon finds what users name.
type Daemon interface {
	// Lookup finds a peer, be it this one.
	Lookup(ctx context.Context, who string) (discovery.Peer, error)
	// Find resolves a Ref with a share in it and gets in.
	Find(ctx context.Context, ref control.Ref) (copying.Place, error)
	// Mounted writes down that something was mounted in a place, or is not any more, or could not be.
	Mounted(label, at, why string, err error)
}

// New makes the tree, with what an earlier run left in the folder state.
func New(state string, o owners.Config, d Daemon) (*Faces, error) {
	f := &Faces{owners: owners.New(o), log: o.Log}
	f.ctx, f.end = context.WithCancel(context.Background())
	var err error
	if f.tree, err = vfs.New(f.owners, vfs.Options{Dir: filepath.Join(state, "tree"), Log: o.Log}); err != nil {
		f.owners.Close()
		return nil, err
	}
	f.Table, err = Open(Config{
		State: state, Tree: f.tree, Release: mount.Release, Pin: f.owners.Pin, Away: f.owners.Away, Note: d.Mounted, Log: o.Log,
		Find: func(ctx context.Context, ref control.Ref) (Place, error) { return f.find(ctx, d, ref) },
		Mount: func(ctx context.Context, dir string, o mount.Options) (Folder, error) {
			m, err := mount.New(ctx, f.tree, dir, o)
			if err != nil {
				return nil, err
			}
			f.begin(o.Root)
			return m, nil
		},
		Shared: func() (dirs []string) {
			for _, s := range o.Offers.Registry.List() {
				dirs = append(dirs, s.Dir)
			}
			return dirs
		},
	})
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// begin has the tree know what is mounted before somebody asks: the first look at a share lists it, and watches it from then on.
func (f *Faces) begin(root []string) {
	f.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(f.ctx, beginTime)
		defer cancel()
		if a, err := f.tree.Walk(ctx, root...); err == nil {
			_, _ = f.tree.List(ctx, a.Ino) // else whoever asks is told why
			if len(root) == 2 {
				f.owners.Prepare(ctx, root[0], root[1])
			}
		}
	})
}

// Close ends what New made. Nothing is mounted by then.
func (f *Faces) Close() {
	f.end()
	f.tasks.Wait()
	if err := f.tree.Close(); err != nil {
		f.log.Warn("the tree did not close in order", "err", err)
	}
	f.owners.Close()
}

// Run has the tree work, and mounts what persists, until ctx ends. Then it takes all mounts away, and waits a while until what was
// saved is at its owners.
func (f *Faces) Run(ctx context.Context) {
	work, end := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f.tree.Run(work); err != nil && work.Err() == nil {
			f.log.Error("what is mounted is not kept true any more", "err", err)
		}
	}()
	f.Table.Start()
	<-ctx.Done()
	f.Table.Close()
	end()
	<-done
}

// find says where a Ref is in the tree, once it is sure that this peer may look at it.
func (f *Faces) find(ctx context.Context, d Daemon, ref control.Ref) (Place, error) {
	if ref.IsZero() {
		return Place{}, nil
	}
	p, err := d.Lookup(ctx, ref.Peer)
	if err != nil {
		return Place{}, err
	}
	at := Place{Peer: p.ID, Name: f.owners.NameOf(p.ID)}
	at.Root = []string{at.Name}
	if ref.Share == "" {
		return at, nil
	}
	if _, err := d.Find(ctx, ref.ShareRef()); err != nil {
		return at, err
	}
	f.owners.Look(ctx, p.ID) // it may have come a moment ago
	name := ref.Share
	listed, _ := f.owners.Shares(ctx, at.Name) // else it is called as the user does
	for _, s := range listed {
		if share.FoldKey(string(s.Name)) == share.FoldKey(name) {
			name = string(s.Name)
		}
	}
	at.Root = append(at.Root, name)
	return at, nil
}

// Changed takes in that a login, or the lack of one, may have changed what this peer may do.
func (f *Faces) Changed() { f.owners.Tell() }

// Conflicts is how many saved files lie beside those that they were to replace, since the daemon started.
func (f *Faces) Conflicts() int { return f.tree.Conflicts() }

// Pending are the changes that their owners do not have yet.
func (f *Faces) Pending() []vfs.Pending { return f.tree.Pending() }
