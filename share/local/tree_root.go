package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/peerd/peerd/share"
)

// rootTree has [os.Root] confine it. That follows links which stay inside, so every component is looked at before it is
// opened, and what was opened must then be the very thing that was seen.
//
// It finds a mounted file system by its device number, so one that is mounted on a file, or a second mount of the share's
// own file system, is not told from the rest.
type rootTree struct {
	top   string
	mount bool
}

// root opens the folder itself.
func (t rootTree) root() (*os.Root, error) {
	for dir := t.top; ; dir = filepath.Dir(dir) {
		info, err := os.Lstat(dir)
		switch {
		case err != nil:
			return nil, away(err)
		case info.Mode()&fs.ModeSymlink != 0:
			return nil, away(errLink)
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	r, err := os.OpenRoot(t.top)
	if err != nil {
		return nil, away(err)
	}
	if t.mount {
		here, herr := r.Stat(".")
		above, aerr := os.Stat(filepath.Dir(t.top))
		if err := errors.Join(herr, aerr); err != nil || statusOf(here).dev == statusOf(above).dev {
			r.Close()
			return nil, away(err)
		}
	}
	return r, nil
}

// enter opens the folder at p.
func (t rootTree) enter(p share.Path) (*os.Root, error) {
	r, err := t.root()
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
	seen, st, err := look(r, name)
	if err != nil {
		return nil, err
	}
	if err := st.check(); err != nil {
		return nil, err
	}
	if !seen.IsDir() {
		return nil, errNoDir
	}
	sub, err := r.OpenRoot(name)
	if err != nil {
		return nil, swapped(err)
	}
	got, err := sub.Stat(".")
	if err == nil && !os.SameFile(seen, got) {
		err = errMoved
	}
	if err != nil {
		sub.Close()
		return nil, err
	}
	return sub, nil
}

// swapped makes out what os.Root says of a name that was no link when it was seen and has become one: of one that leads outside
// that is no error of the system's, and has no name.
func swapped(err error) error {
	if errno := syscall.Errno(0); !errors.As(err, &errno) || errno == syscall.ELOOP {
		return errMoved
	}
	return err
}

// look looks at a name in r without following it. Whether a file is of another file system is not asked: overlay file systems
// give files device numbers of their own. On Windows some names mean something else than a file of that name (a device, a
// stream).
func look(r *os.Root, name string) (fs.FileInfo, status, error) {
	if runtime.GOOS == "windows" && share.CheckCreate(name) != nil {
		return nil, status{}, fs.ErrNotExist
	}
	info, err := r.Lstat(name)
	if err != nil {
		return nil, status{}, err
	}
	st := statusOf(info)
	if info.IsDir() {
		here, err := r.Stat(".")
		if err != nil {
			return nil, status{}, err
		}
		st.mount = statusOf(here).dev != st.dev
	}
	return info, st, nil
}

func (t rootTree) stat(p share.Path) (status, error) {
	r, err := t.parent(p)
	if err != nil {
		return status{}, err
	}
	defer r.Close()
	if p.IsRoot() {
		info, err := r.Stat(".")
		if err != nil {
			return status{}, err
		}
		return statusOf(info), nil
	}
	_, st, err := look(r, p.Base())
	return st, err
}

// parent opens the folder that p is in. A file on the way there means that there is no p.
func (t rootTree) parent(p share.Path) (*os.Root, error) {
	r, err := t.enter(p.Dir())
	if errors.Is(err, errNoDir) {
		err = fs.ErrNotExist
	}
	return r, err
}

func (t rootTree) open(p share.Path) (*os.File, error) {
	if p.IsRoot() {
		return nil, errIsDir
	}
	r, err := t.parent(p)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for range 10 { // a program that saves a file often puts another in its place
		var f *os.File
		if f, err = openIn(r, p.Base()); !errors.Is(err, errMoved) {
			return f, err
		}
	}
	return nil, err
}

func openIn(r *os.Root, name string) (*os.File, error) {
	seen, st, err := look(r, name)
	if err != nil {
		return nil, err
	}
	if err := st.regular(); err != nil {
		return nil, err
	}
	f, err := r.OpenFile(name, openFlags, 0)
	if err != nil {
		return nil, swapped(err)
	}
	got, err := f.Stat()
	if err == nil && !os.SameFile(seen, got) {
		err = errMoved
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (t rootTree) dir(p share.Path) (dir, error) {
	parent, err := t.parent(p)
	if err != nil {
		return nil, err
	}
	if p.IsRoot() {
		return rootDir{parent}, nil
	}
	defer parent.Close()
	r, err := enterOne(parent, p.Base())
	if err != nil {
		return nil, err
	}
	return rootDir{r}, nil
}

type rootDir struct{ root *os.Root }

func (d rootDir) close() { d.root.Close() }

func (d rootDir) names(ctx context.Context) (names []string, err error) {
	f, err := d.root.Open(".")
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
		case len(names) > maxNames:
			return nil, errCrowded
		}
	}
}

func (d rootDir) stat(name string) (status, error) {
	_, st, err := look(d.root, name)
	return st, err
}

// away is the error of a share whose folder can't be opened; why is nil when nothing is mounted on it.
func away(why error) error {
	if path := (*fs.PathError)(nil); errors.As(why, &path) {
		why = path.Err // without the path
	}
	if why == nil {
		return errAway
	}
	return fmt.Errorf("%w (%w)", errAway, why)
}
