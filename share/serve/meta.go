package serve

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/sharepb"
	"github.com/peerd/peerd/transfer/serve"
)

// MetaProtocol looks at the files of one share. A stream carries request after request; each is answered with pages.
const MetaProtocol = "/peerd/share/1"

// Bounds of a listing.
const (
	MaxRequest  = 8 << 10          // bytes
	MaxPage     = 256 << 10        // bytes, as sent
	PageEntries = 1000             // in one page, at most
	metaFirst   = 10 * time.Second // for a request while no right was shown on the stream
	metaIdle    = 60 * time.Second
	metaWrite   = 64 * time.Second // for one page: 4 KiB a second
	metaPause   = 2 * time.Second  // after which a page goes out that is not full, as from a slow disk
)

// Lister answers requests for listings.
type Lister struct {
	gate  *Gate
	locks *Locks
}

// NewLister makes the Lister of a gate, which tells of locks as well.
func NewLister(gate *Gate, locks *Locks) *Lister { return &Lister{gate, locks} }

// Handle is the handler of [MetaProtocol].
func (l *Lister) Handle(ctx context.Context, st peer.Stream) error {
	in := wire.NewReaderSize(st, 1<<10)
	guard, ctx := serve.NewGuard(ctx, st)
	defer guard.Close()
	var pass *Pass
	for {
		idle := metaIdle
		if pass == nil {
			idle = metaFirst
		}
		if err := st.SetReadDeadline(time.Now().Add(idle)); err != nil {
			return err
		}
		var req sharepb.Request
		if err := in.ReadMsg(&req, MaxRequest); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		before := pass
		var err error
		if pass, err = l.enter(pass, &req, st.Peer()); pass != before {
			guard.Watch(reading{pass})
			if pass != nil {
				peer.Welcome(st)
			}
		}
		out := &pager{st: st, pass: pass, need: Need(req.Verb), locks: l.locks, sent: time.Now()}
		if err == nil {
			err = l.answer(ctx, out, &req)
		}
		if err := out.finish(err); err != nil {
			return err
		}
	}
}

// reading is a pass as a guard looks after it: with the right to read a stream may go on.
type reading struct{ pass *Pass }

func (r reading) OnEnd(end func()) (stop func()) {
	if r.pass == nil {
		return func() {}
	}
	return r.pass.OnEnd(share.Read, end)
}

// enter gives the pass for a request: by the grant that it brings, else the one that the stream has for the same share.
func (l *Lister) enter(have *Pass, req *sharepb.Request, holder peer.ID) (*Pass, error) {
	switch {
	case len(req.Share) != len(share.ID{}):
	case len(req.Grant) > 0:
		return l.gate.Enter(req.Grant, holder, share.ID(req.Share))
	case have != nil && have.grant.Share == share.ID(req.Share):
		return have, nil
	}
	return nil, refused()
}

func (l *Lister) answer(ctx context.Context, out *pager, req *sharepb.Request) error {
	o, err := out.pass.Allow(out.need)
	if err != nil {
		return err
	}
	path, err := share.ParsePath(req.Path)
	if err != nil {
		return err
	}
	out.base = path
	switch req.Verb {
	case sharepb.Verb_VERB_STAT:
		e, err := o.FS.Stat(ctx, path)
		if err != nil {
			return FileError(err)
		}
		return out.add(e)
	case sharepb.Verb_VERB_SPACE:
		out.page.Space = new(sharepb.Space)
		if o.Space != nil {
			out.page.Space.Total, out.page.Space.Free, err = o.Space(ctx, out.pass.grant.Holder)
		}
		return FileError(err)
	case sharepb.Verb_VERB_LIST:
		return out.all(o.FS.List(ctx, path))
	case sharepb.Verb_VERB_WALK:
		return out.all(o.FS.Walk(ctx, path))
	}
	return refused()
}

// pager sends entries in pages, and asks whether the right still holds before each.
type pager struct {
	st    peer.Stream
	pass  *Pass
	need  share.Right
	base  share.Path
	locks *Locks
	page  sharepb.Page
	size  int
	sent  time.Time // the last page, or the beginning
}

func (p *pager) all(entries iter.Seq2[share.Entry, error]) error {
	for e, err := range entries {
		if err != nil {
			return FileError(err)
		}
		if err := p.add(e); err != nil {
			return err
		}
	}
	return nil
}

// errSend marks an error of the stream, which nobody can be told of.
var errSend = errors.New("send page")

func (p *pager) add(e share.Entry) error {
	if e.Kind == share.File {
		e.Lock = p.locks.Of(p.pass.grant.Share, e.Path)
	}
	m := EntryPB(e, p.base)
	size := proto.Size(m) + 8
	full := len(p.page.Entries) == PageEntries || p.size+size > MaxPage/2
	if full || len(p.page.Entries) > 0 && time.Since(p.sent) > metaPause {
		if err := p.flush(); err != nil {
			return err
		}
	}
	p.page.Entries = append(p.page.Entries, m)
	p.size += size
	return nil
}

func (p *pager) flush() error {
	if _, err := p.pass.Allow(p.need); err != nil {
		return err
	}
	return p.send()
}

func (p *pager) send() error {
	if err := p.st.SetWriteDeadline(time.Now().Add(metaWrite)); err != nil {
		return errors.Join(errSend, err)
	}
	if err := wire.WriteMsg(p.st, &p.page); err != nil {
		return errors.Join(errSend, err)
	}
	p.page.Entries, p.size, p.sent = p.page.Entries[:0], 0, time.Now()
	return nil
}

// finish sends the last page, with the error that ended the answer if there is one.
func (p *pager) finish(err error) error {
	if err == nil {
		_, err = p.pass.Allow(p.need)
	}
	switch {
	case errors.Is(err, errSend):
		return err
	case err != nil:
		p.page.Entries, p.page.Space = nil, nil
		p.page.Error = wire.FromError(err)
	default:
		p.page.End = true
	}
	return p.send()
}

// EntryPB is an entry as it is sent, with its path from base on.
func EntryPB(e share.Entry, base share.Path) *sharepb.Entry {
	below, _ := e.Path.Below(base)
	m := &sharepb.Entry{
		Path: below, Kind: uint32(e.Kind), Size: e.Size, ModTime: e.ModTime.UnixNano(), Version: e.Version[:], Exec: e.Exec,
	}
	if e.Lock != nil {
		m.Lock = &sharepb.Lock{Peer: e.Lock.Peer.String(), Name: string(e.Lock.Name), Since: e.Lock.Since.UnixNano()}
	}
	return m
}
