package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change/disk"
	"github.com/peerd/peerd/share/local/tree"
)

// rootDisk changes what a tree.Root reads. A folder is opened as that does; changes are then made by paths from the share's root,
// which [os.Root] keeps inside. A folder on the way that becomes a link just then may lead a change to another place inside.
//
// It can't exchange names, and a folder or, where there are no links, a file that is renamed to a name that is taken just then
// replaces what has it.
type rootDisk struct {
	tree.Root

	mu    sync.Mutex
	dirty map[string]bool // paths that the next sync makes last; the value says whether it is a file
}

func newRootDisk(dir string, mount bool) *rootDisk {
	return &rootDisk{Root: tree.Root{Path: dir, Mount: mount}, dirty: map[string]bool{}}
}

func (d *rootDisk) touch(name string, file bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dirty[name] = file
}

func (d *rootDisk) sync() error {
	d.mu.Lock()
	dirty := d.dirty
	d.dirty = map[string]bool{}
	d.mu.Unlock()
	if len(dirty) == 0 {
		return nil
	}
	r, err := d.Folder()
	if err != nil {
		return err
	}
	defer r.Close()
	for name, file := range dirty {
		if err := syncOne(r, name, file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func syncOne(r *os.Root, name string, file bool) error {
	if runtime.GOOS == "windows" && !file {
		return nil // it has no such thing, and keeps a journal of names
	}
	flags := os.O_RDONLY
	if file {
		flags = os.O_RDWR
	}
	f, err := r.OpenFile(name, flags, 0)
	if errors.Is(err, fs.ErrPermission) && file && runtime.GOOS != "windows" {
		f, err = r.Open(name)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (d *rootDisk) present() error {
	r, err := d.Folder()
	if err == nil {
		r.Close()
	}
	return err
}

func (d *rootDisk) folder(p share.Path) (disk.Folder, error) {
	sub, err := d.Enter(p)
	if err != nil {
		return nil, err
	}
	return d.opened(sub, path.Join(".", p.String()))
}

func (d *rootDisk) own(make bool, names []string) (disk.Folder, error) {
	r, err := d.Folder()
	if err != nil {
		return nil, err
	}
	full := "."
	for _, name := range names {
		sub, err := enterOwn(r, name)
		if errors.Is(err, fs.ErrNotExist) && make {
			if err = r.Mkdir(name, 0o700); err == nil || errors.Is(err, fs.ErrExist) {
				d.touch(full, false)
				sub, err = enterOwn(r, name)
			}
		}
		r.Close()
		if err != nil {
			return nil, err
		}
		r, full = sub, path.Join(full, name)
	}
	return d.opened(r, full)
}

// enterOwn opens a folder in another, as a share's folders are opened, by a name that no share has.
func enterOwn(r *os.Root, name string) (*os.Root, error) {
	seen, err := r.Lstat(name)
	switch {
	case err != nil:
		return nil, err
	case seen.Mode()&fs.ModeSymlink != 0:
		return nil, tree.ErrLink
	case !seen.IsDir():
		return nil, tree.ErrNoDir
	}
	sub, err := r.OpenRoot(name)
	if err != nil {
		return nil, tree.Swapped(err)
	}
	if got, err := sub.Stat("."); err != nil || !os.SameFile(seen, got) {
		sub.Close()
		return nil, tree.ErrMoved
	}
	return sub, nil
}

func (d *rootDisk) opened(sub *os.Root, full string) (disk.Folder, error) {
	top, err := d.Folder()
	if err != nil {
		sub.Close()
		return nil, err
	}
	return &rootFolder{disk: d, top: top, sub: sub, path: full}, nil
}

// rootFolder is an open folder of a rootDisk.
type rootFolder struct {
	disk *rootDisk
	top  *os.Root // the share
	sub  *os.Root // the folder, to look at
	path string   // from the share, with slashes
}

func (f *rootFolder) Close() {
	f.top.Close()
	f.sub.Close()
}

func (f *rootFolder) Path() string {
	return filepath.Join(f.disk.Root.Path, filepath.FromSlash(f.path))
}

func (f *rootFolder) at(name string) string { return filepath.FromSlash(path.Join(f.path, name)) }

func (f *rootFolder) Stat(name string) (disk.Status, error) {
	_, st, err := tree.Look(f.sub, name)
	return seen(st), changeFailure(err)
}

func (f *rootFolder) Names(ctx context.Context) ([]string, error) {
	names, err := tree.RootDir{Root: f.sub}.Names(ctx)
	return names, changeFailure(err)
}

func (f *rootFolder) Open(name string) (share.OpenFile, error) {
	file, err := tree.OpenIn(f.sub, name)
	if err != nil {
		return nil, changeFailure(err)
	}
	return &File{file: file}, nil
}

// changed takes note that names in the folder changed.
func (f *rootFolder) changed(err error) error {
	if err == nil {
		f.disk.touch(filepath.FromSlash(f.path), false)
	}
	return changeFailure(err)
}

func (f *rootFolder) Mkdir(name string) error { return f.changed(f.top.Mkdir(f.at(name), 0o755)) }

func (f *rootFolder) create(name string) (*os.File, error) {
	return f.top.OpenFile(f.at(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// finish closes a new file, or removes it if something failed.
func (f *rootFolder) finish(name string, file *os.File, err error) error {
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = f.top.Remove(f.at(name))
		return changeFailure(err)
	}
	f.disk.touch(f.at(name), true)
	return f.changed(nil)
}

func (f *rootFolder) Create(name string, data []byte) error {
	file, err := f.create(name)
	if err != nil {
		return changeFailure(err)
	}
	_, err = file.Write(data)
	return f.finish(name, file, err)
}

func (f *rootFolder) Copy(ctx context.Context, name string, to disk.Folder, toName string) (disk.Status, error) {
	src, err := tree.OpenIn(f.sub, name)
	if err != nil {
		return disk.Status{}, changeFailure(err)
	}
	defer src.Close()
	st, err := settle(ctx, src)
	if err != nil {
		return disk.Status{}, changeFailure(err)
	}
	t := to.(*rootFolder)
	dst, err := t.create(toName)
	if err != nil {
		return disk.Status{}, changeFailure(err)
	}
	if err = copyFile(ctx, dst, src, st); err == nil && runtime.GOOS != "windows" {
		err = dst.Chmod(st.Mode.Perm())
	}
	if err = t.finish(toName, dst, err); err == nil {
		err = t.top.Chtimes(t.at(toName), time.Time{}, st.ModTime)
	}
	return seen(st), changeFailure(err)
}

func (f *rootFolder) Settle(name string, perm fs.FileMode) error {
	file, err := tree.OpenIn(f.sub, name)
	if err != nil {
		return changeFailure(err)
	}
	defer file.Close()
	if runtime.GOOS != "windows" {
		err = file.Chmod(perm)
	}
	if err == nil {
		f.disk.touch(f.at(name), true)
	}
	return changeFailure(err)
}

func (f *rootFolder) Touch(name string, set disk.Set) error {
	info, st, err := tree.Look(f.sub, name)
	if err == nil {
		err = st.Check()
	}
	if err != nil {
		return changeFailure(err)
	}
	if perm := info.Mode().Perm(); !info.IsDir() && set.Exec != nil && runtime.GOOS != "windows" && disk.Executable(perm, *set.Exec) != perm {
		file, err := tree.OpenIn(f.sub, name)
		if err != nil {
			return changeFailure(err)
		}
		err = file.Chmod(disk.Executable(perm, *set.Exec))
		if cerr := file.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return changeFailure(err)
		}
	}
	if set.ModTime != nil {
		err = f.top.Chtimes(f.at(name), time.Time{}, *set.ModTime)
	}
	if err == nil {
		f.disk.touch(f.at(name), !info.IsDir())
	}
	return changeFailure(err)
}

func (f *rootFolder) Rename(name string, to disk.Folder, toName string, how disk.How) error {
	if how == disk.Exchange {
		return errors.ErrUnsupported
	}
	t := to.(*rootFolder)
	err := f.rename(name, t, toName, how)
	if err != nil {
		return changeFailure(err)
	}
	f.disk.touch(filepath.FromSlash(f.path), false)
	return t.changed(nil)
}

// rename replaces nothing: a link can't have a name that is taken, which a rename would take.
func (f *rootFolder) rename(name string, to *rootFolder, toName string, how disk.How) error {
	from, dest := f.at(name), to.at(toName)
	if how == disk.Recase {
		return f.top.Rename(from, dest)
	}
	info, err := f.sub.Lstat(name)
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() {
		err := f.top.Link(from, dest)
		if err == nil {
			return f.top.Remove(from)
		}
		if errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if _, err := to.sub.Lstat(toName); err == nil {
		return fs.ErrExist
	}
	return f.top.Rename(from, dest)
}

func (f *rootFolder) Remove(name string) error {
	info, err := f.sub.Lstat(name)
	if err == nil && info.IsDir() {
		err = tree.ErrIsDir
	}
	if err == nil {
		err = f.top.Remove(f.at(name))
	}
	return f.changed(err)
}

func (f *rootFolder) Rmdir(name string) error {
	info, err := f.sub.Lstat(name)
	if err == nil && !info.IsDir() {
		err = tree.ErrNoDir
	}
	if err == nil {
		err = f.top.Remove(f.at(name))
	}
	return f.changed(err)
}
