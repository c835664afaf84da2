package vfs

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs/content"
	"github.com/peerd/peerd/share/vfs/journal"
	"github.com/peerd/peerd/share/vfs/tree"
	"github.com/peerd/peerd/transfer/store"
)

// Bounds of what waits for an owner.
const (
	metaPatience = 5 * time.Second  // for an answer about names
	readPatience = 15 * time.Second // for bytes
	longPatience = 10 * time.Minute // for what the owner copies
	// silence is how long an owner that let somebody wait in vain is not asked about what is known.
	silence = 3 * time.Second
)

// How long what was told is believed.
const (
	freshWatched   = time.Hour   // while the owner tells of changes
	freshUnwatched = time.Second // else
	freshPeers     = 10 * time.Second
)

// Options say where an FS keeps what is written. The zero Log is nobody's.
type Options struct {
	Dir   string // where what is written waits for its owner; made if it is not there. No other FS has it
	Limit int64  // bytes that may wait there; 0 is half of what is free on the disk
	Log   *slog.Logger
}

// FS is the tree. It is safe for concurrent use.
type FS struct {
	world   World
	log     *slog.Logger
	journal *journal.Journal
	budget  content.Budget
	base    context.Context // of what goes on without a caller
	end     context.CancelFunc
	tasks   sync.WaitGroup

	mu        sync.Mutex // of all that follows; under it nothing is waited for but the journal's log
	tree      *tree.Tree
	points    map[string]*point // by //PEER/SHARE
	sources   map[sourceKey]*source
	clean     map[Ino][]*body // open files that nobody has written to
	followers []*follower
	aside     map[string][]aside // what is kept here of shares that are not in the tree, by //PEER/SHARE, folded
	cut       []Pending          // of which bytes were lost while nothing ran
	running   bool
	closed    bool
	conflicts int
	settled   chan struct{} // closed and replaced when something that waited is done with
}

// New makes the tree of a world, with what an earlier run left in Dir. Nothing is delivered before Run.
func New(w World, o Options) (*FS, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	j, items, err := journal.Open(o.Dir, o.Log)
	if err != nil {
		return nil, err
	}
	if o.Limit == 0 {
		o.Limit = 1 << 40
		if free, _, ok := store.DiskSpace(o.Dir); ok {
			o.Limit = free / 2
		}
	}
	f := &FS{
		world: w, log: o.Log, journal: j, tree: tree.New(), points: make(map[string]*point), sources: make(map[sourceKey]*source),
		clean: make(map[Ino][]*body), aside: make(map[string][]aside), settled: make(chan struct{}),
	}
	f.budget.Limit = o.Limit
	f.base, f.end = context.WithCancel(context.Background())
	f.mu.Lock()
	for _, it := range items {
		f.restoreLocked(it)
	}
	f.mu.Unlock()
	for _, c := range j.Cut() {
		f.cut = append(f.cut, cutOff(c))
	}
	return f, nil
}

// Run keeps the tree true and brings what waits to its owners, until ctx ends.
func (f *FS) Run(ctx context.Context) error {
	f.mu.Lock()
	f.running = true
	for _, pt := range f.points {
		f.kickLocked(pt)
	}
	f.mu.Unlock()
	f.task(f.followWorld)
	f.task(f.tidy)
	select {
	case <-ctx.Done():
	case <-f.base.Done():
	}
	f.stop()
	return ctx.Err()
}

// task runs something until the tree ends.
func (f *FS) task(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taskLocked(do)
}

func (f *FS) taskLocked(do func()) {
	if !f.closed {
		f.tasks.Go(do)
	}
}

func (f *FS) stop() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.end()
	f.tasks.Wait()
}

// Close gives up what the tree holds open. What waits for its owners is kept in Dir.
func (f *FS) Close() error {
	f.stop()
	f.mu.Lock()
	for _, s := range f.sources {
		s.Close()
	}
	f.sources = nil
	f.mu.Unlock()
	return f.journal.Close()
}

// place is where a node hangs: at the root, in a peer, or in a share.
type place struct {
	n     *tree.Node
	names []string // from the root
	pt    *point   // in a share
	path  share.Path
}

var errGone = errors.New("it is there no more")

// place gives the place of a node; one that is gone is an error of kind peer.NotFound.
func (f *FS) place(ino Ino) (place, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.tree.Get(ino)
	if n == nil {
		return place{}, notFound("find", "")
	}
	return f.placeLocked(n)
}

