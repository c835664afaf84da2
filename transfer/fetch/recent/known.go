package recent

import (
	"errors"
	"sync"

	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
)

// maxKept is how many hashes are kept, 16 MiB of them.
const maxKept = 1 << 19

// ErrDiffers means that a file's owner said another hash before, or hashes that don't add up to the file's root.
var ErrDiffers = errors.New("it differs from what was said before")

// Known is what is known of one file's manifest. It is safe for concurrent use.
type Known struct {
	layout transfer.Layout
	used   uint64 // guarded by Cache.mu

	mu      sync.Mutex
	root    transfer.Hash
	set     transfer.Set
	hashes  []transfer.Hash // nil as long as none is known
	learned chan struct{}   // closed and made anew when there are more
}

// Known gives what is known of a file. It is one and the same for all who ask, as long as one of them keeps it in use.
func (c *Cache) Known(file transfer.FileID, l transfer.Layout) *Known {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turns++
	k := c.files[file]
	if k == nil || k.layout != l {
		c.forget(file)
		k = &Known{layout: l, set: transfer.NewSet(l.Pieces()), learned: make(chan struct{})}
		c.kept += l.Pieces()
		for c.kept > maxKept && len(c.files) > 0 {
			c.forget(c.oldest())
		}
		c.files[file] = k
	}
	k.used = c.turns
	return k
}

// oldest is the file that was asked for longest ago. c.mu is held.
func (c *Cache) oldest() (file transfer.FileID) {
	var least *Known
	for id, k := range c.files {
		if least == nil || k.used < least.used {
			file, least = id, k
		}
	}
	return file
}

// Forget drops what is known of a file.
func (c *Cache) Forget(file transfer.FileID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(file)
}

// forget drops what is known of a file. c.mu is held.
func (c *Cache) forget(file transfer.FileID) {
	if k := c.files[file]; k != nil {
		c.kept -= k.layout.Pieces()
		delete(c.files, file)
	}
}

// Hash gives the hash of a piece, or, if it is not known, what is closed when others are.
func (k *Known) Hash(i int) (transfer.Hash, <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.set.Has(i) {
		return k.hashes[i], nil
	}
	return transfer.Hash{}, k.learned
}

// Gap is the first piece from i up to before end whose hash is not known, or end.
func (k *Known) Gap(i, end int) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i < end && k.set.Has(i) {
		i++
	}
	return i
}

// Learn takes in hashes from piece first on, as the owner says them. The hash of a file's only piece is its root.
func (k *Known) Learn(first int, hashes []transfer.Hash) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if first < 0 || first+len(hashes) > k.layout.Pieces() {
		return errors.New("it has more hashes than pieces")
	}
	if k.hashes == nil {
		k.hashes = make([]transfer.Hash, k.layout.Pieces())
	}
	for n, h := range hashes {
		if !k.set.Add(first+n) && k.hashes[first+n] != h {
			return ErrDiffers
		}
		k.hashes[first+n] = h
	}
	close(k.learned)
	k.learned = make(chan struct{})
	return k.prove()
}

// Root takes in the file's root, as the owner says it.
func (k *Known) Root(root transfer.Hash) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.root.IsZero() && k.root != root {
		return ErrDiffers
	}
	k.root = root
	return k.prove()
}

// prove sees whether hashes and root agree, once all are known. k.mu is held.
func (k *Known) prove() error {
	if !k.set.Full() || k.layout.Pieces() == 1 {
		return nil
	}
	root := manifest.Root(k.hashes)
	if !k.root.IsZero() && k.root != root {
		return ErrDiffers
	}
	k.root = root
	return nil
}

// Manifest gives the manifest of a file of several pieces once all of it is known. What it holds is not written to.
func (k *Known) Manifest() (transfer.Manifest, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.set.Full() || k.layout.Pieces() == 1 {
		return transfer.Manifest{}, false
	}
	return transfer.Manifest{Layout: k.layout, Root: k.root, Pieces: k.hashes}, true
}
