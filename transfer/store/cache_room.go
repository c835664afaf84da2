package store

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/peerd/peerd/transfer"
)

const (
	// keepFree is what the cache leaves free of a disk: so many bytes, or a twentieth of it if that is less.
	keepFree = 1 << 30
	// spareStep is how much is written between two looks at the disk's free space.
	spareStep = 4 << 20

	maxDefaultLimit = 10 << 30
	// blindLimit is the default limit where the free space can't be found out.
	blindLimit = 1 << 30
)

// DefaultCacheLimit is the limit for a cache in a folder, which need not be there yet, in bytes: a tenth of what its disk would have
// free without the cache, and 10 GiB at most.
func DefaultCacheLimit(dir string) int64 {
	var ours int64
	files, _ := os.ReadDir(dir) // a cache that is not there takes nothing
	for _, f := range files {
		if _, ok := numberOf(f.Name()); !ok {
			continue
		}
		if info, err := f.Info(); err == nil {
			ours += info.Size()
		}
	}
	dir, err := filepath.Abs(dir)
	for err == nil {
		if free, _, ok := DiskSpace(dir); ok {
			return min(maxDefaultLimit, (free+ours)/10)
		}
		up := filepath.Dir(dir)
		if up == dir {
			break
		}
		dir = up
	}
	return blindLimit
}

// segmentSize is how large segments grow under a limit: a hundredth, about, so that dropping one drops little, but large enough for
// the largest pieces as far as a quarter of the limit allows.
func segmentSize(limit int64) int64 { return max(limit/128, min(limit/4, MaxCached+entrySize)) }

// fit makes room for need bytes under the limit, and reports whether there is: a piece may be too large for it, or others that were
// dropped may still be open. The caller holds write.
func (c *Cache) fit(need int64) bool {
	_, limit, _ := c.Usage()
	if need > segmentSize(limit) {
		return false
	}
	for {
		total, _, pieces := c.Usage()
		many := pieces >= maxCachedPieces
		if !many && total+need+segmentSize(limit)/4 <= limit { // a quarter of a segment may be written again by evict
			return true
		}
		if !c.evict(!many) {
			return total+need <= limit
		}
	}
}

// spare reports whether the disk has room for need bytes. If not, a segment is dropped, so that the cache gives way to whatever fills
// the disk. The caller holds write.
func (c *Cache) spare(need int64) bool {
	if need <= c.unchecked {
		c.unchecked -= need
		return true
	}
	c.unchecked = 0
	free, total, ok := DiskSpace(c.dir)
	if !ok {
		return true // writing says when it is full
	}
	spare := free - min(keepFree, total/20)
	if spare < need {
		c.evict(false)
		return false
	}
	c.unchecked = min(spare, spareStep) - need
	return true
}

// append writes a piece to the newest segment, or begins another. The caller holds write.
func (c *Cache) append(h transfer.Hash, data []byte, sum uint64) error {
	need := int64(len(data)) + entrySize
	_, limit, _ := c.Usage()
	var s *segment
	if n := len(c.segments); n > 0 {
		s = c.segments[n-1]
	}
	if s == nil || s.bytes()+need > segmentSize(limit) || s.slots >= maxSlots {
		var err error
		if s, err = c.openSegment(c.next, os.O_CREATE|os.O_TRUNC); err != nil {
			return err
		}
		c.next++
		c.mu.Lock()
		c.segments = append(c.segments, s)
		c.mu.Unlock()
	}
	p, err := s.append(h, data, sum)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.index[h] = p
	c.total += need
	c.mu.Unlock()
	return nil
}

// keep is a piece that outlives its segment.
type keep struct {
	hash transfer.Hash
	place
}

// evict drops the oldest segment, and reports whether there was one. With again, those of its pieces that were used since they were
// written are written once more, up to a quarter of its bytes. The caller holds write.
func (c *Cache) evict(again bool) bool {
	if len(c.segments) == 0 {
		return false
	}
	old := c.segments[0]
	if again && len(c.segments) > 1 {
		c.rewrite(old)
	}
	c.mu.Lock()
	c.segments = slices.Delete(c.segments, 0, 1)
	for h, p := range c.index {
		if p.segment == old.number {
			delete(c.index, h)
		}
	}
	old.remove = true
	c.mu.Unlock()
	c.release(old)
	return true
}

// rewrite appends the used pieces of a segment again.
func (c *Cache) rewrite(old *segment) {
	var used []keep
	c.mu.Lock()
	for h, p := range c.index {
		if p.segment == old.number && p.used {
			used = append(used, keep{h, p})
		}
	}
	c.mu.Unlock()
	slices.SortFunc(used, func(a, b keep) int { return cmp.Compare(a.offset, b.offset) })
	total, limit, _ := c.Usage()
	budget := min(old.bytes()/4, segmentSize(limit)/4, limit-total)
	var buf []byte
	for _, k := range used {
		need := int64(k.length) + entrySize
		if need > budget {
			continue
		}
		buf = slices.Grow(buf[:0], int(k.length))[:k.length]
		if _, err := old.data.ReadAt(buf, k.offset); err != nil || xxhash.Sum64(buf) != k.sum {
			continue
		}
		if c.append(k.hash, buf, k.sum) != nil {
			return
		}
		budget -= need
	}
}

// retireAll takes all segments off the list, and removes their files if so told. The caller holds write.
func (c *Cache) retireAll(remove bool) error {
	c.mu.Lock()
	all := c.segments
	c.segments = nil
	clear(c.index)
	for _, s := range all {
		s.remove = remove
	}
	c.mu.Unlock()
	var errs []error
	for _, s := range all {
		errs = append(errs, c.releaseSegment(s))
	}
	return errors.Join(errs...)
}
