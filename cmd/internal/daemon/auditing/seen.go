package auditing

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	"github.com/peerd/peerd/peer"
)

// maxSeen is how many peers are remembered to have been here; beyond, the older half is forgotten, and told of anew.
const maxSeen = 4096

// seen are the peers that were here before, over restarts: a file with an ID on each line, the oldest first. It is no proof of
// anything, and one that can't be read or written costs a record that is written again.
type seen struct {
	path string

	mu    sync.Mutex
	ids   map[peer.ID]bool
	order []peer.ID
}

func openSeen(path string) (*seen, error) {
	s := &seen{path: path, ids: make(map[peer.ID]bool)}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	for line := range strings.Lines(string(b)) {
		if id, err := peer.ParseID(strings.TrimSpace(line)); err == nil && !s.ids[id] && len(s.order) < maxSeen {
			s.ids[id] = true
			s.order = append(s.order, id)
		}
	}
	return s, err
}

// first reports whether a peer is here for the first time, and takes note of it. Its error is that of the file alone.
func (s *seen) first(id peer.ID) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids[id] {
		return false, nil
	}
	flags, text := os.O_APPEND, id.String()+"\n"
	if len(s.order) >= maxSeen {
		old := s.order[:maxSeen/2]
		s.order = append([]peer.ID(nil), s.order[len(old):]...)
		for _, id := range old {
			delete(s.ids, id)
		}
		var all strings.Builder
		for _, id := range s.order {
			all.WriteString(id.String() + "\n")
		}
		flags, text = os.O_TRUNC, all.String()+text
	}
	s.ids[id] = true
	s.order = append(s.order, id)
	f, err := os.OpenFile(s.path, os.O_WRONLY|os.O_CREATE|flags, 0o600)
	if err != nil {
		return true, err
	}
	_, err = f.WriteString(text)
	return true, errors.Join(err, f.Close())
}
