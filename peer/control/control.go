// Package control is the vocabulary of the daemon's local API: what may be asked of a running peerd over its Unix socket,
// what it answers, and how a remote thing is named.
//
// [Backend] is the whole API. The daemon implements it, [github.com/peerd/peerd/peer/control/server] puts it on a socket,
// and [github.com/peerd/peerd/peer/control/client] is a Backend again, at the other end of that socket. The JSON forms of
// the types here are what the command line prints with --json: sizes are in bytes, times are RFC 3339 in UTC, rights are
// none, read or full. Fields are added, never renamed.
//
// Names that other peers chose stand raw in these types; whoever prints them escapes them with [peer.Quote].
package control

import (
	"context"
	"io"
	"iter"
)

// Backend is what a running peerd can be asked. Every error is a [peer.Error]. A sequence ends after it yielded an error,
// and whoever stops ranging over it ends the work behind it.
type Backend interface {
	Workgroup
	Files
	Changes
	Logins
	Shares
	Audit
	Devices
	Mounts
}

// Workgroup tells of this peer and of the others.
type Workgroup interface {
	// Status tells of this peer.
	Status(ctx context.Context) (Status, error)
	// Peers are the others of the workgroup, in the order of their names. With ask each of them is asked what it offers, where
	// that is not known yet, so that rights and comments are there; without, what it announced has to do.
	Peers(ctx context.Context, ask bool) ([]Peer, error)
	// WatchPeers yields every peer that is here, then each change until ctx ends.
	WatchPeers(ctx context.Context) iter.Seq2[PeerEvent, error]
	// Doctor examines why a peer may not be seen and where time goes.
	Doctor(ctx context.Context) iter.Seq2[Finding, error]
}

// Files looks at what lies in shares and copies it.
type Files interface {
	// List yields the peers at the zero Ref, the shares at a peer, and else the entries of a folder, or the one file that
	// the Ref names. With recursive all below follows as well, parents before children. What can't be entered is
	// yielded with its Error set and the sequence goes on.
	List(ctx context.Context, ref Ref, recursive bool) iter.Seq2[Entry, error]
	// Stat tells of one file, folder, share or peer.
	Stat(ctx context.Context, ref Ref) (Entry, error)
	// Find yields all below ref whose names match the pattern, see [Match]. Errors are yielded as by List.
	Find(ctx context.Context, ref Ref, pattern string) iter.Seq2[Entry, error]
	// Copy brings files here, or from here or from a share to a share. It calls event for what happens, from any goroutine, never two at a time, and not after it
	// returned. One file that fails does not stop the others; the error then says how many failed and has the kind of the first.
	Copy(ctx context.Context, req CopyRequest, event func(CopyEvent)) error
	// Cat writes length bytes of a file from offset on, or all the rest if length is negative, each verified before it is
	// written. A range that reaches beyond the end stops there.
	// A Ref that ends in @VERSION is an old version of a file, see [SplitVersion].
	Cat(ctx context.Context, ref Ref, offset, length int64, w io.Writer) error
	// WatchFiles yields what changes below ref until ctx ends. After a gap it yields a [FileGap]: what was listed before holds
	// no more.
	WatchFiles(ctx context.Context, ref Ref) iter.Seq2[FileEvent, error]
}

// Changes changes what lies in shares. It takes the full right, all but a part of Move and Copy that only reads. What is
// overwritten or removed stays as a version. Each sequence yields what was done, one [Change] a file or folder; where something
// could not be done it is yielded with its Error set, and the sequence goes on and ends with an error that says how many failed.
type Changes interface {
	// Remove removes files, and with recursive folders.
	Remove(ctx context.Context, refs []Ref, recursive bool) iter.Seq2[Change, error]
	// Move moves or renames files and folders, within a share or from one to another.
	Move(ctx context.Context, req MoveRequest) iter.Seq2[Change, error]
	// Mkdir makes a folder, and with parents those above it, where one that is there is fine.
	Mkdir(ctx context.Context, ref Ref, parents bool) error
	// Versions yields the versions that are kept of a file, newest first; with recursive those of all below a folder, of files
	// that are gone as well.
	Versions(ctx context.Context, ref Ref, recursive bool) iter.Seq2[Version, error]
	// Restore puts a version back, in its place or elsewhere in the share. What is there becomes a version itself.
	Restore(ctx context.Context, req RestoreRequest) (Change, error)
	// Lock tells all who look at a file that this peer works on it, until ctx ends. It yields once it is so, and then who did
	// already, if somebody did; it forbids nothing.
	Lock(ctx context.Context, ref Ref) iter.Seq2[FileLock, error]
	// Undo puts back what a peer changed in a share of this one since a time; see [UndoRequest].
	Undo(ctx context.Context, req UndoRequest) iter.Seq2[Change, error]
}

