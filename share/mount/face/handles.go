//go:build linux || darwin

package face

import (
	"context"
	"sync"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/mount/push"
	"github.com/peerd/peerd/share/vfs"
)

// handle is an open file.
type handle struct {
	ino   vfs.Ino
	file  *vfs.File
	right share.Right // when it was opened
	// atEnd says that file writes at its end alone; plain is another that writes where it is told, made when the kernel writes
	// what was changed in memory.
	atEnd  bool
	writes bool       // and counts as who does of a [push.Pusher]
	reads  push.Reads // small ones

	mu    sync.Mutex
	plain *vfs.File
}

// Tag is that of the bytes that are read.
func (h *handle) Tag() string { return h.file.Attr().Tag }

// Node is what is open.
func (h *handle) Node() vfs.Ino { return h.ino }

// ReadAt reads by the rules of [io.ReaderAt].
func (h *handle) ReadAt(ctx context.Context, b []byte, off int64) (int, error) {
	return h.file.ReadAt(ctx, b, off)
}

// anywhere gives a file that writes where it is told.
func (h *handle) anywhere(ctx context.Context, fs *vfs.FS) (*vfs.File, error) {
	if !h.atEnd {
		return h.file, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.plain == nil {
		f, err := fs.Open(ctx, h.ino, vfs.Mode{Write: true})
		if err != nil {
			return nil, err
		}
		h.plain = f
	}
	return h.plain, nil
}

// handles are all that are open, by the kernel's numbers. The zero handles are none.
type handles struct {
	mu   sync.RWMutex
	last uint64
	all  map[uint64]*handle
}

func (hs *handles) add(h *handle) uint64 {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.all == nil {
		hs.all = map[uint64]*handle{}
	}
	hs.last++
	hs.all[hs.last] = h
	return hs.last
}

func (hs *handles) get(n uint64) *handle {
	hs.mu.RLock()
	defer hs.mu.RUnlock()
	return hs.all[n]
}

func (hs *handles) remove(n uint64) *handle {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h := hs.all[n]
	delete(hs.all, n)
	return h
}

// removeAll gives what is still open, and forgets it.
func (hs *handles) removeAll() map[uint64]*handle {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	all := hs.all
	hs.all = nil
	return all
}
