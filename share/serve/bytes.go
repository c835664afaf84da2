package serve

import (
	"context"
	"errors"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/serve/live"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/serve"
)

// Bytes makes the gate an authorizer for the bytes of files.
type Bytes struct{ gate *Gate }

// NewBytes makes the authorizer of a gate.
func NewBytes(gate *Gate) *Bytes { return &Bytes{gate} }

var (
	_ serve.Authorizer = (*Bytes)(nil)
	_ serve.Ender      = bytesPass{}
)

// Enter opens what a peer shows as its grant for a share.
func (b *Bytes) Enter(sealed []byte, holder peer.ID, id transfer.ShareID) (serve.Pass, error) {
	p, err := b.gate.Enter(sealed, holder, id)
	if err != nil {
		return nil, err
	}
	return bytesPass{p}, nil
}

type bytesPass struct{ *Pass }

// Check says whether bytes may still be read.
func (p bytesPass) Check() error {
	_, err := p.Allow(share.Read)
	return err
}

// OnEnd says when bytes may be read no more.
func (p bytesPass) OnEnd(end func()) (stop func()) { return p.Pass.OnEnd(share.Read, end) }

// Owner is this peer itself.
func (p bytesPass) Owner() peer.ID { return p.gate.self }

// Secret is what the topics of the share are made by, for as long as nobody's right ends.
func (p bytesPass) Secret() []byte {
	o, err := p.Allow(share.Read)
	if err != nil {
		return nil
	}
	return p.gate.secret(o)
}

// Open opens a file of the share, as it is now, or an old version of one, which takes the full right: what was removed was
// removed on purpose.
func (p bytesPass) Open(ctx context.Context, components []string, _ transfer.Version) (serve.File, error) {
	if rest, version, ok := share.CutVersion(components); ok {
		return p.old(ctx, rest, version)
	}
	o, err := p.Allow(share.Read)
	if err != nil {
		return nil, err
	}
	path, err := share.ParsePath(components)
	if err != nil {
		return nil, err
	}
	f, err := o.FS.Open(ctx, path)
	if err != nil {
		return nil, FileError(err)
	}
	if err := settle(ctx, path, f); err != nil {
		f.Close()
		return nil, err
	}
	return p.given(o, path, f, false), nil
}

// given opens a file, or an old version of it, to whoever reads it.
func (p bytesPass) given(o Offer, path share.Path, f share.OpenFile, old bool) *givenFile {
	g := &givenFile{openFile: openFile{f}, pass: p.Pass, offer: o, of: live.Reading{Who: p.grant.Holder, Of: o.ID, Path: path, Old: old}}
	p.gate.reads.Begin(g.of)
	return g
}

func (p bytesPass) old(ctx context.Context, components []string, version string) (serve.File, error) {
	o, err := p.Allow(share.Full)
	if err != nil {
		return nil, err
	}
	path, err := share.ParsePath(components)
	if err != nil {
		return nil, err
	}
	if o.Old == nil {
		return nil, refused()
	}
	f, err := o.Old(ctx, path, version)
	if err != nil {
		return nil, FileError(err)
	}
	return &oldFile{p.given(o, path, f, true)}, nil
}

// oldFile is an old version of a file.
type oldFile struct{ *givenFile }

// ReadAt reads while the full right holds.
func (f *oldFile) ReadAt(b []byte, off int64) (int, error) {
	if _, err := f.pass.Allow(share.Full); err != nil {
		return 0, err
	}
	return f.givenFile.ReadAt(b, off)
}

// givenFile is a file of which it is written down how much somebody read.
type givenFile struct {
	openFile
	pass  *Pass
	offer Offer
	of    live.Reading

	sent  int64
	asked bool
}

// Sent counts what goes out.
func (f *givenFile) Sent(n int64) {
	f.sent += n
	f.asked = true
}

// Close writes it down, if anything was read. What was cut off in its midst, since the right ended, was not read but cancelled.
func (f *givenFile) Close() error {
	kind, need := audit.KindRead, share.Read
	if f.of.Old {
		kind, need = audit.KindVersion, share.Full
	}
	now, err := f.Entry()
	part := err != nil || f.sent < now.Size
	all, last := f.pass.gate.reads.End(f.of, live.State{Sent: f.sent, Asked: f.asked, Ended: f.asked && part && f.pass.Ended(need)})
	switch {
	case !last || !all.Asked:
	case all.Ended && (err != nil || all.Sent < now.Size):
		f.pass.Cancelled(f.offer, f.of.Path, all.Sent, refused(), "the right to it ended while it was read")
	default:
		e := audit.Event{Kind: kind, Path: f.of.Path.String(), Bytes: all.Sent, Result: audit.OK}
		if err == nil {
			e.After = VersionText(now.Version)
		}
		f.pass.Record(f.offer, e)
	}
	return f.openFile.Close()
}

// FileError is what a peer is told of a file that its owner's system does not let us read. [peer.Denied] is about rights
// alone, so that whoever gets it knows that the right to the share is gone.
func FileError(err error) error {
	var e *peer.Error
	if errors.As(err, &e) && e.Kind == peer.Denied {
		return &peer.Error{Op: e.Op, Path: e.Path, Kind: peer.Other, Err: e.Err, Hint: e.Hint}
	}
	return err
}

// settler is a file that knows whether it changed so lately that its version does not prove its bytes yet.
type settler interface {
	Settled(now time.Time) (share.Entry, bool, error)
}

// settleTime is how long a file may take to settle: a few kernel ticks, or the seconds by which FAT counts.
const settleTime = 4 * time.Second

// settle waits until equal versions mean equal bytes, so that who reads a file never gets a mix of two versions.
func settle(ctx context.Context, path share.Path, f share.OpenFile) error {
	s, ok := f.(settler)
	if !ok {
		return nil
	}
	for start := time.Now(); ; {
		_, settled, err := s.Settled(time.Now())
		if settled || err != nil {
			return err
		}
		if time.Since(start) > settleTime {
			return &peer.Error{Op: "open", Path: path.String(), Kind: peer.Conflict, Err: errors.New("the file changes all the time"), Hint: "run it again later"}
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// openFile tells the state of a file in the words of transfer.
type openFile struct{ share.OpenFile }

func (f openFile) State() (transfer.State, error) {
	e, err := f.Entry()
	return transfer.State{Size: e.Size, ModTime: e.ModTime, Version: e.Version}, err
}
