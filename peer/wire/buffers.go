package wire

import "sync"

// Buffers lends memory of two sizes to whom bytes flow through, so that an idle stream or connection has none. Its methods may be
// called at the same time.
type Buffers struct {
	small, large int
	pools        [2]sync.Pool // of *[]byte, the small ones first
}

// NewBuffers makes Buffers of so many bytes.
func NewBuffers(small, large int) *Buffers { return &Buffers{small: small, large: large} }

// Get lends a buffer for n bytes, or a large one if that is less. Its length is all of it, with anything in it.
func (p *Buffers) Get(n int) *[]byte {
	pool, size := &p.pools[1], p.large
	if n <= p.small {
		pool, size = &p.pools[0], p.small
	}
	if b, ok := pool.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, size)
	return &b
}

// Put takes a buffer back, which may have grown.
func (p *Buffers) Put(b *[]byte) {
	*b = (*b)[:cap(*b)]
	if len(*b) < p.large {
		p.pools[0].Put(b)
	} else {
		p.pools[1].Put(b)
	}
}
