package seed

import (
	"io"
	"sync"
	"time"

	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch/pull"
	"github.com/peerd/peerd/transfer/store"
)

// growing is a file of which pieces arrive.
type growing struct {
	shelf *Shelf
	file  *file
	from  io.ReaderAt

	mu      sync.Mutex
	pieces  transfer.Set
	changed chan struct{} // closed and made anew when there are more pieces, and at the end
	ended   bool
}

// Begin gives on a file that grows in r. A second one of the same file is not given on.
func (s *Shelf) Begin(f transfer.File, l transfer.Layout, r io.ReaderAt) pull.Growing {
	g := &growing{shelf: s, from: r, pieces: transfer.NewSet(l.Pieces()), changed: make(chan struct{})}
	g.file = &file{File: f, layout: l, growing: g, used: time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files[f.ID()] == nil {
		s.put(g.file)
	}
	return g
}

// Add says that piece i is there.
func (g *growing) Add(i int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ended && g.pieces.Add(i) {
		close(g.changed)
		g.changed = make(chan struct{})
	}
}

func (g *growing) has(i int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.ended && g.pieces.Has(i)
}

// over reports whether nothing more arrives.
func (g *growing) over() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ended
}

// set gives the pieces that are there, and what is closed when there are more.
func (g *growing) set() (transfer.Set, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return g.pieces.Clone(), nil
	}
	return g.pieces.Clone(), g.changed
}

// end says that nothing more arrives, and reports whether that is news.
func (g *growing) end() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return false
	}
	g.ended = true
	close(g.changed)
	return true
}

// Finish says that the file is whole, on disk or in the cache.
func (g *growing) Finish(m transfer.Manifest, name string) {
	s := g.shelf
	f := &file{File: g.file.File, layout: g.file.layout, name: name, used: time.Now()}
	if name != "" {
		info, err := store.Stat(name)
		if err != nil || info.Size() != f.layout.Size {
			g.Close()
			return
		}
		f.mod = info.ModTime()
	}
	id := f.ID()
	s.manifests.Put(id, m)
	if err := writeJSON(s.savedFile(id), saved{File: f.File, Size: f.layout.Size, Name: name, Mod: f.mod}); err != nil {
		s.log.Debug("a file is not remembered", "err", err)
	}
	s.mu.Lock()
	s.put(f)
	s.mu.Unlock()
	g.end()
}

// Close gives the file up, if it is not finished.
func (g *growing) Close() {
	if !g.end() {
		return
	}
	s := g.shelf
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files[g.file.ID()] == g.file {
		delete(s.files, g.file.ID())
	}
}
