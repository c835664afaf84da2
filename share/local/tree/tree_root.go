package tree

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/peerd/peerd/share"
)

// Root has [os.Root] confine it. That follows links which stay inside, so every component is looked at before it is
// opened, and what was opened must then be the very thing that was seen.
//
// It finds a mounted file system by its device number, so one that is mounted on a file, or a second mount of the share's
// own file system, is not told from the rest.
type Root struct {
	Path  string // the folder, absolute and without links
	Mount bool   // a file system is mounted there, or the share is away
}

// Folder opens the folder itself.
func (t Root) Folder() (*os.Root, error) {
	if err := shown(t.Path); err != nil {
		return nil, err
	}
	for dir := t.Path; ; dir = filepath.Dir(dir) {
		info, err := os.Lstat(dir)
		switch {
		case err != nil:
			return nil, Away(err)
		case info.Mode()&fs.ModeSymlink != 0:
			return nil, Away(ErrLink)
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	r, err := os.OpenRoot(t.Path)
	if err != nil {
		return nil, Away(err)
	}
	if err := shown(t.Path); err != nil {
		r.Close()
		return nil, err
	}
	if t.Mount {
		here, herr := r.Stat(".")
		above, aerr := os.Stat(filepath.Dir(t.Path))
		if err := errors.Join(herr, aerr); err != nil || Of(here).Device == Of(above).Device {
			r.Close()
			return nil, Away(err)
		}
	}
	return r, nil
}

// Enter opens the folder at p.
func (t Root) Enter(p share.Path) (*os.Root, error) {
	r, err := t.Folder()
	if err != nil {
		return nil, err
	}
	for _, name := range p.Components() {
		sub, err := enterOne(r, name)
		r.Close()
		if err != nil {
			return nil, err
		}
		r = sub
	}
	return r, nil
}

// enterOne opens the folder name in r.
func enterOne(r *os.Root, name string) (*os.Root, error) {
	seen, st, err := Look(r, name)
	if err != nil {
		return nil, err
	}
	if err := st.Check(); err != nil {
		return nil, err
	}
	if !seen.IsDir() {
		return nil, ErrNoDir
	}
	sub, err := r.OpenRoot(name)
	if err != nil {
		return nil, Swapped(err)
	}
	got, err := sub.Stat(".")
	if err == nil && !os.SameFile(seen, got) {
		err = ErrMoved
	}
	if err != nil {
		sub.Close()
		return nil, err
	}
	return sub, nil
}

// Swapped makes out what os.Root says of a name that was no link when it was seen and has become one: of one that leads outside
// that is no error of the system's, and has no name.
func Swapped(err error) error {
	if errno := syscall.Errno(0); !errors.As(err, &errno) || errno == syscall.ELOOP {
		return ErrMoved
	}
	return err
}

// Look looks at a name in r without following it. Whether a file is of another file system is not asked: overlay file systems
// give files device numbers of their own. On Windows some names mean something else than a file of that name (a device, a
// stream).
func Look(r *os.Root, name string) (fs.FileInfo, Status, error) {
	if runtime.GOOS == "windows" && share.CheckCreate(name) != nil {
		return nil, Status{}, fs.ErrNotExist
	}
	info, err := r.Lstat(name)
	if err != nil {
		return nil, Status{}, err
	}
	st := Of(info)
	if info.IsDir() {
		here, err := r.Stat(".")
		if err != nil {
			return nil, Status{}, err
		}
		st.Mount = Of(here).Device != st.Device
	}
	st, err = lastingIn(r, st)
	return info, st, err
}

// Stat looks without opening; see [Tree].
func (t Root) Stat(p share.Path) (Status, error) {
	r, err := t.parent(p)
	if err != nil {
		return Status{}, err
	}
	defer r.Close()
	if p.IsRoot() {
		info, err := r.Stat(".")
		if err != nil {
			return Status{}, err
		}
		return lastingIn(r, Of(info))
	}
	_, st, err := Look(r, p.Base())
	return st, err
}

// parent opens the folder that p is in. A file on the way there means that there is no p.
func (t Root) parent(p share.Path) (*os.Root, error) {
	r, err := t.Enter(p.Dir())
	if errors.Is(err, ErrNoDir) {
		err = fs.ErrNotExist
	}
	return r, err
}

// Open opens a regular file; see [Tree].
func (t Root) Open(p share.Path) (*os.File, error) {
	if p.IsRoot() {
		return nil, ErrIsDir
	}
	r, err := t.parent(p)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for range 10 { // a program that saves a file often puts another in its place
		var f *os.File
		if f, err = OpenIn(r, p.Base()); !errors.Is(err, ErrMoved) {
			return f, err
		}
	}
	return nil, err
}

// OpenIn opens a regular file in an open folder, and nothing that took its name meanwhile.
func OpenIn(r *os.Root, name string) (*os.File, error) {
	seen, st, err := Look(r, name)
	if err != nil {
		return nil, err
	}
	if err := st.Regular(); err != nil {
		return nil, err
	}
	f, err := r.OpenFile(name, openFlags, 0)
	if err != nil {
		return nil, Swapped(err)
	}
	got, err := f.Stat()
	if err == nil && !os.SameFile(seen, got) {
		err = ErrMoved
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Dir opens a folder; see [Tree].
func (t Root) Dir(p share.Path) (Dir, error) {
	parent, err := t.parent(p)
	if err != nil {
		return nil, err
	}
	if p.IsRoot() {
		return RootDir{parent}, nil
	}
	defer parent.Close()
	r, err := enterOne(parent, p.Base())
	if err != nil {
		return nil, err
	}
	return RootDir{r}, nil
}

// RootDir is an open folder of a Root.
type RootDir struct{ Root *os.Root }

// Close gives the folder up.
func (d RootDir) Close() { d.Root.Close() }

// Names are all that the folder holds; see [Dir].
func (d RootDir) Names(ctx context.Context) (names []string, err error) {
	f, err := d.Root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		some, err := f.Readdirnames(1000)
		names = append(names, some...)
		switch {
		case errors.Is(err, io.EOF):
			return names, nil
		case err != nil:
			return nil, err
		case len(names) > MaxNames:
			return nil, ErrCrowded
		}
	}
}

// Stat looks at one of them; see [Dir].
func (d RootDir) Stat(name string) (Status, error) {
	_, st, err := Look(d.Root, name)
	return st, err
}
