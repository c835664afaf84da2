package remote

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/serve/edit"
	"github.com/peerd/peerd/share/sharepb"
	"github.com/peerd/peerd/share/watch"
	"github.com/peerd/peerd/transfer"
)

// slow is how long the owner may take for one change: it may copy a file, and writes it to a disk for good.
const slow = 10 * time.Minute

// Changed is what the owner says that it did.
type Changed struct {
	Entry    share.Entry // what is there now, or of Removed what was
	Removed  bool
	Conflict bool   // Entry is a copy that was made beside, since the path had moved on
	Kept     string // the version that what was there is kept as
	Err      error  // of one thing among many
}

// Kept is a version that the owner keeps.
type Kept struct {
	ID    string
	Entry share.Entry // as it was
	When  time.Time   // it was replaced
	Peer  string      // who did, "" for the owner
	Name  peer.Name   // its own word
	Verb  string
}

// Mkdir makes a folder, and with parents those above it.
func (f *FS) Mkdir(ctx context.Context, p share.Path, parents bool) error {
	_, err := f.one(ctx, &sharepb.Change{Verb: sharepb.Verb_VERB_MKDIR, Path: p.Components(), Parents: parents}, p, p)
	return err
}

// Move renames a file or folder.
func (f *FS) Move(ctx context.Context, from, to share.Path, base, toBase change.Base) (Changed, error) {
	return f.one(ctx, &sharepb.Change{
		Verb: sharepb.Verb_VERB_MOVE, Path: from.Components(), To: to.Components(), Base: basePB(base), ToBase: basePB(toBase),
	}, from, to)
}

// Touch sets the time of a file or folder, and whether a file may be run; what is nil stays.
func (f *FS) Touch(ctx context.Context, p share.Path, base change.Base, modTime *time.Time, exec *bool) (Changed, error) {
	touch := &sharepb.Touch{Exec: exec}
	if modTime != nil {
		touch.ModTime = proto.Int64(modTime.UnixNano())
	}
	return f.one(ctx, &sharepb.Change{Verb: sharepb.Verb_VERB_TOUCH, Path: p.Components(), Base: basePB(base), Touch: touch}, p, p)
}

// Copy copies a file within the share, at its owner.
func (f *FS) Copy(ctx context.Context, from, to share.Path, toBase change.Base) (Changed, error) {
	return f.one(ctx, &sharepb.Change{
		Verb: sharepb.Verb_VERB_COPY, Path: from.Components(), To: to.Components(), ToBase: basePB(toBase),
	}, from, to)
}

// Restore puts a version back, at to.
func (f *FS) Restore(ctx context.Context, p share.Path, version string, to share.Path, toBase change.Base) (Changed, error) {
	return f.one(ctx, &sharepb.Change{
		Verb: sharepb.Verb_VERB_RESTORE, Path: p.Components(), To: to.Components(), Version: version, ToBase: basePB(toBase),
	}, p, to)
}

