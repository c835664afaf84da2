// Package audit says what an audit log holds: who did what, as events, and how they are written down as records in a chain that
// whoever changes it afterwards leaves traces in. The log in its files is package journal's. There is no clock, goroutine, file
// or network in here.
//
// # Form
//
// A record is one line of JSON, in ASCII alone, and holds the SHA-256 of the line before it. From time to time a record of kind
// [KindCheckpoint] is signed with the peer's key. Beside the records there is a [Head]: the number and hash of the newest
// record, those of the newest that is safe on the disk, and the number that there must be records from, signed as well.
//
// # What is noticed
//
// A [Checker] finds records that were changed, removed, put in another order or cut off, by somebody who does not have the
// peer's key. That the oldest went is no finding if the head says so. A process that is killed leaves no finding either: the
// next one sets half a line aside, and tells in a record of kind [KindRecovered].
//
// # What is not
//
//   - Whoever has the key can write the whole log anew. So can the peer itself.
//   - Whoever saved the head at one time can later put it back and cut the log off there. A running peer compares with its
//     memory; else compare [Report].Last and Hash with a copy that lies elsewhere.
//   - A loss of power takes records that were not safe on the disk yet: at most those since the last checkpoint. They are
//     counted in [Report].Lost. Whoever kills the peer, cuts these off and restarts the computer leaves the same picture; without
//     a restart it is a finding, on systems that tell their restarts apart (Linux, macOS).
//   - Records behind the head are believed when a peer starts, as a crash between the two writes leaves some. Somebody else may
//     have made them up; that there were any is told.
//   - Deleting everything, head and all, leaves nothing to find. A running peer notices.
//   - Logs are kept by size: whoever may cause enough records makes older ones go. Refusals and grants are therefore
//     gathered, see [Event].Count; what else is permitted is not.
package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/peerd/peerd/peer"
)

// Kind is what happened. The set is open to readers: a log may hold kinds of a later version.
type Kind string

// The kinds. Those of the last group are written by the log alone.
const (
	KindStart Kind = "start" // the peer
	KindStop  Kind = "stop"  // the peer, in order

	KindShareAdd Kind = "share.add"
	KindShareSet Kind = "share.set" // name, comment, limits, a right by device
	KindShareRm  Kind = "share.rm"
	KindPassword Kind = "password" // set or taken away, for Right
	KindEpoch    Kind = "epoch"    // raised: rights of before have ended
	KindQuota    Kind = "quota"    // what somebody brought was refused for want of room: a limit, the reserve, or the disk
	KindBrake    Kind = "brake"    // a peer's full right was suspended, or given back

	KindLogin     Kind = "login" // by password, let in or not
	KindGrant     Kind = "grant"
	KindTicket    Kind = "ticket"    // given for a password; what it is traded for later is a grant
	KindRefused   Kind = "refused"   // no right, or a path that nobody may name
	KindCancelled Kind = "cancelled" // what ran was cut off, since its right ended; or a put was given up half-way

	KindRead     Kind = "read"
	KindWrite    Kind = "write"
	KindMkdir    Kind = "mkdir"
	KindTouch    Kind = "touch" // times, or whether it may be run
	KindRename   Kind = "rename"
	KindCopy     Kind = "copy"
	KindDelete   Kind = "delete"
	KindRestore  Kind = "restore"
	KindUndo     Kind = "undo"
	KindLock     Kind = "lock"
	KindConflict Kind = "conflict"  // what came was kept beside what was there
	KindVersion  Kind = "version"   // an old version was read
	KindChange   Kind = "change"    // the owner's own, on the disk
	KindBadPiece Kind = "piece.bad" // a source gave so many wrong bytes that it is asked for no more

	KindPeerSeen    Kind = "peer.seen"  // it proved its ID here for the first time
	KindPeerClash   Kind = "peer.clash" // it proved that it calls itself like another that did
	KindPeerBlocked Kind = "peer.blocked"
	KindMount       Kind = "mount" // FUSE or WebDAV

	KindCheckpoint Kind = "audit.checkpoint" // signed; there must be records from Floor on
	KindRecovered  Kind = "audit.recovered"  // after a run that did not end in order: Count records are lost, Why and Result tell
	KindDropped    Kind = "audit.dropped"    // Count events were not recorded, as the log could not be written, or not fast enough
)

