package auditing

import (
	"context"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	shareserve "github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/live"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/seed"
	"github.com/peerd/peerd/transfer/serve"
)

// Seeds has written down what others read of the files that this peer fetched, which their owners can't see. name is what a share of
// another owner is called.
func (b *Book) Seeds(seeds *shareserve.Seeds, name func(seed.Share) string) serve.Authorizer {
	return &seedBook{book: b, seeds: seeds, name: name}
}

type seedBook struct {
	book  *Book
	seeds *shareserve.Seeds
	name  func(seed.Share) string
	reads live.Readings
}

// Enter opens what a peer shows as its grant for a share.
func (s *seedBook) Enter(sealed []byte, holder peer.ID, id transfer.ShareID) (serve.Pass, error) {
	p, err := s.seeds.Enter(sealed, holder, id)
	if err != nil {
		return nil, err
	}
	g, err := grant.Open(sealed, p.Owner())
	if err != nil {
		return nil, err
	}
	return &seedPass{Pass: p, book: s, grant: g}, nil
}

type seedPass struct {
	serve.Pass
	book  *seedBook
	grant grant.Grant
}

var _ serve.Ender = (*seedPass)(nil)

// OnEnd says when files may be read no more.
func (p *seedPass) OnEnd(end func()) (stop func()) { return p.Pass.(serve.Ender).OnEnd(end) }

// Open opens a file of the share that was fetched.
func (p *seedPass) Open(ctx context.Context, components []string, v transfer.Version) (serve.File, error) {
	f, err := p.Pass.Open(ctx, components, v)
	if err != nil {
		return nil, err
	}
	file, ok := f.(serve.Partial)
	path, err := share.ParsePath(components)
	if !ok || err != nil {
		f.Close()
		return nil, &peer.Error{Op: "open", Kind: peer.NotFound}
	}
	s := &seedFile{Partial: file, pass: p, version: v, key: live.Reading{Who: p.grant.Holder, Of: p.grant.Share, Path: path}}
	p.book.reads.Begin(s.key)
	return s, nil
}

// seedFile is a file of which it is written down how much somebody read.
type seedFile struct {
	serve.Partial
	pass    *seedPass
	version transfer.Version
	key     live.Reading
	sent    int64
}

// Sent counts what goes out.
func (f *seedFile) Sent(n int64) { f.sent += n }

// Close writes it down, if anything was read, once for all streams that read the file at the time.
func (f *seedFile) Close() error {
	b, g := f.pass.book, f.pass.grant
	if all, last := b.reads.End(f.key, live.State{Sent: f.sent}); last && all.Sent > 0 {
		owner := f.pass.Owner()
		b.book.about(g.Holder, audit.Event{
			Kind: audit.KindRead, Share: b.name(seed.Share{Owner: owner, ID: g.Share}), ShareID: g.Share.String(), Path: f.key.Path.String(),
			Right: g.Right.String(), Epoch: g.Epoch, Serial: g.Serial.String(), Bytes: all.Sent, After: shareserve.VersionText(f.version),
			Result: audit.OK, Why: "given on for its owner " + owner.String(),
		})
	}
	return f.Partial.Close()
}
