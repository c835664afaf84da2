// Package recent keeps in memory what was lately read of others' files: pieces, so that many small reads of one are one fetch,
// and hashes of pieces, so that what is kept elsewhere is found without its owner. It believes nobody: whoever puts something
// in has verified it.
package recent

import (
	"container/list"
	"math/bits"
	"sync"

	"github.com/peerd/peerd/transfer"
)

// Usual is a usual limit of a [Cache], in bytes.
const Usual = 64 << 20

// Cache keeps pieces, and drops those that were not used for the longest time when there are too many. It is safe for
// concurrent use.
type Cache struct {
	limit int64

	mu      sync.Mutex
	pieces  map[key]*Piece
	order   *list.List // of *Piece, those used last in front
	passed  *list.List // of *Piece that are of little use, those that went there last in front
	total   int64      // bytes of all
	behind  int64      // bytes of those in passed
	ahead   int64      // bytes that are on their way and nobody waits for
	readers int        // that read ahead
	files   map[transfer.FileID]*Known
	kept    int // hashes that there is room for in files
	turns   uint64

	free  [classes][][]byte // buffers to be used again: those of new memory are dear
	spare int64             // bytes of those
	slab  slab              // that new ones are cut from

	prepared sync.Once
}

type key struct {
	file  transfer.FileID
	piece int
}

// New makes a Cache of so many bytes; 0 is [Usual].
func New(limit int64) *Cache {
	if limit == 0 {
		limit = Usual
	}
	return &Cache{limit: limit, pieces: make(map[key]*Piece), order: list.New(), passed: list.New(), files: make(map[transfer.FileID]*Known)}
}

// Piece is one piece of a file. Its data is not written to, and stays as it is until Release.
type Piece struct {
	Data []byte

	cache *Cache
	key   key
	refs  int           // guarded by cache.mu
	place *list.Element // nil once it is dropped
	left  bool          // place is in passed
}

// Get gives a piece that is here, or nil. Release gives it back.
func (c *Cache) Get(file transfer.FileID, piece int) *Piece {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pieces[key{file, piece}]
	if p != nil {
		p.refs++
		c.use(p)
	}
	return p
}

// use puts a piece in front of the others. c.mu is held.
func (c *Cache) use(p *Piece) {
	if !p.left {
		c.order.MoveToFront(p.place)
		return
	}
	c.remove(p)
	p.place = c.order.PushFront(p)
}

// remove takes a piece from its list. c.mu is held.
func (c *Cache) remove(p *Piece) {
	if !p.left {
		c.order.Remove(p.place)
		return
	}
	c.passed.Remove(p.place)
	c.behind -= int64(cap(p.Data))
	p.left = false
}

// Passed says that whoever read a piece goes on behind it. Of such pieces a sixty-fourth of the limit is kept: the memory of the
// others serves for what is read next, and new memory is dear.
func (c *Cache) Passed(file transfer.FileID, piece int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pieces[key{file, piece}]
	if p == nil || p.left {
		return
	}
	c.order.Remove(p.place)
	p.place, p.left = c.passed.PushFront(p), true
	c.behind += int64(cap(p.Data))
	for c.behind > c.limit/64 {
		c.drop(c.passed.Back().Value.(*Piece))
	}
}

// Has reports whether a piece is here.
func (c *Cache) Has(file transfer.FileID, piece int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pieces[key{file, piece}] != nil
}

// Put keeps a piece and takes its data, which the caller has verified. It gives it as Get does: the one that is here already, if
// there is one.
func (c *Cache) Put(file transfer.FileID, piece int, data []byte) *Piece {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := key{file, piece}
	p := c.pieces[k]
	if p == nil {
		p = &Piece{Data: data, cache: c, key: k}
		p.place = c.order.PushFront(p)
		c.pieces[k] = p
		c.total += int64(cap(data))
	} else {
		c.recycle(data)
		c.use(p)
	}
	p.refs++
	for c.total > c.limit && len(c.pieces) > 1 {
		last := c.passed.Back()
		if last == nil {
			last = c.order.Back()
		}
		c.drop(last.Value.(*Piece))
	}
	return p
}

