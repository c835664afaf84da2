// Package serve lets others in to the shares of this peer and answers what they ask: who we are and what we offer, logins,
// listings. Every answer goes through the [Gate].
package serve

import (
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
	"github.com/peerd/peerd/share/sharepb"
)

// Offer is one share as it is right now.
type Offer struct {
	share.Info
	Hidden      bool
	Epochs      grant.Epochs
	Credentials func() (auth.Credentials, error) // of both slots
	FS          share.Files
}

// Offers are the shares of this peer.
type Offers interface {
	// Named finds a share by its name, whatever the case of its letters.
	Named(name string) (Offer, bool)
	// ByID finds a share by its ID.
	ByID(id share.ID) (Offer, bool)
	// Listed are the shares that are not hidden, in the order of their names, and a number that changes with them.
	Listed() ([]share.Info, uint64)
}

// Gate decides who may do what, from signed grants and the shares as they are. It is safe for concurrent use.
type Gate struct {
	key    crypto.PrivKey
	self   peer.ID
	offers Offers
	now    func() time.Time
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

func refused() error { return &peer.Error{Op: "enter share", Kind: peer.Denied, Err: errRefused} }

// Need is the right that a verb takes. A verb that is not named here takes more than anybody has.
func Need(v sharepb.Verb) share.Right {
	switch v {
	case sharepb.Verb_VERB_STAT, sharepb.Verb_VERB_LIST, sharepb.Verb_VERB_WALK:
		return share.Read
	}
	return share.Full + 1
}

// Pass is a grant that was found good, with the share that it is for.
type Pass struct {
	gate  *Gate
	grant grant.Grant
}

// Enter opens what a peer shows as its grant for a share.
func (g *Gate) Enter(sealed []byte, holder peer.ID, id share.ID) (*Pass, error) {
	gr, err := grant.Open(sealed, g.self)
	if err != nil {
		return nil, refused()
	}
	if gr.Share != id || gr.Holder != holder {
		return nil, refused()
	}
	p := &Pass{gate: g, grant: gr}
	if _, err := p.Allow(share.Read); err != nil {
		return nil, err
	}
	return p, nil
}

// Allow is asked before every answer: the share, if the grant gives the right for it now.
func (p *Pass) Allow(need share.Right) (Offer, error) {
	offer, ok := p.gate.offers.ByID(p.grant.Share)
	if !ok {
		return Offer{}, refused()
	}
	want := grant.Want{Share: offer.ID, Holder: p.grant.Holder, Need: need, Epochs: offer.Epochs, Now: p.gate.now()}
	if err := grant.Check(p.grant, want); err != nil {
		return Offer{}, refused()
	}
	return offer, nil
}

// issue makes a grant.
func (g *Gate) issue(o Offer, holder peer.ID, r share.Right, life time.Duration) (grant.Grant, error) {
	serial, err := grant.NewSerial(rand.Reader)
	if err != nil {
		return grant.Grant{}, err
	}
	now := g.now().Truncate(time.Second)
	return grant.Grant{
		Share: o.ID, Holder: holder, Right: r, Epoch: o.Epochs.Of(r),
		NotBefore: now, Expires: now.Add(life), Serial: serial,
	}, nil
}

func (g *Gate) sealGrant(o Offer, holder peer.ID, r share.Right) ([]byte, error) {
	gr, err := g.issue(o, holder, r, grant.MaxLife)
	if err != nil {
		return nil, err
	}
	return gr.Seal(g.key)
}

func (g *Gate) sealTicket(o Offer, holder peer.ID, r share.Right) ([]byte, error) {
	gr, err := g.issue(o, holder, r, grant.MaxTicketLife)
	if err != nil {
		return nil, err
	}
	return grant.Ticket(gr).Seal(g.key)
}

// exchange gives the grant that a ticket stands for.
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
	if grant.CheckTicket(t, want) != nil {
		return nil, refused()
	}
	return g.sealGrant(o, holder, t.Right)
}
