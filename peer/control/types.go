package control

import (
	"encoding/json"
	"time"
)

// Time is a moment that JSON shows in UTC.
type Time struct{ time.Time }

// At is t as it goes into the types of this package.
func At(t time.Time) Time { return Time{t.UTC().Round(0)} }

// MarshalJSON gives RFC 3339 in UTC.
func (t Time) MarshalJSON() ([]byte, error) { return t.UTC().MarshalJSON() }

// List is a slice that JSON shows as [] when it is empty, and never as null.
type List[T any] []T

// MarshalJSON gives an array.
func (l List[T]) MarshalJSON() ([]byte, error) {
	if l == nil {
		return []byte("[]"), nil
	}
	return json.Marshal([]T(l))
}

// Right is what somebody may do in a share.
type Right string

// The rights.
const (
	None Right = "none"
	Read Right = "read"
	Full Right = "full"
)

// Mode is how a share's slot, the one for reading or the one for full access, is opened.
type Mode string

// The modes.
const (
	Closed   Mode = "none"     // nobody gets this right by this slot
	Open     Mode = "open"     // everybody in the workgroup has it
	Password Mode = "password" // who knows the password gets it
)

// Status is what a peerd says of itself.
type Status struct {
	Name      string         `json:"name"`
	ID        string         `json:"id"`
	Workgroup string         `json:"workgroup"`
	Version   string         `json:"version"`
	Home      string         `json:"home,omitempty"` // where its state lies
	Started   Time           `json:"started"`
	Addrs     List[string]   `json:"addrs"` // multiaddrs on which it listens
	Shares    List[Share]    `json:"shares"`
	Peers     int            `json:"peers"` // others that are here now
	Transfers List[Transfer] `json:"transfers"`
	Parts     List[Part]     `json:"parts"`
	Limits    Limits         `json:"limits,omitzero"`
	Cache     Cache          `json:"cache"`
	Seeding   Seeding        `json:"seeding"`
	Mounts    int            `json:"mounts"`  // folders of this computer that show the workgroup
	Pending   Pending        `json:"pending"` // what was saved in them and is not at its owners
}

// Cache is the piece cache: what was read is not fetched again.
type Cache struct {
	Bytes  int64  `json:"bytes"` // on disk
	Limit  int64  `json:"limit"` // of them
	Pieces int    `json:"pieces"`
	Hits   uint64 `json:"hits"` // since the start
	Misses uint64 `json:"misses"`
}

// Seeding is what was fetched from others and is given on.
type Seeding struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"` // of the files
}

// Limits are how many bytes a second pass between this peer and all others; 0 is without a limit.
type Limits struct {
	Upload   int64 `json:"upload,omitempty"`
	Download int64 `json:"download,omitempty"`
}

// Transfer is one running copy, here or to another peer.
type Transfer struct {
	Direction string `json:"direction"` // in or out
	Ref       Ref    `json:"ref"`
	Peer      string `json:"peer,omitempty"` // ID of the other side
	Bytes     int64  `json:"bytes"`
	Total     int64  `json:"total"` // bytes
	Started   Time   `json:"started"`
}

// Part is one module that the program is made of.
type Part struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Peer is another computer of the workgroup, as this one knows it.
type Peer struct {
	ID        string          `json:"id"`
	Name      string          `json:"name"` // its own word
	Workgroup string          `json:"workgroup"`
	Version   string          `json:"version,omitempty"`
	Addrs     List[string]    `json:"addrs"`
	Ways      List[string]    `json:"ways"`        // how it was found: mdns, static, inbound, dht, relay
	Verified  string          `json:"verified"`    // handshake once it proved its ID, no before
	Since     Time            `json:"since"`       // here since
	Count     int             `json:"share_count"` // -1 when it does not say
	Shares    List[PeerShare] `json:"shares"`
}

// PeerShare is a share that another peer offers, with the right that this one holds in it.
type PeerShare struct {
	Name    string `json:"name"`
	Comment string `json:"comment,omitempty"`
	Right   Right  `json:"right"`
}

// PeerEvent is a change in the workgroup.
type PeerEvent struct {
	Event string `json:"event"` // here, changed or gone
	Peer  Peer   `json:"peer"`
}

// The events of [PeerEvent].
const (
	PeerHere    = "here"
	PeerChanged = "changed"
	PeerGone    = "gone"
)

// Kind is what an [Entry] is.
type Kind string

