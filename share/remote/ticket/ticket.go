// Package ticket keeps on disk what logins gave.
package ticket

import (
	"bytes"
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

// Store is what logins gave, kept on disk over restarts: no password, and nothing that is of use to another computer.
type Store struct {
	dir string

	mu  sync.Mutex
	all map[key]Ticket
}

// Ticket is one as it lies on disk, in a file of its own.
type Ticket struct {
	Peer   peer.ID     `json:"peer"`
	Name   string      `json:"name"`
	Share  share.ID    `json:"share"`
	Right  share.Right `json:"right"`
	Until  time.Time   `json:"until"`
	Sealed []byte      `json:"sealed"`
}

// key names a share as its user does.
type key struct {
	peer peer.ID
	fold string
}

// maxTicket is the size of a ticket's file that is read, in bytes.
const maxTicket = 16 << 10

// Open reads the tickets in a folder, which it makes if it is not there. Those that are over at now are removed.
// What it can't read it leaves alone and tells by skipped.
func Open(dir string, now time.Time, skipped func(error)) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	t := &Store{dir: dir, all: make(map[key]Ticket)}
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

func readTicket(name string) (Ticket, error) {
	var s Ticket
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

// Get gives the ticket for a share, if there is one.
func (t *Store) Get(id peer.ID, name string) (Ticket, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.all[key{id, share.FoldKey(name)}]
	return s, ok
}

// file is where the ticket of a share lies.
func (t *Store) file(s Ticket) string {
	return filepath.Join(t.dir, fmt.Sprintf("%s-%s.json", s.Peer, s.Share))
}

// Put keeps a ticket, in the place of one for the same share or name.
func (t *Store) Put(s Ticket) error {
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

// Remove removes the ticket for a share, and reports whether there was one.
func (t *Store) Remove(id peer.ID, name string) (bool, error) {
	return t.remove(id, name, func(Ticket) bool { return true })
}

// Drop removes a ticket, and reports whether it was still there: a login may have put another one in its place.
func (t *Store) Drop(s Ticket) (bool, error) {
	return t.remove(s.Peer, s.Name, func(now Ticket) bool { return bytes.Equal(now.Sealed, s.Sealed) })
}

func (t *Store) remove(id peer.ID, name string, which func(Ticket) bool) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := key{id, share.FoldKey(name)}
	s, ok := t.all[k]
	if !ok || !which(s) {
		return false, nil
	}
	delete(t.all, k)
	if err := os.Remove(t.file(s)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return true, err
	}
	return true, nil
}

// Names are the shares of a peer that there is a ticket for: those that are hidden are known by this alone.
func (t *Store) Names(id peer.ID) []string {
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
func (t *Store) Right(id peer.ID, name string) share.Right {
	s, _ := t.Get(id, name)
	return s.Right
}
