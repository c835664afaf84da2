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
	total   int64      // bytes of all in order
	ahead   int64      // bytes that are on their way and nobody waits for
	readers int        // that read ahead
	files   map[transfer.FileID]*Known
	kept    int // hashes that there is room for in files
	turns   uint64

	free [classes]sync.Pool // of *[]byte
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
	return &Cache{limit: limit, pieces: make(map[key]*Piece), order: list.New(), files: make(map[transfer.FileID]*Known)}
}

// Piece is one piece of a file. Its data is not written to, and stays as it is until Release.
type Piece struct {
	Data []byte

	cache *Cache
	key   key
	refs  int           // guarded by cache.mu
	place *list.Element // nil once it is dropped
}

// Get gives a piece that is here, or nil. Release gives it back.
func (c *Cache) Get(file transfer.FileID, piece int) *Piece {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pieces[key{file, piece}]
	if p != nil {
		p.refs++
		c.order.MoveToFront(p.place)
	}
	return p
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
		c.order.MoveToFront(p.place)
	}
	p.refs++
	for c.total > c.limit && c.order.Len() > 1 {
		c.drop(c.order.Back().Value.(*Piece))
	}
	return p
}

// drop forgets a piece. c.mu is held.
func (c *Cache) drop(p *Piece) {
	c.order.Remove(p.place)
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
	if b, ok := c.free[i].Get().(*[]byte); ok {
		return (*b)[:n]
	}
	return make([]byte, n, size)
}

// Recycle takes a buffer that is of no use any more.
func (c *Cache) Recycle(b []byte) { c.recycle(b) }

func (c *Cache) recycle(b []byte) {
	if i := class(cap(b)); i >= 0 {
		b = b[:cap(b)]
		c.free[i].Put(&b)
	}
}
