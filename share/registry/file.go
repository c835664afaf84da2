package registry

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/registry/diskfile"
	"github.com/peerd/peerd/share/setting"
)

const (
	fileName    = "registry.json"
	fileVersion = 1
	keysName    = "keys"
	maxFile     = 64 << 20 // bytes; a registry of 10,000 shares has 20 MiB
)

// files is the registry on the disk.
type files struct{ dir string }

// The form of registry.json.
type (
	fileDoc struct {
		Version int         `json:"version"`
		Shares  []fileShare `json:"shares"`
		Blocked []fileMark  `json:"blocked,omitempty"`
	}
	fileShare struct {
		ID      string     `json:"id"`
		Name    share.Name `json:"name"`
		Dir     string     `json:"dir"`
		Comment string     `json:"comment,omitempty"`
		Hidden  bool       `json:"hidden,omitempty"`
		Mount   bool       `json:"mount,omitempty"`
		Created time.Time  `json:"created"`
		Read    fileSlot   `json:"read"`
		Full    fileSlot   `json:"full"`
		Peers   []filePeer `json:"peers,omitempty"`

		Denied    []fileMark `json:"denied,omitempty"`
		Suspended []fileMark `json:"suspended,omitempty"`

		Settings map[string]string `json:"settings,omitempty"` // see package setting
	}
	fileSlot struct {
		Mode   string `json:"mode"`
		Epoch  uint64 `json:"epoch"`
		Record []byte `json:"record,omitempty"`
		Keys   string `json:"keys,omitempty"` // the name of a file in keys/
	}
	filePeer struct {
		Peer  string `json:"peer"`
		Right string `json:"right"`
	}
	fileMark struct {
		Peer  string    `json:"peer"`
		Since time.Time `json:"since"`
		Name  peer.Name `json:"name,omitempty"` // of one that is blocked
	}
)

// content is what the file holds.
type content struct {
	items   []item
	blocked map[peer.ID]Block
}

func (f files) path() string            { return filepath.Join(f.dir, fileName) }
func (f files) keys(name string) string { return filepath.Join(f.dir, keysName, name) }

// load reads the file, which is nil if there is none, and removes what a crash has left beside it.
func (f files) load(log *slog.Logger) (c content, b []byte, err error) {
	for _, dir := range []string{f.dir, f.keys("")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return c, nil, f.failed("make", err)
		}
	}
	if err := os.Chmod(f.keys(""), 0o700); err != nil { // a restored backup may have opened it
		return c, nil, f.failed("close to others", err)
	}
	f.sweep(f.dir, func(name string) bool { return strings.HasPrefix(name, fileName+diskfile.TempMark) }, log)
	b, err = readLimited(f.path())
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil, nil // and keys are left alone: the file may come back from a backup
	}
	if err != nil {
		return c, nil, f.failed("read", err)
	}
	if c, err = decode(b); err != nil {
		return c, nil, f.broken(err)
	}
	f.sweepKeys(c.items, log)
	return c, b, nil
}

func (f files) failed(what string, err error) error {
	return &peer.Error{Op: what + " registry", Path: f.path(), Kind: peer.Other, Err: err}
}

func (f files) broken(err error) error {
	return &peer.Error{Op: "read registry", Path: f.path(), Kind: peer.Other, Err: err,
		Hint: "mend the file or restore it from a backup; or move it away to start without shares"}
}

func (f files) writeKeys(name string, b []byte) error {
	if err := diskfile.Write(f.keys(name), b); err != nil {
		return &peer.Error{Op: "save keys", Path: f.keys(name), Kind: peer.Other, Err: err}
	}
	return nil
}

func (f files) readKeys(name string) ([]byte, error) { return os.ReadFile(f.keys(name)) }

// sweepKeys removes keys that no share refers to: of an old password, or of a change that a crash cut short.
func (f files) sweepKeys(items []item, log *slog.Logger) {
	used := map[string]bool{}
	for _, it := range items {
		for _, p := range it.proofs {
			used[p.file] = true
		}
	}
	f.sweep(f.keys(""), func(name string) bool { return !used[name] }, log)
}

// sweep removes files by name. What can't be removed does no harm, so it is only told.
func (f files) sweep(dir string, stale func(name string) bool, log *slog.Logger) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Type().IsRegular() && stale(e.Name()) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	if err != nil {
		log.Warn("registry: leftovers stay", "dir", dir, "error", err)
	}
}

