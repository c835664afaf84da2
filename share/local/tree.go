package local

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io/fs"
	"os"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/transfer"
)

// tree reaches what is in one folder, and nothing outside of it. Its errors are those of the system or of this package.
type tree interface {
	// stat looks without opening.
	stat(p share.Path) (status, error)
	// open opens a regular file.
	open(p share.Path) (*os.File, error)
	// dir opens a folder to list it.
	dir(p share.Path) (dir, error)
}

// dir is a folder that is being listed, by one goroutine.
type dir interface {
	// names are all that the folder holds, in no order, at most maxNames.
	names(ctx context.Context) ([]string, error)
	// stat looks at one of them without following it.
	stat(name string) (status, error)
	close()
}

// status is what the system tells of a file. What it does not know is zero.
type status struct {
	mode     fs.FileMode
	size     int64
	mtime    time.Time
	ctime    time.Time // of the last change of content or attributes, by the system's clock; nobody can set it
	dev, ino uint64
	mount    bool // the root of a mounted file system
}

// check says why the file is not told of.
func (st status) check() error {
	switch {
	case st.mount:
		return errMount
	case st.mode&fs.ModeSymlink != 0:
		return errLink
	case !st.mode.IsRegular() && !st.mode.IsDir():
		return errSpecial
	}
	return nil
}

// regular says why the file is not opened.
func (st status) regular() error {
	if err := st.check(); err != nil {
		return err
	}
	if st.mode.IsDir() {
		return errIsDir
	}
	return nil
}

func (st status) entry(p share.Path) share.Entry {
	e := share.Entry{Path: p, Kind: share.Dir, ModTime: st.mtime, Version: st.version()}
	if st.mode.IsRegular() {
		e.Kind, e.Size, e.Exec = share.File, st.size, st.mode&0o100 != 0
	}
	return e
}

// version changes whenever the file does: another file has another inode, and a write moves both times. The second time
// is there for who sets the first one back.
func (st status) version() (v transfer.Version) {
	var b [40]byte
	for i, n := range []uint64{st.dev, st.ino, uint64(st.size), uint64(st.mtime.UnixNano()), uint64(st.ctime.UnixNano())} {
		binary.BigEndian.PutUint64(b[8*i:], n)
	}
	sum := sha256.Sum256(b[:])
	copy(v[:], sum[:])
	return v
}

// changed is when the file was last written to, as far as the system tells.
func (st status) changed() time.Time {
	if st.ctime.IsZero() {
		return st.mtime
	}
	return st.ctime
}
