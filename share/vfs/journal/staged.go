package journal

import (
	"errors"
	"io"
	"os"
	"sync"
)

// Staged is a staging file. It is open while it is used, and shut by Rest: thousands may wait. It is safe for concurrent use.
type Staged struct {
	ID   uint64
	name string

	mu sync.RWMutex
	f  *os.File
}

// Create makes an empty staging file.
func (j *Journal) Create() (*Staged, error) {
	j.mu.Lock()
	j.last++
	s := &Staged{ID: j.last, name: j.name(j.last)}
	j.mu.Unlock()
	f, err := os.OpenFile(s.name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	s.f = f
	return s, err
}

// Staged is the staging file of an item that waits.
func (j *Journal) Staged(id uint64) *Staged { return &Staged{ID: id, name: j.name(id)} }

// with calls do with the open file.
func (s *Staged) with(do func(*os.File) error) error {
	s.mu.RLock()
	for s.f == nil {
		s.mu.RUnlock()
		s.mu.Lock()
		if s.f == nil {
			f, err := os.OpenFile(s.name, os.O_RDWR, 0)
			if err != nil {
				s.mu.Unlock()
				return err
			}
			s.f = f
		}
		s.mu.Unlock()
		s.mu.RLock()
	}
	defer s.mu.RUnlock()
	return do(s.f)
}

// ReadAt reads by the rules of [io.ReaderAt].
func (s *Staged) ReadAt(b []byte, off int64) (n int, err error) {
	e := s.with(func(f *os.File) error {
		n, err = f.ReadAt(b, off)
		return nil
	})
	return n, errors.Join(e, err)
}

// WriteAt writes.
func (s *Staged) WriteAt(b []byte, off int64) (n int, err error) {
	err = s.with(func(f *os.File) error {
		n, err = f.WriteAt(b, off)
		return err
	})
	return n, err
}

// Truncate sets the size.
func (s *Staged) Truncate(size int64) error {
	return s.with(func(f *os.File) error { return f.Truncate(size) })
}

// Size is how many bytes the file has.
func (s *Staged) Size() (size int64, err error) {
	err = s.with(func(f *os.File) error {
		st, err := f.Stat()
		if err == nil {
			size = st.Size()
		}
		return err
	})
	return size, err
}

// Sync makes the bytes last.
func (s *Staged) Sync() error { return s.with((*os.File).Sync) }

// Snapshot copies the file as it is, of so many bytes, into a staging file of its own.
func (j *Journal) Snapshot(s *Staged, size int64) (*Staged, error) {
	c, err := j.Create()
	if err != nil {
		return nil, err
	}
	err = s.with(func(from *os.File) error {
		_, err := io.Copy(c.f, io.NewSectionReader(from, 0, size))
		return err
	})
	if err != nil {
		c.Remove()
		return nil, err
	}
	return c, nil
}

// Rest shuts the file until it is used again.
func (s *Staged) Rest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f != nil {
		_ = s.f.Close()
		s.f = nil
	}
}

// Remove removes the file.
func (s *Staged) Remove() {
	s.Rest()
	_ = os.Remove(s.name)
}
