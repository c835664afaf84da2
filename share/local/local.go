// Package local is [share.Files] on a real folder, and confined to it: whatever a peer asks for, and whatever somebody else
// does to the folder meanwhile, nothing outside of it is looked at.
//
// On Linux the kernel keeps the confinement (openat2, RESOLVE_BENEATH and its like); elsewhere, and where openat2 is
// missing, [os.Root] does, with a look at every component. Either way no symbolic link is followed, not even one that stays
// inside, no other file system that is mounted inside is entered, and nothing but regular files and folders is told of. A hard
// link can't be told from a file: who may make one inside a shared folder may share what it leads to.
//
// The folder itself is opened anew for each operation. So a disk can be unmounted while nobody reads from it, and is found
// again when it is back.
package local

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/local/tree"
)

// Options change how a folder is served. The zero Options are what most folders want.
type Options struct {
	// Skipped is told of what a listing left out: its path below the share, raw as it is on the disk, so it goes to a
	// screen through [peer.Quote]; and why. It is called at each listing, by the goroutine that lists. May be nil.
	Skipped func(path string, why error)
	// Mount says that a file system was mounted on the folder when it was shared. While it is not, the share is away; without
	// this a disk that is not plugged in would look like a share whose files were all deleted.
	Mount bool
}

// FS is the files of one folder. It holds nothing open between operations.
type FS struct {
	tree    tree.Tree
	skipped func(path string, why error)
}

// New serves the folder dir: an absolute path without symbolic links, as [filepath.EvalSymlinks] gives it. The folder need
// not be there yet; while it is not, all operations fail as [peer.Unreachable].
func New(dir string, opt Options) (*FS, error) {
	if !filepath.IsAbs(dir) {
		return nil, &peer.Error{Op: "serve folder", Path: dir, Kind: peer.Usage, Err: errors.New("it is no absolute path")}
	}
	return newFS(tree.New(filepath.Clean(dir), opt.Mount), opt), nil
}

func newFS(t tree.Tree, opt Options) *FS {
	if opt.Skipped == nil {
		opt.Skipped = func(string, error) {}
	}
	return &FS{tree: t, skipped: opt.Skipped}
}

// Stat tells of one file or folder; see [share.FS].
func (f *FS) Stat(ctx context.Context, p share.Path) (share.Entry, error) {
	if err := ctx.Err(); err != nil {
		return share.Entry{}, failure("stat", p, err)
	}
	st, err := f.tree.Stat(p)
	if err == nil {
		err = st.Check()
	}
	if err != nil {
		return share.Entry{}, failure("stat", p, err)
	}
	return st.Entry(p), nil
}

// Open opens a file for reading; see [share.Files]. What it gives is a [*File]. It does not wait for what has no end (a pipe, a
// device) and does not even open it, since that alone may wake whoever has the other end.
func (f *FS) Open(ctx context.Context, p share.Path) (share.OpenFile, error) {
	if err := ctx.Err(); err != nil {
		return nil, failure("open", p, err)
	}
	file, err := f.tree.Open(p)
	if err != nil {
		return nil, failure("open", p, err)
	}
	return &File{path: p, file: file}, nil
}

// List yields the entries of a folder; see [share.FS]. It keeps the names in memory and nothing else: an entry is looked at
// when its turn comes, and left out if it is gone by then.
func (f *FS) List(ctx context.Context, p share.Path) iter.Seq2[share.Entry, error] {
	return f.walk(ctx, "list", p, false)
}

// Walk yields all below a folder, a folder's own entries right after it; see [share.FS]. Folders inside that can't be opened
// are told to Options.Skipped.
func (f *FS) Walk(ctx context.Context, p share.Path) iter.Seq2[share.Entry, error] {
	return f.walk(ctx, "walk", p, true)
}

// level is a folder that a walk is in.
type level struct {
	path  share.Path
	dir   tree.Dir
	names []string // still to come
}

