// Package edit answers those who change the files of a share, or want to hear of their changes. It asks the gate before each
// change, and leaves the changing to package change.
//
// A put is fetched: whoever puts files names them, and their bytes come as those of any file do, in pieces that are verified,
// resumed where they were, small ones many at a time. They land beside the share, and take their places in groups.
package edit

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/change/disk"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/sharepb"
	"github.com/peerd/peerd/share/watch"
	"github.com/peerd/peerd/transfer"
)

// Protocol changes the files of one share.
//
//	C→S Change, S→C Changed … Changed{end}; then the next Change
//	put: C→S Change, PutItem …, PutItem{}; S→C Changed per item, as they are done
//	ahead: C→S Change, PutItem …; S→C Changed per window, as they are fetched, until the file is put
//	watch, lock: S→C Changed until either side ends the stream; C→S Change{share, grant} every now and then
//
// A stream whose put ended before its last item came, or that watched or held a lock, is over.
const Protocol = "/peerd/change/1"

// Bounds of a stream.
const (
	MaxMessage = 16 << 10         // bytes; of two paths, and a grant
	first      = 10 * time.Second // for a request while no right was shown on the stream
	idle       = 60 * time.Second
	write      = 64 * time.Second
	// beat is how often whoever has nothing to tell says so, on a stream that lasts.
	beat = 20 * time.Second
)

// Share is one share as this package needs it.
type Share struct {
	Editor  *change.Editor
	Feed    *watch.Feed
	Watcher *watch.Watcher
}

// hold keeps what is about to be changed from being taken for the owner's own doing.
func (s Share) hold(paths ...share.Path) (release func()) { return s.Watcher.Hold(paths...) }

// Options of a [Service].
type Options struct {
	Gate   *serve.Gate
	Open   func(serve.Offer) (Share, error) // what changes a share's files, and tells of them
	Locks  *serve.Locks
	Opener peer.Opener                                          // reaches those that put
	Name   func(peer.ID) peer.Name                              // what a peer calls itself
	Admit  func(o serve.Offer, who peer.ID, bytes int64) error  // asked before a file of a put is fetched; may be nil
	Pace   func(ctx context.Context, from peer.ID, n int) error // holds back what is fetched; may be nil
	Log    *slog.Logger
	// Patience is how long whoever puts may be away before its put ends; 0 is 30 s. What came of a large file stays for another try.
	Patience time.Duration
}

// Service is the handler of [Protocol].
type Service struct {
	Options
	names  names
	aheads aheads
}

// New makes a Service.
func New(o Options) *Service {
	if o.Patience == 0 {
		o.Patience = patience
	}
	return &Service{Options: o, names: names{taken: make(map[stagedName]bool), files: make(map[stagedName]*states)}, aheads: aheads{all: make(map[aheadKey]*ahead)}}
}

// Need is the right that a verb takes on [Protocol]. A verb that is not named here takes more than anybody has.
func Need(v sharepb.Verb) share.Right {
	switch v {
	case sharepb.Verb_VERB_WATCH:
		return share.Read
	case sharepb.Verb_VERB_PUT, sharepb.Verb_VERB_MKDIR, sharepb.Verb_VERB_REMOVE, sharepb.Verb_VERB_MOVE, sharepb.Verb_VERB_COPY,
		sharepb.Verb_VERB_VERSIONS, sharepb.Verb_VERB_RESTORE, sharepb.Verb_VERB_LOCK, sharepb.Verb_VERB_TOUCH,
		sharepb.Verb_VERB_AHEAD:
		return share.Full
	}
	return share.Full + 1
}

// lasts reports whether a verb takes the stream for itself, until it ends.
func lasts(v sharepb.Verb) bool { return v == sharepb.Verb_VERB_WATCH || v == sharepb.Verb_VERB_LOCK }

// session is one stream.
type session struct {
	*Service
	st    peer.Stream
	in    *wire.Reader
	spent bool // what still comes on the stream is no Change

	// Of a put, once it ended: what had come, and whether more was to come, or be told.
	came int64
	more bool

	sending sync.Mutex // held while a message is sent

	mu   sync.Mutex
	pass *serve.Pass // nil while there is none
	stop func()      // ends the watching of the pass, if it is watched
}

