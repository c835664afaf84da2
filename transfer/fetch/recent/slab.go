package recent

import "sync"

// slabSize is how much memory is had at once for buffers, in bytes.
const slabSize = 8 << 20

// slab is memory that buffers are cut from. The system is asked to give it in large pages: to give, clear and map a small one
// takes as long as to fetch it from another computer (decision 24). What is cut from a slab keeps all of it in use; buffers are
// used again and again, so there are no more than were in use at a time. The zero slab is ready, and safe for concurrent use.
type slab struct {
	mu   sync.Mutex
	left []byte
}

// cut gives size bytes, a power of two of at most slabSize.
func (s *slab) cut(size int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.left) < size {
		s.left = make([]byte, slabSize)
		inLargePages(s.left)
	}
	b := s.left[:size:size]
	s.left = s.left[size:]
	return b
}
