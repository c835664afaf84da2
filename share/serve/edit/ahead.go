package edit

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/sharepb"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch"
	"github.com/peerd/peerd/transfer/store"
)

// Bounds of what is fetched ahead.
const (
	maxWindow = 64 << 20 // bytes of a window
	fetching  = 3        // windows that are fetched at once
)

// aheads are the files that are fetched while they are still written.
type aheads struct {
	mu  sync.Mutex
	all map[aheadKey]*ahead
}

// aheadKey is a file that will be put.
type aheadKey struct {
	who    peer.ID
	share  share.ID
	number uint64
}

// ahead is a file that is fetched while it is still written.
type ahead struct {
	*session
	offer serve.Offer
	ed    *change.Editor
	end   context.CancelFunc
	over  chan struct{} // closed when nothing more is written to the file
	name  string        // in staging
	taken bool          // the file is a put's; guarded by aheads.mu

	bytes atomic.Int64 // that were let in; nobody changes it once over is closed
	here  atomic.Int64 // bytes that came
}

// begin adds one, unless there is one for the same file.
func (s *aheads) begin(key aheadKey, a *ahead) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[key] != nil {
		return false
	}
	s.all[key] = a
	return true
}

// ended takes one out, and reports whether its file was taken.
func (s *aheads) ended(key aheadKey, a *ahead) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[key] == a {
		delete(s.all, key)
	}
	return a.taken
}

// sum is how many bytes were let into a share ahead of puts, and how many of them came.
func (s *aheads) sum(id share.ID) (bytes, here int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, a := range s.all {
		if key.share == id {
			bytes, here = bytes+a.bytes.Load(), here+a.here.Load()
		}
	}
	return bytes, here
}

// take ends the fetching ahead of a file that is put now, and gives what came of it: the file is the caller's. It gives nil where
// nothing was fetched.
func (s *aheads) take(key aheadKey) *ahead {
	s.mu.Lock()
	a := s.all[key]
	if a != nil {
		delete(s.all, key)
		a.taken = true
	}
	s.mu.Unlock()
	if a == nil {
		return nil
	}
	a.end()
	<-a.over
	return a
}

// ahead fetches windows of a file that is still written, one behind the other, into staging, until the file is put. What is not
// put then goes with the stream.
func (c *session) ahead(ctx context.Context, o serve.Offer, sh Share, up *sharepb.Upload) error {
	if len(up.GetId()) != len(transfer.ShareID{}) || len(up.GetToken()) == 0 || up.GetNumber() == 0 {
		return &peer.Error{Op: "fetch ahead", Kind: peer.Usage, Err: errors.New("it does not say where to fetch, or what")}
	}
	dir, release, err := sh.Editor.Staging()
	if err != nil {
		return serve.FileError(err)
	}
	defer release()
	dst, err := store.OpenDir(dir)
	if err != nil {
		return err
	}
	defer dst.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := &ahead{session: c, offer: o, ed: sh.Editor, end: cancel, over: make(chan struct{}), name: "ahead-" + rand.Text()}
	key := aheadKey{c.st.Peer(), o.ID, up.Number}
	if !c.aheads.begin(key, a) {
		return &peer.Error{Op: "fetch ahead", Kind: peer.Busy, Err: errors.New("it is fetched already")}
	}
	defer close(a.over)
	err = a.fetch(ctx, dst, up)
	c.came = a.here.Load()
	if c.aheads.ended(key, a) {
		return nil
	}
	if e := dst.Drop([]string{a.name}); e != nil {
		c.Log.Warn("what came ahead of a put can't be removed", "share", o.Name, "err", e)
	}
	return err
}

// fetch makes the file, and brings the windows to it as they are named.
func (a *ahead) fetch(ctx context.Context, dst *store.Dir, up *sharepb.Upload) error {
	file, err := dst.Begin([]string{a.name})
	if err != nil {
		return err
	}
	defer file.Close()
	f := fetch.New(ctx, fetch.Source{
		Opener: a.Opener, Peer: a.st.Peer(), Share: transfer.ShareID(up.Id), Label: "what " + string(a.Name(a.st.Peer())) + " puts",
		Grant: func(context.Context) ([]byte, error) { return up.Token, nil },
	}, fetch.Options{Lanes: 2, First: 1, Patience: a.Patience, Progress: a, Pace: a.Pace, Log: a.Log})
	defer f.Close()
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(fetching)
	for {
		var m sharepb.PutItem
		if err = a.receive(ctx, &m, naming); err != nil || m.Number == 0 {
			break
		}
		if err = a.room(ctx, m.Size); err != nil {
			break
		}
		off := a.bytes.Add(m.Size) - m.Size
		all.Go(func() error {
			path := []string{strconv.FormatUint(m.Number, 10)}
			err := f.Into(ctx, path, m.Size, io.NewOffsetWriter(file, off))
			if err != nil && peer.KindOf(err) != peer.Conflict { // it was written anew: the put brings it
				return err
			}
			return a.send(&sharepb.Changed{Number: m.Number, Error: wire.FromError(err)})
		})
	}
	if e := all.Wait(); e != nil { // which ended the rest
		return e
	}
	return err
}

// room lets so many bytes more in, or says why not.
func (a *ahead) room(ctx context.Context, size int64) error {
	if size <= transfer.SmallFile || size > maxWindow {
		return &peer.Error{Op: "fetch ahead", Kind: peer.Usage, Err: errors.New("it is no window")}
	}
	all, here := a.aheads.sum(a.offer.ID)
	if err := a.ed.Room(ctx, all+size, here); err != nil {
		return serve.FileError(err)
	}
	if a.Admit == nil {
		return nil
	}
	return a.Admit(a.offer, a.st.Peer(), size)
}

// Got counts bytes that came; see [transfer.Progress].
func (a *ahead) Got(_ peer.ID, _ string, n int64) { a.here.Add(n) }

// Had is not called: nothing is here before.
func (*ahead) Had(string, int64) {}

// Bad needs no counting: bytes that change while they are fetched look the same, and none of them got a name.
func (*ahead) Bad(peer.ID, bool) {}
