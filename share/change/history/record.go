package history

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change/disk"
	"github.com/peerd/peerd/transfer"
)

// By is who made a change. Without a Peer it is the share's owner.
type By struct {
	Peer peer.ID
	Name peer.Name
}

// Act is what a change does to the disk, in the terms of its recovery.
type Act string

// The acts.
const (
	Place Act = "place" // a file or folder gets Path: from staging, or from another path
	Take  Act = "take"  // the file at Path becomes a version
	Mkdir Act = "mkdir" // a folder is made at Path
	Rmdir Act = "rmdir" // the empty folder at Path is removed
	Touch Act = "touch" // times or bits are set of what is at Path
)

// Record is one change, as it is kept: before it is made as an intent, and after it for as long as its version.
type Record struct {
	ID   ID
	Verb string // what the user called it: put, rm, mv, cp, mkdir, touch, restore, undo
	Act  Act
	Path share.Path // what changed
	From share.Path // where what is there now was before; the root: it was not in the share
	By   By

	Staged string    // the name in staging of what is placed, unless From is set
	Node   disk.Node // of what is placed or touched
	Swap   bool      // old and new exchange their names

	Before share.Entry // what Path was before, Kind 0 for nothing
	After  share.Entry // what it is after; an intent has none
}

// Keeps reports whether what was at Path is kept as a version.
func (r Record) Keeps() bool {
	return r.Act == Take || r.Act == Place && r.Before.Kind == share.File
}

// Kept is a version: a file that was at Path until a change.
type Kept struct {
	share.Entry
	ID   ID
	By   By         // who replaced or removed it
	Verb string     // how
	From share.Path // where what replaced it came from, if from within the share
}

// When is the moment of the change.
func (k Kept) When() time.Time { return k.ID.Time() }

func (r Record) kept() Kept {
	return Kept{Entry: r.Before, ID: r.ID, By: r.By, Verb: r.Verb, From: r.From}
}

// line is the JSON of a Record, one line of a segment.
type line struct {
	ID     ID         `json:"id"`
	Verb   string     `json:"verb"`
	Act    Act        `json:"act"`
	Path   string     `json:"path"`
	From   string     `json:"from,omitempty"`
	Peer   string     `json:"peer,omitempty"`
	Name   peer.Name  `json:"name,omitempty"`
	Staged string     `json:"staged,omitempty"`
	Node   *[2]uint64 `json:"node,omitempty"`
	Swap   bool       `json:"swap,omitempty"`
	Before *entry     `json:"before,omitempty"`
	After  *entry     `json:"after,omitempty"`
}

type entry struct {
	Dir     bool      `json:"dir,omitempty"`
	Size    int64     `json:"size"`
	ModTime time.Time `json:"mtime"`
	Exec    bool      `json:"exec,omitempty"`
	Version string    `json:"version"`
}

func entryOf(e share.Entry) *entry {
	if e.Kind == 0 {
		return nil
	}
	return &entry{e.Kind == share.Dir, e.Size, e.ModTime.UTC(), e.Exec, hex.EncodeToString(e.Version[:])}
}

func (e *entry) at(p share.Path) (share.Entry, error) {
	if e == nil {
		return share.Entry{}, nil
	}
	out := share.Entry{Path: p, Kind: share.File, Size: e.Size, ModTime: e.ModTime, Exec: e.Exec}
	if e.Dir {
		out.Kind = share.Dir
	}
	if len(e.Version) != 2*len(transfer.Version{}) {
		return out, fmt.Errorf("a version of %d characters", len(e.Version))
	}
	_, err := hex.Decode(out.Version[:], []byte(e.Version))
	return out, err
}

func (r Record) line() line {
	l := line{ID: r.ID, Verb: r.Verb, Act: r.Act, Path: r.Path.String(), From: r.From.String(), Name: r.By.Name, Staged: r.Staged,
		Swap: r.Swap, Before: entryOf(r.Before), After: entryOf(r.After)}
	if r.By.Peer != "" {
		l.Peer = r.By.Peer.String()
	}
	if r.Node != (disk.Node{}) {
		l.Node = &[2]uint64{r.Node.Device, r.Node.File}
	}
	return l
}

func (l line) record() (r Record, err error) {
	r = Record{ID: l.ID, Verb: l.Verb, Act: l.Act, Staged: l.Staged, Swap: l.Swap, By: By{Name: l.Name}}
	if l.Peer != "" {
		if r.By.Peer, err = peer.ParseID(l.Peer); err != nil {
			return r, err
		}
	}
	if l.Node != nil {
		r.Node = disk.Node{Device: l.Node[0], File: l.Node[1]}
	}
	if r.Path, err = share.SplitPath(l.Path); err != nil {
		return r, err
	}
	if r.From, err = share.SplitPath(l.From); err != nil {
		return r, err
	}
	if r.Before, err = l.Before.at(r.Path); err != nil {
		return r, err
	}
	r.After, err = l.After.at(r.Path)
	return r, err
}

// encode makes a segment of records.
func encode(rs []Record) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, r := range rs {
		if err := enc.Encode(r.line()); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// decode gives what can be read of a segment, and an error for what can't.
func decode(b []byte) (rs []Record, bad error) {
	for text := range bytes.Lines(b) {
		var l line
		err := json.Unmarshal(text, &l)
		if err == nil {
			var r Record
			if r, err = l.record(); err == nil {
				rs = append(rs, r)
			}
		}
		if err != nil && bad == nil {
			bad = err
		}
	}
	return rs, bad
}