func (f *FS) placeLocked(n *tree.Node) (place, error) {
	names, ok := n.Path()
	p := place{n: n, names: names}
	if !ok {
		return p, notFound("find", n.Name())
	}
	if len(names) < 2 {
		return p, nil
	}
	p.pt = f.pointLocked(names[0], names[1])
	var err error
	if p.path, err = share.ParsePath(names[2:]); err != nil {
		return p, fail("find", p.String(), ErrTooLong)
	}
	return p, nil
}

func (p place) String() string { return "//" + strings.Join(p.names, "/") }

// child is how a name in a place is called in messages.
func (p place) child(name string) string {
	if p.n.Ino == Root {
		return "//" + name
	}
	return p.String() + "/" + name
}

// attrLocked is what a node is.
func (f *FS) attrLocked(n *tree.Node, pt *point, now time.Time) Attr {
	a := Attr{Ino: n.Ino, Dir: n.Dir, Size: n.Size, ModTime: time.Unix(0, n.ModTime), Exec: n.Exec, Right: share.Read, Fresh: freshPeers}
	if pt == nil {
		return a
	}
	a.Right, a.Fresh = pt.rightLocked(), freshUnwatched
	if pt.toldLocked(n, now) {
		a.Fresh = freshWatched
	}
	if !n.Dir {
		a.Tag = tagLocked(n)
	}
	if b, ok := n.Local.(*body); ok {
		b.show(&a)
	}
	return a
}

// tagLocked is the tag of the bytes that the owner has.
func tagLocked(n *tree.Node) string {
	if n.Tag != "" {
		return n.Tag
	}
	return base64.RawURLEncoding.EncodeToString(n.Version[:])
}

// factsLocked takes in what an owner says of a node, and reports whether that is new. sameBytes keeps the tag: the version is
// another one, the bytes are not.
func (f *FS) factsLocked(n *tree.Node, e share.Entry, sameBytes bool, now time.Time) (changed bool) {
	facts := tree.Facts{Size: e.Size, ModTime: e.ModTime.UnixNano(), Version: e.Version, Exec: e.Exec}
	if n.Dir {
		facts.Size, facts.Exec = 0, false
	}
	changed = !n.Known || facts.Size != n.Size || facts.ModTime != n.ModTime || !n.Dir && (facts.Version != n.Version || facts.Exec != n.Exec)
	switch {
	case n.Dir || n.Known && facts.Version == n.Version:
	case sameBytes:
		n.Tag = tagLocked(n)
	default:
		n.Tag = ""
	}
	if changed {
		n.Changed()
	}
	n.Facts, n.Known, n.Seen = facts, true, now.UnixNano()
	if b, ok := n.Local.(*body); ok && changed && !sameBytes && !b.dirty() && b.base != n.Version {
		n.Local = nil // somebody else's version shows now; who has the file open keeps it
	}
	return changed
}

// Hold counts that a face knows a node.
func (f *FS) Hold(ino Ino) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.tree.Get(ino); n != nil {
		n.Held++
	}
}

// Forget takes back n counts of Hold. What nobody holds may be forgotten.
func (f *FS) Forget(ino Ino, n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if nd := f.tree.Get(ino); nd != nil {
		nd.Held -= uint32(min(n, uint64(nd.Held)))
		f.tree.Forget(nd)
	}
}

// Path is //PEER/SHARE/PATH of a node, for messages.
func (f *FS) Path(ino Ino) string {
	p, err := f.place(ino)
	if err != nil {
		return ""
	}
	return p.String()
}

// many is how many nodes are kept, whoever needs them or not.
const many = 20000

// tidy forgets now and then what was not used for long.
func (f *FS) tidy() {
	t := time.NewTicker(10 * time.Second)
	defer t.Stop()
	for n := 0; ; n++ {
		select {
		case <-f.base.Done():
			return
		case now := <-t.C:
			f.closeSources(now)
			f.mu.Lock()
			for _, pt := range f.points {
				f.restLocked(pt, now)
				f.deafensLocked(pt, now)
			}
			if n%6 == 5 && f.tree.Len() > many {
				f.tree.Prune(f.tree.Get(Root), func(c *tree.Node) bool {
					return c.Local != nil || now.UnixNano()-c.Seen < int64(time.Minute)
				})
			}
			f.mu.Unlock()
		}
	}
}

func salt() (s [8]byte) {
	rand.Read(s[:]) // never fails (crypto/rand)
	return s
}
