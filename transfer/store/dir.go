// Package store puts fetched files on disk: a file grows under a temporary name beside its place, and takes its own name
// in one step once all of it is verified. It is, with share/local, the only opener of folders of users, and stays inside
// the folder that it was given: no link, no "..", leads out ([os.Root]).
package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/peerd/peerd/peer"
)

// tempPrefix starts all temporary names. Shares never list or serve such names.
const tempPrefix = ".peerd-tmp-"

// Meta is what a file keeps of its origin besides its bytes.
type Meta struct {
	ModTime time.Time
	Exec    bool
}

func (m Meta) mode() fs.FileMode {
	if m.Exec {
		return 0o755
	}
	return 0o644
}

// like is an existing file's mode with the right to execute as m has it, for those who may read.
func (m Meta) like(old fs.FileMode) fs.FileMode {
	if m.Exec {
		return old | old&0o444>>2
	}
	return old &^ 0o111
}

// Dir is a folder that files are put below. It is safe for concurrent use.
type Dir struct {
	name string
	root *os.Root
	temp string // starts the temporary names that Put makes; nobody else makes such names

	mu   sync.Mutex
	last *folder // the folder used last, since files come folder by folder
	puts int     // how many files Put wrote, to tell them apart
}

// folder is one open folder below a Dir. It is closed when nobody uses it any more.
type folder struct {
	path string
	root *os.Root
	uses int // guarded by Dir.mu; being Dir.last is one use
}

// OpenDir opens a folder that is there.
func OpenDir(name string) (*Dir, error) {
	r, err := os.OpenRoot(name)
	if err != nil {
		return nil, fail("open", name, err)
	}
	return &Dir{name: name, root: r, temp: tempPrefix + rand.Text()[:12] + "-"}, nil
}

// Close gives the folder up.
func (d *Dir) Close() error {
	d.mu.Lock()
	last := d.last
	d.last = nil
	d.mu.Unlock()
	if last != nil {
		d.release(last)
	}
	return d.root.Close()
}

// Name is the full name of a path below the folder, for messages.
func (d *Dir) Name(p []string) string { return filepath.Join(append([]string{d.name}, p...)...) }

// Mkdir makes a folder and those above it. One that is there already is fine; anything else is a [peer.Conflict].
func (d *Dir) Mkdir(p []string) error {
	if len(p) == 0 {
		return nil
	}
	err := d.root.MkdirAll(path.Join(p...), 0o755)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTDIR) {
		return &peer.Error{Op: "make folder", Path: d.Name(p), Kind: peer.Conflict, Err: errors.New("something that is no folder is in the way")}
	}
	return fail("make folder", d.Name(p), err)
}

// folder gives the folder that p lies in, which the caller releases. Opening it once for many files is what makes small
// files fast.
func (d *Dir) folder(p []string) (*folder, error) {
	dir := path.Join(append([]string{"."}, p[:len(p)-1]...)...)
	d.mu.Lock()
	if f := d.last; f != nil && f.path == dir {
		f.uses++
		d.mu.Unlock()
		return f, nil
	}
	d.mu.Unlock()
	root, err := d.root.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	f := &folder{path: dir, root: root, uses: 2}
	d.mu.Lock()
	old := d.last
	d.last = f
	d.mu.Unlock()
	if old != nil {
		d.release(old)
	}
	return f, nil
}

func (d *Dir) release(f *folder) {
	d.mu.Lock()
	f.uses--
	unused := f.uses == 0
	d.mu.Unlock()
	if unused {
		f.root.Close()
	}
}

// Found is what stands at a path already.
type Found uint8

// What may be found.
const (
	Absent  Found = iota
	Regular       // a file
	Other         // a folder, link or device: never overwritten
)

// Look tells what stands at p, and of a file its size and time.
func (d *Dir) Look(p []string) (Found, int64, time.Time, error) {
	fi, err := d.root.Lstat(path.Join(p...))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Absent, 0, time.Time{}, nil
	case err != nil:
		return Absent, 0, time.Time{}, fail("look at", d.Name(p), err)
	case fi.Mode().IsRegular():
		return Regular, fi.Size(), fi.ModTime(), nil
	}
	return Other, 0, time.Time{}, nil
}

// Open opens a file that stands at p, for reading.
func (d *Dir) Open(p []string) (*os.File, error) {
	f, err := d.root.Open(path.Join(p...))
	if err != nil {
		return nil, fail("open", d.Name(p), err)
	}
	return f, nil
}

// Put writes a whole small file that is already verified. Without replace, whatever has its name stays and the error is a
// [peer.Conflict].
func (d *Dir) Put(p []string, data []byte, m Meta, replace bool) error {
	return fail("write", d.Name(p), d.put(p, data, m, replace))
}

func (d *Dir) put(p []string, data []byte, m Meta, replace bool) error {
	in, err := d.folder(p)
	if err != nil {
		return err
	}
	defer d.release(in)
	dir := in.root
	d.mu.Lock()
	d.puts++
	temp := d.temp + strconv.Itoa(d.puts)
	d.mu.Unlock()
	f, err := dir.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, m.mode())
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		dir.Remove(temp)
		return err
	}
	if err := promote(dir, temp, p[len(p)-1], m, replace); err != nil {
		dir.Remove(temp)
		return err
	}
	return nil
}

// promote gives a finished temporary file its name.
func promote(dir *os.Root, temp, name string, m Meta, replace bool) error {
	if err := dir.Chtimes(temp, time.Now(), m.ModTime); err != nil {
		return err
	}
	if replace {
		return dir.Rename(temp, name)
	}
	// A link fails where the name is taken, which a rename does not.
	err := dir.Link(temp, name)
	switch {
	case err == nil:
		return dir.Remove(temp)
	case errors.Is(err, fs.ErrExist):
		return err
	}
	if _, err := dir.Lstat(name); err == nil {
		return fs.ErrExist
	}
	return dir.Rename(temp, name) // a file system without links
}

func fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	e := &peer.Error{Op: op, Path: name, Kind: peer.KindOf(err), Err: err}
	var inner *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &inner):
		e.Err = inner.Err
	case errors.As(err, &link):
		e.Err = link.Err
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		e.Err, e.Hint = fmt.Errorf("it exists already and is different"), "use -f to replace it"
	case e.Kind == peer.NotFound, e.Kind == peer.Denied:
		e.Kind = peer.Other // of this computer's disk, not of the share
	}
	return e
}

// OpenFile opens a file that was put somewhere before, for reading. What is no file, such as a link, is an error.
func OpenFile(name string) (*os.File, error) {
	dir, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return nil, fail("open", name, err)
	}
	defer dir.Close()
	base := filepath.Base(name)
	named, err := dir.Lstat(base)
	if err != nil {
		return nil, fail("open", name, err)
	}
	if !named.Mode().IsRegular() {
		return nil, &peer.Error{Op: "open", Path: name, Kind: peer.Other, Err: errors.New("it is no file")}
	}
	f, err := dir.Open(base)
	if err != nil {
		return nil, fail("open", name, err)
	}
	if is, err := f.Stat(); err != nil || !os.SameFile(is, named) {
		f.Close()
		return nil, &peer.Error{Op: "open", Path: name, Kind: peer.Conflict, Err: errors.New("it changed meanwhile")}
	}
	return f, nil
}

// Stat tells of a file that was put somewhere before. What is no file is an error.
func Stat(name string) (fs.FileInfo, error) {
	f, err := OpenFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}
