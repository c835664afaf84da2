package edit

import (
	"time"

	"github.com/peerd/peerd/transfer"
)

// Brake finds out when somebody rewrites or removes much of a share quickly, as what encrypts files for a ransom does. It is a
// value in, value out: whoever uses it guards it, gives it the time, and acts on what it says.
//
// It knows what a peer made by its version, not by its path, which another file may have after a folder was moved.
type Brake struct {
	limits BrakeLimits
	events []time.Time // of files of others that were touched within the window, oldest first
	fresh  []made      // within the window, oldest first
	own    map[transfer.Version]time.Time
}

// made is what the peer left in the share.
type made struct {
	version transfer.Version
	at      time.Time
}

// maxMade is how many files that were just made are remembered for one peer; what it makes beyond counts as if others had made it.
const maxMade = 100_000

// BrakeLimits are from when on it is too much: more than Files files, and more than Percent of what the share holds, both
// within Window. The zero BrakeLimits never are.
type BrakeLimits struct {
	Files   int
	Percent int
	Window  time.Duration
}

// DefaultBrake is 100 files and a fifth of the share within five minutes.
func DefaultBrake() BrakeLimits { return BrakeLimits{Files: 100, Percent: 20, Window: 5 * time.Minute} }

// NewBrake makes a Brake for one peer in one share.
func NewBrake(limits BrakeLimits) *Brake {
	return &Brake{limits: limits, own: make(map[transfer.Version]time.Time)}
}

// Made takes in that the peer made a file, or left it in this version: to rewrite, move or remove that within the window harms nobody
// anew.
func (b *Brake) Made(v transfer.Version, now time.Time) {
	if b.limits.Files <= 0 || b.limits.Window <= 0 {
		return
	}
	b.expire(now)
	if len(b.fresh) >= maxMade {
		return
	}
	b.fresh = append(b.fresh, made{v, now})
	b.own[v] = now
}

// Own reports whether the peer made a file of this version within the window.
func (b *Brake) Own(v transfer.Version, now time.Time) bool {
	b.expire(now)
	_, ok := b.own[v]
	return ok
}

// Touch takes in that a file that had this version is rewritten, removed or moved, and reports whether that is too much, in a share that
// holds so many files now. What the peer made itself a while ago does not count.
func (b *Brake) Touch(v transfer.Version, now time.Time, files int) bool {
	if b.limits.Files <= 0 || b.limits.Window <= 0 {
		return false
	}
	if b.Own(v, now) {
		delete(b.own, v) // there is none of this version any more
		return false
	}
	b.events = append(b.events, now)
	touched := len(b.events)
	return touched > b.limits.Files && touched*100 > b.limits.Percent*max(files, touched)
}

// expire forgets what was before the window.
func (b *Brake) expire(now time.Time) {
	n := 0
	for n < len(b.events) && now.Sub(b.events[n]) > b.limits.Window {
		n++
	}
	b.events = b.events[n:]
	for n = 0; n < len(b.fresh) && now.Sub(b.fresh[n].at) > b.limits.Window; n++ {
		if m := b.fresh[n]; b.own[m.version].Equal(m.at) { // not made again meanwhile
			delete(b.own, m.version)
		}
	}
	b.fresh = b.fresh[n:]
}
