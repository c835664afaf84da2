package vfstest

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/watch"
	"github.com/peerd/peerd/transfer"
)

// Self is the peer that the tree is of, as owners see it.
const Self = peer.ID("self")

// remoteShare is a share as its owner answers for it.
type remoteShare struct{ *Share }

var _ vfs.Remote = (*remoteShare)(nil)

func (s *Share) denied() error {
	return &peer.Error{Op: "enter", Path: s.label, Kind: peer.Denied, Hint: `run "peerd login ` + s.label + `"`}
}

// call counts a call and says whether it is answered.
func (s *Share) call(ctx context.Context, verb string, p share.Path, need share.Right) error {
	s.mu.Lock()
	s.calls[verb]++
	s.mu.Unlock()
	if err := s.peer.answer(ctx, s.label); err != nil {
		return err
	}
	s.mu.Lock()
	refuse, right := s.refuse, s.granted
	s.mu.Unlock()
	if right < need {
		return s.denied()
	}
	if refuse != nil {
		return refuse(verb, p.String())
	}
	return nil
}

func (s *Share) fail(op string, p share.Path, kind peer.Kind, why string) error {
	return &peer.Error{Op: op, Path: s.label + "/" + p.String(), Kind: kind, Err: errors.New(why)}
}

// Owner, ID, Label and Right are the share's.
func (r *remoteShare) Owner() peer.ID { return r.peer.id }

// ID is the share's.
func (r *remoteShare) ID() share.ID { return r.id }

// Label is //PEER/SHARE.
func (r *remoteShare) Label() string { return r.label }

// Right is what was granted.
func (r *remoteShare) Right() share.Right { return r.right() }

// AskRight learns of [Share.Grow].
func (r *remoteShare) AskRight(context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.granted = max(r.granted, r.grown)
}

// Away tells of [Peer.Leave].
func (r *remoteShare) Away() bool {
	r.peer.mu.Lock()
	defer r.peer.mu.Unlock()
	return r.peer.state == away
}

// Stat is of [share.FS].
func (r *remoteShare) Stat(ctx context.Context, p share.Path) (share.Entry, error) {
	if err := r.call(ctx, "stat", p, share.Read); err != nil {
		return share.Entry{}, err
	}
	defer r.answer("stat", p)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.files[p.String()] == nil {
		return share.Entry{}, r.fail("stat", p, peer.NotFound, "it is not there")
	}
	return r.entryLocked(p.String()), nil
}