func encode(c content) ([]byte, error) {
	doc := fileDoc{Version: fileVersion, Shares: []fileShare{}}
	doc.Blocked = blockedMarks(c.blocked)
	for _, it := range c.items {
		if it.Ephemeral {
			continue
		}
		doc.Shares = append(doc.Shares, fileOf(it))
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	return append(b, '\n'), err
}

func fileOf(it item) fileShare {
	s := fileShare{
		ID: it.ID.String(), Name: it.Name, Dir: it.Dir, Comment: it.Comment, Hidden: it.Hidden, Mount: it.Mount,
		Created: it.Created,
		Read:    fileSlot{it.Slots.Read.String(), it.Epochs.Read, it.proofs[0].record, it.proofs[0].file},
		Full:    fileSlot{it.Slots.Full.String(), it.Epochs.Full, it.proofs[1].record, it.proofs[1].file},
	}
	for id, right := range it.Peers {
		s.Peers = append(s.Peers, filePeer{id.String(), right.String()})
	}
	slices.SortFunc(s.Peers, func(a, b filePeer) int { return strings.Compare(a.Peer, b.Peer) })
	s.Denied, s.Suspended = marks(it.Denied), marks(it.Suspended)
	s.Settings = it.Settings.Texts()
	return s
}

func blockedMarks(m map[peer.ID]Block) (out []fileMark) {
	for id, b := range m {
		out = append(out, fileMark{id.String(), b.Since, b.Name})
	}
	sortMarks(out)
	return out
}

func marks(m map[peer.ID]time.Time) (out []fileMark) {
	for id, since := range m {
		out = append(out, fileMark{Peer: id.String(), Since: since})
	}
	sortMarks(out)
	return out
}

func sortMarks(m []fileMark) {
	slices.SortFunc(m, func(a, b fileMark) int { return strings.Compare(a.Peer, b.Peer) })
}

// decode is strict: what it does not know it would lose on the next save.
func decode(b []byte) (content, error) {
	var c content
	var head struct{ Version int }
	if err := json.Unmarshal(b, &head); err != nil {
		return c, err
	}
	if head.Version != fileVersion {
		return c, fmt.Errorf("it is of version %d, this peerd knows version %d", head.Version, fileVersion)
	}
	var doc fileDoc
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		return c, err
	}
	for _, s := range doc.Shares {
		it, err := s.item()
		if err != nil {
			return c, fmt.Errorf("share %q: %w", s.Name, err)
		}
		c.items = append(c.items, it)
	}
	if len(doc.Blocked) > MaxBlocked {
		return c, fmt.Errorf("more than %d peers are blocked", MaxBlocked)
	}
	for _, m := range doc.Blocked {
		id, err := m.id()
		if err != nil {
			return c, err
		}
		if m.Name != "" {
			if _, err := peer.ParseName(string(m.Name)); err != nil {
				return c, err
			}
		}
		put(&c.blocked, id, Block{Name: m.Name, Since: m.Since})
	}
	return c, nil
}

func (m fileMark) id() (peer.ID, error) {
	id, err := peer.ParseID(m.Peer)
	if err == nil {
		err = checkID(id)
	}
	return id, err
}

func (s fileShare) item() (it item, err error) {
	it.Share = Share{
		Name: s.Name, Dir: s.Dir, Comment: s.Comment, Hidden: s.Hidden, Mount: s.Mount, Created: s.Created,
		Epochs: grant.Epochs{Read: s.Read.Epoch, Full: s.Full.Epoch},
	}
	if n, err := hex.Decode(it.ID[:], []byte(s.ID)[:min(len(s.ID), 2*len(it.ID))]); err != nil || n != len(it.ID) || len(s.ID) != 2*n {
		return it, fmt.Errorf("%q is no ID", s.ID)
	}
	if it.Settings, err = setting.Parse(s.Settings); err != nil {
		return it, err
	}
	for i, slot := range []fileSlot{s.Read, s.Full} {
		if *it.Slots.at(slots[i]), err = ParseMode(slot.Mode); err != nil {
			return it, err
		}
		if (slot.Keys == "") != (len(slot.Record) == 0) || slot.Keys != filepath.Base(slot.Keys) && slot.Keys != "" {
			return it, fmt.Errorf("%q is no file of keys", slot.Keys)
		}
		it.proofs[i] = proof{record: slot.Record, file: slot.Keys}
	}
	for _, p := range s.Peers {
		id, err := peer.ParseID(p.Peer)
		if err != nil {
			return it, err
		}
		right, err := share.ParseRight(p.Right)
		if err != nil {
			return it, err
		}
		put(&it.Peers, id, right)
	}
	for into, from := range map[*map[peer.ID]time.Time][]fileMark{&it.Denied: s.Denied, &it.Suspended: s.Suspended} {
		for _, m := range from {
			id, err := m.id()
			if err != nil {
				return it, err
			}
			put(into, id, m.Since)
		}
	}
	return it, nil
}
