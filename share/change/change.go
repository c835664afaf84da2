// Package change changes the files of one share, so that nothing is ever lost by it: a change is done or not done, whenever the
// power goes; when it is told of, it lasts; what was there before is kept as a version (see history); and who changes something
// that has changed meanwhile gets a copy of its own beside it.
//
// New bytes are fetched into a staging folder of the share ([Editor.Staging]) and then take their place ([Editor.Commit]), as
// many files at a time as there are: what makes them last costs two syncs of the disk for each thousand.
//
// A group of changes goes so: what will be done is written down and made to last, together with the new bytes; then it is done by
// renames, old and new exchanging their names where the disk can do that, the old one going on to the versions; the log is
// written; all is made to last. [Open] finishes or drops what a crash left in between.
package change

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change/act"
	"github.com/peerd/peerd/share/change/disk"
	"github.com/peerd/peerd/share/change/history"
	"github.com/peerd/peerd/transfer"
)

// By is who makes a change; without a Peer it is the share's owner.
type By = history.By

// VersionID names a version of a path; see [history.ID].
type VersionID = history.ID

// Kept is a version; see [history.Kept].
type Kept = history.Kept

// ParseVersionID reads the text form of a VersionID.
func ParseVersionID(s string) (VersionID, error) { return history.ParseID(s) }

// Base is what a change expects at its path. The zero Base expects nothing there.
type Base struct {
	Any     bool
	Version transfer.Version
}

func (b Base) fits(v transfer.Version) bool { return b.Any || b.Version == v }

// Put is a file that was fetched into staging, and where it belongs.
type Put struct {
	Staged  string // its name in staging, chosen by the caller
	Path    share.Path
	Base    Base
	Exec    *bool // whether it may be run; nil: as what it replaces may, and a new file may not
	Parents bool  // make the folders above it that are not there
	By      By
	// State begins the names in staging of a state of this file by this writer, and of nothing else; it may be nil. What the writer
	// placed of it counts as expected: the answer may have been lost, and nobody has a conflict with oneself.
	State func(size int64, modTime time.Time) string
	Stale func() bool // asked when its turn has come: a stale one is not placed; may be nil
}

// Result is what became of one change.
type Result struct {
	Entry    share.Entry      // what is at the path now; only a Path where something was removed
	Before   transfer.Version // what was there, or zero
	Kept     VersionID        // the version that was kept of it, or 0
	Conflict bool             // the path had moved on: Entry is the copy that the newcomer became, beside it
	Err      error            // nothing was done; a [peer.Error]
}

// Change is what Options.Changed is told.
type Change struct {
	Verb   string // put, rm, mv, cp, mkdir, touch, restore, undo
	Path   share.Path
	To     share.Path       // where it was moved, else the root
	Before share.Entry      // what was at the path, of a move at its target; Kind 0 for nothing
	After  share.Entry      // what is there now; Kind 0 for nothing
	Kept   VersionID        // the version of Before, or 0
	Moved  transfer.Version // of what was moved, before it was; else zero
	By     By
}

// Options are what an Editor is told. All may be left out.
type Options struct {
	// Limits is asked at each change.
	Limits func() Limits
	// Changed is told of each change once it lasts, in order, before the call that made it returns. It must not call the Editor.
	Changed func(Change)
	Now     func() time.Time
	Log     *slog.Logger
}

// Editor changes the files of one share. It is safe for concurrent use: changes are made one group after the other, but
// bytes are copied and compared meanwhile.
type Editor struct {
	disk    disk.Disk
	history *history.Store
	opt     Options
	copies  atomic.Uint64 // to name what is copied into staging

	mu     sync.Mutex // held while a group is made
	broken bool       // a group may have been left half done: recover first

	stagers atomic.Int64 // how many use the staging folder
}

const (
	maxGroup   = 1000 // how many changes are made with the same two syncs
	firstGroup = 128  // of removals in a folder: after them it may be found that they are too many
)

// Open finishes or drops what a crash left half done. It makes no folder: a share that nobody changes stays as it is. While
// the share's folder is away it fails as [peer.Unreachable].
func Open(ctx context.Context, d disk.Disk, opt Options) (*Editor, error) {
	if opt.Limits == nil {
		opt.Limits = func() Limits { return Limits{} }
	}
	if opt.Changed == nil {
		opt.Changed = func(Change) {}
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	h, err := history.Open(ctx, d, opt.Now)
	if err != nil {
		return nil, fail("open for changes", share.Path{}, err)
	}
	e := &Editor{disk: d, history: h, opt: opt}
	if err := act.Recover(ctx, e.disk, e.history, e.opt.Log); err != nil {
		return nil, fail("recover", share.Path{}, err)
	}
	return e, nil
}

// Staging opens the folder that new files are fetched into: dir is good for transfer/store.OpenDir until release is called.
// Names in it are the caller's; what nobody touches for three days goes with [Editor.Sweep].
func (e *Editor) Staging() (dir string, release func(), err error) {
	f, err := e.history.Staging()
	if err != nil {
		return "", nil, fail("stage", share.Path{}, err)
	}
	e.stagers.Add(1)
	return f.Path(), sync.OnceFunc(func() {
		f.Close()
		e.stagers.Add(-1)
	}), nil
}

// begin takes the lock that changes are made under, once nothing is left half done.
func (e *Editor) begin(ctx context.Context) (unlock func(), err error) {
	e.mu.Lock()
	if err := ctx.Err(); err != nil {
		e.mu.Unlock()
		return nil, err
	}
	if e.broken {
		if err := act.Recover(ctx, e.disk, e.history, e.opt.Log); err != nil {
			e.mu.Unlock()
			return nil, err
		}
		e.broken = false
	}
	return e.mu.Unlock, nil
}

// fail makes the error that callers see.
func fail(op string, p share.Path, err error) error {
	if err == nil {
		return nil
	}
	e := &peer.Error{Op: op, Path: p.String(), Kind: peer.KindOf(err), Err: err}
	if inner := (*peer.Error)(nil); errors.As(err, &inner) {
		if inner.Path != "" {
			e.Path = inner.Path
		}
		e.Err, e.Hint = inner.Err, inner.Hint
	}
	switch {
	case errors.Is(err, errRoot), errors.Is(err, errNoExec):
		e.Kind = peer.Usage
	case errors.Is(err, act.ErrMoved), errors.Is(err, act.ErrNotEmpty):
		e.Kind = peer.Conflict
	case e.Kind == peer.NotFound && e.Err == err:
		e.Err = nil
	}
	return e
}

func conflict(p share.Path, why error) error {
	return &peer.Error{Path: p.String(), Kind: peer.Conflict, Err: why}
}
