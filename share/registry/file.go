package registry

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
)

const (
	fileName    = "registry.json"
	fileVersion = 1
	keysName    = "keys"
	tempMark    = ".tmp-"
	maxFile     = 64 << 20 // bytes; a registry of 10,000 shares has 20 MiB
)

// files is the registry on the disk.
type files struct{ dir string }

// The form of registry.json.
type (
	fileDoc struct {
		Version int         `json:"version"`
		Shares  []fileShare `json:"shares"`
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
)

func (f files) path() string            { return filepath.Join(f.dir, fileName) }
func (f files) keys(name string) string { return filepath.Join(f.dir, keysName, name) }

// load reads the file and removes what a crash has left beside it.
func (f files) load(log *slog.Logger) ([]item, error) {
	for _, dir := range []string{f.dir, f.keys("")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, f.failed("make", err)
		}
	}
	if err := os.Chmod(f.keys(""), 0o700); err != nil { // a restored backup may have opened it
		return nil, f.failed("close to others", err)
	}
	f.sweep(f.dir, func(name string) bool { return strings.HasPrefix(name, fileName+tempMark) }, log)
	b, err := f.read()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // and keys are left alone: the file may come back from a backup
	}
	if err != nil {
		return nil, f.failed("read", err)
	}
	items, err := decode(b)
	if err != nil {
		return nil, f.broken(err)
	}
	f.sweepKeys(items, log)
	return items, nil
}

func (f files) read() ([]byte, error) {
	file, err := os.Open(f.path())
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxFile))
}

func (f files) failed(what string, err error) error {
	return &peer.Error{Op: what + " registry", Path: f.path(), Kind: peer.Other, Err: err}
}

func (f files) broken(err error) error {
	return &peer.Error{Op: "read registry", Path: f.path(), Kind: peer.Other, Err: err,
		Hint: "mend the file or restore it from a backup; or move it away to start without shares"}
}

// save writes all shares that outlive this run.
func (f files) save(items []item) error {
	b, err := encode(items)
	if err == nil {
		err = writeFile(f.path(), b)
	}
	if err != nil {
		return f.failed("save", err)
	}
	return nil
}

func (f files) writeKeys(name string, b []byte) error {
	if err := writeFile(f.keys(name), b); err != nil {
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

// writeFile puts a file in its place in one step, readable by its owner only: after a crash there is the old one or the new.
func writeFile(path string, b []byte) (err error) {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, filepath.Base(path)+tempMark) // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(tmp.Name())
		}
	}()
	if _, err = tmp.Write(b); err != nil {
		return err
	}
	if err = tmp.Sync(); err != nil {
		return err
	}
	if err = tmp.Close(); err != nil {
		return err
	}
	if err = os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a rename last. Windows has no such thing for folders.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func encode(items []item) ([]byte, error) {
	doc := fileDoc{Version: fileVersion, Shares: []fileShare{}}
	for _, it := range items {
		if it.Ephemeral {
			continue
		}
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
		doc.Shares = append(doc.Shares, s)
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	return append(b, '\n'), err
}

// decode is strict: what it does not know it would lose on the next save.
func decode(b []byte) ([]item, error) {
	var head struct{ Version int }
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, err
	}
	if head.Version != fileVersion {
		return nil, fmt.Errorf("it is of version %d, this peerd knows version %d", head.Version, fileVersion)
	}
	var doc fileDoc
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	items := make([]item, 0, len(doc.Shares))
	for _, s := range doc.Shares {
		it, err := s.item()
		if err != nil {
			return nil, fmt.Errorf("share %q: %w", s.Name, err)
		}
		items = append(items, it)
	}
	return items, nil
}

func (s fileShare) item() (it item, err error) {
	it.Share = Share{
		Name: s.Name, Dir: s.Dir, Comment: s.Comment, Hidden: s.Hidden, Mount: s.Mount, Created: s.Created,
		Epochs: grant.Epochs{Read: s.Read.Epoch, Full: s.Full.Epoch},
	}
	if n, err := hex.Decode(it.ID[:], []byte(s.ID)[:min(len(s.ID), 2*len(it.ID))]); err != nil || n != len(it.ID) || len(s.ID) != 2*n {
		return it, fmt.Errorf("%q is no ID", s.ID)
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
		if it.Peers == nil {
			it.Peers = map[peer.ID]share.Right{}
		}
		it.Peers[id] = right
	}
	return it, nil
}
