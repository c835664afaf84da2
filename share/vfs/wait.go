package vfs

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs/content"
	"github.com/peerd/peerd/share/vfs/journal"
	"github.com/peerd/peerd/share/vfs/tree"
	"github.com/peerd/peerd/transfer"
)

// Bounds of what waits for its owner.
const (
	// flushPatience is how long a close waits for its delivery where the last one was refused, or where more than muchWaits
	// bytes wait.
	flushPatience = 5 * time.Second
	muchWaits     = 64 << 20
	// A file that is open for writing is sent when nobody wrote to it for calm, and no more often than every spacing.
	calm    = time.Second
	spacing = 5 * time.Second
	// copyUpTo is how large a file may be, in bytes, that is copied when it is sent while it is open for writing.
	copyUpTo = 64 << 20
	// batch is how many files are looked at in one go.
	batch = 256
)

// later is when what can't be sent yet is looked at.
func later() time.Time { return time.Unix(math.MaxInt32, 0) }

// restoreLocked takes in what an earlier run left.
func (f *FS) restoreLocked(it journal.Item) {
	n := f.leafLocked(it.Peer, it.Share, it.Path)
	if n == nil {
		return
	}
	pt := f.pointLocked(it.Peer, it.Share)
	b := &body{pt: pt, n: n, base: it.Base, share: it.ShareID, outcome: make(chan struct{}), since: it.Since}
	b.overlay = kept(n.Name()) && it.ShareID == (share.ID{})
	facts := tree.Facts{Size: it.BaseSize, Version: it.Base}
	var base content.Base
	if it.BaseEnd > 0 {
		b.src = f.sourceLocked(pt, n, facts, "")
		base = b.src
	}
	b.c = content.Restore(f.journal, &f.budget, base, it, salt())
	n.Local = b
	b.flushed, b.parts = b.c.State().Gen, it.BaseEnd > 0
	if !b.overlay {
		f.queueLocked(b, it.Path, time.Time{})
	}
}

// leafLocked gives the node of a file of which nothing is known but where it is; nil if another file is in its way.
func (f *FS) leafLocked(peerName, shareName, path string) *tree.Node {
	names := append([]string{peerName, shareName}, strings.Split(path, "/")...)
	n := f.tree.Get(Root)
	for i, name := range names {
		c := n.Child(name)
		if c == nil {
			c, _ = f.tree.Add(n, name, i < len(names)-1)
		}
		if n = c; !n.Dir && i < len(names)-1 {
			f.log.Error("what was written is not delivered: a file is in its way", "path", path)
			return nil
		}
	}
	return n
}

// cutOff tells of what an earlier run left, and of which something was lost since.
func cutOff(c journal.Cut) Pending {
	path, why := "//"+c.Peer+"/"+c.Share+"/"+c.Path, errCut
	if c.Path == "" {
		path, why = "//", errNameless
	}
	return Pending{Path: path, Bytes: c.Size, Since: c.Since, Err: &peer.Error{
		Op: "write", Path: path, Err: why, Hint: "what is left of it is in " + c.File + ": remove that when it is of no use",
	}}
}

