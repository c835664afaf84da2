// Package disk is what changing the files of a share asks of the disk that they are on: few operations, each of which a crash
// leaves done or undone, and one that makes all that was done before it last.
//
// share/local is it for real folders, disktest for folders in memory that lose what was not made to last; disktest also holds the
// suite that each must pass.
package disk

import (
	"context"
	"io/fs"
	"time"

	"github.com/peerd/peerd/share"
)

// Disk is one share's folder, and the folder [share.Reserved] in it, which peers can't name. Nothing outside is reached, whatever
// links lie in it or are put there meanwhile. It holds nothing open between operations. It is safe for concurrent use.
//
// Errors are [peer.Error] where this package's users could not tell what they mean: Unreachable while the share's folder is
// away, Full without room, NotFound for what is not shared. Others are the system's: fs.ErrNotExist, fs.ErrExist,
// errors.ErrUnsupported.
type Disk interface {
	// Open opens a folder of the share that is there.
	Open(p share.Path) (Folder, error)
	// Own opens a folder below [share.Reserved], or that itself. With make what lacks is made, for its owner alone.
	Own(make bool, names ...string) (Folder, error)
	// Sync makes all that was done in folders last: names, and the bytes of files that Create, Copy and Settle dealt with.
	Sync() error
	// Space is how many bytes are free for us on the disk, and how many it has; ok is false where the system does not tell.
	Space() (free, total int64, ok bool)
}

// Folder is one open folder. Names are single components that the caller checked. It stays the same folder when its name is
// given to another, so it is held for a moment only. It is for one goroutine at a time.
type Folder interface {
	// Stat looks at a name without following it.
	Stat(name string) (Status, error)
	// Names are all that the folder holds, in no order.
	Names(ctx context.Context) ([]string, error)
	// Open opens a regular file for reading.
	Open(name string) (share.OpenFile, error)
	// Mkdir makes a folder, by the usual mode.
	Mkdir(name string) error
	// Create makes a small file that only its owner may read. Where the name is taken it fails as fs.ErrExist.
	Create(name string, data []byte) error
	// Copy makes to/toName of the bytes, time and mode of a file, without the bits that give rights of others, and tells what
	// it copied. The copy is of one state: of a file that changes meanwhile it fails as [peer.Conflict]. It leaves nothing when it fails.
	Copy(ctx context.Context, name string, to Folder, toName string) (Status, error)
	// Settle gives a regular file its mode, and has the next Sync write its bytes.
	Settle(name string, perm fs.FileMode) error
	// Touch sets a file's or folder's time, and whether a file may be run, which it may by those that may read it. No bit but the
	// permissions is left on a file whose bits change.
	Touch(name string, set Set) error
	// Rename gives a file or folder another name, in this or another folder of the disk.
	Rename(name string, to Folder, toName string, how How) error
	// Remove removes a file, and nothing but a file.
	Remove(name string) error
	// Rmdir removes an empty folder, and nothing but that.
	Rmdir(name string) error
	// Path is how other packages reach the folder while it is open: a name that leads nowhere else, where the system has such names.
	Path() string
	// Close gives the folder up.
	Close()
}

// How says what a rename does with what has the new name.
type How uint8

// The ways.
const (
	Fresh    How = iota // nothing may have it, else fs.ErrExist
	Exchange            // it gets the old name, in one step; errors.ErrUnsupported where there is no such step
	Recase              // it is the same file by a name that the disk takes for the same
)

// Set is what a touch sets; what is nil stays.
type Set struct {
	ModTime *time.Time
	Exec    *bool // of a file
}

// Executable is a file's permissions when those that may read it may run it as well, or when nobody may.
func Executable(perm fs.FileMode, exec bool) fs.FileMode {
	perm &^= 0o111
	if exec {
		perm |= perm & 0o444 >> 2
	}
	return perm
}

// Status is what a disk tells of a name.
type Status struct {
	// Entry is without Path. Its Kind is 0 for what is not shared: a link, a device, another disk.
	share.Entry
	Perm    fs.FileMode // permission bits
	Node    Node
	Changed time.Time // of the last change of anything about it, by the disk's own clock where it has one
}

// Node tells files apart while they exist. It stays when a file is renamed. The zero Node is that of a disk without.
type Node struct {
	Device, File uint64
}