// Handle is the handler of [Protocol].
func (s *Service) Handle(ctx context.Context, st peer.Stream) error {
	c := &session{Service: s, st: st, in: wire.NewReaderSize(st, 4<<10), stop: func() {}}
	for {
		var req sharepb.Change
		within := idle
		if c.has() == nil {
			within = first
		}
		if err := c.receive(ctx, &req, within); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		c.spent = req.Verb == sharepb.Verb_VERB_PUT || req.Verb == sharepb.Verb_VERB_AHEAD // until its last item was read
		err := c.answer(ctx, &req)
		if ctx.Err() != nil { // this side goes: that is no answer
			return ctx.Err()
		}
		if errors.Is(err, errStream) {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := c.send(&sharepb.Changed{End: true, Error: wire.FromError(err)}); err != nil {
			return err
		}
		if c.spent || lasts(req.Verb) {
			return nil
		}
	}
}

// errStream marks an error of the stream, which nobody can be told of.
var errStream = errors.New("change")

// receive reads a message, until ctx ends. After an error the stream is of no more use for reading.
func (c *session) receive(ctx context.Context, m proto.Message, within time.Duration) error {
	err := c.st.SetReadDeadline(time.Now().Add(within))
	if err == nil {
		stop := context.AfterFunc(ctx, func() { _ = c.st.SetReadDeadline(time.Unix(1, 0)) })
		err = c.in.ReadMsg(m, MaxMessage)
		stop()
	}
	if err != nil {
		return errors.Join(errStream, err)
	}
	return nil
}

func (c *session) send(m *sharepb.Changed) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	err := c.st.SetWriteDeadline(time.Now().Add(write))
	if err == nil {
		err = wire.WriteMsg(c.st, m)
	}
	if err != nil {
		return errors.Join(errStream, err)
	}
	return nil
}

// has is the pass of the stream, or nil.
func (c *session) has() *serve.Pass {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pass
}

// holds asks whether what goes on by a right may still do so.
func (c *session) holds(need share.Right) error {
	_, err := c.has().Holds(need)
	return err
}

// enter checks the right of a request: by the grant that it brings, else the one that the stream has for the same share. A grant that
// is no good leaves the stream without one.
func (c *session) enter(req *sharepb.Change) (serve.Offer, error) {
	pass := c.has()
	if len(req.Grant) > 0 || pass == nil {
		c.mu.Lock()
		c.pass = nil
		c.mu.Unlock()
		if len(req.Share) != len(share.ID{}) {
			return serve.Offer{}, serve.Refused()
		}
		var err error
		if pass, err = c.Gate.Enter(req.Grant, c.st.Peer(), share.ID(req.Share)); err != nil {
			return serve.Offer{}, err
		}
		peer.Welcome(c.st)
		c.mu.Lock()
		c.pass = pass
		c.mu.Unlock()
	}
	o, err := pass.Allow(Need(req.Verb))
	if err == nil && string(o.ID[:]) != string(req.Share) && len(req.Share) > 0 {
		err = serve.Refused()
	}
	if peer.KindOf(err) == peer.Denied {
		path, _ := share.ParsePath(req.Path)
		pass.Refuse(path, "it asked for "+verbText(req.Verb)+" without the right to it")
	}
	return o, err
}

// renew takes a fresh grant for the share that the stream is about, in place of the one before.
func (c *session) renew(m *sharepb.Change, need share.Right, ended func()) error {
	if len(m.Grant) == 0 {
		return nil
	}
	o, err := c.has().Holds(need)
	if err != nil {
		return err
	}
	pass, err := c.Gate.Enter(m.Grant, c.st.Peer(), o.ID)
	if err == nil {
		_, err = pass.Allow(need)
	}
	if err != nil {
		return err
	}
	peer.Welcome(c.st)
	c.mu.Lock()
	before := c.stop
	c.pass = pass
	c.mu.Unlock()
	before()
	stop := pass.OnEnd(need, ended)
	c.mu.Lock()
	c.stop = stop
	c.mu.Unlock()
	return nil
}

// lastWord is how long it may take to tell somebody that a right ended, before the stream is cut off.
const lastWord = 500 * time.Millisecond

