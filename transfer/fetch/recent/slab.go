package recent

import (
	"sync"

	"github.com/peerd/peerd/transfer/largepage"
)

// slabSize is how much memory is had at once for buffers, in bytes.
const slabSize = 8 << 20

// slab is memory that buffers are cut from. The system is asked to give it in large pages: to give, clear and map a small one
// takes as long as to fetch it from another computer (decision 24). What is cut from a slab keeps all of it in use; buffers are
// used again and again, so there are no more than were in use at a time. The zero slab is ready, and safe for concurrent use.
type slab struct {
	mu    sync.Mutex
	left  []byte
	ready [][]byte // slabs that the system gave already
}

// prepare has the system give n slabs before they are needed.
func (s *slab) prepare(n int) {
	for range n {
		b := largepage.Make(slabSize)
		for i := 0; i < len(b); i += 4 << 10 {
			b[i] = 0
		}
		s.mu.Lock()
		s.ready = append(s.ready, b)
		s.mu.Unlock()
	}
}

// cut gives size bytes, a power of two of at most slabSize.
func (s *slab) cut(size int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.left) < size {
		if last := len(s.ready) - 1; last >= 0 {
			s.left, s.ready = s.ready[last], s.ready[:last]
		} else {
			s.left = largepage.Make(slabSize)
		}
	}
	b := s.left[:size:size]
	s.left = s.left[size:]
	return b
}
