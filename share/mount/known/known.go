// Package known keeps what the kernel was told of a tree, so that no more is taken back from it than it has, and all of it when
// need be. It knows no kernel: who answers one says what it told it, and learns for how long it may be believed.
package known

import (
	"context"
	"sync"
	"time"

	"github.com/peerd/peerd/share/vfs"
)

// Place is where a name stands.
type Place struct {
	Parent vfs.Ino
	Name   string
}

// node is what the kernel knows a file or folder by.
type node struct {
	lookups uint64 // that it has not forgotten
	at      Place  // the last that it was told of
	dir     bool
	gone    bool   // it has no name any more, and is perhaps still open
	tag     string // of the bytes that it may have cached; "" if there is no telling
	open    map[Opener]struct{}
	listing listing
}

// listing is what the kernel got of what a folder holds. It keeps that.
type listing struct {
	reading bool   // it does not have all of it
	turn    uint64 // the first of those that the answers were true in
	untold  bool   // no event keeps one of them true
	last    time.Time
}

// Trust is how long the kernel may believe anything at most: what it holds wrongly ends some day.
const Trust = time.Hour

// Opener has a file open. It is comparable.
type Opener interface {
	Tag() string // of what it reads now
}

// maxAbsent is how many names the kernel may hold as absent for long. Beyond that it asks each second.
const maxAbsent = 1 << 16

// Known is what the kernel holds of the tree, so that no more is taken back from it than it has, and all of it when need be.
type Known struct {
	fs *vfs.FS

	mu     sync.Mutex
	nodes  map[vfs.Ino]*node
	names  map[Place]vfs.Ino // 0 for a name that is absent
	absent int
	last   time.Time          // when the last absent one was added
	turn   uint64             // counts the changes that were heard of
	floor  uint64             // before this turn anything may have changed
	turns  map[vfs.Ino]uint64 // in which a node, or a name in it, changed last, after the floor
	busy   map[Place]int
	free   chan struct{} // closed when something is busy no more
}

// New makes what a kernel knows that knows nothing yet.
func New(fs *vfs.FS) *Known {
	return &Known{
		fs: fs, nodes: map[vfs.Ino]*node{}, names: map[Place]vfs.Ino{}, busy: map[Place]int{}, free: make(chan struct{}),
		turns: map[vfs.Ino]uint64{},
	}
}

// Now is the turn that an answer begins in. What changed since may be missing in it, see told.
func (k *Known) Now() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.turn
}

// maxTurns is how many changed nodes are told apart. One more, and all count as changed.
const maxTurns = 4096

// Heard begins another turn, in which a node changed, or a name in it.
func (k *Known) Heard(ino vfs.Ino) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.turn++
	k.turns[ino] = k.turn
	if len(k.turns) > maxTurns {
		k.anyLocked()
	}
}

// HeardAny begins another turn, in which anything may have changed.
func (k *Known) HeardAny() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.turn++
	k.anyLocked()
}

func (k *Known) anyLocked() {
	k.floor = k.turn
	clear(k.turns)
}

// oldLocked reports whether what was learned of nodes in a turn may be true no more.
func (k *Known) oldLocked(turn uint64, of ...vfs.Ino) bool {
	old := turn < k.floor
	for _, ino := range of {
		old = old || turn < k.turns[ino]
	}
	return old
}

// Told notes that the kernel gets to know a node by a name, and holds it in the tree. It gives how long the kernel may believe
// that: as it is fresh, but not if it changed since the turn, of which the kernel could not be told before it knew the node.
func (k *Known) Told(a vfs.Attr, at Place, turn uint64) time.Duration {
	ino := a.Ino
	k.fs.Hold(ino)
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.nodeLocked(ino)
	n.lookups++
	n.gone, n.dir = false, a.Dir
	k.nameLocked(at, ino)
	n.at = at
	if k.oldLocked(turn, ino, at.Parent) {
		return 0
	}
	return min(a.Fresh, Trust)
}

// Pin notes that the kernel knows a folder without having been told, as it does its root.
func (k *Known) Pin(ino vfs.Ino) {
	k.fs.Hold(ino)
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.nodeLocked(ino)
	n.lookups++
	n.dir = true
}

