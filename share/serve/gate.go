// Package serve lets others in to the shares of this peer and answers what they ask: who we are and what we offer, logins,
// listings. Every answer goes through the [Gate].
package serve

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/peer"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/auth"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/serve/live"
	"github.com/peerd/peerd/share/sharepb"
)

// Offer is one share as it is right now.
type Offer struct {
	share.Info
	Hidden      bool
	Epochs      grant.Epochs
	Credentials func() (auth.Credentials, error) // of both slots
	FS          share.Files
	// Old opens a version that was replaced or removed; nil where none are kept.
	Old      func(ctx context.Context, p share.Path, version string) (share.OpenFile, error)
	Standing func(peer.ID) Standing // nil: nothing is said of any device
	// Space is how many bytes the share may hold, and how many more a peer may put there; nil and 0 where nobody can tell.
	Space func(ctx context.Context, who peer.ID) (total, free int64, err error)
}

// Standing is what an owner says of one device, beside what it says of everybody.
type Standing struct {
	Allowed   share.Right // without a password
	Denied    bool        // whatever it knows and was granted
	Suspended bool        // it reads at most
}

// of is what is said of a device.
func (o Offer) of(who peer.ID) Standing {
	if o.Standing == nil {
		return Standing{}
	}
	return o.Standing(who)
}

// Free is the right that the device has without a password, where open is what everybody has, and whether it has it alone.
func (st Standing) Free(open share.Right) (right share.Right, device bool) {
	if st.Denied {
		return share.None, false
	}
	right, device = max(open, st.Allowed), st.Allowed > open
	if st.Suspended {
		right = min(right, share.Read)
	}
	return right, device
}

// Offers are the shares of this peer.
type Offers interface {
	// Named finds a share by its name, whatever the case of its letters.
	Named(name string) (Offer, bool)
	// ByID finds a share by its ID.
	ByID(id share.ID) (Offer, bool)
	// Listed are the shares that are not hidden, in the order of their names, with what a device has without a password (the
	// zero ID is anybody's), and a number that changes with what anybody has.
	Listed(to peer.ID) ([]share.Info, uint64)
}

// Gate decides who may do what, from signed grants and the shares as they are. It is safe for concurrent use.
type Gate struct {
	key    crypto.PrivKey
	self   peer.ID
	offers Offers
	now    func() time.Time
	runs   live.Runs
	reads  live.Readings
	audit  Audit
}

// NewGate makes the gate of the peer with this key.
func NewGate(key crypto.PrivKey, offers Offers, now func() time.Time) (*Gate, error) {
	self, err := core.IDFromPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return &Gate{key: key, self: self, offers: offers, now: now}, nil
}

// secret is what those who may read a share know of it and nobody else does: it ends when a right does.
func (g *Gate) secret(o Offer) []byte {
	raw, err := g.key.Raw()
	if err != nil {
		return nil
	}
	info := fmt.Sprintf("peerd share secret/1 %s %d %d", o.ID, o.Epochs.Read, o.Epochs.Full)
	secret, err := hkdf.Key(sha256.New, raw, nil, info, sha256.Size)
	if err != nil {
		return nil
	}
	return secret
}

// errRefused is all that a stranger is told: not whether it is the share, the slot or the password.
var errRefused = errors.New("no right to this share")

// Refused is what everybody is told that has no right, whatever the reason.
func Refused() error { return refused() }

func refused() error { return &peer.Error{Op: "enter share", Kind: peer.Denied, Err: errRefused} }

// Need is the right that a verb takes. A verb that is not named here takes more than anybody has.
func Need(v sharepb.Verb) share.Right {
	switch v {
	case sharepb.Verb_VERB_STAT, sharepb.Verb_VERB_LIST, sharepb.Verb_VERB_WALK, sharepb.Verb_VERB_SPACE:
		return share.Read
	}
	return share.Full + 1
}

// Pass is a grant that was found good, with the share that it is for.
type Pass struct {
	gate  *Gate
	grant grant.Grant
	since time.Time // when it was found good
}

// Enter opens what a peer shows as its grant for a share.
func (g *Gate) Enter(sealed []byte, holder peer.ID, id share.ID) (*Pass, error) {
	gr, err := grant.Open(sealed, g.self)
	switch {
	case err != nil:
		g.refuse(holder, id, "it shows no grant of ours")
		return nil, refused()
	case gr.Share != id || gr.Holder != holder:
		g.refuse(holder, id, "its grant is for somebody or something else")
		return nil, refused()
	}
	p := &Pass{gate: g, grant: gr, since: g.now()}
	if _, err := p.Allow(share.Read); err != nil {
		g.refuse(holder, id, "its grant is over")
		return nil, err
	}
	return p, nil
}

