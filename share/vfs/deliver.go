package vfs

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/vfs/content"
	"github.com/peerd/peerd/share/vfs/queue"
	"github.com/peerd/peerd/share/watch"
	"github.com/peerd/peerd/transfer"
)

// deliver brings what waits in a share to its owner, until nothing waits.
func (f *FS) deliver(pt *point) {
	for f.base.Err() == nil {
		f.mu.Lock()
		if pt.queue.Len() == 0 {
			pt.delivering = false
			f.mu.Unlock()
			return
		}
		items, when := pt.queue.Take(time.Now(), batch)
		f.mu.Unlock()
		if len(items) == 0 {
			f.await(pt, when)
			continue
		}
		d := &delivery{f: f, pt: pt, ready: items, taken: time.Now(), open: make(map[uint64]*sent)}
		err := d.put()
		f.mu.Lock()
		d.endLocked(err)
		pause := time.Duration(0)
		if err != nil && !errors.Is(err, errNothing) {
			pt.tries++
			pause = min(time.Second<<min(pt.tries-1, 5), 30*time.Second)
		}
		f.mu.Unlock()
		if pause > 0 {
			f.awaitWake(pt, pause)
		}
	}
}

// await waits until something may have become ready.
func (f *FS) await(pt *point, when time.Time) {
	var due <-chan time.Time
	if !when.IsZero() {
		t := time.NewTimer(time.Until(when))
		defer t.Stop()
		due = t.C
	}
	select {
	case <-f.base.Done():
	case <-pt.more:
	case <-due:
	}
}

// awaitWake waits until the owner may be there again.
func (f *FS) awaitWake(pt *point, pause time.Duration) {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-f.base.Done():
	case <-pt.retry:
	case <-t.C:
	}
}

// delivery is one put that runs.
type delivery struct {
	f  *FS
	pt *point

	// Guarded by FS.mu.
	ready []queue.Item
	taken time.Time // when ready was filled
	open  map[uint64]*sent
}

// Files that are closed one after the other go together, since each group costs the owner some syncs: they are gathered until none came
// for pause, for gather at most, and the put ends when there was none for linger.
const (
	pause  = 12 * time.Millisecond
	gather = 150 * time.Millisecond
	linger = 200 * time.Millisecond
)

// sent is a file on its way.
type sent struct {
	*content.Frozen
	b      *body
	path   string
	before transfer.Version
	others bool // they were set of a file that somebody else has changed meanwhile
}

var errNothing = errors.New("nothing was sent")

func (d *delivery) put() error {
	ctx, end := context.WithCancel(d.f.base)
	defer end()
	r, err := d.f.enter(ctx, "write", d.pt)
	switch {
	case err != nil:
		return err
	case r == nil || r.Away():
		return unreachable("write", d.pt.label(), nil)
	case r.Right() < share.Full:
		d.f.askRight(d.pt)
		return fail("write", d.pt.label(), ErrReadOnly)
	}
	go func() { // who is known to be gone is not waited for
		t := time.NewTicker(time.Second)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				if r.Away() {
					end()
				}
			}
		}
	}()
	err = r.Put(ctx, d.items(ctx, r), d.done)
	if err == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if ctx.Err() != nil && d.f.base.Err() == nil {
		return unreachable("write", d.pt.label(), err)
	}
	return err
}

// items are the files to put, as they become ready, for as long as others are on their way.
func (d *delivery) items(ctx context.Context, r Remote) iter.Seq2[remote.PutItem, error] {
	return func(yield func(remote.PutItem, error) bool) {
		for ctx.Err() == nil {
			it, ok, more := d.next(ctx, r)
			if !more {
				return
			}
			if ok && !yield(it, nil) {
				return
			}
		}
	}
}

// next gives the next file, or waits until there may be one.
func (d *delivery) next(ctx context.Context, r Remote) (it remote.PutItem, ok, more bool) {
	d.f.mu.Lock()
	now, more := time.Now(), true
	var when time.Time
	soon, last := d.taken.Add(gather), d.taken.Add(linger)
	if quiet := d.pt.queued.Add(pause); quiet.Before(soon) {
		soon = quiet
	}
	switch {
	case len(d.ready) > 0:
	case now.Before(soon):
		d.f.mu.Unlock()
		d.wait(ctx, nil, soon)
		return it, false, true
	default:
		if d.ready, when = d.pt.queue.Take(now, batch); len(d.ready) > 0 {
			d.taken = now
		} else if len(d.open) == 0 {
			more, when = now.Before(last), last
		}
	}
	if len(d.ready) == 0 {
		d.f.mu.Unlock()
		if more {
			d.wait(ctx, d.pt.more, when)
		}
		return it, false, more
	}
	item := d.ready[0]
	d.ready = d.ready[1:]
	b := d.pt.bodies[item.ID]
	d.f.mu.Unlock()
	it, ok = d.prepare(ctx, r, item, b)
	return it, ok, true
}

