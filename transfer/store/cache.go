package store

import (
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/peerd/peerd/transfer"
)

// MaxCached is the length of the largest piece that a [Cache] keeps, in bytes.
const MaxCached = 4 << 20

// maxCachedPieces bounds the memory that a cache takes, to some 30 MB.
const maxCachedPieces = 1 << 18

// Cache keeps verified pieces on disk, by their hashes, and drops those that were not used for the longest time, about, when
// there are too many. It is a log of segments: pieces are appended to the newest, and the oldest is removed as a whole, except
// that pieces of it which were used since they were written are appended again.
//
// Nothing in it is needed: what can't be written or read is a miss, and no error. What it gives is what was put, by a checksum
// against damaged disks and torn writes. That is no proof against somebody who writes to the folder: whoever passes a piece on as
// true verifies its hash, which takes the piece's place in its file, and so its reader.
//
// It is safe for concurrent use, by one process at a time.
type Cache struct {
	dir  string
	root *os.Root
	log  *slog.Logger

	// write is held by whoever changes the list of segments or appends to one. It is taken before mu.
	write     sync.Mutex
	closed    bool
	next      uint32 // the number of the next segment; none is used again, as an old one may still be open
	unchecked int64  // bytes that may be written before the disk's free space is looked at again
	failing   bool   // the last write failed, and the log says so

	mu       sync.Mutex // held for moments, never over reading or writing
	index    map[transfer.Hash]place
	segments []*segment // from the oldest to the one that is appended to
	total    int64      // bytes of all segments' files, those that are about to be removed included
	limit    int64
	hits     uint64
	misses   uint64
}

// OpenCache opens the cache in a folder, which it makes if it is not there, with the pieces that earlier runs left there. limit is
// how many bytes its files have together, at most; with a limit of 0 or less it keeps nothing.
func OpenCache(dir string, limit int64, log *slog.Logger) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fail("make folder", dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fail("open", dir, err)
	}
	c := &Cache{dir: dir, root: root, log: log, next: 1, limit: max(0, limit), index: map[transfer.Hash]place{}}
	if err := c.load(); err != nil {
		return nil, fail("open", dir, err)
	}
	c.write.Lock()
	defer c.write.Unlock()
	c.fit(0)
	return c, nil
}

// Put keeps a piece that the caller has verified. It copies data. Empty pieces and those beyond [MaxCached] are not kept, nor is any
// while the disk is nearly full.
func (c *Cache) Put(h transfer.Hash, data []byte) {
	if len(data) == 0 || len(data) > MaxCached || c.touch(h) {
		return
	}
	sum := xxhash.Sum64(data)
	c.write.Lock()
	defer c.write.Unlock()
	need := int64(len(data)) + entrySize
	if c.closed || c.has(h) || !c.fit(need) || !c.spare(need) {
		return
	}
	err := c.append(h, data, sum)
	if err != nil && !c.failing {
		c.log.Warn("pieces can't be cached", "folder", c.dir, "err", err)
	}
	if c.failing = err != nil; c.failing {
		c.evict(false) // a quota, say, which the free space does not show
	}
}

// Has reports whether a piece of that length is here. It reads nothing, so that getting it may still fail.
func (c *Cache) Has(h transfer.Hash, length int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.index[h]
	return ok && int(p.length) == length
}

func (c *Cache) has(h transfer.Hash) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.index[h]
	return ok
}

// Get reads a piece into buf, over what is in it, or into a new buffer if it is too small. A piece that is found damaged is dropped.
func (c *Cache) Get(h transfer.Hash, buf []byte) ([]byte, bool) {
	p, s, ok := c.acquire(h)
	if !ok {
		return buf[:0], false
	}
	defer c.release(s)
	b := slices.Grow(buf[:0], int(p.length))[:p.length]
	_, err := s.data.ReadAt(b, p.offset)
	if !c.judge(h, p, s, err == nil && xxhash.Sum64(b) == p.sum) {
		return b[:0], false
	}
	return b, true
}

// CachedPiece reads one piece. It stays readable while it is open, even if the cache drops it meanwhile; its bytes on disk are
// only given back then.
type CachedPiece struct {
	*io.SectionReader
	close func()
}

// Close gives the piece up. It may be called again.
func (p *CachedPiece) Close() error {
	p.close()
	return nil
}