// while gives a context that ends when the right does. What does not heed it loses its stream.
func (c *session) while(ctx context.Context, need share.Right) (_ context.Context, ended, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended = func() {
		if c.holds(need) == nil {
			return // by another grant
		}
		cancel()
		time.AfterFunc(lastWord, func() { c.st.Reset() })
	}
	stop := c.has().OnEnd(need, ended)
	c.mu.Lock()
	c.stop = stop
	c.mu.Unlock()
	return ctx, ended, func() {
		c.mu.Lock()
		stop := c.stop
		c.stop = func() {}
		c.mu.Unlock()
		stop()
		cancel()
	}
}

// by is who the stream is of.
func (c *session) by() change.By { return change.By{Peer: c.st.Peer(), Name: c.Name(c.st.Peer())} }

// answer does what is asked for. Its error is told, but for errStream.
func (c *session) answer(ctx context.Context, req *sharepb.Change) error {
	o, err := c.enter(req)
	if err != nil {
		return err
	}
	need := Need(req.Verb)
	running, ended, done := c.while(ctx, need)
	defer done()
	err = c.do(running, o, req, ended)
	if ctx.Err() != nil { // this side goes
		return err
	}
	c.ended(o, req, err)
	if err != nil && running.Err() != nil && c.holds(need) != nil { // a right that ended is the reason for whatever else went wrong
		return c.holds(need)
	}
	return err
}

// ended has written down that what was asked for was cut off, or given up, or found no room.
func (c *session) ended(o serve.Offer, req *sharepb.Change, err error) {
	if err == nil {
		return
	}
	path, _ := share.ParsePath(req.Path) // of a put there is none
	switch pass, kind := c.has(), peer.KindOf(err); {
	case pass.Ended(Need(req.Verb)):
		pass.Cancelled(o, path, c.came, serve.Refused(), "the right to it ended during "+verbText(req.Verb))
	case c.more && (errors.Is(err, errStream) || kind == peer.Unreachable || kind == peer.Denied): // or it gives no more of it
		pass.Cancelled(o, path, c.came, &peer.Error{Kind: peer.Unreachable}, "whoever put it broke off")
	default:
		if to, err := share.ParsePath(req.To); err == nil && !to.IsRoot() {
			path = to
		}
		c.noRoom(o, path, 0, err)
	}
}

// noRoom has written down that there was no room for a change, if that is why it failed.
func (c *session) noRoom(o serve.Offer, p share.Path, bytes int64, err error) {
	if peer.KindOf(err) != peer.Full {
		return
	}
	c.has().Record(o, audit.Event{Kind: audit.KindQuota, Path: p.String(), Bytes: bytes, Result: audit.ResultOf(err), Why: err.Error()})
}

// do does what may be done.
func (c *session) do(ctx context.Context, o serve.Offer, req *sharepb.Change, ended func()) error {
	path, err := share.ParsePath(req.Path)
	if err != nil {
		return err
	}
	to, err := share.ParsePath(req.To)
	if err != nil {
		return err
	}
	base, err := baseFrom(req.Base)
	if err != nil {
		return err
	}
	toBase, err := baseFrom(req.ToBase)
	if err != nil {
		return err
	}
	sh, err := c.Open(o)
	if err != nil {
		return serve.FileError(err)
	}
	ed := sh.Editor
	switch req.Verb {
	case sharepb.Verb_VERB_PUT:
		return c.put(ctx, o, sh, req.Upload)
	case sharepb.Verb_VERB_AHEAD:
		return c.ahead(ctx, o, sh, req.Upload)
	case sharepb.Verb_VERB_MKDIR:
		defer sh.hold(path)()
		return c.tell(ed.Mkdir(ctx, path, req.Parents, c.by()))
	case sharepb.Verb_VERB_REMOVE:
		defer sh.hold(path)()
		return c.remove(ctx, o, ed, path, base, req.Deep)
	case sharepb.Verb_VERB_MOVE:
		defer sh.hold(path, to)()
		return c.tell(ed.Move(ctx, path, to, base, toBase, c.by()))
	case sharepb.Verb_VERB_COPY:
		defer sh.hold(to)()
		r := ed.Copy(ctx, path, to, toBase, c.by())
		c.conflict(o, to, r)
		return c.tell(r)
	case sharepb.Verb_VERB_TOUCH:
		defer sh.hold(path)()
		return c.tell(ed.Touch(ctx, path, base, setFrom(req.Touch), c.by()))
	case sharepb.Verb_VERB_VERSIONS:
		return c.versions(ctx, ed, path, req.Deep)
	case sharepb.Verb_VERB_RESTORE:
		id, err := change.ParseVersionID(req.Version)
		if err != nil {
			return err
		}
		defer sh.hold(to)()
		return c.tell(ed.Restore(ctx, path, id, to, toBase, c.by()))
	case sharepb.Verb_VERB_WATCH:
		return c.watch(ctx, sh, path, req.After, ended)
	case sharepb.Verb_VERB_LOCK:
		return c.lock(ctx, o, path, ended)
	}
	return serve.Refused()
}

