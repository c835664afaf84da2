// Package seed keeps what this peer fetched of others' files and may give on: files that still grow, files that are whole,
// as long as nobody changes them, and pieces in the cache. It opens them for whoever was let in; that is not its business.
package seed

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch/pull"
	"github.com/peerd/peerd/transfer/store"
)

// Cache keeps pieces by their hashes. What it gives is not verified.
type Cache interface {
	Put(h transfer.Hash, data []byte)
	Get(h transfer.Hash, buf []byte) ([]byte, bool)
	Has(h transfer.Hash, length int) bool
}

// MaxFiles is how many files are kept account of; beyond, the one that was asked for longest ago is forgotten.
const MaxFiles = 4096

// Shelf is what this peer gives on. It is safe for concurrent use.
type Shelf struct {
	dir       string
	cache     Cache
	manifests *store.Manifests
	log       *slog.Logger

	mu     sync.Mutex
	files  map[transfer.FileID]*file
	shares map[Share]*Known
}

var _ pull.Shelf = (*Shelf)(nil)

// Share is one share of one owner. Two owners may give the same ID to theirs.
type Share struct {
	Owner peer.ID          `json:"owner"`
	ID    transfer.ShareID `json:"share"`
}

// Known is what is known of a share.
type Known struct {
	Share
	Name   string `json:"name"`   // by which it was entered
	Secret []byte `json:"secret"` // of its topics
}

// file is one file on the shelf.
type file struct {
	transfer.File
	layout  transfer.Layout
	growing *growing // nil once it is whole
	name    string   // of the whole file on disk; empty where its pieces are in the cache
	mod     time.Time
	used    time.Time
}

// saved is a whole file as it lies on disk.
type saved struct {
	transfer.File
	Size int64     `json:"size"`
	Name string    `json:"name"`
	Mod  time.Time `json:"mod"`
}

// Open reads what is on the shelf from a folder, which it makes if it is not there.
func Open(dir string, cache Cache, log *slog.Logger) (*Shelf, error) {
	s := &Shelf{dir: dir, cache: cache, log: log, files: make(map[transfer.FileID]*file), shares: make(map[Share]*Known)}
	var err error
	if s.manifests, err = store.OpenManifests(filepath.Join(dir, "manifests"), MaxFiles); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "files"), 0o700); err != nil {
		return nil, err
	}
	var shares []Known
	if err := readJSON(s.sharesFile(), &shares); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("what is known of shares is left out", "err", err)
	}
	for _, k := range shares {
		s.shares[k.Share] = &k
	}
	entries, err := os.ReadDir(filepath.Join(dir, "files"))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		s.load(filepath.Join(dir, "files", e.Name()))
	}
	return s, nil
}

func (s *Shelf) sharesFile() string { return filepath.Join(s.dir, "shares.json") }

func (s *Shelf) savedFile(id transfer.FileID) string {
	return filepath.Join(s.dir, "files", hex.EncodeToString(id[:16])+".json")
}

// load reads one file. What can't be read is of no use any more.
func (s *Shelf) load(name string) {
	var sv saved
	err := readJSON(name, &sv)
	layout, bad := transfer.LayoutOf(sv.Size)
	info, statErr := os.Stat(name)
	if err = errors.Join(err, bad, statErr); err != nil || s.savedFile(sv.ID()) != name || !strings.HasSuffix(name, ".json") {
		s.log.Debug("a file on the shelf is left out", "name", name, "err", err)
		os.Remove(name)
		return
	}
	s.files[sv.ID()] = &file{File: sv.File, layout: layout, name: sv.Name, mod: sv.Mod, used: info.ModTime()}
}

func readJSON(name string, into any) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

func writeJSON(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	temp := name + ".new"
	if err := os.WriteFile(temp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, name)
}

// Know keeps the name by which a share was entered.
func (s *Shelf) Know(sh Share, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.share(sh)
	if k.Name != name {
		k.Name = name
		s.saveShares()
	}
}

// Secret keeps the secret of a share's topics.
func (s *Shelf) Secret(f transfer.File, secret []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.share(Share{f.Owner, f.Share})
	if string(k.Secret) != string(secret) {
		k.Secret = slices.Clone(secret)
		s.saveShares()
	}
}

// maxShares is how many shares are remembered.
const maxShares = 1024