// Kinds are all that this version writes, sorted.
func Kinds() []Kind {
	kinds := []Kind{
		KindStart, KindStop,
		KindShareAdd, KindShareSet, KindShareRm, KindPassword, KindEpoch, KindQuota, KindBrake,
		KindLogin, KindGrant, KindTicket, KindRefused, KindCancelled,
		KindRead, KindWrite, KindMkdir, KindTouch, KindRename, KindCopy, KindDelete, KindRestore, KindUndo, KindLock, KindConflict, KindVersion,
		KindChange, KindBadPiece,
		KindPeerSeen, KindPeerClash, KindPeerBlocked, KindMount,
		KindCheckpoint, KindRecovered, KindDropped,
	}
	slices.Sort(kinds)
	return kinds
}

// OK is the result of what was done as wanted. Other results are the words of [peer.Kind].
const OK = "ok"

// ResultOf is the word for how something ended.
func ResultOf(err error) string {
	if err == nil {
		return OK
	}
	return peer.KindOf(err).String()
}

// Event is one thing that happened. Fields that do not apply are zero and not written. Texts that are too long are cut and end
// in "…"; bytes that are no UTF-8 are escaped as [peer.Quote] does. No secret belongs in any of them.
type Event struct {
	Kind Kind `json:"kind"`

	// Who.
	Peer peer.ID `json:"peer,omitempty"` // proven by the handshake
	Addr string  `json:"addr,omitempty"` // where it came from
	Name string  `json:"name,omitempty"` // its own word

	// On what.
	Share   string `json:"share,omitempty"`
	ShareID string `json:"share_id,omitempty"`
	Path    string `json:"path,omitempty"` // in the share, with slashes
	To      string `json:"to,omitempty"`   // of a rename, a copy, a conflict

	// By which right.
	Right  string `json:"right,omitempty"`
	Epoch  uint64 `json:"epoch,omitempty"`
	Serial string `json:"serial,omitempty"` // of the grant or ticket

	// What came of it.
	Bytes  int64  `json:"bytes,omitempty"`
	Before string `json:"before,omitempty"` // version
	After  string `json:"after,omitempty"`  // version
	Result string `json:"result,omitempty"` // OK, or a word of peer.Kind
	Why    string `json:"why,omitempty"`

	// Count is not 0 if the record stands for so many events between First and Last, and Bytes is then their sum. Refusals,
	// failures, grants and strangers are gathered so: the first is written at once, those of the next seconds with the same kind, result,
	// peer, share, right and folder are one record. Serial is not of several, Path is the folder with a slash behind it, if there were several in it, and Why is
	// that of the last. While too many different ones come, they are gathered by kind and result alone.
	Count uint64    `json:"count,omitempty"`
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
}

// Times is how many events the event stands for.
func (e Event) Times() uint64 { return max(1, e.Count) }

// Record is an event in its place in the log. Its JSON is the very line in the file.
type Record struct {
	Seq  uint64    `json:"seq"` // 1 is the first; there is no gap but in front of one of kind KindRecovered
	Time time.Time `json:"time"`
	Prev Hash      `json:"prev"` // of the record before
	Event
	Floor uint64 `json:"floor,omitempty"` // of a checkpoint: earlier records may have been removed
	Sig   []byte `json:"sig,omitempty"`   // of a checkpoint
}

// Hash is the SHA-256 of a record's line without its end; that before the first record is zero.
type Hash [sha256.Size]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText gives the hash in hexadecimal digits.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText gives.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(h)) {
		return fmt.Errorf("a hash has %d digits", hex.EncodedLen(len(h)))
	}
	_, err := hex.Decode(h[:], text)
	return err
}