// Missed notes that the kernel gets to know that a name is absent, and gives how long it may believe so.
func (k *Known) Missed(at Place, turn uint64, fresh time.Duration) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.oldLocked(turn, at.Parent) {
		return 0
	}
	if k.absent >= maxAbsent && time.Since(k.last) > Trust { // what was noted then is believed no longer
		for p, ino := range k.names {
			if ino == 0 {
				delete(k.names, p)
			}
		}
		k.absent = 0
	}
	if _, ok := k.names[at]; !ok && k.absent >= maxAbsent {
		return min(fresh, time.Second)
	}
	k.nameLocked(at, 0)
	k.last = time.Now()
	return min(fresh, Trust)
}

func (k *Known) nodeLocked(ino vfs.Ino) *node {
	n := k.nodes[ino]
	if n == nil {
		n = &node{}
		k.nodes[ino] = n
	}
	return n
}

// nameLocked says what a name stands for, 0 for nothing.
func (k *Known) nameLocked(at Place, ino vfs.Ino) {
	k.dropLocked(at)
	k.names[at] = ino
	if ino == 0 {
		k.absent++
	}
}

func (k *Known) dropLocked(at Place) {
	if ino, ok := k.names[at]; ok {
		delete(k.names, at)
		if ino == 0 {
			k.absent--
		}
	}
}

// Forget takes n lookups back.
func (k *Known) Forget(ino vfs.Ino, n uint64) {
	k.mu.Lock()
	if x := k.nodes[ino]; x != nil {
		n = min(n, x.lookups)
		x.lookups -= n
		k.tidyLocked(ino, x)
	} else {
		n = 0
	}
	k.mu.Unlock()
	if n > 0 {
		k.fs.Forget(ino, n)
	}
}

// tidyLocked drops a node that the kernel neither knows nor has open.
func (k *Known) tidyLocked(ino vfs.Ino, n *node) {
	if n.lookups > 0 || len(n.open) > 0 {
		return
	}
	delete(k.nodes, ino)
	if k.names[n.at] == ino {
		k.dropLocked(n.at)
	}
}

// ForgetAll takes all lookups back: a kernel that unmounts forgets without a word.
func (k *Known) ForgetAll() {
	k.mu.Lock()
	nodes := k.nodes
	k.nodes, k.names, k.absent = map[vfs.Ino]*node{}, map[Place]vfs.Ino{}, 0
	k.mu.Unlock()
	for ino, n := range nodes {
		if n.lookups > 0 {
			k.fs.Forget(ino, n.lookups)
		}
	}
}

// Removed notes that this mount took a name away, which the kernel knows.
func (k *Known) Removed(at Place) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := k.nodes[k.names[at]]; n != nil {
		n.gone = true
	}
	k.dropLocked(at)
}

// Moved notes that this mount renamed something, which the kernel knows.
func (k *Known) Moved(from, to Place) {
	k.mu.Lock()
	defer k.mu.Unlock()
	ino := k.names[from]
	k.dropLocked(from)
	if old := k.names[to]; old != ino {
		if n := k.nodes[old]; n != nil {
			n.gone = true
		}
	}
	k.dropLocked(to)
	if n := k.nodes[ino]; n != nil {
		n.at = to
		k.nameLocked(to, ino)
	}
}

// Gone notes that a node has no name any more.
func (k *Known) Gone(ino vfs.Ino) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := k.nodes[ino]; n != nil {
		n.gone = true
	}
}

// IsGone reports whether a node has no name any more.
func (k *Known) IsGone(ino vfs.Ino) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.nodes[ino]
	return n != nil && n.gone
}

// Holds reports whether the kernel knows a node.
func (k *Known) Holds(ino vfs.Ino) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.nodes[ino]
	return n != nil && n.lookups > 0
}

// Is reports whether the kernel holds that a name stands for a node.
func (k *Known) Is(at Place, ino vfs.Ino) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return ino != 0 && k.names[at] == ino
}

// Lost notes that the kernel was told to ask anew for a name.
func (k *Known) Lost(at Place) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dropLocked(at)
}