// The kinds of entries.
const (
	KindPeer  Kind = "peer"
	KindShare Kind = "share"
	KindDir   Kind = "dir"
	KindFile  Kind = "file"
)

// Entry is one thing in the tree //PEER/SHARE/PATH.
type Entry struct {
	Ref     Ref    `json:"ref"`
	Kind    Kind   `json:"kind"`
	Size    int64  `json:"size"`              // bytes of a file, else 0
	ModTime Time   `json:"mtime,omitzero"`    // of a file or folder
	Exec    bool   `json:"exec,omitempty"`    // the owner may run it
	Version string `json:"version,omitempty"` // names this state of the file; equal versions have equal bytes
	Root    string `json:"blake3,omitempty"`  // hex; by Stat alone, and when it is known
	Right   Right  `json:"right,omitempty"`   // of a share: the right that this peer holds
	Comment string `json:"comment,omitempty"` // of a share
	Error   *Error `json:"error,omitempty"`   // why it could not be entered
	// Lock says who works on the file just now.
	Lock *FileLock `json:"lock,omitempty"`
}

// CopyRequest asks for files to be copied: of shares to here, or to a share.
type CopyRequest struct {
	Sources List[Ref] `json:"sources"`
	// Local are sources on this computer, absolute paths, for a copy to a share.
	Local List[string] `json:"local,omitempty"`
	// Dest is an absolute local path: a folder to put the sources into, or the name that the one source gets.
	Dest string `json:"dest,omitempty"`
	// To is the same in a share, in place of Dest.
	To Ref `json:"to,omitzero"`
	// Into says that Dest must be a folder, as it does when the user wrote a slash behind it or named several sources.
	Into bool `json:"into,omitempty"`
	// Recursive allows folders among the sources.
	Recursive bool `json:"recursive,omitempty"`
	// Force replaces files that stand in the way. Without it they are a Conflict, unless they have the same bytes already.
	Force bool `json:"force,omitempty"`
	// Each asks for an event for every file that is done. Failures are told in any case.
	Each bool `json:"each,omitempty"`
	// Limit is how many bytes a second the copy fetches at most; 0 is without a limit of its own.
	Limit int64 `json:"limit,omitempty"`
}

// CopyEvent is one thing that happened in a copy. Bytes, Files and their totals are running sums over the whole copy.
type CopyEvent struct {
	Event string `json:"event"`
	// Source and Dest are the file that the event is about: in file and error events. A copy to a share has From, where it
	// comes from this computer, and To.
	Source Ref    `json:"source,omitzero"`
	From   string `json:"from,omitempty"`
	Dest   string `json:"dest,omitempty"`
	To     Ref    `json:"to,omitzero"`
	// Conflict says that To had moved on, and that what was copied is at To now, beside it.
	Conflict bool   `json:"conflict,omitempty"`
	Size     int64  `json:"size,omitempty"`   // of that file, in bytes
	Root     string `json:"blake3,omitempty"` // of that file, hex, verified
	Error    *Error `json:"error,omitempty"`

	Bytes      int64 `json:"bytes"`       // fetched and verified, or had
	Had        int64 `json:"had"`         // of these, those that were here already
	TotalBytes int64 `json:"total_bytes"` // known so far; grows while folders are read
	Files      int64 `json:"files"`       // finished
	TotalFiles int64 `json:"total_files"`

	// Sources are those that gave something, who gave most first: in progress and done events.
	Sources []CopySource `json:"sources,omitempty"`
	// Waiting says why nothing arrives just now.
	Waiting string `json:"waiting,omitempty"`
}

// CopySource is what one peer gave in a copy.
type CopySource struct {
	Peer   string `json:"peer"`             // ID
	Name   string `json:"name,omitempty"`   // its own word
	Owner  bool   `json:"origin,omitempty"` // of the share
	Bytes  int64  `json:"bytes"`            // verified
	Bad    int    `json:"bad,omitempty"`    // pieces that came wrong
	Banned bool   `json:"banned,omitempty"` // for that: it was asked for nothing any more
}

// The events of [CopyEvent].
const (
	CopyProgress = "progress" // at most ten a second
	CopyFile     = "file"     // a file is whole and has its name
	CopyError    = "error"    // a file or folder failed; others go on
	CopySkipped  = "skipped"  // something is left out, as a symbolic link is; Error says why
	CopyDone     = "done"     // the last event of a copy without errors
)