// wait waits until there may be more, or a time if it is not zero.
func (d *delivery) wait(ctx context.Context, more <-chan struct{}, when time.Time) {
	var due <-chan time.Time
	if !when.IsZero() {
		t := time.NewTimer(time.Until(when))
		defer t.Stop()
		due = t.C
	}
	select {
	case <-ctx.Done():
	case <-more:
	case <-due:
	}
}

// prepare makes a file that waits one to put. One of which only time or mode is new is touched.
func (d *delivery) prepare(ctx context.Context, r Remote, item queue.Item, b *body) (it remote.PutItem, ok bool) {
	f := d.f
	f.mu.Lock()
	writers := b != nil && b.writers > 0 && b.syncs // who closes it writes no more
	if b == nil || b.halfLocked() {
		if now, waits := d.pt.queue.Get(item.ID); waits && b != nil { // its close has it sent
			d.pt.queue.Set(item.ID, now.Path, later())
			d.pt.queue.Sent(item.ID, time.Time{})
		}
		f.mu.Unlock()
		return it, false
	}
	f.mu.Unlock()
	limit := int64(-1)
	if writers {
		limit = copyUpTo
	}
	frozen, err := b.c.Freeze(limit)
	path, bad := share.SplitPath(item.Path)
	same := err == nil && d.same(ctx, b, frozen)
	f.mu.Lock()
	unseen := err == nil && bad == nil && b.n.Seen == 0 && b.base != (transfer.Version{})
	f.mu.Unlock()
	if unseen { // since an earlier run: its owner may have removed it
		_, e := f.ask(ctx, d.pt, r, path)
		unseen = peer.KindOf(e) == peer.NotFound || e == nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		err = bad
	}
	if err == nil && b.share != (share.ID{}) && b.share != r.ID() {
		err = &peer.Error{
			Kind: peer.Conflict, Err: errors.New("another share has that name now"), Hint: "save it once more to have it in that one, or copy it away and remove it",
		}
	}
	if now, waits := d.pt.queue.Get(item.ID); err != nil || !waits || now.Path != item.Path {
		if frozen != nil {
			frozen.Close() // it may be a copy
		}
		if err != nil {
			f.refusedLocked(b, onDisk("write", d.pt.label()+"/"+item.Path, err))
		}
		d.pt.queue.Sent(item.ID, time.Time{})
		f.settledLocked()
		return it, false
	}
	s := &sent{Frozen: frozen, b: b, path: item.Path, before: b.n.Version}
	d.open[item.ID] = s
	b.sending, b.way, b.last = frozen.Gen, frozen, time.Now()
	base := change.Base{Version: b.base}
	if !b.n.Known && b.n.Seen != 0 && (unseen || d.pt.epoch != 0) { // it was removed: what is written comes anew
		base = change.Base{}
	}
	d.pt.expectLocked(item.Path)
	if b.n.Known && (same && b.base == b.n.Version || b.bytes == frozen.Bytes && b.sent > 0) { // only time and mode are new
		f.taskLocked(func() {
			short, end := context.WithTimeout(ctx, metaPatience)
			defer end()
			c, fits, err := touchAt(short, r, path, base, Set{ModTime: &frozen.ModTime, Exec: &frozen.Exec})
			s.others = !fits
			c.Err = f.answered(ctx, d.pt, "set", d.pt.label()+"/"+item.Path, err)
			d.done(item.ID, c)
		})
		return it, false
	}
	return remote.PutItem{
		Number: item.ID, Path: path, Size: frozen.Size, ModTime: frozen.ModTime, Base: base, Exec: &frozen.Exec,
		Open: func(context.Context) (share.OpenFile, error) { return &sentFile{s, path}, nil },
	}, true
}

// compareUpTo is how large a file may be, in bytes, of which it is looked whether it was written with the very bytes that it had.
const compareUpTo = 1 << 20

// same reports whether a file has the bytes of the version that it was made of.
func (d *delivery) same(ctx context.Context, b *body, frozen *content.Frozen) bool {
	d.f.mu.Lock()
	src := b.src
	ask := src != nil && b.sent == 0 && frozen.Size == src.size && frozen.Size > 0 && frozen.Size <= compareUpTo
	d.f.mu.Unlock()
	if !ask {
		return false
	}
	ctx, end := context.WithTimeout(ctx, metaPatience)
	defer end()
	return frozen.Same(ctx, src)
}

// sentFile shows a file on its way to who fetches it.
type sentFile struct {
	*sent
	at share.Path
}

var errWritten = errors.New("it was written meanwhile")

func written(path string) error {
	return &peer.Error{Op: "send", Path: path, Kind: peer.Conflict, Err: errWritten}
}

func (s *sentFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := s.Frozen.ReadAt(b, off)
	if !s.Intact() {
		return 0, written(s.path)
	}
	return n, err
}

func (s *sentFile) Close() error { return nil }

func (s *sentFile) Entry() (share.Entry, error) {
	if !s.Intact() {
		return share.Entry{}, written(s.path)
	}
	e := share.Entry{Path: s.at, Kind: share.File, Size: s.Size, ModTime: s.ModTime, Exec: s.Exec}
	copy(e.Version[:], s.Tag[1:])
	return e, nil
}