// flush has the journal know what was written, and waits for its delivery where that is wise.
func (f *FS) flush(ctx context.Context, b *body, sync bool) error {
	f.mu.Lock()
	b.syncs = sync && b.opens > 0
	f.mu.Unlock()
	err := f.journalled(b)
	f.mu.Lock()
	pt := b.pt
	it, waits := pt.queue.Get(b.c.ID())
	lost := waits && f.lostBaseLocked(b) // what makes it whole is asked for now
	if err != nil || sync && !lost {
		f.mu.Unlock()
		return err
	}
	wait := lost || waits && (pt.refused || !pt.delivered || pt.bytes >= muchWaits) && time.Until(it.After) <= calm &&
		f.running && !pt.muteLocked(time.Now()) && pt.tries == 0
	outcome, went := b.outcome, pt.went
	f.mu.Unlock()
	if !wait {
		return nil
	}
	t := time.NewTimer(flushPatience)
	defer t.Stop()
	select {
	case <-outcome:
	case <-t.C:
		f.mu.Lock()
		if pt.went == went { // nothing goes on: the next one need not wait to learn that
			pt.tries = max(pt.tries, 1)
		}
		f.mu.Unlock()
	case <-ctx.Done():
	case <-f.base.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if b.err != nil && peer.KindOf(b.err) != peer.Unreachable {
		return b.err
	}
	return nil
}

// journalled writes down that a file waits, if its owner does not have it as it is, or that it is kept here.
func (f *FS) journalled(b *body) error {
	if b.c.Ranges() > journal.MaxWritten/2 && !b.c.Whole() {
		ctx, end := context.WithTimeout(f.base, readPatience)
		_ = b.c.Fill(ctx) // a record has room for so many
		end()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if b.gone || !b.dirty() {
		return nil
	}
	p, err := f.placeLocked(b.n)
	if err != nil {
		return nil
	}
	st := b.c.State()
	if st.Gen == b.flushed {
		// What was synced waited for its writer to go on, who now closed it. What was refused waits its time.
		switch it, waits := b.pt.queue.Get(b.c.ID()); {
		case waits && !b.c.Whole():
			b.fillSoonLocked()
		case waits && b.tries == 0 && f.afterLocked(b).Before(it.After):
			f.queueLocked(b, p.path.String(), f.afterLocked(b))
		}
		return nil
	}
	if b.anew && st.Bytes != b.opened {
		b.share, b.anew, b.err, b.tries = share.ID{}, false, nil, 0
	}
	if err := f.recordLocked(b, p); err != nil {
		return onDisk("write", p.String(), err)
	}
	if errors.Is(b.err, errLostBase) && b.c.Whole() {
		b.err = nil
	}
	b.flushed = st.Gen
	if b.overlay {
		return nil
	}
	b.empty = st.Size == 0 && b.writers > 0
	f.queueLocked(b, p.path.String(), f.afterLocked(b))
	if _, told := f.clean[b.n.Ino]; !told {
		f.tellLocked(Change{What: Content, Ino: b.n.Ino})
	}
	return nil
}

// recordLocked writes an item into the journal, where it waits instead of others.
func (f *FS) recordLocked(b *body, p place, instead ...uint64) error {
	it := b.c.Item()
	it.Peer, it.Share, it.Path, it.Base, it.Since = b.pt.peer, b.pt.share, p.path.String(), b.base, b.since
	if b.share == (share.ID{}) && b.pt.remote != nil && !b.overlay { // what is kept here is for no share
		b.share = b.pt.remote.ID()
	}
	it.ShareID = b.share
	if len(it.Written) > journal.MaxWritten {
		return errors.New("it was written in too many parts")
	}
	err := f.journal.Set(it, instead...)
	b.parts = err == nil && it.BaseEnd > 0
	return err
}

// replaceLocked has the journal know a file that is about to take the name of one that waits, before that is dropped: a crash leaves
// one of them. It reports whether it had to.
func (f *FS) replaceLocked(b *body, folder place, name string, old *body) (bool, error) {
	if _, waits := old.pt.bodies[old.c.ID()]; !waits || b.overlay {
		return false, nil
	}
	at, err := folder.path.Join(name)
	if err == nil {
		err = f.recordLocked(b, place{path: at}, old.c.ID())
	}
	return err == nil, onDisk("write", folder.child(name), err)
}

// afterLocked is when a file may be sent.
func (f *FS) afterLocked(b *body) time.Time {
	after := time.Time{}
	switch {
	case b.syncs:
		after = b.last.Add(spacing)
		if c := b.c.State().Written.Add(calm); c.After(after) {
			after = c
		}
	case b.empty && b.writers > 0:
		after = time.Now().Add(2 * calm)
	case passes(b.n.Name()):
		after = time.Now().Add(passing)
	case !b.last.IsZero():
		after = b.last.Add(calm)
	}
	return after
}

// fillSoonLocked has fill, if it waits to try once more, do so at once.
func (b *body) fillSoonLocked() {
	if b.filling != nil {
		select {
		case b.filling <- struct{}{}:
		default:
		}
	}
}

// queueLocked has a file wait for its owner.
func (f *FS) queueLocked(b *body, path string, after time.Time) {
	pt := b.pt
	id := b.c.ID()
	if !b.c.Whole() {
		after = later()
		if b.filling == nil {
			b.filling = make(chan struct{}, 1)
			f.taskLocked(func() { f.fill(b) })
		} else {
			b.fillSoonLocked()
		}
	}
	pt.bodies[id] = b
	pt.bytes += b.c.State().Size - b.charged
	b.charged = b.c.State().Size
	pt.queue.Set(id, path, after)
	pt.queued = time.Now()
	f.kickLocked(pt)
}

// unqueueLocked takes a file out of what waits, or of what is kept here.
func (f *FS) unqueueLocked(b *body) {
	id := b.c.ID()
	_, waits := b.pt.bodies[id]
	if err := f.journal.Done(id); err != nil {
		f.log.Error("the journal can't be written", "err", err)
	}
	if waits {
		delete(b.pt.bodies, id)
		b.pt.queue.Drop(id)
		b.pt.bytes -= b.charged
		b.charged = 0
		f.settledLocked()
	}
}

func (f *FS) settledLocked() {
	close(f.settled)
	f.settled = make(chan struct{})
}

// fill fetches what a file still shows of its base, so that it can be sent.
func (f *FS) fill(b *body) {
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		ctx, end := context.WithTimeout(f.base, longPatience)
		err := b.c.Fill(ctx)
		end()
		f.mu.Lock()
		id := b.c.ID()
		it, waits := b.pt.queue.Get(id)
		if b.c.Whole() { // it was written over meanwhile
			err = nil
		}
		if waits && err == nil {
			if p, e := f.placeLocked(b.n); e == nil && !b.gone {
				_ = f.recordLocked(b, p)
			}
			b.pt.queue.Set(id, it.Path, f.afterLocked(b))
			f.wakeLocked(b.pt)
		}
		if err != nil {
			if k := peer.KindOf(err); k == peer.NotFound || k == peer.Conflict {
				err = &peer.Error{Kind: peer.Conflict, Err: errLostBase, Hint: "save it anew in full, or copy away what can be read of it and remove it"}
			}
			b.err = located(f.base, "write", b.pt.label()+"/"+it.Path, err)
			f.outcomeLocked(b)
		}
		if !waits || err == nil {
			b.filling = nil
			f.mu.Unlock()
			return
		}
		again := b.filling
		f.mu.Unlock()
		t := time.NewTimer(pause)
		select {
		case <-f.base.Done():
			t.Stop()
			return
		case <-again:
			t.Stop()
		case <-t.C:
		}
	}
}

var errLostBase = errors.New("its owner has another file, or none, by now, and what was neither read nor written of it can't be had any more")

// lostBaseLocked reports whether the owner has no more what a file still shows of its base. Others may.
func (f *FS) lostBaseLocked(b *body) bool {
	return b.pt.epoch != 0 && b.n.Seen != 0 && !b.c.Whole() && !b.overlay && b.base != (transfer.Version{}) && (!b.n.Known || b.n.Version != b.base)
}

func (f *FS) outcomeLocked(b *body) {
	close(b.outcome)
	b.outcome = make(chan struct{})
}

// kickLocked has what waits in a share delivered.
func (f *FS) kickLocked(pt *point) {
	if f.running && !f.closed && !pt.delivering && pt.queue.Len() > 0 {
		pt.delivering = true
		f.taskLocked(func() { f.deliver(pt) })
	}
	select {
	case pt.more <- struct{}{}:
	default:
	}
}

// Pending is what waits for its owner, oldest first, and what of an earlier run can't be delivered any more.
func (f *FS) Pending() []Pending {
	f.mu.Lock()
	defer f.mu.Unlock()
	ps := slices.Clone(f.cut)
	for _, pt := range f.points {
		for _, it := range pt.queue.All() {
			b := pt.bodies[it.ID]
			ps = append(ps, Pending{Path: pt.label() + "/" + it.Path, Bytes: b.c.State().Size, Since: b.since, Err: b.err})
		}
	}
	slices.SortStableFunc(ps, func(a, b Pending) int { return a.Since.Compare(b.Since) })
	return ps
}

// Conflicts is how many files were kept beside those that somebody else had changed, since the tree is there.
func (f *FS) Conflicts() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.conflicts
}

// Drain waits until nothing waits any more but what is being written just now. What was kept back is sent at once.
func (f *FS) Drain(ctx context.Context) error {
	for {
		f.mu.Lock()
		waits := 0
		for _, pt := range f.points {
			for _, it := range pt.queue.All() {
				b := pt.bodies[it.ID]
				if !b.halfLocked() {
					waits++
				}
				if b.err == nil && !b.halfLocked() && b.c.Whole() && it.After.After(time.Now()) {
					pt.queue.Set(it.ID, it.Path, time.Time{})
				}
			}
			f.kickLocked(pt)
		}
		settled := f.settled
		f.mu.Unlock()
		if waits == 0 {
			return nil
		}
		select {
		case <-settled:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
