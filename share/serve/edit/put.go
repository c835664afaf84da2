package edit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/sharepb"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch"
	"github.com/peerd/peerd/transfer/store"
)

// Bounds of a put.
const (
	patience = 30 * time.Second // see Options.Patience
	// group is how many files take their places at once, at most.
	group = 1024
	// rewrites is how many of them may be expected to replace something: between groups it is looked whether it is too much, see [Brake].
	rewrites = 32
	// waiting is how many files that are here may wait for that.
	waiting = 4 * group
	// progress is how often the sums are told while they change, and alive how often in any case.
	progress = 200 * time.Millisecond
	alive    = 5 * time.Second
	// naming is how long whoever puts may look for the next file to name.
	naming = 10 * time.Minute
)

// put is one put that runs.
type put struct {
	*session
	ctx    context.Context
	offer  serve.Offer
	share  Share
	ed     *change.Editor
	upload []byte // its ID
	dst    *store.Dir
	end    context.CancelFunc
	ready  chan *item // what may take its place

	mu      sync.Mutex
	items   map[uint64]*item // files on their way
	pending int64            // bytes of them
	ahead   int64            // of these, those that were fetched before the put
	got     uint64           // bytes
	had     uint64           // of these, those that were here
	told    uint64           // bytes that the other side knows of
	failed  error            // why the put can't go on
}

// item is a file on its way, or a folder.
type item struct {
	change.Put
	number uint64
	size   int64
	name   stagedName
	file   stagedName // begins the names of all its states
	state  string     // begins the names of this one
	begun  string     // the file in staging with what was fetched ahead; "" for none
	ahead  int64      // bytes of it
}

