package vfs

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs/content"
	"github.com/peerd/peerd/share/vfs/tree"
	"github.com/peerd/peerd/transfer"
)

// body is a file's bytes, as all who have it open share them. But for vain it is guarded by FS.mu.
type body struct {
	c       *content.Content
	pt      *point
	n       *tree.Node // that it is, or was, of
	src     *source    // what c is made of; nil for nothing
	base    transfer.Version
	share   share.ID // that it is for, once it waits
	anew    bool     // it was opened to be written when another share had the name: what is written then is for that
	opened  uint64   // Bytes it had then
	tag     string   // of the bytes of base
	gone    bool     // it has no name any more, and is never delivered
	overlay bool     // it is kept here, for its name
	opens   int
	writers int
	lock    context.CancelFunc // ends that others are told of it

	flushed uint64          // Gen that the journal knows
	sent    uint64          // Gen that the owner has
	bytes   uint64          // Bytes that the owner has
	sending uint64          // Gen
	way     *content.Frozen // that is being sent
	parts   bool            // the journal knows it as parts of it over its base
	syncs   bool            // it was synced and not closed since
	empty   bool            // it was flushed while nothing was in it, as a shell does that gives a new file to a program
	since   time.Time
	last    time.Time // when it was last sent
	charged int64     // of point.bytes
	err     error     // why it could not be delivered
	tries   int
	filling chan struct{} // of FS.fill, which runs for it: holds a token when it is to try again at once; else nil
	outcome chan struct{} // closed and replaced after each try to deliver it

	ahead context.CancelFunc // ends that it is sent while it is written; nil if it was not begun
	grown chan struct{}      // of ahead: holds a token when there may be more to send

	vain atomic.Int64 // Unix nanoseconds until which nobody waits for bytes: somebody did in vain
}

// vainly reports whether somebody waited for bytes in vain just now. A kernel that is told so asks once more by itself, before it tells
// the program that reads: who waited again would make one call of a program wait twice.
func (b *body) vainly(now time.Time) bool { return now.UnixNano() < b.vain.Load() }

// dirty reports whether its owner does not have it as it is.
func (b *body) dirty() bool { return b.c.State().Gen != b.sent }

// halfLocked reports whether somebody is in the middle of writing: what is there was neither closed nor synced.
func (b *body) halfLocked() bool { return b.writers > 0 && !b.syncs && b.c.State().Gen != b.flushed }

// show says what a file is to those here.
func (b *body) show(a *Attr) {
	st := b.c.State()
	a.Size, a.ModTime, a.Exec = st.Size, st.ModTime, st.Exec
	a.Tag = b.tag
	if st.Bytes > 0 {
		a.Tag = st.Tag
	}
}

type sourceKey struct {
	share   share.ID
	version transfer.Version
}

// source is a reader that open files of one version share, and that stays a while when they are closed.
type source struct {
	*content.Source
	key  sourceKey
	size int64
	refs int
	idle time.Time
}

// sourceLocked gives the source of what a node's owner has.
func (f *FS) sourceLocked(pt *point, n *tree.Node, e tree.Facts, tag string) *source {
	key := sourceKey{version: e.Version}
	if pt.remote != nil {
		key.share = pt.remote.ID()
	}
	s := f.sources[key]
	if s == nil {
		s = &source{key: key, size: e.Size}
		s.Source = content.NewSource(func(ctx context.Context) (content.Reader, error) { return f.openReader(ctx, pt, n, e, tag) })
		f.sources[key] = s
	}
	s.refs++
	return s
}

// openReader opens the bytes of a version: by its node's present name and version, if that has the same bytes.
func (f *FS) openReader(ctx context.Context, pt *point, n *tree.Node, facts tree.Facts, tag string) (content.Reader, error) {
	r, err := f.enter(ctx, "open", pt)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	p, err := f.placeLocked(n)
	if err == nil && n.Known && tagLocked(n) == tag {
		facts = n.Facts
	}
	f.mu.Unlock()
	if err != nil {
		return nil, &peer.Error{Op: "read", Path: pt.label(), Kind: peer.Conflict, Err: errGone}
	}
	return r.Open(ctx, share.Entry{
		Path: p.path, Kind: share.File, Size: facts.Size, ModTime: time.Unix(0, facts.ModTime), Version: facts.Version, Exec: facts.Exec,
	})
}

func (f *FS) releaseLocked(s *source) {
	if s != nil {
		s.refs--
		s.idle = time.Now()
	}
}

// closeSources closes what nobody has read for a while.
func (f *FS) closeSources(now time.Time) {
	const linger = 30 * time.Second
	f.mu.Lock()
	var old []*source
	for key, s := range f.sources {
		if s.refs == 0 && now.Sub(s.idle) > linger {
			old = append(old, s)
			delete(f.sources, key)
		}
	}
	f.mu.Unlock()
	for _, s := range old {
		s.Close()
	}
}

// limited is a context that ends some time after somebody begins to wait for it: what is had at once needs no timer.
type limited struct {
	context.Context
	patience time.Duration

	mu     sync.Mutex
	waited context.Context // nil as long as nobody does
	cancel context.CancelFunc
}

func (l *limited) wait() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waited == nil {
		l.waited, l.cancel = context.WithTimeout(l.Context, l.patience)
	}
	return l.waited
}

// Deadline counts from now on, if it did not before.
func (l *limited) Deadline() (time.Time, bool) { return l.wait().Deadline() }

// Done is closed at the end.
func (l *limited) Done() <-chan struct{} { return l.wait().Done() }

// Err is why it ended, or nil.
func (l *limited) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waited == nil {
		return l.Context.Err()
	}
	return l.waited.Err()
}

// end lets go of what waits.
func (l *limited) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil {
		l.cancel()
	}
}
