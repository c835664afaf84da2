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
	Logins
	Shares
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

// Files looks at what lies in shares and brings it here.
type Files interface {
	// List yields the peers at the zero Ref, the shares at a peer, and else the entries of a folder, or the one file that
	// the Ref names. With recursive all below follows as well, parents before children. What can't be entered is
	// yielded with its Error set and the sequence goes on.
	List(ctx context.Context, ref Ref, recursive bool) iter.Seq2[Entry, error]
	// Stat tells of one file, folder, share or peer.
	Stat(ctx context.Context, ref Ref) (Entry, error)
	// Find yields all below ref whose names match the pattern, see [Match]. Errors are yielded as by List.
	Find(ctx context.Context, ref Ref, pattern string) iter.Seq2[Entry, error]
	// Copy brings files here. It calls event for what happens, from any goroutine, never two at a time, and not after it
	// returned. One file that fails does not stop the others; the error then says how many failed and has the kind of the first.
	Copy(ctx context.Context, req CopyRequest, event func(CopyEvent)) error
	// Cat writes length bytes of a file from offset on, or all the rest if length is negative, each verified before it is
	// written. A range that reaches beyond the end stops there.
	Cat(ctx context.Context, ref Ref, offset, length int64, w io.Writer) error
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