// Remove removes a file, or with deep a folder, and yields each thing that is gone, or that could not be removed.
func (f *FS) Remove(ctx context.Context, p share.Path, base change.Base, deep bool) iter.Seq2[Changed, error] {
	req := &sharepb.Change{Verb: sharepb.Verb_VERB_REMOVE, Path: p.Components(), Base: basePB(base), Deep: deep}
	return func(yield func(Changed, error) bool) {
		for m, err := range f.answers(ctx, req, p, slow) {
			var c Changed
			if err == nil {
				c, err = f.changed(m)
				if c.Err != nil {
					c.Err = f.located(wire.ToError(m.Error), p)
				}
			}
			if _, below := c.Entry.Path.Below(p); err == nil && c.Err == nil && (!c.Removed || !below) {
				err = f.lie(p, "it removed something else")
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// Versions yields the versions that are kept of a file, newest first; with deep those of all below a folder.
func (f *FS) Versions(ctx context.Context, p share.Path, deep bool) iter.Seq2[Kept, error] {
	req := &sharepb.Change{Verb: sharepb.Verb_VERB_VERSIONS, Path: p.Components(), Deep: deep}
	return func(yield func(Kept, error) bool) {
		for m, err := range f.answers(ctx, req, p, slow) {
			if err != nil {
				yield(Kept{}, err)
				return
			}
			v := m.GetVersion()
			e, err := f.entry(v.GetEntry())
			if _, bad := change.ParseVersionID(v.GetId()); bad != nil && err == nil {
				err = f.lie(p, "a version of its list makes no sense")
			}
			if _, below := e.Path.Below(p); err == nil && (!below || !deep && e.Path != p) {
				err = f.lie(p, "a version of its list is of something else")
			}
			if err != nil {
				yield(Kept{}, err)
				return
			}
			k := Kept{ID: v.Id, Entry: e, When: time.Unix(0, v.Time), Name: peer.CleanName(v.Name, ""), Verb: string(peer.CleanName(v.Verb, ""))}
			if id, err := peer.ParseID(v.Peer); err == nil {
				k.Peer = id.String()
			}
			if !yield(k, nil) {
				return
			}
		}
	}
}

// ErrGap ends a watch that missed something: what was listed before holds no more.
var ErrGap = errors.New("some changes were missed")

// Event is a change of what a share holds.
type Event struct {
	watch.Event
	Name  peer.Name    // of who did it, as the owner knows it
	After watch.Cursor // the place behind it, to watch on from
}

// Watch yields what changes at and below a path. The first event is none, and says that from here on nothing is missed.
func (f *FS) Watch(ctx context.Context, p share.Path, after watch.Cursor) iter.Seq2[Event, error] {
	req := &sharepb.Change{Verb: sharepb.Verb_VERB_WATCH, Path: p.Components()}
	if after != (watch.Cursor{}) {
		req.After = &sharepb.Cursor{Epoch: after.Epoch[:], Seq: after.Seq}
	}
	return func(yield func(Event, error) bool) {
		var last *sharepb.Cursor // what was told of last
		for m, err := range f.answers(ctx, req, p, lastingSilence) {
			var e Event
			switch {
			case peer.KindOf(err) == peer.Conflict:
				err = errors.Join(ErrGap, err)
			case err != nil:
			case m.Event == nil && m.Cursor == nil:
				continue // it is still there
			case (m.Cursor == nil) == (last == nil) || last != nil && m.Event.Seq <= last.Seq:
				err = f.lie(p, "its events are out of order")
			case m.Cursor != nil:
				last = m.Cursor
			default:
				last.Seq = m.Event.Seq
				e, err = f.event(m.Event, p)
			}
			if err == nil {
				copy(e.After.Epoch[:], last.GetEpoch())
				e.After.Seq = last.GetSeq()
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// lastingSilence is how long an owner may say nothing on a stream that lasts.
const lastingSilence = 60 * time.Second

// event checks an event of what is at or below top.
func (f *FS) event(m *sharepb.Event, top share.Path) (Event, error) {
	e := Event{Event: watch.Event{Seq: m.Seq, Kind: watch.Kind(m.Kind), Time: time.Unix(0, m.Time)}}
	var err error
	if e.Entry, err = f.entry(m.Entry); err != nil {
		return e, err
	}
	e.From, err = share.ParsePath(m.From)
	_, here := e.Entry.Path.Below(top)
	_, was := e.From.Below(top)
	switch {
	case err != nil, m.Kind < uint32(watch.Created), m.Kind > uint32(watch.Moved), (e.Kind == watch.Moved) == e.From.IsRoot():
		return e, f.lie(e.Entry.Path, "an event makes no sense")
	case !here && (e.Kind != watch.Moved || !was):
		return e, f.lie(e.Entry.Path, "an event is of something else")
	}
	if id, err := peer.ParseID(m.Peer); err == nil {
		e.By, e.Name = id, peer.CleanName(m.Name, peer.Name(peer.Short(id)))
	}
	return e, nil
}

// Lock tells all who look at a file that this peer works on it, until ctx ends or the sequence is left. It yields once it is so,
// with who else does.
func (f *FS) Lock(ctx context.Context, p share.Path) iter.Seq2[*share.Lock, error] {
	req := &sharepb.Change{Verb: sharepb.Verb_VERB_LOCK, Path: p.Components()}
	return func(yield func(*share.Lock, error) bool) {
		held := false
		for m, err := range f.answers(ctx, req, p, lastingSilence) {
			var e share.Entry
			switch {
			case err != nil:
			case m.Entry == nil:
				continue // it is still there
			case held:
				err = f.lie(p, "it locks it twice")
			default:
				held = true
				e, err = f.entry(m.Entry)
			}
			if err == nil && e.Path != p {
				err = f.lie(p, "it locks something else")
			}
			if !yield(e.Lock, err) || err != nil {
				return
			}
		}
	}
}

func basePB(b change.Base) *sharepb.Base {
	m := &sharepb.Base{Any: b.Any}
	if b.Version != (transfer.Version{}) {
		m.Version = b.Version[:]
	}
	return m
}

// one makes a change that has one result, at to. It is done once that is told of, whatever comes then.
func (f *FS) one(ctx context.Context, req *sharepb.Change, p, to share.Path) (c Changed, err error) {
	told := 0
	for m, err := range f.answers(ctx, req, p, slow) {
		if told++; told > 1 {
			if err == nil {
				return Changed{}, f.lie(p, "it changed it twice")
			}
			break
		}
		if err == nil {
			c, err = f.changed(m)
		}
		if err == nil {
			err = c.Err
		}
		if err == nil && (c.Removed || !at(c, to)) {
			err = f.lie(p, "it changed something else")
		}
		if err != nil {
			return Changed{}, err
		}
	}
	if told == 0 {
		return Changed{}, f.lie(p, "it says nothing")
	}
	return c, nil
}

func (f *FS) changed(m *sharepb.Changed) (Changed, error) {
	c := Changed{Removed: m.Removed, Conflict: m.Conflict, Kept: m.Kept, Err: f.located(wire.ToError(m.Error), share.Path{})}
	if m.Error != nil {
		return c, nil
	}
	if m.Removed {
		path, err := share.ParsePath(m.GetEntry().GetPath())
		if err != nil {
			return c, f.lie(share.Path{}, "it names what can't be")
		}
		c.Entry.Path = path
		return c, nil
	}
	var err error
	c.Entry, err = f.entry(m.Entry)
	if _, bad := change.ParseVersionID(m.Kept); m.Kept != "" && bad != nil {
		return c, f.lie(c.Entry.Path, "it names a version that can't be")
	}
	return c, err
}

// entry checks an entry whose path goes from the share's root.
func (f *FS) entry(m *sharepb.Entry) (share.Entry, error) {
	path, err := share.ParsePath(m.GetPath())
	if m == nil || err != nil {
		return share.Entry{}, f.lie(share.Path{}, "it names what can't be")
	}
	return f.checked(path, m)
}

// session is a stream on which a change is asked for.
type session struct {
	fs   *FS
	st   peer.Stream
	in   *wire.Reader
	over bool // its answer is, and another may be asked for
}

// change asks for a change, on a line that is kept unless the change takes the stream for itself.
func (f *FS) change(ctx context.Context, req *sharepb.Change) (*session, func(), error) {
	grant, err := f.client.Grant(ctx, f.peer, f.name)
	if err != nil {
		return nil, nil, err
	}
	s := &session{fs: f}
	req.Share, req.Grant = f.share[:], grant
	var back func(kept bool)
	switch req.Verb {
	case sharepb.Verb_VERB_PUT, sharepb.Verb_VERB_AHEAD, sharepb.Verb_VERB_WATCH, sharepb.Verb_VERB_LOCK:
		st, err := f.client.opener.Open(ctx, f.peer, edit.Protocol, 0)
		if err != nil {
			return nil, nil, err
		}
		s.st, s.in, back = st, wire.NewReader(st), func(bool) { st.Reset() }
	default:
		l, _, err := f.client.changes.Open(ctx, f.peer, false)
		if err != nil {
			return nil, nil, err
		}
		s.st, s.in, back = l, l.In, func(kept bool) { f.client.changes.Close(l, kept) }
		if !l.Shows(f.share, grant) {
			req.Grant = nil
		}
	}
	stop := context.AfterFunc(ctx, func() { s.st.Reset() })
	end := sync.OnceFunc(func() { back(stop() && s.over) })
	err = s.st.SetWriteDeadline(time.Now().Add(silence))
	if err == nil {
		err = wire.WriteMsg(s.st, req)
	}
	if err != nil {
		end()
		return nil, nil, broken(err)
	}
	return s, end, nil
}

// broken is an error of a stream of changes that broke off, as when the owner's peerd ends: it can be tried again.
func broken(err error) error {
	err = away("change", err)
	if peer.KindOf(err) == peer.Other {
		return &peer.Error{Op: "change", Kind: peer.Unreachable, Err: err, Hint: `run "peerd doctor"`}
	}
	return err
}

// errDone is behind the last part of an answer. A stream that ends in front of it is io.EOF.
var errDone = errors.New("done")

// next reads a part of the answer, or says errDone behind the last.
func (s *session) next(ctx context.Context, within time.Duration) (*sharepb.Changed, error) {
	if err := s.st.SetReadDeadline(time.Now().Add(within)); err != nil {
		return nil, err
	}
	m := new(sharepb.Changed)
	if err := s.in.ReadMsg(m, edit.MaxMessage); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, broken(err)
	}
	if !m.End {
		return m, nil
	}
	err := wire.ToError(m.Error)
	s.over = peer.KindOf(err) != peer.Denied
	if err != nil {
		if !s.over {
			s.fs.client.Forget(s.fs.peer, s.fs.name)
		}
		return nil, err
	}
	return nil, errDone
}

// answers yields the parts of an answer. A right that ended before the first of them is asked for once more.
func (f *FS) answers(ctx context.Context, req *sharepb.Change, p share.Path, within time.Duration) iter.Seq2[*sharepb.Changed, error] {
	return func(yield func(*sharepb.Changed, error) bool) {
		for try := 1; ; try++ {
			told, err := f.answer(ctx, req, within, func(m *sharepb.Changed) bool { return yield(m, nil) })
			if try == 1 && !told && peer.KindOf(err) == peer.Denied {
				continue
			}
			if err != nil && !errors.Is(err, errStopped) {
				yield(nil, f.located(err, p))
			}
			return
		}
	}
}

func (f *FS) answer(ctx context.Context, req *sharepb.Change, within time.Duration, yield func(*sharepb.Changed) bool) (told bool, err error) {
	s, end, err := f.change(ctx, req)
	if err != nil {
		return false, err
	}
	defer end()
	begun := time.Now()
	if within == lastingSilence {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go s.alive(ctx)
	}
	for n := 1; ; n++ {
		m, err := s.next(ctx, within)
		if errors.Is(err, errDone) {
			return told, nil
		}
		if err != nil {
			return told, err
		}
		// A stream that lasts may say as much as there are changes, which is less than a liar can.
		if most := f.most + int(time.Since(begun).Seconds()*1000); n > f.most && (within != lastingSilence || n > most) {
			return told, f.lie(share.Path{}, "it never ends")
		}
		told = true
		if !yield(m) {
			return told, errStopped
		}
	}
}

// alive says every now and then that this side is still there, and still has the right.
func (s *session) alive(ctx context.Context) {
	t := time.NewTicker(lastingSilence / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		m := new(sharepb.Change)
		if grant, err := s.fs.client.Grant(ctx, s.fs.peer, s.fs.name); err == nil {
			m.Share, m.Grant = s.fs.share[:], grant
		}
		if s.st.SetWriteDeadline(time.Now().Add(silence)) != nil || wire.WriteMsg(s.st, m) != nil {
			return
		}
	}
}