// List is of [share.FS].
func (r *remoteShare) List(ctx context.Context, p share.Path) iter.Seq2[share.Entry, error] {
	return func(yield func(share.Entry, error) bool) {
		if err := r.call(ctx, "list", p, share.Read); err != nil {
			yield(share.Entry{}, err)
			return
		}
		r.mu.Lock()
		f := r.files[p.String()]
		var es []share.Entry
		if f != nil && f.dir {
			es = r.childrenLocked(p.String())
		}
		r.mu.Unlock()
		r.answer("list", p)
		if f == nil || !f.dir {
			yield(share.Entry{}, r.fail("list", p, peer.NotFound, "no such folder"))
			return
		}
		for _, e := range es {
			if ctx.Err() != nil {
				yield(share.Entry{}, ctx.Err())
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Walk is of [share.FS].
func (r *remoteShare) Walk(ctx context.Context, p share.Path) iter.Seq2[share.Entry, error] {
	return func(yield func(share.Entry, error) bool) {
		for e, err := range r.List(ctx, p) {
			if !yield(e, err) || err != nil {
				return
			}
			if e.Kind != share.Dir {
				continue
			}
			for e, err := range r.Walk(ctx, e.Path) {
				if !yield(e, err) {
					return
				}
			}
		}
	}
}

// Watch is of [vfs.Remote].
func (r *remoteShare) Watch(ctx context.Context, p share.Path, after watch.Cursor) iter.Seq2[remote.Event, error] {
	return func(yield func(remote.Event, error) bool) {
		if err := r.call(ctx, "watch", p, share.Read); err != nil {
			yield(remote.Event{}, err)
			return
		}
		ctx, end := r.peer.gone(ctx)
		defer end()
		r.mu.Lock()
		if r.unwatch {
			r.mu.Unlock()
			yield(remote.Event{}, r.fail("watch", p, peer.Busy, "too many watches"))
			return
		}
		if r.revoked == nil {
			r.revoked = make(chan struct{})
		}
		revoked := r.revoked
		r.mu.Unlock()
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		go func() {
			select {
			case <-revoked:
				cancel(r.denied())
			case <-ctx.Done():
			}
		}()
		if after == (watch.Cursor{}) {
			after = r.feed.Now()
		}
		if !yield(remote.Event{After: after}, nil) {
			return
		}
		for ev, err := range r.feed.Follow(ctx, after) {
			switch {
			case errors.Is(err, watch.ErrGap):
				err = errors.Join(remote.ErrGap, err)
			case err != nil && r.Away():
				err = unreachable(r.label)
			case err != nil && context.Cause(ctx) != nil:
				err = context.Cause(ctx)
			case err == nil:
				err = r.peer.answer(ctx, r.label)
			}
			after.Seq = ev.Seq
			if !yield(remote.Event{Event: ev, After: after}, err) || err != nil {
				return
			}
		}
	}
}

// Space is of [vfs.Remote].
func (r *remoteShare) Space(ctx context.Context) (vfs.Space, error) {
	if err := r.call(ctx, "space", share.Path{}, share.Read); err != nil {
		return vfs.Space{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.space, nil
}

// Open is of [vfs.Remote].
func (r *remoteShare) Open(ctx context.Context, e share.Entry) (vfs.Reader, error) {
	if err := r.call(ctx, "open", e.Path, share.Read); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.files[e.Path.String()]
	switch {
	case f == nil || f.dir:
		return nil, r.fail("open", e.Path, peer.NotFound, "it is not there")
	case version(f.version) != e.Version:
		return nil, r.fail("open", e.Path, peer.Conflict, "it has changed")
	}
	return &reader{r.Share, e, f}, nil
}

// reader reads one version.
type reader struct {
	s *Share
	e share.Entry
	f *file
}

func (r *reader) ReadAt(ctx context.Context, b []byte, off int64) (int, error) {
	if err := r.s.call(ctx, "read", r.e.Path, share.Read); err != nil {
		return 0, err
	}
	r.s.mu.Lock()
	gone := r.s.forget && r.s.files[r.e.Path.String()] != r.f
	r.s.mu.Unlock()
	if gone {
		return 0, r.s.fail("read", r.e.Path, peer.Conflict, "it has changed")
	}
	return bytes.NewReader(r.f.data).ReadAt(b, off)
}

func (r *reader) Version() transfer.Version { return r.e.Version }
func (r *reader) Close() error              { return nil }

// fitsLocked reports whether a base is what is at a path.
func (s *Share) fitsLocked(p string, base change.Base) bool {
	f := s.files[p]
	switch {
	case base.Any:
		return true
	case f == nil:
		return base.Version == transfer.Version{}
	}
	return version(f.version) == base.Version
}

// Mkdir is of [vfs.Remote].
func (r *remoteShare) Mkdir(ctx context.Context, p share.Path, parents bool) error {
	if err := r.call(ctx, "mkdir", p, share.Full); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch old := r.files[p.String()]; {
	case old != nil && (!old.dir || !parents):
		return r.fail("mkdir", p, peer.Conflict, "it is there already")
	case old != nil:
		return nil
	case !parents && r.files[p.Dir().String()] == nil:
		return r.fail("mkdir", p, peer.NotFound, "no such folder")
	}
	r.parentsLocked(p.String())
	r.setLocked(p.String(), &file{dir: true, modTime: time.Now()}, Self)
	return nil
}

// Touch is of [vfs.Remote].
func (r *remoteShare) Touch(ctx context.Context, p share.Path, base change.Base, modTime *time.Time, exec *bool) (remote.Changed, error) {
	if err := r.call(ctx, "touch", p, share.Full); err != nil {
		return remote.Changed{}, err
	}
	defer r.answer("touch", p)
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.files[p.String()]
	if old == nil {
		return remote.Changed{}, r.fail("touch", p, peer.NotFound, "it is not there")
	}
	if !old.dir && !r.fitsLocked(p.String(), base) {
		return remote.Changed{}, r.fail("touch", p, peer.Conflict, "it has changed")
	}
	f := *old
	if modTime != nil {
		f.modTime = *modTime
	}
	if exec != nil {
		f.exec = *exec
	}
	return remote.Changed{Entry: r.setLocked(p.String(), &f, Self)}, nil
}

// Move is of [vfs.Remote].
func (r *remoteShare) Move(ctx context.Context, from, to share.Path, base, toBase change.Base) (remote.Changed, error) {
	if err := r.call(ctx, "move", from, share.Full); err != nil {
		return remote.Changed{}, err
	}
	defer r.answer("move", from)
	return r.move(from, to, base, toBase)
}

func (r *remoteShare) move(from, to share.Path, base, toBase change.Base) (remote.Changed, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, target := r.files[from.String()], r.files[to.String()]
	switch {
	case f == nil || r.files[to.Dir().String()] == nil:
		return remote.Changed{}, r.fail("move", from, peer.NotFound, "it is not there")
	case !f.dir && !r.fitsLocked(from.String(), base), !f.dir && !r.fitsLocked(to.String(), toBase):
		return remote.Changed{}, r.fail("move", from, peer.Conflict, "it has changed")
	case target != nil && (f.dir || target.dir):
		return remote.Changed{}, r.fail("move", to, peer.Conflict, "it is there already")
	}
	return remote.Changed{Entry: r.moveLocked(from.String(), to.String(), Self)}, nil
}

// Copy is of [vfs.Remote].
func (r *remoteShare) Copy(ctx context.Context, from, to share.Path, toBase change.Base) (remote.Changed, error) {
	if err := r.call(ctx, "copy", from, share.Full); err != nil {
		return remote.Changed{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.files[from.String()]
	switch {
	case f == nil || f.dir:
		return remote.Changed{}, r.fail("copy", from, peer.NotFound, "it is not there")
	case !r.fitsLocked(to.String(), toBase):
		return remote.Changed{}, r.fail("copy", to, peer.Conflict, "it has changed")
	}
	c := *f
	return remote.Changed{Entry: r.setLocked(to.String(), &c, Self)}, nil
}

// Remove is of [vfs.Remote].
func (r *remoteShare) Remove(ctx context.Context, p share.Path, base change.Base, deep bool) iter.Seq2[remote.Changed, error] {
	return func(yield func(remote.Changed, error) bool) {
		if err := r.call(ctx, "remove", p, share.Full); err != nil {
			yield(remote.Changed{}, err)
			return
		}
		gone, err := r.remove(p, base, deep)
		if err != nil {
			yield(remote.Changed{}, err)
			return
		}
		for _, g := range gone {
			if !yield(remote.Changed{Entry: share.Entry{Path: must(g)}, Removed: true}, nil) {
				return
			}
		}
	}
}

func (r *remoteShare) remove(p share.Path, base change.Base, deep bool) (gone []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.files[p.String()]
	switch {
	case f == nil:
		return nil, r.fail("remove", p, peer.NotFound, "it is not there")
	case !f.dir && !r.fitsLocked(p.String(), base):
		return nil, r.fail("remove", p, peer.Conflict, "it has changed")
	case !deep && f.dir && len(r.belowLocked(p.String())) > 0:
		return nil, r.fail("remove", p, peer.Conflict, "the folder is not empty")
	}
	r.removeLocked(p.String(), Self, func(q string) { gone = append(gone, q) })
	return gone, nil
}

// Lock is of [vfs.Remote].
func (r *remoteShare) Lock(ctx context.Context, p share.Path) iter.Seq2[*share.Lock, error] {
	return func(yield func(*share.Lock, error) bool) {
		if err := r.call(ctx, "lock", p, share.Full); err != nil {
			yield(nil, err)
			return
		}
		count := func(n int) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.locks == nil {
				r.locks = make(map[string]int)
			}
			r.locks[p.String()] += n
		}
		count(1)
		defer count(-1)
		if !yield(nil, nil) {
			return
		}
		<-ctx.Done()
		yield(nil, ctx.Err())
	}
}
