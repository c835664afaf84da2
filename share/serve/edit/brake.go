package edit

import (
	"time"

	"github.com/peerd/peerd/share"
)

// Brake finds out when somebody rewrites or removes much of a share quickly, as what encrypts files for a ransom does. It is a
// value in, value out: whoever uses it guards it, gives it the time, and acts on what it says.
type Brake struct {
	limits BrakeLimits
	events []touch            // within the window, oldest first
	count  map[share.Path]int // how often each path is among them
	fresh  []touch            // made within the window, oldest first
	made   map[share.Path]time.Time
}

// maxMade is how many files that were just made are remembered for one peer; what it makes beyond counts as if others had made it.
const maxMade = 100_000

// BrakeLimits are from when on it is too much: more than Files different files, and more than Percent of what the share holds, both
// within Window. The zero BrakeLimits never are.
type BrakeLimits struct {
	Files   int
	Percent int
	Window  time.Duration
}

// DefaultBrake is 100 files and a fifth of the share within five minutes.
func DefaultBrake() BrakeLimits { return BrakeLimits{Files: 100, Percent: 20, Window: 5 * time.Minute} }

type touch struct {
	path share.Path
	at   time.Time
}

// NewBrake makes a Brake for one peer in one share.
func NewBrake(limits BrakeLimits) *Brake {
	return &Brake{limits: limits, count: make(map[share.Path]int), made: make(map[share.Path]time.Time)}
}

// Made takes in that the peer made a file where none was: to rewrite or remove it within the window harms nobody.
func (b *Brake) Made(p share.Path, now time.Time) {
	if b.limits.Files <= 0 || b.limits.Window <= 0 {
		return
	}
	b.expire(now)
	if b.count[p] > 0 || len(b.fresh) >= maxMade { // what was there before stays touched
		return
	}
	b.fresh = append(b.fresh, touch{p, now})
	b.made[p] = now
}

// Moved takes in that the peer moved what it may have made; it reports whether it made it.
func (b *Brake) Moved(from, to share.Path, now time.Time) bool {
	b.expire(now)
	if _, ok := b.made[from]; !ok {
		return false
	}
	delete(b.made, from)
	b.Made(to, now)
	return true
}

// Touch takes in that a file that was there is rewritten, removed or moved, and reports whether that is too much, in a share that holds
// so many files now. A file that is touched again counts once, and
// one that the peer made itself a while ago not at all.
func (b *Brake) Touch(p share.Path, now time.Time, files int) bool {
	if b.limits.Files <= 0 || b.limits.Window <= 0 {
		return false
	}
	b.expire(now)
	if _, ok := b.made[p]; ok {
		return false
	}
	b.events = append(b.events, touch{p, now})
	b.count[p]++
	touched := len(b.count)
	return touched > b.limits.Files && touched*100 > b.limits.Percent*max(files, touched)
}

// expire forgets what was before the window.
func (b *Brake) expire(now time.Time) {
	n := 0
	for n < len(b.events) && now.Sub(b.events[n].at) > b.limits.Window {
		p := b.events[n].path
		if b.count[p]--; b.count[p] == 0 {
			delete(b.count, p)
		}
		n++
	}
	b.events = b.events[n:]
	for n = 0; n < len(b.fresh) && now.Sub(b.fresh[n].at) > b.limits.Window; n++ {
		if p := b.fresh[n]; b.made[p.path].Equal(p.at) { // not made again meanwhile
			delete(b.made, p.path)
		}
	}
	b.fresh = b.fresh[n:]
}
