package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
)

// Tickets are what logins gave, kept on disk over restarts: no password, and nothing that is of use to another computer.
type Tickets struct {
	dir string

	mu  sync.Mutex
	all map[key]saved
}

// saved is one ticket as it lies on disk, in a file of its own.
type saved struct {
	Peer   peer.ID     `json:"peer"`
	Name   string      `json:"name"`
	Share  share.ID    `json:"share"`
	Right  share.Right `json:"right"`
	Until  time.Time   `json:"until"`
	Sealed []byte      `json:"sealed"`
}

// maxTicket is the size of a ticket's file that is read, in bytes.
const maxTicket = 16 << 10

// OpenTickets reads the tickets in a folder, which it makes if it is not there. Those that are over at now are removed.
// What it can't read it leaves alone and tells by skipped.
func OpenTickets(dir string, now time.Time, skipped func(error)) (*Tickets, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	t := &Tickets{dir: dir, all: make(map[key]saved)}
	for _, f := range files {
		name := filepath.Join(dir, f.Name())
		if !strings.HasSuffix(name, ".json") {
			continue
		}
		s, err := readTicket(name)
		switch {
		case err != nil:
			skipped(fmt.Errorf("%s: %w", name, err))
		case !now.Before(s.Until):
			skipped(os.Remove(name))
		default:
			t.all[key{s.Peer, share.FoldKey(s.Name)}] = s
		}
	}
	return t, nil
}

func readTicket(name string) (saved, error) {
	var s saved
	info, err := os.Stat(name)
	if err != nil {
		return s, err
	}
	if info.Size() > maxTicket {
		return s, errors.New("it is too large")
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(b, &s)
}

func (t *Tickets) get(id peer.ID, name string) (saved, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.all[key{id, share.FoldKey(name)}]
	return s, ok
}

// file is where the ticket of a share lies.
func (t *Tickets) file(s saved) string {
	return filepath.Join(t.dir, fmt.Sprintf("%s-%s.json", s.Peer, s.Share))
}

func (t *Tickets) put(s saved) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	temp := t.file(s) + ".new"
	if err := os.WriteFile(temp, b, 0o600); err != nil {
		return err
	}
	if err := os.Rename(temp, t.file(s)); err != nil {
		return err
	}
	// The share may have had another name when it was entered before, or the name another share.
	now := key{s.Peer, share.FoldKey(s.Name)}
	for k, old := range t.all {
		if k != now && t.file(old) != t.file(s) {
			continue
		}
		delete(t.all, k)
		if t.file(old) != t.file(s) {
			if err := os.Remove(t.file(old)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	t.all[now] = s
	return nil
}

func (t *Tickets) remove(id peer.ID, name string) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := key{id, share.FoldKey(name)}
	s, ok := t.all[k]
	if !ok {
		return false, nil
	}
	delete(t.all, k)
	if err := os.Remove(t.file(s)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return true, err
	}
	return true, nil
}

// Names are the shares of a peer that there is a ticket for: those that are hidden are known by this alone.
func (t *Tickets) Names(id peer.ID) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var names []string
	for k, s := range t.all {
		if k.peer == id {
			names = append(names, s.Name)
		}
	}
	return names
}

// Right is what the ticket for a share is for, if there is one.
func (t *Tickets) Right(id peer.ID, name string) share.Right {
	s, _ := t.get(id, name)
	return s.Right
}
