package tree

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

// Tree reaches what is in one folder, and nothing outside of it. Its errors are those of the system or of this package.
type Tree interface {
	// Stat looks without opening.
	Stat(p share.Path) (Status, error)
	// Open opens a regular file.
	Open(p share.Path) (*os.File, error)
	// Dir opens a folder to list it.
	Dir(p share.Path) (Dir, error)
}

// Dir is a folder that is being listed, by one goroutine.
type Dir interface {
	// Names are all that the folder holds, in no order, at most maxNames.
	Names(ctx context.Context) ([]string, error)
	// Stat looks at one of them without following it.
	Stat(name string) (Status, error)
	Close()
}

// Status is what the system tells of a file. What it does not know is zero.
type Status struct {
	Mode         fs.FileMode
	Size         int64
	ModTime      time.Time
	ChangeTime   time.Time // of the last change of content or attributes, by the system's clock; nobody can set it
	Device, File uint64
	Mount        bool // the root of a mounted file system
}

// Check says why the file is not told of.
func (st Status) Check() error {
	switch {
	case st.Mount:
		return ErrMount
	case st.Mode&fs.ModeSymlink != 0:
		return ErrLink
	case !st.Mode.IsRegular() && !st.Mode.IsDir():
		return ErrSpecial
	}
	return nil
}

// Regular says why the file is not opened.
func (st Status) Regular() error {
	if err := st.Check(); err != nil {
		return err
	}
	if st.Mode.IsDir() {
		return ErrIsDir
	}
	return nil
}

// Entry is what a share tells of the file at p.
func (st Status) Entry(p share.Path) share.Entry {
	e := share.Entry{Path: p, Kind: share.Dir, ModTime: st.ModTime, Version: st.Version()}
	if st.Mode.IsRegular() {
		e.Kind, e.Size, e.Exec = share.File, st.Size, st.Mode&0o100 != 0
	}
	return e
}

// Version changes whenever the file does: another file has another inode, and a write moves both times. The second time
// is there for who sets the first one back.
func (st Status) Version() (v transfer.Version) {
	var b [40]byte
	for i, n := range []uint64{st.Device, st.File, uint64(st.Size), uint64(st.ModTime.UnixNano()), uint64(st.ChangeTime.UnixNano())} {
		binary.BigEndian.PutUint64(b[8*i:], n)
	}
	sum := sha256.Sum256(b[:])
	copy(v[:], sum[:])
	return v
}

// LastChange is when the file was last written to, as far as the system tells.
func (st Status) LastChange() time.Time {
	if st.ChangeTime.IsZero() {
		return st.ModTime
	}
	return st.ChangeTime
}