// put fetches what is put and lets it take its place.
func (c *session) put(ctx context.Context, o serve.Offer, sh Share, up *sharepb.Upload) error {
	ed := sh.Editor
	if len(up.GetId()) != len(transfer.ShareID{}) || len(up.GetToken()) == 0 {
		return &peer.Error{Op: "put", Kind: peer.Usage, Err: errors.New("it does not say where to fetch")}
	}
	dir, release, err := ed.Staging()
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
	p := &put{
		session: c, ctx: ctx, end: cancel, offer: o, share: sh, ed: ed, upload: up.Id, dst: dst, ready: make(chan *item, waiting),
		items: make(map[uint64]*item),
	}
	f := fetch.New(ctx, fetch.Source{
		Opener: c.Opener, Peer: c.st.Peer(), Share: transfer.ShareID(up.Id), Label: "what " + string(c.Name(c.st.Peer())) + " puts",
		Grant: func(context.Context) ([]byte, error) { return up.Token, nil },
	}, fetch.Options{Lanes: 2, First: 1, Patience: c.Patience, Exact: true, Progress: p, Pace: c.Pace, Log: c.Log})
	defer f.Close()
	var tasks sync.WaitGroup
	committed := make(chan error, 1)
	go func() { committed <- p.commit() }()
	tasks.Go(func() { p.tick(ctx) })
	err = f.Tree(ctx, p.arriving, dst, true, p)
	close(p.ready)
	err = errors.Join(err, <-committed)
	cancel()
	tasks.Wait()
	if err == nil && p.news() {
		err = p.tell()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c.came, c.more = int64(p.got-p.had), c.spent || len(p.items) > 0 || p.failed != nil
	for _, it := range p.items { // of a put that broke off
		c.names.release(it)
		p.drop(it.begun)
	}
	if p.failed != nil {
		return p.failed
	}
	return err
}

// arriving yields what is put, as it is named. What can't be put is told of and left out.
func (p *put) arriving(yield func(fetch.Item, error) bool) {
	for {
		var m sharepb.PutItem
		if err := p.receive(p.ctx, &m, naming); err != nil {
			yield(fetch.Item{}, err)
			return
		}
		if m.Number == 0 {
			p.spent = false
			return
		}
		it, err := p.item(&m)
		if err == nil && it == nil {
			continue
		}
		if err != nil {
			path, _ := share.ParsePath(m.Path)
			p.noRoom(p.offer, path, m.Size, err)
			if err := p.send(&sharepb.Changed{Number: m.Number, Error: wire.FromError(err)}); err != nil {
				yield(fetch.Item{}, err)
				return
			}
			continue
		}
		if !yield(*it, nil) {
			return
		}
	}
}

// item checks one item. A folder is made at once, and gives none. Who puts names those folders alone that stay empty: files bring theirs
// with them.
func (p *put) item(m *sharepb.PutItem) (*fetch.Item, error) {
	path, err := share.ParsePath(m.Path)
	if err != nil {
		return nil, err
	}
	base, err := baseFrom(m.Base)
	if err != nil {
		return nil, err
	}
	switch {
	case path.IsRoot():
		return nil, &peer.Error{Op: "put", Kind: peer.Usage, Err: errors.New("it is the share itself")}
	case m.Size < 0:
		return nil, &peer.Error{Op: "put", Path: path.String(), Kind: peer.Usage, Err: errors.New("its size is negative")}
	}
	by := p.by()
	if m.Dir {
		if err := p.holds(share.Full); err != nil {
			return nil, err
		}
		defer p.share.hold(path)()
		r := p.ed.Mkdir(p.ctx, path, true, by)
		r.Entry.Path = path
		out := changed(r)
		out.Number = m.Number
		return nil, p.send(out)
	}
	it := &item{Put: change.Put{Path: path, Base: base, Exec: m.Exec, Parents: true, By: by}, number: m.Number, size: m.Size}
	if a := p.aheads.take(aheadKey{p.st.Peer(), p.offer.ID, m.Number}); a != nil {
		it.begun, it.ahead = a.name, min(a.bytes.Load(), m.Size)
	}
	if err := p.admit(it); err != nil {
		p.drop(it.begun)
		return nil, err
	}
	p.named(it, m)
	p.mu.Lock()
	p.items[m.Number] = it
	p.pending += it.size
	p.ahead += it.ahead
	p.mu.Unlock()
	return &fetch.Item{
		Path: []string{strconv.FormatUint(m.Number, 10)}, Dest: []string{it.Staged}, Size: m.Size, ModTime: time.Unix(0, m.ModTime),
		Old: func() io.ReaderAt { return p.old(path) }, Begun: it.begun,
	}, nil
}

// admit says why a file can't be fetched. What was fetched ahead was let in then.
func (p *put) admit(it *item) error {
	p.mu.Lock()
	need, staged := p.pending+it.size, p.ahead+it.ahead
	_, twice := p.items[it.number]
	p.mu.Unlock()
	if twice {
		return &peer.Error{Op: "put", Path: it.Path.String(), Kind: peer.Usage, Err: errors.New("another file has its number")}
	}
	if need < 0 || need > math.MaxInt64/2 {
		return &peer.Error{Op: "put", Path: it.Path.String(), Kind: peer.Full, Err: errors.New("no disk is that large")}
	}
	if err := p.ed.Room(p.ctx, need, staged); err != nil {
		return serve.FileError(err)
	}
	if p.Admit == nil {
		return nil
	}
	return p.Admit(p.offer, p.st.Peer(), it.size-it.ahead)
}

// drop removes what was fetched ahead, if nothing was made of it.
func (p *put) drop(begun string) {
	if begun == "" {
		return
	}
	if err := p.dst.Drop([]string{begun}); err != nil {
		p.Log.Warn("what came ahead of a put can't be removed", "share", p.offer.Name, "err", err)
	}
}

// named gives an item the name of the file that it is received in: the same for the same state of the same file that the same peer puts
// to the same place, so that what came before is found.
func (p *put) named(it *item, m *sharepb.PutItem) {
	it.file = stagedName{p.offer.ID, digest("%s %x %d %q", p.st.Peer(), p.upload, m.Number, m.Path)}
	it.State = func(size int64, modTime time.Time) string {
		return it.file.text + "-" + digest("%d %d", size, modTime.UnixNano())
	}
	it.state = it.State(m.Size, time.Unix(0, m.ModTime))
	it.name = p.names.take(stagedName{p.offer.ID, it.state})
	it.Staged = it.name.text
	p.names.use(it)
	it.Stale = func() bool { return p.names.stale(it) }
}

func digest(format string, of ...any) string {
	sum := sha256.Sum256(fmt.Appendf(nil, format, of...))
	return hex.EncodeToString(sum[:16])
}

// old opens what stands at a path now: much of what is put may be the same.
func (p *put) old(path share.Path) io.ReaderAt {
	f, err := p.offer.FS.Open(p.ctx, path)
	if err != nil {
		return nil
	}
	return f
}

// place hands on what may take its place.
func (p *put) place(it *item) error {
	select {
	case p.ready <- it:
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

// Done hands on a file that is here; see [fetch.Report].
func (p *put) Done(it fetch.Item, _ transfer.Hash) {
	number, _ := strconv.ParseUint(it.Path[0], 10, 64)
	p.mu.Lock()
	here := p.items[number]
	p.mu.Unlock()
	if here != nil {
		_ = p.place(here) // fails when all of the put does
	}
}

// Failed tells of a file that could not be had; see [fetch.Report]. Where all of the put ends, that is told alone: it does as well when
// no more of it is given, since whoever breaks it off may be heard refusing before the end of its stream is.
func (p *put) Failed(it fetch.Item, err error) {
	if p.ctx.Err() != nil {
		return
	}
	if peer.KindOf(err) == peer.Denied {
		p.fail(err)
		return
	}
	number, _ := strconv.ParseUint(it.Path[0], 10, 64)
	p.mu.Lock()
	here := p.items[number]
	p.mu.Unlock()
	if here != nil {
		p.noRoom(p.offer, here.Path, here.size, err)
	}
	var e *peer.Error
	if errors.As(err, &e) { // its path here is a number
		err = &peer.Error{Op: "put", Kind: e.Kind, Err: e.Err, Hint: e.Hint}
	}
	p.over(number, &sharepb.Changed{Error: wire.FromError(err)})
}

// over tells what became of an item. The put ends when nobody hears it.
func (p *put) over(number uint64, m *sharepb.Changed) {
	p.mu.Lock()
	it := p.items[number]
	if it != nil {
		p.pending -= it.size
		p.ahead -= it.ahead
		p.names.release(it)
		delete(p.items, number)
	}
	p.mu.Unlock()
	if it != nil {
		p.drop(it.begun)
	}
	m.Number = number
	if err := p.send(m); err != nil {
		p.fail(err)
	}
}

func (p *put) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == nil {
		p.failed = err
		p.end()
	}
}

// commit lets what is ready take its place: while one group does, the next gathers.
func (p *put) commit() error {
	for {
		first, ok := <-p.ready
		if !ok {
			return nil
		}
		all := []*item{first}
	gather:
		for replaces := 0; len(all) < group && replaces < rewrites; {
			select {
			case it, ok := <-p.ready:
				if !ok {
					break gather
				}
				all = append(all, it)
				if it.Base != (change.Base{}) {
					replaces++
				}
			default:
				break gather
			}
		}
		if err := p.holds(share.Full); err != nil {
			p.fail(err)
			for range p.ready { // nothing more does
			}
			return err
		}
		puts, paths := make([]change.Put, len(all)), make([]share.Path, len(all))
		for i, it := range all {
			puts[i], paths[i] = it.Put, it.Path
		}
		release := p.share.hold(paths...)
		results := p.ed.Commit(p.ctx, puts)
		release()
		for i, r := range results {
			p.conflict(p.offer, all[i].Path, r)
			p.noRoom(p.offer, all[i].Path, all[i].size, r.Err)
			p.over(all[i].number, changed(r))
		}
	}
}

// tick tells the sums when they change, and now and then that the put goes on.
func (p *put) tick(ctx context.Context) {
	t := time.NewTicker(progress)
	defer t.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if time.Since(last) >= alive || p.news() {
			last = time.Now()
			if err := p.tell(); err != nil {
				p.fail(err)
				return
			}
		}
	}
}

// news reports whether there are sums that were not told.
func (p *put) news() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got != p.told
}

// tell tells the sums.
func (p *put) tell() error {
	p.mu.Lock()
	m := &sharepb.Changed{Bytes: p.got, Had: p.had}
	p.told = p.got
	p.mu.Unlock()
	return p.send(m)
}

// Got counts bytes that came; see [transfer.Progress].
func (p *put) Got(_ peer.ID, _ string, n int64) { p.count(n, 0) }

// Had counts bytes that were here already.
func (p *put) Had(_ string, n int64) { p.count(n, n) }

// Bad needs no counting, since who puts wrong bytes harms himself; but it is written down when that ends a put.
func (p *put) Bad(_ peer.ID, banned bool) {
	if banned {
		p.has().Record(p.offer, audit.Event{Kind: audit.KindBadPiece, Result: peer.Integrity.String(), Why: "what it put was not what it said"})
	}
}

func (p *put) count(got, had int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got += uint64(got)
	p.had += uint64(had)
}