// Logins is about the rights that this peer holds in shares of others.
type Logins interface {
	// Login proves the knowledge of a password of a share and keeps what its owner gives for it.
	Login(ctx context.Context, ref Ref, password string) (Login, error)
	// Logout forgets what Login got, here.
	Logout(ctx context.Context, ref Ref) error
	// Whoami says what right this peer holds in a share, and by what.
	Whoami(ctx context.Context, ref Ref) (Login, error)
}

// Shares is about the folders that this peer offers.
type Shares interface {
	ShareList(ctx context.Context) ([]Share, error)
	ShareAdd(ctx context.Context, add ShareAdd) (Share, error)
	// ShareSet changes what the fields of set that are not nil say.
	ShareSet(ctx context.Context, name string, set ShareSet) (Share, error)
	// ShareRemove takes a share away from the workgroup. Its folder stays as it is.
	ShareRemove(ctx context.Context, name string) error
	// SharePasswd sets the password for a right, Read or Full, and cuts off who came in by the old one.
	SharePasswd(ctx context.Context, name string, right Right, password string) error
	// GeneratePassword makes a password that is easy to say and too hard to guess.
	GeneratePassword(ctx context.Context) (string, error)
}

// Audit tells of what was done to the shares of this peer.
type Audit interface {
	// AuditRecords yields what the audit holds, oldest first, and with Follow what is added until ctx ends.
	AuditRecords(ctx context.Context, filter AuditFilter) iter.Seq2[AuditRecord, error]
	// AuditVerify looks at all of the audit. What was changed, removed or put in another order is an error of kind
	// [peer.Integrity] that says where.
	AuditVerify(ctx context.Context) (AuditReport, error)
}

// Devices is about single peers, whatever they know of passwords. A peer is its name if it is known, its ID or the beginning
// or end of one, or the whole ID of one that was never seen.
type Devices interface {
	// ShareAllow gives a peer a right, Read or Full, in a share without a password, in place of one that it was given before.
	ShareAllow(ctx context.Context, name, peer string, right Right) (Share, error)
	// ShareDeny takes that from a peer, and refuses it whatever it knows until it is allowed again; without deny it takes
	// back the latter.
	ShareDeny(ctx context.Context, name, peer string, deny bool) (Share, error)
	// ShareResume lets a peer that was suspended have its rights again.
	ShareResume(ctx context.Context, name, peer string) (Share, error)
	// Block has this peer have nothing to do with another any more, and without block takes that back.
	Block(ctx context.Context, peer string, block bool) (Device, error)
	// Blocked are those that are blocked, sorted by name and ID.
	Blocked(ctx context.Context) ([]Device, error)
}

// Mounts shows the workgroup to other programs of this computer: as folders, and by WebDAV.
type Mounts interface {
	// Mount makes a part of the workgroup a folder of this computer. Where the system has no FUSE it is served by WebDAV
	// instead, and mounted by what the system has for that, if it has anything; [Mount.Webdav] then says how to go on.
	Mount(ctx context.Context, req MountRequest) (Mount, error)
	// Unmount takes a mount away, and one that persists for good. What was saved is delivered, if need be later.
	Unmount(ctx context.Context, dir string) error
	// MountList tells of all mounts, sorted by their folders.
	MountList(ctx context.Context) (MountList, error)
	// Webdav serves a part of the workgroup until ctx ends. It yields once it does.
	Webdav(ctx context.Context, req WebdavRequest) iter.Seq2[Webdav, error]
}
