package serve

import (
	"context"
	"crypto/hmac"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/serve/live"
	"github.com/peerd/peerd/share/sharepb"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/seed"
	"github.com/peerd/peerd/transfer/serve"
)

// skew is how far the clocks of an owner and of a seed may be apart before the seed serves nobody.
const skew = 2 * time.Minute

// Seeds lets others in to what this peer fetched from the shares of others, by grants of the shares' owners. It knows an
// epoch by the grants that it is shown and by what the owner tells it, so that a right which the owner took away ends here
// when either arrives, and with the grant's life at the latest; and whom the owner denies by its word alone. It is safe for
// concurrent use.
type Seeds struct {
	shelf Shelf
	own   func(ctx context.Context, owner peer.ID, name string) ([]byte, error)
	now   func() time.Time

	runs live.Runs

	mu     sync.Mutex
	states map[seed.Share]State
}

// State is what the owner of a share says of rights to it.
type State struct {
	Epochs grant.Epochs
	Denied map[peer.ID]bool // whatever they were granted
	Serial uint64           // of Denied: the later list counts
}

// MaxDenied is how many peers a [State] denies at most.
const MaxDenied = 2048

// merged is a state after a later word of the owner, or an earlier one that was on its way for longer: that one may have been
// taken back in what it denies, and is heeded nevertheless.
func (s State) merged(told State) State {
	out := State{
		Epochs: grant.Epochs{Read: max(s.Epochs.Read, told.Epochs.Read), Full: max(s.Epochs.Full, told.Epochs.Full)},
		Denied: maps.Clone(told.Denied), Serial: max(s.Serial, told.Serial),
	}
	if told.Serial < s.Serial {
		if out.Denied == nil {
			out.Denied = make(map[peer.ID]bool)
		}
		maps.Copy(out.Denied, s.Denied)
	}
	return out
}

// Shelf is what was fetched.
type Shelf interface {
	Shares() []seed.Known
	Open(f transfer.File) (serve.Partial, error)
}

var (
	_ serve.Authorizer = (*Seeds)(nil)
	_ serve.Topics     = (*Seeds)(nil)
	_ serve.Ender      = (*seedPass)(nil)
)

// NewSeeds makes the gate to what is on a shelf. own gives this peer's own grant for a share.
func NewSeeds(shelf Shelf, own func(ctx context.Context, owner peer.ID, name string) ([]byte, error), now func() time.Time) *Seeds {
	return &Seeds{shelf: shelf, own: own, now: now, states: make(map[seed.Share]State)}
}

// Enter opens what a peer shows as its grant for a share. Of several owners whose shares have the same ID it is the one
// who signed.
func (s *Seeds) Enter(sealed []byte, holder peer.ID, id transfer.ShareID) (serve.Pass, error) {
	for _, k := range s.shelf.Shares() {
		if k.ID != id {
			continue
		}
		g, err := grant.Open(sealed, k.Owner)
		if err != nil || g.Share != id || g.Holder != holder {
			continue
		}
		p := &seedPass{seeds: s, share: k.Share, grant: g}
		s.change(k.Share, func(st State) State {
			st.Epochs = st.Epochs.Raised(g)
			return st
		})
		if err := p.Check(); err != nil {
			return nil, err
		}
		return p, nil
	}
	return nil, refused()
}

// Tell takes in what the owner of a share says of rights to it.
func (s *Seeds) Tell(sh seed.Share, told State) {
	s.change(sh, func(st State) State { return st.merged(told) })
}

func (s *Seeds) change(sh seed.Share, how func(State) State) {
	s.mu.Lock()
	before := s.states[sh]
	after := how(before)
	s.states[sh] = after
	s.mu.Unlock()
	if after.Epochs != before.Epochs || !maps.Equal(after.Denied, before.Denied) {
		s.runs.Recheck()
	}
}

// StateProtocol is how the owner of a share tells those who give on its files that rights ended: one ShareState.
const StateProtocol = "/peerd/state/1"

// maxState is the largest ShareState, in bytes, and stateTime how long it may take.
const (
	maxState  = 128 + MaxDenied*40
	stateTime = 10 * time.Second
)

// Message is what is sent of a state.
func (s State) Message(id share.ID) *sharepb.ShareState {
	m := &sharepb.ShareState{Share: id[:], EpochRead: s.Epochs.Read, EpochFull: s.Epochs.Full, Serial: s.Serial}
	for _, who := range slices.Sorted(maps.Keys(s.Denied)) {
		m.Denied = append(m.Denied, []byte(who))
	}
	return m
}

