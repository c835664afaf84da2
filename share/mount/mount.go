// Package mount shows the tree of [vfs.FS], or a part of it, as a file system of this computer: by FUSE on Linux, by macFUSE
// on macOS, by WinFsp on Windows. It needs no rights but those of its user, and no cgo.
//
// The kernel may keep what it was told for as long as the tree says; what changes before is taken back from it by a goroutine
// that holds nothing a handler could wait for. A handler waits for a peer no longer than the tree does, and gives up when
// whoever asked is told to stop.
package mount

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/mounted"
	"github.com/peerd/peerd/share/vfs"
)

// ErrUnavailable is found by errors.Is in an error that says that this computer can mount nothing as it is now. Its hint is
// what to install; what there is until then, WebDAV, is told of by who serves it.
var ErrUnavailable = errors.New("no file system can be mounted here")

// Options say how a tree is mounted. The zero Options show all of it to nobody but the one who mounts it.
type Options struct {
	// Root is what is shown: nothing for the whole tree, a peer, or a peer and one of its shares.
	Root []string
	// Away allows a Root that can't be reached just now; what is asked of it fails until it can.
	Away bool
	// AllowOther shows it to every user of this computer, with the rights that the modes say. On Linux a user must be allowed
	// to do so by user_allow_other in /etc/fuse.conf.
	AllowOther bool
	// ReadOnly lets nothing be changed, whatever the rights.
	ReadOnly bool
	// Shared are the folders that this peer offers, absolute. None of them may hold the mount, or lie in it: it would be offered on.
	Shared []string
	// Log is told of what goes wrong; nil for nobody.
	Log *slog.Logger
}

// firstWait is how long [Mount] waits for its Root to be found.
const firstWait = 10 * time.Second

// find says why there is nothing to mount.
func find(ctx context.Context, fs *vfs.FS, o Options) error {
	short, end := context.WithTimeout(ctx, firstWait)
	defer end()
	a, err := fs.Walk(short, o.Root...)
	switch {
	case err != nil && o.Away && ctx.Err() == nil:
		return nil
	case err != nil:
		return err
	case !a.Dir:
		return &peer.Error{Op: "mount", Path: "//" + strings.Join(o.Root, "/"), Kind: peer.Usage, Err: vfs.ErrNotDir}
	}
	return nil
}

// Apart says why a folder must not be mounted on: it lies in one that is shared, or has one in it, so that what is mounted would be
// offered on. A folder may be missing.
func Apart(dir string, shared []string) error {
	dir = mounted.Resolve(dir)
	for _, s := range shared {
		why := ""
		switch {
		case mounted.Within(dir, mounted.Resolve(s)):
			why = "it lies in the shared folder " + peer.Quote(s)
		case mounted.Within(s, dir): // which is not there now, but may be in what is mounted
			why = "the shared folder " + peer.Quote(s) + " lies in it"
		default:
			continue
		}
		return &peer.Error{Op: "mount on", Path: dir, Kind: peer.Usage, Err: errors.New(why),
			Hint: "what is mounted there would be offered on; mount outside of it"}
	}
	return nil
}

// unavailable says why nothing can be mounted, and what to do.
func unavailable(why, hint string) error {
	return &peer.Error{Op: "mount", Kind: peer.Other, Err: &cause{why}, Hint: hint}
}

// cause is one reason for ErrUnavailable.
type cause struct{ why string }

func (c *cause) Error() string { return c.why }
func (c *cause) Unwrap() error { return ErrUnavailable }
