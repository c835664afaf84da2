package fetch

import (
	"io"
	"sync"

	"github.com/peerd/peerd/transfer"
)

// memory holds the pieces that a reader is not at yet.
type memory struct {
	layout transfer.Layout

	mu      sync.Mutex
	pieces  map[int]*held
	changed chan struct{} // closed and made anew when a piece is whole
}

// held is one piece.
type held struct {
	data  []byte
	whole bool
}

func newMemory(l transfer.Layout) *memory {
	return &memory{layout: l, pieces: make(map[int]*held), changed: make(chan struct{})}
}

// WriteAt takes a step of a piece. Memory is had as bytes arrive, not as a source says that they will.
func (m *memory) WriteAt(b []byte, off int64) (int, error) {
	i := int(off >> m.layout.Bits)
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.pieces[i]
	if p == nil {
		p = new(held)
		m.pieces[i] = p
	}
	if p.whole {
		return len(b), nil
	}
	at := off - m.layout.Offset(i)
	p.data = append(p.data[:at], b...)
	return len(b), nil
}

// ReadAt gives bytes of a piece that is whole and still here.
func (m *memory) ReadAt(b []byte, off int64) (int, error) {
	i := int(off >> m.layout.Bits)
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.pieces[i]
	if p == nil || !p.whole {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(b, p.data[off-m.layout.Offset(i):])
	if n < len(b) {
		return n, io.ErrUnexpectedEOF
	}
	return n, nil
}

// Here says that a piece is whole.
func (m *memory) Here(i int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.pieces[i]; p != nil {
		p.whole = true
	}
	close(m.changed)
	m.changed = make(chan struct{})
}

// piece gives a piece that is whole, or what is closed when another is.
func (m *memory) piece(i int) ([]byte, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.pieces[i]; p != nil && p.whole {
		return p.data, nil
	}
	return nil, m.changed
}

func (m *memory) drop(i int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.pieces, i)
}
