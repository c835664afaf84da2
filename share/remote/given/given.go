// Package given keeps what owners gave last, which opens their shares.
package given

import (
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
)

// maxHeld is how many shares there are grants kept for: others choose the names of theirs.
const maxHeld = 4096

// Access is a right that this peer holds in a share.
type Access struct {
	Peer  peer.ID
	Share share.ID
	Name  string // as the user wrote it
	Right share.Right
	Login share.Right // what the password was for, which is more than Right while the owner suspends this peer; else none
	By    string      // "open", "device" or "password"
	Until time.Time   // when the password will be asked for again; zero when it never is
}

// Turn numbers what is asked, so that an answer that is late is not taken for the newest.
type Turn uint64

// Grant is what opens one share.
type Grant struct {
	Mu     sync.Mutex // held while a grant is being fetched, so that it is fetched once
	Access Access
	Sealed []byte
	Fresh  time.Time // until when the grant is used; before its end, so that it lasts while it is on its way
	Over   time.Time // its end, until which it is used while the owner is away: it opens other sources

	told *Access // what the owner gave last, and
	turn Turn    // when that was asked for; both by Grants.mu
}

// Grants are those for all shares. They are safe for concurrent use.
type Grants struct {
	mu   sync.Mutex
	last Turn
	all  map[key]*Grant
}

// key names a share as its user does.
type key struct {
	peer peer.ID
	fold string
}

// New makes Grants.
func New() *Grants { return &Grants{all: make(map[key]*Grant)} }

// Turn begins to ask.
func (s *Grants) Turn() Turn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	return s.last
}

// Of gives what opens a share, which may have to be fetched yet.
func (s *Grants) Of(id peer.ID, name string) *Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{id, share.FoldKey(name)}
	g := s.all[k]
	if g == nil {
		for old := range s.all {
			if len(s.all) < maxHeld {
				break
			}
			delete(s.all, old) // any: it can be had again
		}
		g = &Grant{turn: s.last} // what was asked before it was forgotten is not kept
		s.all[k] = g
	}
	return g
}

// Tell takes in what the owner gave to who asked in a turn.
func (s *Grants) Tell(g *Grant, a Access, turn Turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.told, g.turn = &a, turn
}

// Told is what the owner of a share gave last, if it was not forgotten since. It waits for nobody.
func (s *Grants) Told(id peer.ID, name string) (Access, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.all[key{id, share.FoldKey(name)}]; g != nil && g.told != nil {
		return *g.told, true
	}
	return Access{}, false
}

// Keep has g used from now on, unless what is there was asked for later, or all was forgotten since.
func (s *Grants) Keep(id peer.ID, name string, g *Grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{id, share.FoldKey(name)}
	if old := s.all[k]; old != nil && old.turn < g.turn {
		s.all[k] = g
	}
}

// Forget drops what was not asked for after a turn.
func (s *Grants) Forget(id peer.ID, name string, turn Turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{id, share.FoldKey(name)}
	if g := s.all[k]; g != nil && g.turn <= turn {
		delete(s.all, k)
	}
}