// All lists the files and folders that the kernel knows, and the names that it need not keep: those of files and of what is absent.
// A folder whose name it loses and finds again is "(deleted)" to those that work in it.
func (k *Known) All() (files, folders []vfs.Ino, names []Place) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for at, ino := range k.names {
		if n := k.nodes[ino]; n == nil || !n.dir {
			names = append(names, at)
		}
	}
	for ino, n := range k.nodes {
		if n.dir {
			folders = append(folders, ino)
		} else {
			files = append(files, ino)
		}
	}
	return files, folders, names
}

// Opened notes that a file is open, of which the bytes of tag are read, and says what the kernel's cache of it is good for: keep if it
// holds those bytes; direct if others read another state of the file, whose bytes would mix with these in the cache.
func (k *Known) Opened(ino vfs.Ino, by Opener, tag string) (keep, direct bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.nodeLocked(ino)
	for other := range n.open {
		direct = direct || other.Tag() != tag
	}
	keep = tag != "" && n.tag == tag
	n.tag = tag
	if direct {
		n.tag = ""
	}
	if n.open == nil {
		n.open = map[Opener]struct{}{}
	}
	n.open[by] = struct{}{}
	return keep, direct
}

// Stale says before Opened that a file will be open of which other bytes are read than those that the kernel's cache is of, if so, and
// reports that: until Opened the cache is good for nobody.
func (k *Known) Stale(ino vfs.Ino, tag string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.nodes[ino]
	if n == nil || tag != "" && n.tag == tag {
		return false
	}
	n.tag = ""
	return true
}

// Wrote notes that the kernel, whose cache holds what it writes, made the bytes of one tag those of another.
func (k *Known) Wrote(ino vfs.Ino, before, after string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := k.nodes[ino]; n != nil && n.tag == before {
		n.tag = after
	}
}

// Caches reports whether what the kernel may have of a file's bytes are those of tag. A folder has none.
func (k *Known) Caches(ino vfs.Ino, tag string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.nodes[ino]
	return n != nil && (n.dir || tag != "" && n.tag == tag)
}

// Closed ends what Opened began.
func (k *Known) Closed(ino vfs.Ino, by Opener) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := k.nodes[ino]; n != nil {
		delete(n.open, by)
		k.tidyLocked(ino, n)
	}
}

// Opener is one of those that have a file open, or nil.
func (k *Known) Opener(ino vfs.Ino) Opener {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := k.nodes[ino]; n != nil {
		for by := range n.open {
			return by
		}
	}
	return nil
}

// Listed notes that the kernel gets a part of a folder's listing, as it was in a turn, and with end that it has all of it then. told is whether
// events keep that true. It reports whether the kernel has to drop what it got, once it has all: nobody would tell it of a change, or
// there was one of which it could not be told before it had this.
func (k *Known) Listed(ino vfs.Ino, turn uint64, told, end bool) (drop bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.nodes[ino]
	if n == nil {
		return end
	}
	l := &n.listing
	if !l.reading {
		l.reading, l.turn, l.untold = true, turn, false
	}
	l.turn, l.untold, l.last = min(l.turn, turn), l.untold || !told, time.Now()
	if !end {
		return false
	}
	l.reading = false
	return l.untold || k.oldLocked(l.turn, ino)
}

// Overdue reports, once, that the kernel got a folder's listing so long ago that it shall ask anew.
func (k *Known) Overdue(ino vfs.Ino) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.nodes[ino]
	if n == nil || n.listing.last.IsZero() || time.Since(n.listing.last) < Trust {
		return false
	}
	n.listing.last = time.Time{}
	return true
}

// Begin marks names that this mount is about to change. The kernel itself knows of such a change, and its word is awaited
// before it is told of any other at that place. What is given ends it.
func (k *Known) Begin(at ...Place) (end func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range at {
		k.busy[p]++
	}
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, p := range at {
			if k.busy[p]--; k.busy[p] == 0 {
				delete(k.busy, p)
			}
		}
		close(k.free)
		k.free = make(chan struct{})
	}
}

// Settled waits until this mount changes nothing at a place.
func (k *Known) Settled(ctx context.Context, at Place) {
	for {
		k.mu.Lock()
		n, free := k.busy[at], k.free
		k.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-free:
		case <-ctx.Done():
			return
		}
	}
}