// Allow is asked before every answer: the share, if the grant gives the right for it now.
func (p *Pass) Allow(need share.Right) (Offer, error) { return p.at(p.gate.now(), need) }

// Holds is Allow for what began when Allow said yes and goes on: a right that was taken back ends it, the age of the grant does
// not.
func (p *Pass) Holds(need share.Right) (Offer, error) { return p.at(p.since, need) }

func (p *Pass) at(now time.Time, need share.Right) (Offer, error) {
	offer, ok := p.gate.offers.ByID(p.grant.Share)
	if !ok {
		return Offer{}, refused()
	}
	want := grant.Want{Share: offer.ID, Holder: p.grant.Holder, Need: need, Epochs: offer.Epochs, Now: now}
	if err := grant.Check(p.grant, want); err != nil || !offer.stands(p.grant, need) {
		return Offer{}, refused()
	}
	if p.gate.audit.May != nil {
		if err := p.gate.audit.May(need); err != nil {
			return Offer{}, err
		}
	}
	return offer, nil
}

// stands reports whether what the owner says now of the holder of a grant, which holds, lets it have a right.
func (o Offer) stands(g grant.Grant, need share.Right) bool {
	st := o.of(g.Holder)
	switch {
	case st.Denied, st.Suspended && need > share.Read:
		return false
	case g.Serial.Device():
		return max(st.Allowed, o.Open) >= need
	}
	return true
}

// OnEnd has end called once, from any goroutine, when the grant gives a right no more for another reason than its age, as
// [Gate.Recheck] finds out, or at once if it does not now. stop takes that back; a call that runs may then still go on.
func (p *Pass) OnEnd(need share.Right, end func()) (stop func()) {
	return p.gate.runs.Add(func() bool {
		_, err := p.Holds(need)
		return err == nil
	}, end)
}

// Recheck ends what runs by rights that are no more. It is called when shares changed.
func (g *Gate) Recheck() { g.runs.Recheck() }

// issue makes a grant, since the device is allowed it or by a slot.
func (g *Gate) issue(o Offer, holder peer.ID, r share.Right, device bool, life time.Duration) (grant.Grant, error) {
	serial, err := grant.NewSerial(rand.Reader, device)
	if err != nil {
		return grant.Grant{}, err
	}
	now := g.now().Truncate(time.Second)
	return grant.Grant{
		Share: o.ID, Holder: holder, Right: r, Epoch: o.Epochs.Of(r),
		NotBefore: now, Expires: now.Add(life), Serial: serial,
	}, nil
}

func (g *Gate) sealGrant(o Offer, holder peer.ID, r share.Right, device bool) ([]byte, error) {
	gr, err := g.issue(o, holder, r, device, grant.MaxLife)
	if err != nil {
		return nil, err
	}
	return gr.Seal(g.key)
}

func (g *Gate) sealTicket(o Offer, holder peer.ID, r share.Right) ([]byte, error) {
	gr, err := g.issue(o, holder, r, false, grant.MaxTicketLife)
	if err != nil {
		return nil, err
	}
	return grant.Ticket(gr).Seal(g.key)
}

// enterFree gives a grant for what a device has without a password.
func (g *Gate) enterFree(name string, holder peer.ID) ([]byte, error) {
	o, ok := g.offers.Named(name)
	if !ok {
		return nil, refused()
	}
	right, device := o.of(holder).Free(o.Open)
	if right == share.None {
		return nil, refused()
	}
	return g.sealGrant(o, holder, right, device)
}

// exchange gives the grant that a ticket stands for, or one for what the device has without it if that is more.
func (g *Gate) exchange(sealed []byte, holder peer.ID) ([]byte, error) {
	t, err := grant.OpenTicket(sealed, g.self)
	if err != nil {
		return nil, refused()
	}
	o, ok := g.offers.ByID(t.Share)
	if !ok {
		return nil, refused()
	}
	want := grant.Want{Share: o.ID, Holder: holder, Need: t.Right, Epochs: o.Epochs, Now: g.now()}
	st := o.of(holder)
	if grant.CheckTicket(t, want) != nil || st.Denied {
		return nil, refused()
	}
	if right, device := st.Free(o.Open); device && right > t.Right {
		return g.sealGrant(o, holder, right, true)
	}
	right := t.Right
	if st.Suspended {
		right = min(right, share.Read)
	}
	return g.sealGrant(o, holder, right, false)
}