// Open opens a piece for sending it on without holding it in memory. It has been read once, to see that it is not damaged.
func (c *Cache) Open(h transfer.Hash) (*CachedPiece, bool) {
	p, s, ok := c.acquire(h)
	if !ok {
		return nil, false
	}
	r := io.NewSectionReader(s.data, p.offset, int64(p.length))
	sum, err := checksum(r)
	if !c.judge(h, p, s, err == nil && sum == p.sum) {
		c.release(s)
		return nil, false
	}
	_, _ = r.Seek(0, io.SeekStart)
	return &CachedPiece{SectionReader: r, close: sync.OnceFunc(func() { c.release(s) })}, true
}

// summer is what reading a piece for its checksum takes.
type summer struct {
	digest *xxhash.Digest
	buf    [64 << 10]byte
}

var summers = sync.Pool{New: func() any { return &summer{digest: xxhash.New()} }}

func checksum(r io.Reader) (uint64, error) {
	s := summers.Get().(*summer)
	defer summers.Put(s)
	s.digest.Reset()
	for {
		n, err := r.Read(s.buf[:])
		_, _ = s.digest.Write(s.buf[:n]) // never fails
		switch err {
		case nil:
		case io.EOF:
			return s.digest.Sum64(), nil
		default:
			return 0, err
		}
	}
}

// Usage tells how many bytes the cache has on disk, how many it may have, and how many pieces that is.
func (c *Cache) Usage() (bytes, limit int64, pieces int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total, c.limit, len(c.index)
}

// Counts tells how many pieces were asked for, since the cache was opened, and were here or not.
func (c *Cache) Counts() (hits, misses uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hits, c.misses
}

// SetLimit changes how many bytes the cache may have on disk, and drops at once what is beyond.
func (c *Cache) SetLimit(limit int64) {
	c.write.Lock()
	defer c.write.Unlock()
	c.mu.Lock()
	c.limit = max(0, limit)
	c.mu.Unlock()
	c.fit(0)
}

// Clear drops all pieces. Those that are open at the moment go when they are closed.
func (c *Cache) Clear() error {
	c.write.Lock()
	defer c.write.Unlock()
	return fail("clear the cache", c.dir, c.retireAll(true))
}

// Close gives the folder up; its pieces stay for the next time. Later calls find nothing and keep nothing.
func (c *Cache) Close() error {
	c.write.Lock()
	defer c.write.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	err := c.retireAll(false)
	if e := c.root.Close(); err == nil {
		err = e
	}
	return fail("close the cache", c.dir, err)
}

// acquire finds a piece and keeps its segment open until release.
func (c *Cache) acquire(h transfer.Hash) (place, *segment, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.index[h]
	if !ok {
		c.misses++
		return place{}, nil, false
	}
	s := c.segment(p.segment)
	s.refs++
	return p, s, true
}

// segment finds a segment that is in the list. The caller holds mu.
func (c *Cache) segment(number uint32) *segment {
	i, _ := slices.BinarySearchFunc(c.segments, number, func(s *segment, n uint32) int { return int(int64(s.number) - int64(n)) })
	return c.segments[i]
}

// judge counts a hit, or a miss that drops the piece, here and on disk.
func (c *Cache) judge(h transfer.Hash, p place, s *segment, good bool) bool {
	if good {
		c.mu.Lock()
		c.hits++
		c.mu.Unlock()
		c.use(h, p, s)
		return true
	}
	c.mu.Lock()
	c.misses++
	now, ok := c.index[h]
	ours := ok && now.at() == p.at()
	if ours {
		delete(c.index, h)
	}
	c.mu.Unlock()
	if ours {
		c.log.Warn("a cached piece is damaged and was dropped", "folder", c.dir, "piece", h)
		s.forget(p.slot)
	}
	return false
}

// use notes that a piece was used, so that it outlives its segment.
func (c *Cache) use(h transfer.Hash, p place, s *segment) {
	if p.used {
		return
	}
	c.mu.Lock()
	now, ok := c.index[h]
	first := ok && now.at() == p.at() && !now.used
	if first {
		now.used = true
		c.index[h] = now
	}
	c.mu.Unlock()
	if first {
		s.markUsed(p.slot)
	}
}

// touch reports whether a piece is here, which counts as using it.
func (c *Cache) touch(h transfer.Hash) bool {
	c.mu.Lock()
	p, ok := c.index[h]
	if !ok {
		c.mu.Unlock()
		return false
	}
	s := c.segment(p.segment)
	s.refs++
	c.mu.Unlock()
	c.use(h, p, s)
	c.release(s)
	return true
}
