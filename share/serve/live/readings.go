package live

import (
	"sync"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
)

// Readings are the files that are open to be read, by who reads them: one that is read over several streams at once is one reading.
// The zero value has none. It is safe for concurrent use.
type Readings struct {
	mu  sync.Mutex
	all map[Reading]*State
}

// Reading is a file that somebody reads.
type Reading struct {
	Who  peer.ID
	Of   share.ID
	Path share.Path
	Old  bool // an old version of it
}

// State is how far a reading is.
type State struct {
	open int // as often

	Sent  int64 // bytes
	Asked bool  // for any
	Ended bool  // the right to it
}

// Begin counts one more that reads.
func (r *Readings) Begin(key Reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = make(map[Reading]*State)
	}
	u := r.all[key]
	if u == nil {
		u = new(State)
		r.all[key] = u
	}
	u.open++
}

// End counts one less, with what it adds. Of the last it gives what all came to.
func (r *Readings) End(key Reading, add State) (all State, last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.all[key]
	u.Sent += add.Sent
	u.Asked = u.Asked || add.Asked
	u.Ended = u.Ended || add.Ended
	if u.open--; u.open > 0 {
		return State{}, false
	}
	delete(r.all, key)
	return *u, true
}