func baseFrom(m *sharepb.Base) (change.Base, error) {
	b := change.Base{Any: m.GetAny()}
	switch len(m.GetVersion()) {
	case 0:
	case len(b.Version):
		b.Version = transfer.Version(m.Version)
	default:
		return b, &peer.Error{Op: "read change", Kind: peer.Usage, Err: errors.New("it expects what is no version")}
	}
	return b, nil
}

func setFrom(m *sharepb.Touch) (set disk.Set) {
	if m != nil && m.ModTime != nil {
		when := time.Unix(0, *m.ModTime)
		set.ModTime = &when
	}
	if m != nil {
		set.Exec = m.Exec
	}
	return set
}

// tell sends the result of one change; its error ends the answer.
func (c *session) tell(r change.Result) error {
	if r.Err != nil {
		return serve.FileError(r.Err)
	}
	return c.send(changed(r))
}

// conflict has written down that what came is kept beside what was there.
func (c *session) conflict(o serve.Offer, p share.Path, r change.Result) {
	if r.Err != nil || !r.Conflict {
		return
	}
	c.has().Record(o, audit.Event{
		Kind: audit.KindConflict, Path: p.String(), To: r.Entry.Path.String(), Bytes: r.Entry.Size, After: serve.VersionText(r.Entry.Version), Result: audit.OK,
	})
}

// changed is a result as it is sent.
func changed(r change.Result) *sharepb.Changed {
	m := &sharepb.Changed{Conflict: r.Conflict, Error: wire.FromError(serve.FileError(r.Err))}
	if r.Err == nil {
		m.Entry = serve.EntryPB(r.Entry, share.Path{})
	}
	if r.Kept != 0 {
		m.Kept = r.Kept.String()
	}
	return m
}

// remove removes a file or folder, and tells of each thing that is gone.
func (c *session) remove(ctx context.Context, o serve.Offer, ed *change.Editor, p share.Path, base change.Base, deep bool) error {
	for r := range ed.Remove(ctx, p, base, deep, c.by()) {
		c.noRoom(o, r.Entry.Path, 0, r.Err)
		m := changed(r)
		if m.Removed = r.Err == nil; m.Removed {
			m.Entry = &sharepb.Entry{Path: r.Entry.Path.Components()}
		}
		if err := c.send(m); err != nil {
			return err
		}
		if err := c.holds(share.Full); err != nil {
			return err
		}
	}
	return nil
}

// versions tells of the versions that are kept.
func (c *session) versions(ctx context.Context, ed *change.Editor, p share.Path, deep bool) error {
	for k, err := range ed.Versions(ctx, p, deep) {
		if err != nil {
			return serve.FileError(err)
		}
		e := k.Entry
		e.Path = k.Path
		m := &sharepb.Kept{
			Id: k.ID.String(), Entry: serve.EntryPB(e, share.Path{}), Time: k.When().UnixNano(), Peer: idText(k.By.Peer), Name: string(k.By.Name), Verb: k.Verb,
		}
		if err := c.send(&sharepb.Changed{Version: m}); err != nil {
			return err
		}
	}
	return nil
}

// idText is a peer's ID as text, and nothing for nobody.
func idText(id peer.ID) string {
	if id == "" {
		return ""
	}
	return id.String()
}