// State is the handler of [StateProtocol]. Only the owner of a share is believed, of that share.
func (s *Seeds) State(_ context.Context, st peer.Stream) error {
	if err := st.SetDeadline(time.Now().Add(stateTime)); err != nil {
		return err
	}
	var m sharepb.ShareState
	if err := wire.NewReaderSize(st, 1<<10).ReadMsg(&m, maxState); err != nil {
		return err
	}
	if len(m.Share) != len(share.ID{}) || len(m.Denied) > MaxDenied {
		return &peer.Error{Op: "read share state", Kind: peer.Usage, Err: errors.New("it names no share, or too many peers")}
	}
	told := State{Epochs: grant.Epochs{Read: m.EpochRead, Full: m.EpochFull}, Serial: m.Serial, Denied: make(map[peer.ID]bool)}
	for _, id := range m.Denied {
		told.Denied[peer.ID(id)] = true
	}
	sh := seed.Share{Owner: st.Peer(), ID: transfer.ShareID(m.Share)}
	if slices.ContainsFunc(s.shelf.Shares(), func(k seed.Known) bool { return k.Share == sh }) {
		s.Tell(sh, told)
	}
	return nil
}

// Grant shows this peer's own right to who names the topic of a share.
func (s *Seeds) Grant(ctx context.Context, topic []byte) ([]byte, error) {
	for _, k := range s.shelf.Shares() {
		if len(k.Secret) > 0 && hmac.Equal(serve.Topic(k.Secret), topic) {
			return s.own(ctx, k.Owner, k.Name)
		}
	}
	return nil, refused()
}

// CheckSource says until when a grant, which another peer shows, makes it a source of a share for others.
func CheckSource(sealed []byte, holder, owner peer.ID, id share.ID, now time.Time) (time.Time, error) {
	g, err := grant.Open(sealed, owner)
	if err != nil {
		return time.Time{}, err
	}
	// Its epoch is not known here: the owner names nobody whose right it took away.
	epochs := grant.Epochs{}.Raised(g)
	return g.Expires, grant.Check(g, grant.Want{Share: id, Holder: holder, Need: share.Read, Epochs: epochs, Now: lenient(g, now)})
}

// lenient is the time that a grant is checked at by somebody else than its owner, whose clock may go before ours.
func lenient(g grant.Grant, now time.Time) time.Time {
	if now.Before(g.NotBefore) && g.NotBefore.Sub(now) <= skew {
		return g.NotBefore
	}
	return now
}

// seedPass is a grant that was found good.
type seedPass struct {
	seeds *Seeds
	share seed.Share
	grant grant.Grant
}

// Owner is the share's.
func (p *seedPass) Owner() peer.ID { return p.share.Owner }

// Check says whether files may still be read.
func (p *seedPass) Check() error {
	p.seeds.mu.Lock()
	st := p.seeds.states[p.share]
	p.seeds.mu.Unlock()
	want := grant.Want{Share: p.share.ID, Holder: p.grant.Holder, Need: share.Read, Epochs: st.Epochs, Now: lenient(p.grant, p.seeds.now())}
	if grant.Check(p.grant, want) != nil || st.Denied[p.grant.Holder] {
		return refused()
	}
	return nil
}

// OnEnd says when files may be read no more.
func (p *seedPass) OnEnd(end func()) (stop func()) {
	return p.seeds.runs.Add(func() bool { return p.Check() == nil }, end)
}

// Open opens a file of the share that was fetched.
func (p *seedPass) Open(_ context.Context, components []string, v transfer.Version) (serve.File, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	if _, err := share.ParsePath(components); err != nil {
		return nil, err
	}
	return p.seeds.shelf.Open(transfer.File{Owner: p.share.Owner, Share: p.share.ID, Path: components, Version: v})
}

// Either lets in who is let in by one or the other.
func Either(first, second serve.Authorizer) serve.Authorizer { return either{first, second} }

type either struct{ first, second serve.Authorizer }

// Enter asks both.
func (e either) Enter(sealed []byte, holder peer.ID, id transfer.ShareID) (serve.Pass, error) {
	if p, err := e.first.Enter(sealed, holder, id); err == nil {
		return p, nil
	}
	return e.second.Enter(sealed, holder, id)
}
