// Package vfs is one tree of all that the workgroup offers to this peer, /PEER/SHARE/PATH, as a file system: with what was
// listed and read kept true by the owners' events, reading ahead, and writes that are kept here until their owner has them.
// Every face stands on it. It knows no network: a [World] gives it the workgroup.
package vfs

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/vfs/tree"
	"github.com/peerd/peerd/share/watch"
	"github.com/peerd/peerd/transfer"
)

// Ino names a node of the tree, and no other, for as long as the FS lives. A file that is renamed keeps it.
type Ino = tree.Ino

// Root is the node of the tree's root, which holds the peers.
const Root = tree.Root

// Attr is what a node is.
type Attr struct {
	Ino     Ino
	Dir     bool
	Size    int64 // bytes; 0 for a folder
	ModTime time.Time
	Exec    bool
	Right   share.Right // what this peer may do at and below it; [share.Read] for the root and for peers
	// Tag changes whenever a file's bytes do, and not before: what a face compares, and an ETag. It is "" for a folder.
	Tag string
	// Fresh is how long a face may believe all this, and the name that led here, without asking again; what changes before is
	// told by [FS.Changes].
	Fresh time.Duration
}

// Entry is a node with the name that it has in its folder.
type Entry struct {
	Name string
	Attr
}

// Set is what [FS.SetAttr] sets; what is nil stays.
type Set struct {
	Size    *int64
	ModTime *time.Time
	Exec    *bool
}

// Keeps reports whether a file can have a time: it is kept in nanoseconds, which are few enough from 1678 to 2262.
func Keeps(t time.Time) bool { return time.Unix(0, t.UnixNano()).Equal(t) }

// Mode says how a file is opened.
type Mode struct {
	Read, Write bool
	Append      bool // each write goes to the end
	Truncate    bool
	Exclusive   bool // of [FS.Create]: an error of kind peer.Conflict if the name is there
	Exec        bool // of [FS.Create]
}

// Space is how much a share, or all of the tree, holds and may hold, in bytes.
type Space struct{ Total, Free int64 }

// What says what changed of a node.
type What uint8

// The changes.
const (
	Content What = 1 << iota // a file's bytes, size or times
	Name                     // Name in the folder Parent is another node now, or none, or a new one
	All                      // anything may have changed: who follows was too slow
)

// Change is told to those who keep what the tree said.
type Change struct {
	What   What
	Ino    Ino
	Parent Ino    // of Name
	Name   string // of Name
}

// Pending is a change that its owner does not have yet.
type Pending struct {
	Path  string // //PEER/SHARE/PATH
	Bytes int64
	Since time.Time
	Err   error // why it could not be delivered when it was last tried; nil if it was not
}

// World is the workgroup, as the tree needs it. All methods are safe for concurrent use.
type World interface {
	// Peers are those that are known, here or away, by the names that name them; no two are alike.
	Peers(ctx context.Context) ([]string, error)
	// Shares are what a peer offers to this one, as far as it is known; an error of kind peer.NotFound means that there is no
	// such peer, one of peer.Unreachable that it can't be asked and nothing was known.
	Shares(ctx context.Context, peer string) ([]share.Info, error)
	// Enter gives a share with the right that this peer has there now. One without right is an error of kind peer.Denied.
	Enter(ctx context.Context, peer, name string) (Remote, error)
	// Changed yields whenever the peers, or what one of them offers, may have changed, until ctx ends.
	Changed(ctx context.Context) iter.Seq[struct{}]
}

// Remote is a share at its owner. An error of kind peer.Unreachable means that the owner is away, which is told within 50 ms
// where it is known. What is called without a deadline tries for as long as its ctx lasts.
type Remote interface {
	Owner() peer.ID
	ID() share.ID
	Label() string // //PEER/SHARE
	// Right is what this peer may do there, by the last word of the owner.
	Right() share.Right
	// AskRight asks the owner which right there is now; Right tells it then.
	AskRight(ctx context.Context)
	// Away reports whether the owner is known to be away, without asking it.
	Away() bool

	share.FS
	// Lists lists many folders in about the time that one takes, in the order in which they are asked for.
	Lists(ctx context.Context, folders <-chan share.Path, most int) iter.Seq2[remote.Listed, error]
	Watch(ctx context.Context, p share.Path, after watch.Cursor) iter.Seq2[remote.Event, error]
	Space(ctx context.Context) (Space, error)
	// Open opens the version of a file that e tells of; another one is an error of kind peer.Conflict.
	Open(ctx context.Context, e share.Entry) (Reader, error)

	// Put brings files, many in one go. An item that the owner refuses does not stop the others; items end it with an error.
	Put(ctx context.Context, items iter.Seq2[remote.PutItem, error], done func(number uint64, c remote.Changed)) error
	// Ahead sends what there is of a file that is still written, so that less is left when it is put by the same number. It
	// returns when the file is put, when ctx ends, and with why the owner takes no more. See [remote.FS.Ahead].
	Ahead(ctx context.Context, number uint64, p share.Path, next func(context.Context) (remote.Window, bool)) error
	Mkdir(ctx context.Context, p share.Path, parents bool) error
	Touch(ctx context.Context, p share.Path, base change.Base, modTime *time.Time, exec *bool) (remote.Changed, error)
	Move(ctx context.Context, from, to share.Path, base, toBase change.Base) (remote.Changed, error)
	Copy(ctx context.Context, from, to share.Path, toBase change.Base) (remote.Changed, error)
	Remove(ctx context.Context, p share.Path, base change.Base, deep bool) iter.Seq2[remote.Changed, error]
	Lock(ctx context.Context, p share.Path) iter.Seq2[*share.Lock, error]
}

// Reader reads one version of a file, at any place, ahead of who reads in order. It is safe for concurrent use. Bytes are
// verified before they are given.
type Reader interface {
	// ReadAt reads like [io.ReaderAt]: an error comes with fewer bytes than asked for, io.EOF at the end of the file. It gives
	// up when ctx ends.
	ReadAt(ctx context.Context, b []byte, off int64) (int, error)
	// Version is which one is read.
	Version() transfer.Version
	io.Closer
}
