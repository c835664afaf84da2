package local

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change/disk"
	"github.com/peerd/peerd/share/local/tree"
	"github.com/peerd/peerd/transfer/store"
)

// Disk is the same folder as an [FS], to be changed; see [disk.Disk].
type Disk struct {
	changer
	top string
}

// changer is a tree that can be changed.
type changer interface {
	tree.Tree
	// folder opens a folder of the share.
	folder(p share.Path) (disk.Folder, error)
	// own opens a folder below share.Reserved, or that.
	own(make bool, names []string) (disk.Folder, error)
	// sync makes last what was done.
	sync() error
	// present says why the share is away.
	present() error
}

// NewDisk changes the folder dir, which is as in [New]. Of opt only Mount is heeded.
func NewDisk(dir string, opt Options) (*Disk, error) {
	if !filepath.IsAbs(dir) {
		return nil, &peer.Error{Op: "change folder", Path: dir, Kind: peer.Usage, Err: errors.New("it is no absolute path")}
	}
	dir = filepath.Clean(dir)
	return &Disk{newChanger(dir, opt.Mount), dir}, nil
}

// Open opens a folder of the share; see [disk.Disk].
func (d *Disk) Open(p share.Path) (disk.Folder, error) {
	f, err := d.folder(p)
	return f, changeFailure(err)
}

// Own opens a folder of peerd's own; see [disk.Disk].
func (d *Disk) Own(make bool, names ...string) (disk.Folder, error) {
	f, err := d.own(make, append([]string{share.Reserved}, names...))
	return f, changeFailure(err)
}

// Sync makes all last that was done; see [disk.Disk].
func (d *Disk) Sync() error { return changeFailure(d.sync()) }

// Space is how many bytes are free, and how many there are; see [disk.Disk].
func (d *Disk) Space() (free, total int64, ok bool) {
	if d.present() != nil {
		return 0, 0, false
	}
	return store.DiskSpace(d.top)
}

// changeFailure says what the errors of a change mean that no [disk.Disk] may leave to its user.
func changeFailure(err error) error {
	if err == nil {
		return nil
	}
	e := &peer.Error{Err: err}
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		e.Err = path.Err // without the path, which is the owner's own
	}
	switch {
	case errors.As(err, new(*peer.Error)):
		return err
	case errors.Is(err, tree.ErrAway):
		e.Kind = peer.Unreachable
	case errors.Is(err, tree.ErrIsDir):
		e.Kind = peer.Usage
	case errors.Is(err, tree.ErrNoDir), errors.Is(err, syscall.ENOTDIR), errors.Is(err, tree.ErrMoved):
		e.Kind = peer.Conflict
	case errors.Is(err, tree.ErrLink), errors.Is(err, tree.ErrMount), errors.Is(err, tree.ErrSpecial):
		e.Kind = peer.NotFound
	case errors.Is(err, fs.ErrNotExist):
		return fs.ErrNotExist
	case errors.Is(err, fs.ErrExist):
		return fs.ErrExist
	case errors.Is(err, fs.ErrPermission):
		e.Kind, e.Err = peer.Denied, errReadOnly
	case tree.Full(err):
		e.Kind, e.Err, e.Hint = peer.Full, errFull, "make room there and try again"
	case errors.Is(err, syscall.EROFS):
		e.Err = errOnlyRead
	case errors.Is(err, syscall.ENAMETOOLONG):
		e.Kind, e.Err = peer.Usage, errLongName
	case tree.Exhausted(err):
		e.Kind = peer.Busy
	default:
		return e.Err
	}
	return e
}

var (
	errReadOnly = errors.New("its owner's own system does not let peerd change it")
	errFull     = errors.New("the owner's disk, or the owner's part of it, is full")
	errOnlyRead = errors.New("the owner's disk can only be read")
	errLongName = errors.New("the name is too long for the owner's disk")
)

// seen is what a disk tells of a name.
func seen(st tree.Status) disk.Status {
	out := disk.Status{Perm: st.Mode.Perm(), Changed: st.LastChange()}
	if st.File != 0 {
		out.Node = disk.Node{Device: st.Device, File: st.File}
	}
	if st.Check() == nil {
		out.Entry = st.Entry(share.Path{})
	}
	return out
}