// done takes what became of a file.
func (d *delivery) done(number uint64, c remote.Changed) {
	d.f.mu.Lock()
	defer d.f.mu.Unlock()
	s := d.open[number]
	if s == nil {
		return
	}
	delete(d.open, number)
	s.Close()
	d.f.deliveredLocked(d.pt, s, c)
	select {
	case d.pt.more <- struct{}{}:
	default:
	}
}

// endLocked takes back what was not answered.
func (d *delivery) endLocked(err error) {
	if err == nil && len(d.open) > 0 {
		err = unreachable("write", d.pt.label(), errors.New("it did not say what became of some files"))
	}
	kind := peer.KindOf(err)
	refused := err != nil && kind != peer.Unreachable && kind != peer.Busy && d.f.base.Err() == nil
	for id, s := range d.open {
		s.Close()
		s.b.sending, s.b.way = 0, nil
		d.f.doneLocked(d.pt, s.path, expected{})
		d.pt.queue.Sent(id, time.Time{})
		s.b.err = err
		if refused {
			d.f.refusedLocked(s.b, err)
		}
		d.f.outcomeLocked(s.b)
		d.f.restBodyLocked(s.b)
	}
	for _, it := range d.ready {
		d.pt.queue.Sent(it.ID, time.Time{})
		if b := d.pt.bodies[it.ID]; b != nil && err != nil {
			if b.err = err; refused {
				d.f.refusedLocked(b, err)
			}
			d.f.outcomeLocked(b)
		}
	}
	d.f.settledLocked()
}

// deliveredLocked takes in what the owner says of a file that was sent.
func (f *FS) deliveredLocked(pt *point, s *sent, c remote.Changed) {
	b, id := s.b, s.b.c.ID()
	b.sending, b.way = 0, nil
	b.endAhead()
	defer f.settledLocked()
	defer f.outcomeLocked(b)
	switch {
	case c.Err != nil && !s.Intact(), errors.Is(c.Err, errWritten):
		f.doneLocked(pt, s.path, expected{})
		pt.queue.Sent(id, time.Now().Add(calm))
		return
	case c.Err != nil:
		f.doneLocked(pt, s.path, expected{})
		f.refusedLocked(b, located(f.base, "write", pt.label()+"/"+s.path, c.Err))
		return
	}
	kind := watch.Changed
	if c.Conflict || c.Entry.Version == s.before {
		kind = 0
	}
	pt.refused, pt.delivered, pt.tries = false, true, 0
	pt.went++
	b.err, b.tries = nil, 0
	b.sent, b.bytes = s.Gen, s.Bytes
	if !s.others {
		b.base = c.Entry.Version
	}
	if c.Conflict {
		f.conflictLocked(pt, b, c.Entry)
	}
	if b.n.Parent() != nil && !b.gone {
		f.factsLocked(b.n, c.Entry, false, time.Now())
		b.n.Epoch = pt.epoch
		if !s.others {
			b.n.Tag, b.tag = s.Tag, s.Tag
		}
	}
	f.doneLocked(pt, s.path, expected{kind: kind, version: c.Entry.Version})
	if b.dirty() {
		pt.queue.Sent(id, f.afterLocked(b))
	} else {
		f.unqueueLocked(b)
	}
	f.restBodyLocked(b)
}

// refusedLocked takes note that an owner does not take a file. It is tried again, less and less often.
func (f *FS) refusedLocked(b *body, err error) {
	b.err = err
	b.tries++
	pause := min(5*time.Second<<min(b.tries-1, 6), 5*time.Minute)
	if k := peer.KindOf(err); k == peer.Unreachable || k == peer.Busy {
		pause = time.Second << min(b.tries-1, 5)
	} else {
		b.pt.refused = true
		f.log.Warn("what was written here is refused by its owner, and kept", "share", b.pt.label(), "err", err)
	}
	b.pt.queue.Sent(b.c.ID(), time.Now().Add(pause))
}

// conflictLocked shows a file under the name that its owner gave it, since somebody else's stands under its own.
func (f *FS) conflictLocked(pt *point, b *body, e share.Entry) {
	f.conflicts++
	n, parent, name := b.n, b.n.Parent(), b.n.Name()
	f.log.Warn("somebody else has changed a file meanwhile: both are kept", "share", pt.label(), "path", e.Path.String())
	if parent == nil || b.gone {
		return
	}
	theirs, was := n.Facts, n.Known
	if _, ok := f.tree.Move(n, parent, e.Name()); !ok {
		return
	}
	f.tellName(n, parent, e.Name())
	o, _ := f.tree.Add(parent, name, false)
	if o.Facts, o.Known = theirs, was; !was {
		parent.Folder().Epoch, parent.Folder().Seen = 0, 0 // what is there is asked for
	}
	f.tellName(o, parent, name)
	pt.queue.Set(b.c.ID(), e.Path.String(), time.Time{})
}
