package store

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
)

// Manifests keeps manifests over restarts, a file each, named by the ID of what it is of. It is a cache: what can't be read or
// written is computed again.
type Manifests struct {
	dir   string
	limit int

	mu    sync.Mutex
	count int
}

// maxManifest is the size of a manifest's file that is read, in bytes.
const maxManifest = 4 << 20

// OpenManifests keeps manifests in a folder, which it makes if it is not there, and no more than about limit of them: the
// oldest go first.
func OpenManifests(dir string, limit int) (*Manifests, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	m := &Manifests{dir: dir, limit: limit}
	files, err := os.ReadDir(dir)
	m.count = len(files)
	return m, err
}

func (m *Manifests) file(id transfer.FileID) string {
	return filepath.Join(m.dir, hex.EncodeToString(id[:16]))
}

// Get gives the manifest of a file, if it is here.
func (m *Manifests) Get(id transfer.FileID) (transfer.Manifest, bool) {
	name := m.file(id)
	info, err := os.Stat(name)
	if err != nil || info.Size() > maxManifest {
		return transfer.Manifest{}, false
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return transfer.Manifest{}, false
	}
	out, err := manifest.Decode(b)
	return out, err == nil
}

// Put keeps the manifest of a file.
func (m *Manifests) Put(id transfer.FileID, x transfer.Manifest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	temp := m.file(id) + ".new"
	if os.WriteFile(temp, manifest.Encode(x), 0o600) != nil || os.Rename(temp, m.file(id)) != nil {
		os.Remove(temp)
		return
	}
	if m.count++; m.count > m.limit {
		m.sweep()
	}
}

// sweep removes the oldest quarter.
func (m *Manifests) sweep() {
	files, err := os.ReadDir(m.dir)
	if err != nil {
		return
	}
	age := make(map[string]time.Time, len(files))
	for _, f := range files {
		if info, err := f.Info(); err == nil {
			age[f.Name()] = info.ModTime()
		}
	}
	slices.SortFunc(files, func(a, b os.DirEntry) int {
		if c := age[a.Name()].Compare(age[b.Name()]); c != 0 {
			return c
		}
		return strings.Compare(a.Name(), b.Name())
	})
	m.count = len(files)
	for _, f := range files[:max(0, len(files)-m.limit*3/4)] {
		if os.Remove(filepath.Join(m.dir, f.Name())) == nil {
			m.count--
		}
	}
}