// share gives what is known of a share. s.mu is held.
func (s *Shelf) share(sh Share) *Known {
	k := s.shares[sh]
	if k == nil {
		for old := range s.shares {
			if len(s.shares) < maxShares {
				break
			}
			delete(s.shares, old)
		}
		k = &Known{Share: sh}
		s.shares[sh] = k
	}
	return k
}

// saveShares writes what is known of shares. s.mu is held.
func (s *Shelf) saveShares() {
	all := make([]Known, 0, len(s.shares))
	for _, k := range s.shares {
		all = append(all, *k)
	}
	if err := writeJSON(s.sharesFile(), all); err != nil {
		s.log.Warn("what is known of shares can't be kept", "err", err)
	}
}

// Shares are the shares of which something is known.
func (s *Shelf) Shares() []Known {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Known, 0, len(s.shares))
	for _, k := range s.shares {
		all = append(all, *k)
	}
	return all
}

// Files are the files of a share that are whole here and were used since a time, those that were used last first.
func (s *Shelf) Files(sh Share, since time.Time) []transfer.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*file
	for _, f := range s.files {
		if f.growing == nil && f.Owner == sh.Owner && f.Share == sh.ID && f.used.After(since) {
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b *file) int { return b.used.Compare(a.used) })
	out := make([]transfer.File, len(all))
	for i, f := range all {
		out[i] = f.File
	}
	return out
}

// Usage is how many files are on the shelf, and how many bytes they have.
func (s *Shelf) Usage() (files int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		files, bytes = files+1, bytes+f.layout.Size
	}
	return files, bytes
}

// Keep keeps a piece for another time.
func (s *Shelf) Keep(want transfer.Hash, data []byte) { s.cache.Put(want, data) }

// Manifest gives the manifest of a file that was whole here.
func (s *Shelf) Manifest(f transfer.File) (transfer.Manifest, bool) {
	return s.manifests.Get(f.ID())
}

// Piece gives piece i of a file, from wherever it is here.
func (s *Shelf) Piece(f transfer.File, l transfer.Layout, i int, want transfer.Hash, buf []byte) ([]byte, bool) {
	s.mu.Lock()
	have := s.files[f.ID()]
	s.mu.Unlock()
	if have != nil && have.layout == l && l.Length(i) <= int64(len(buf)) {
		if r, closer, ok := s.reader(have, i); ok {
			b := buf[:l.Length(i)]
			n, err := r.ReadAt(b, l.Offset(i))
			closer.Close()
			if n == len(b) || err == nil {
				return b, true
			}
		}
	}
	return s.cache.Get(want, buf)
}

// reader opens where piece i of a file can be read, if that is a file on disk.
func (s *Shelf) reader(f *file, i int) (io.ReaderAt, io.Closer, bool) {
	s.mu.Lock()
	g, name := f.growing, f.name
	s.mu.Unlock()
	switch {
	case g != nil:
		return g.from, nopCloser{}, g.has(i)
	case name != "":
		r, err := s.openWhole(f)
		return r, r, err == nil
	}
	return nil, nil, false
}

type nopCloser struct{}

func (nopCloser) Close() error { return nil }

// errChanged is of a file that its user has changed, so that it is nothing to be given on any more.
var errChanged = errors.New("the file was changed here")

// openWhole opens a file that is whole, if nobody changed it.
func (s *Shelf) openWhole(f *file) (*os.File, error) {
	r, err := store.OpenFile(f.name)
	if err == nil {
		var info fs.FileInfo
		if info, err = r.Stat(); err == nil && (info.Size() != f.layout.Size || !info.ModTime().Equal(f.mod)) {
			err = errChanged
		}
		if err == nil {
			return r, nil
		}
		r.Close()
	}
	s.drop(f)
	return nil, err
}

// drop takes a file off the shelf.
func (s *Shelf) drop(f *file) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id := f.ID(); s.files[id] == f {
		delete(s.files, id)
		os.Remove(s.savedFile(id))
	}
}

// put puts a file on the shelf and makes room for it. s.mu is held.
func (s *Shelf) put(f *file) {
	for s.files[f.ID()] == nil && len(s.files) >= MaxFiles {
		var oldest *file
		for _, o := range s.files {
			if o.growing == nil && (oldest == nil || o.used.Before(oldest.used)) {
				oldest = o
			}
		}
		if oldest == nil {
			break
		}
		delete(s.files, oldest.ID())
		os.Remove(s.savedFile(oldest.ID()))
	}
	s.files[f.ID()] = f
}