func (f *FS) walk(ctx context.Context, op string, top share.Path, deep bool) iter.Seq2[share.Entry, error] {
	return func(yield func(share.Entry, error) bool) {
		var stack []*level
		defer func() {
			for _, l := range stack {
				l.dir.Close()
			}
		}()
		l, err := f.enter(ctx, top)
		if err != nil {
			yield(share.Entry{}, failure(op, top, err))
			return
		}
		for stack = append(stack, l); len(stack) > 0; {
			l := stack[len(stack)-1]
			if len(l.names) == 0 {
				l.dir.Close()
				stack = stack[:len(stack)-1]
				continue
			}
			name := l.names[0]
			l.names = l.names[1:]
			e, ok, err := f.look(ctx, l, name)
			switch {
			case err != nil:
				yield(share.Entry{}, failure(op, l.path, err))
				return
			case !ok:
				continue
			case !yield(e, nil):
				return
			case !deep || e.Kind != share.Dir:
				continue
			}
			sub, err := f.enter(ctx, e.Path)
			switch {
			case err == nil:
				stack = append(stack, sub)
			case tree.Missing(err) && !errors.Is(err, tree.ErrAway): // gone since it was listed
			case passable(err):
				f.skipped(e.Path.String(), err)
			default:
				yield(share.Entry{}, failure(op, e.Path, err))
				return
			}
		}
	}
}

// enter opens a folder, always by its path from the root: one that was moved out of the share meanwhile is not followed.
func (f *FS) enter(ctx context.Context, p share.Path) (*level, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d, err := f.tree.Dir(p)
	if err != nil {
		return nil, err
	}
	names, err := d.Names(ctx)
	if err != nil {
		d.Close()
		return nil, err
	}
	slices.Sort(names)
	return &level{path: p, dir: d, names: names}, nil
}

// look tells of one name in a folder, or that it is left out.
func (f *FS) look(ctx context.Context, l *level, name string) (e share.Entry, ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return e, false, err
	}
	p, err := l.path.Join(name)
	if err != nil {
		f.leaveOut(l, name, errors.Unwrap(err))
		return e, false, nil
	}
	st, err := l.dir.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist): // gone since its name was read
		return e, false, nil
	case err != nil:
		return e, false, err
	}
	if err := st.Check(); err != nil {
		f.leaveOut(l, name, err)
		return e, false, nil
	}
	return st.Entry(p), true, nil
}

func (f *FS) leaveOut(l *level, name string, why error) {
	if !l.path.IsRoot() {
		name = l.path.String() + "/" + name
	}
	f.skipped(name, why)
}

// failure makes the error that callers see. It never tells where on its owner's disk the share is.
func failure(op string, p share.Path, err error) error {
	e := &peer.Error{Op: op, Path: p.String(), Kind: peer.KindOf(err), Err: err}
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		e.Err = path.Err
	}
	switch {
	case errors.Is(err, tree.ErrAway):
		e.Kind = peer.Unreachable
	case errors.Is(err, tree.ErrIsDir), errors.Is(err, tree.ErrNoDir):
		e.Kind = peer.Usage
	case errors.Is(err, tree.ErrLink), errors.Is(err, tree.ErrMount), errors.Is(err, tree.ErrSpecial):
		e.Kind = peer.NotFound
	case errors.Is(err, tree.ErrMoved):
		e.Kind = peer.Conflict
	case tree.Missing(err):
		e.Kind, e.Err = peer.NotFound, nil
	case errors.Is(err, fs.ErrPermission):
		e.Err = errDenied
	case tree.Exhausted(err):
		e.Kind = peer.Busy
	}
	return e
}

// passable reports whether a folder that can't be entered is no reason to end a walk over its neighbours: it has become
// something else, or its owner's system forbids it.
func passable(err error) bool {
	return !errors.Is(err, tree.ErrAway) && slices.ContainsFunc(
		[]error{tree.ErrLink, tree.ErrMount, tree.ErrSpecial, tree.ErrNoDir, tree.ErrMoved, fs.ErrPermission},
		func(e error) bool { return errors.Is(err, e) })
}

var errDenied = errors.New("its owner's own system does not let peerd read it")