// drop forgets a piece. c.mu is held.
func (c *Cache) drop(p *Piece) {
	c.remove(p)
	delete(c.pieces, p.key)
	c.total -= int64(cap(p.Data))
	p.place = nil
	if p.refs == 0 {
		c.recycle(p.Data)
	}
}

// Retain gives the piece to somebody else as well.
func (p *Piece) Retain() {
	p.cache.mu.Lock()
	defer p.cache.mu.Unlock()
	p.refs++
}

// Release gives the piece back, once.
func (p *Piece) Release() {
	p.cache.mu.Lock()
	defer p.cache.mu.Unlock()
	if p.refs--; p.refs == 0 && p.place == nil {
		p.cache.recycle(p.Data)
	}
}

// Limit is how many bytes are kept at most.
func (c *Cache) Limit() int64 { return c.limit }

// Bytes is how many bytes are kept.
func (c *Cache) Bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total
}

// Ahead reports whether n bytes more may be on their way that nobody waits for yet, and counts them until Landed.
func (c *Cache) Ahead(n int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ahead > 0 && c.ahead+n > c.limit/2 {
		return false
	}
	c.ahead += n
	return true
}

// Landed takes n bytes back that Ahead counted.
func (c *Cache) Landed(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead -= n
}

// Readers counts one reader more or less that reads ahead.
func (c *Cache) Readers(change int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readers += change
}

// Share is how many bytes one of those who read ahead may be ahead, so that they don't take each other's pieces away.
func (c *Cache) Share() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limit / 2 / int64(max(c.readers, 1))
}

// Buffers are kept for reuse by their sizes: the powers of two that pieces have.
const (
	least   = 16 // bits of the smallest
	classes = 5  // up to 1 MiB
)

// class is where buffers of a capacity belong that is a power of two, or -1.
func class(n int) int {
	if n&(n-1) != 0 || n < 1<<least || n >= 1<<(least+classes) {
		return -1
	}
	return bits.TrailingZeros(uint(n)) - least
}

// Buffer gives n bytes for a piece, with anything in them.
func (c *Cache) Buffer(n int) []byte {
	size := 1 << bits.Len(uint(max(n, 1)-1))
	i := class(size)
	if i < 0 {
		return make([]byte, n)
	}
	if b := c.reuse(i); b != nil {
		return b[:n]
	}
	return c.slab.cut(size)[:n]
}

// atHand is how much memory [Cache.Prepare] has the system give, in bytes: about what reading one file in order takes.
const atHand = 24 << 20

// Prepare has the memory at hand, once, that is needed first: the system may take longer to give it than it takes to fetch what is
// put there.
func (c *Cache) Prepare() {
	c.prepared.Do(func() { c.slab.prepare(int(min(atHand, c.limit*3/8) / slabSize)) })
}

// reuse gives a buffer that was used before, or nil.
func (c *Cache) reuse(class int) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.free[class]) - 1
	if last < 0 {
		return nil
	}
	b := c.free[class][last]
	c.free[class][last] = nil
	c.free[class] = c.free[class][:last]
	c.spare -= int64(cap(b))
	return b
}

// Recycle takes a buffer that is of no use any more.
func (c *Cache) Recycle(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recycle(b)
}

// recycle keeps a buffer for another piece, and a quarter of the limit of all such. Those of another size give way. c.mu is held.
func (c *Cache) recycle(b []byte) {
	i := class(cap(b))
	if i < 0 {
		return
	}
	size := int64(cap(b))
	if c.spare+size > c.limit/4 {
		for j := range c.free {
			if j != i {
				c.spare -= int64(len(c.free[j])) << (least + j)
				c.free[j] = nil
			}
		}
	}
	if c.spare+size <= c.limit/4 {
		c.free[i] = append(c.free[i], b[:size])
		c.spare += size
	}
}
