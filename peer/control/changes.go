package control

import (
	"fmt"
	"regexp"
	"strings"
)

// Change is one thing that was done to a share.
type Change struct {
	Done  string `json:"done"`            // removed, moved, copied, made or restored
	Ref   Ref    `json:"ref"`             // what it was done to
	To    Ref    `json:"to,omitzero"`     // where that is now, if elsewhere
	Kind  Kind   `json:"kind,omitempty"`  // dir or file
	Size  int64  `json:"size,omitempty"`  // bytes
	Kept  string `json:"kept,omitempty"`  // the version that what was there before is kept as
	Error *Error `json:"error,omitempty"` // why it was not done
	// Conflict says that the place had moved on meanwhile, and that To is a copy beside it.
	Conflict bool `json:"conflict,omitempty"`
}

// What is done in a [Change].
const (
	Removed  = "removed"
	Moved    = "moved"
	Copied   = "copied"
	Made     = "made"
	Restored = "restored"
)

// MoveRequest asks for things of shares to be moved.
type MoveRequest struct {
	Sources List[Ref] `json:"sources"`
	// Dest is a folder to put them into, or the new name of the one source.
	Dest Ref `json:"dest"`
	// Into says that Dest must be a folder.
	Into bool `json:"into,omitempty"`
	// Force replaces files that stand in the way; they stay as versions. Without it they are a Conflict.
	Force bool `json:"force,omitempty"`
}

// Version is a state of a file that was replaced or removed, and is kept.
type Version struct {
	Ref     Ref    `json:"ref"` // of the file, as it was called
	ID      string `json:"id"`
	Kind    Kind   `json:"kind"`
	Size    int64  `json:"size"`           // bytes
	ModTime Time   `json:"mtime,omitzero"` // of its content
	Until   Time   `json:"until"`          // when it was replaced or removed
	Peer    string `json:"peer,omitempty"` // who did, by ID; empty for the owner
	Name    string `json:"name,omitempty"` // its own word
	By      string `json:"by"`             // what was done then: put, cp, rm, mv, restore or undo
}

// RestoreRequest asks for a version to be put back.
type RestoreRequest struct {
	Ref     Ref    `json:"ref"`
	Version string `json:"version"`
	// Dest is where to in the same share; Ref when it is zero.
	Dest Ref `json:"dest,omitzero"`
	// Force replaces what stands at a Dest other than Ref.
	Force bool `json:"force,omitempty"`
}

// UndoRequest asks for a share of this peer to be as it was before what another did to it: overwritten and removed files are back,
// what was made is gone, and all of that is kept as versions again. What somebody else changed since is told as a conflict.
type UndoRequest struct {
	Share string `json:"share"`
	Peer  string `json:"peer"` // name, ID, or its beginning or end
	Since Time   `json:"since"`
}

// FileEvent is one change below a folder that is watched.
type FileEvent struct {
	Event string `json:"event"` // created, changed, removed, moved; watching or gap
	Entry Entry  `json:"entry,omitzero"`
	From  Ref    `json:"from,omitzero"`  // where it was before it was moved
	Peer  string `json:"peer,omitempty"` // who did it, by ID; empty where the owner saw it on the disk
	Name  string `json:"name,omitempty"` // its own word
	Time  Time   `json:"time,omitzero"`
	Seq   uint64 `json:"seq,omitempty"` // rises by one in a share
}

// The events of [FileEvent]. FileWatching is the first: from there on nothing is missed. FileGap says that some were.
const (
	FileWatching = "watching"
	FileCreated  = "created"
	FileChanged  = "changed"
	FileRemoved  = "removed"
	FileMoved    = "moved"
	FileGap      = "gap"
)

// FileLock says who works on a file. It forbids nothing, and ends by itself when its holder is gone.
type FileLock struct {
	Peer  string `json:"peer"` // by ID
	Name  string `json:"name,omitempty"`
	Since Time   `json:"since"`
}

var versionForm = regexp.MustCompile(`^[0-9]{8}-[0-9]{6}-[0-9a-f]{4}$`)

// SplitVersion takes the version off a Ref that ends in @VERSION, as in //anna/docs/plan.txt@20261125-204356-9f3c.
func SplitVersion(ref Ref) (plain Ref, version string, ok bool) {
	path, version, ok := cutLast(ref.Path, "@")
	if !ok || !versionForm.MatchString(version) || path == "" || strings.HasSuffix(path, "/") {
		return ref, "", false
	}
	ref.Path = path
	return ref, version, true
}

// WithVersion is the text of a version's Ref.
func WithVersion(ref Ref, version string) string { return fmt.Sprintf("%s@%s", ref, version) }

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
