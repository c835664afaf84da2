// Package share is about names: what a peer offers under which name, the path of a file in it, who may do what, and the
// one interface through which files are looked at, wherever they lie.
package share

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
)

// ID is random, made with the share, and outlives a change of its name.
type ID = transfer.ShareID

// Right is what somebody may do in a share: None < Read < Full.
type Right uint8

// The rights. Read lists and reads; Full also writes, renames and deletes.
const (
	None Right = iota
	Read
	Full
)

func (r Right) String() string {
	switch r {
	case Read:
		return "read"
	case Full:
		return "full"
	}
	return "none"
}

// ParseRight reads the text form of a right.
func ParseRight(s string) (Right, error) {
	switch s {
	case "none":
		return None, nil
	case "read":
		return Read, nil
	case "full":
		return Full, nil
	}
	return None, &peer.Error{Op: "parse right", Path: s, Kind: peer.Usage, Hint: "it is one of none, read, full"}
}

// MaxName is the length of a share's name, in bytes.
const MaxName = 63

// MaxComment is the length of a share's comment, in bytes.
const MaxComment = 256

// Name is what a share is offered under: 1 to 63 bytes by the rules of a path component that a peer may create, all of which shows.
// Two names that differ in case alone are the same to a share's owner, see [FoldKey]. A name that ends in $ is hidden.
type Name string

// ParseName accepts a share's name or says why not.
func ParseName(s string) (Name, error) {
	if len(s) > MaxName {
		return "", &peer.Error{Op: "parse share name", Path: s, Kind: peer.Usage, Err: fmt.Errorf("it is longer than %d bytes", MaxName)}
	}
	for _, check := range []func(string) error{CheckCreate, func(s string) error { return peer.CheckText(s, MaxName) }} {
		if err := check(s); err != nil {
			return "", &peer.Error{Op: "parse share name", Path: s, Kind: peer.Usage, Err: err}
		}
	}
	return Name(s), nil
}

// Hidden reports whether the name alone hides the share, as it does on Windows.
func (n Name) Hidden() bool { return strings.HasSuffix(string(n), "$") }

// Info is what a peer tells others of one share that is not hidden.
type Info struct {
	ID      ID
	Name    Name
	Comment string // at most MaxComment bytes, may be empty
	Open    Right  // what anybody has without a password; says nothing of which passwords are set
}

// EntryKind is what an entry is. Nothing else is ever listed: no link, device, socket or pipe.
type EntryKind uint8

// The kinds of entries.
const (
	File EntryKind = iota + 1
	Dir
)

func (k EntryKind) String() string {
	if k == Dir {
		return "dir"
	}
	return "file"
}

// Entry is one file or folder as it was seen at one moment.
type Entry struct {
	Path    Path
	Kind    EntryKind
	Size    int64 // bytes; 0 for a folder
	ModTime time.Time
	Version transfer.Version
	Exec    bool // the owner may run it; kept on copying, as every file manager does
	Lock    *Lock
}

// Lock says who works on a file just now. It forbids nothing.
type Lock struct {
	Peer  peer.ID
	Name  peer.Name // its own word
	Since time.Time
}

// Name is the last component of the entry's path, or "" at the root of the share.
func (e Entry) Name() string { return e.Path.Base() }

// FS looks at the files of one share, wherever they lie. Errors are [peer.Error] with operation and path.
type FS interface {
	// Stat tells of one file or folder.
	Stat(ctx context.Context, p Path) (Entry, error)
	// List yields the entries of a folder, sorted by name in byte order. What can't be told of (a link, a name that no
	// peer could hold) is left out. An error ends the sequence.
	List(ctx context.Context, p Path) iter.Seq2[Entry, error]
	// Walk yields all below a folder, parents before children, each folder's entries sorted as in List.
	Walk(ctx context.Context, p Path) iter.Seq2[Entry, error]
}

// Files is an FS whose files can be opened here.
type Files interface {
	FS
	// Open opens a file for reading.
	Open(ctx context.Context, p Path) (OpenFile, error)
}

// OpenFile is one open regular file. It stays the same file when its name is given to another.
type OpenFile interface {
	io.ReaderAt
	io.Closer
	// Entry tells of the file as it is now; a Version other than before means that it changed.
	Entry() (Entry, error)
}