// Login is the right that this peer holds in a share.
type Login struct {
	Ref   Ref    `json:"ref"` // of the share
	ID    string `json:"id"`  // this peer's, to whom the right is bound
	Right Right  `json:"right"`
	By    string `json:"by"`             // open, password, device or none
	Until Time   `json:"until,omitzero"` // when the password will be asked for again
}

// Share is a folder that this peer offers.
type Share struct {
	Name      string `json:"name"`
	ID        string `json:"id"`
	Dir       string `json:"dir"`
	Comment   string `json:"comment,omitempty"`
	Hidden    bool   `json:"hidden,omitempty"`
	Read      Mode   `json:"read"`
	Full      Mode   `json:"full"`
	Temporary bool   `json:"temporary,omitempty"` // offered with --share, for one run
	Created   Time   `json:"created"`

	// What is said of devices, whatever they know of passwords: who has a right without one, who has none, and who may read
	// at most for now. Sorted by ID.
	Allowed   List[Device] `json:"allowed,omitempty"`
	Denied    List[Device] `json:"denied,omitempty"`
	Suspended List[Device] `json:"suspended,omitempty"`

	Settings Settings `json:"settings,omitzero"`

	Versions Versions `json:"versions,omitzero"`
	// Watch says why not all changes on the disk are seen at once, and what to do about it.
	Watch string `json:"watch,omitempty"`
}

// Versions is the room that the old versions of a share take.
type Versions struct {
	Count int   `json:"count"`
	Bytes int64 `json:"bytes"`
}

// Settings are what holds of the room that a share takes, of old versions, and of the brake, set or by default. -1 is without a
// limit.
type Settings struct {
	Quota         int64  `json:"quota,omitempty"`          // bytes of files and versions; 0 is without a limit
	PeerQuota     int64  `json:"peer_quota,omitempty"`     // bytes that one peer may upload in a day; 0 is without a limit
	Reserve       *int64 `json:"reserve,omitempty"`        // bytes of the disk that stay free; nil: 1 GiB, or 5 % if that is less
	VersionsAge   int64  `json:"versions_age,omitempty"`   // seconds
	VersionsCount int    `json:"versions_count,omitempty"` // of one path
	VersionsShare int    `json:"versions_share,omitempty"` // percent of the disk
	Brake         Brake  `json:"brake,omitzero"`
	// Set are the text forms of those that are not the default, by their names on the command line.
	Set map[string]string `json:"set,omitempty"`
}

// Brake is when the full right of a peer is suspended: once it changed more than so many files, and more than that part of all,
// in that time.
type Brake struct {
	Off     bool  `json:"off,omitempty"`
	Files   int   `json:"files,omitempty"`
	Percent int   `json:"percent,omitempty"`
	Window  int64 `json:"window,omitempty"` // seconds
}

// Device is a peer of which the owner of a share, or of this computer, says something.
type Device struct {
	ID    string `json:"id"`
	Name  string `json:"name,omitempty"`  // its own word, where it is known
	Right Right  `json:"right,omitempty"` // of one that is allowed
	Since Time   `json:"since,omitzero"`  // of the others
}

// Slot sets how a right is had: the mode, and a password if the mode is Password and none is set yet or it shall change.
type Slot struct {
	Mode     Mode   `json:"mode"`
	Password string `json:"password,omitempty"`
}

// ShareAdd is a folder to be offered.
type ShareAdd struct {
	Dir     string `json:"dir"`            // absolute
	Name    string `json:"name,omitempty"` // the folder's name when empty
	Comment string `json:"comment,omitempty"`
	Hidden  bool   `json:"hidden,omitempty"`
	Read    Slot   `json:"read"`
	Full    Slot   `json:"full"`
}

// ShareSet changes a share where it is not nil.
type ShareSet struct {
	Name    *string `json:"name,omitempty"`
	Comment *string `json:"comment,omitempty"`
	Hidden  *bool   `json:"hidden,omitempty"`
	Read    *Slot   `json:"read,omitempty"`
	Full    *Slot   `json:"full,omitempty"`
	// Settings are text forms by name, as of the options of "share set".
	Settings map[string]string `json:"settings,omitempty"`
}

// Level says how bad a [Finding] is.
type Level string

// The levels.
const (
	OK   Level = "ok"
	Warn Level = "warn"
	Bad  Level = "bad"
)

// Finding is one thing that the doctor looked at.
type Finding struct {
	Level Level  `json:"level"`
	Check string `json:"check"`          // one word: clock, firewall, multicast, …
	Text  string `json:"text"`           // what was seen
	Hint  string `json:"hint,omitempty"` // what to do about it
}
