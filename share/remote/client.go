// Package remote is the other side of share/serve: it asks peers who they are and what they offer, logs in to their
// shares, keeps what that gives, and makes a peer's share a [share.FS].
package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/auth"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/remote/given"
	"github.com/peerd/peerd/share/remote/line"
	"github.com/peerd/peerd/share/remote/ticket"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/edit"
	"github.com/peerd/peerd/share/sharepb"
)

// timeout is for everything that is a few messages to a peer and back.
const timeout = 15 * time.Second

// awayPause is how long an owner who can't be reached is not asked for another grant while the old one holds.
const awayPause = 15 * time.Second

// Lines to one peer. Together they are less than it has of a protocol for one peer: a line that was given up takes its place there
// for a moment yet.
const (
	maxLooks   = 4 // what takes a moment
	maxWalks   = 3 // what may take long
	maxChanges = 8 // beside those that last
	lineIdle   = 20 * time.Second
)

// Client asks other peers. It is safe for concurrent use.
type Client struct {
	opener  peer.Opener
	self    peer.ID
	tickets *ticket.Store
	now     func() time.Time

	looks, walks, changes *line.Lines

	argon  sync.Mutex // one password at a time: each takes 64 MiB
	grants *given.Grants
}

// Access is a right that this peer holds in a share.
type Access = given.Access

// NewClient makes a Client of the peer self, which keeps what logins give in tickets.
func NewClient(opener peer.Opener, self peer.ID, tickets *ticket.Store, now func() time.Time) *Client {
	return &Client{
		opener: opener, self: self, tickets: tickets, now: now, grants: given.New(),
		looks: line.New(opener, serve.MetaProtocol, maxLooks, lineIdle), walks: line.New(opener, serve.MetaProtocol, maxWalks, lineIdle),
		changes: line.New(opener, edit.Protocol, maxChanges, lineIdle),
	}
}

// stream opens a stream for a short exchange.
func (c *Client) stream(ctx context.Context, id peer.ID, protocol string) (peer.Stream, *wire.Reader, func(), error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	st, err := c.opener.Open(ctx, id, protocol, 0)
	if err != nil {
		cancel()
		return nil, nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { st.Reset() })
	end := func() {
		stop()
		cancel()
		st.Reset()
	}
	return st, wire.NewReaderSize(st, 4<<10), end, nil
}

// Introduce exchanges introductions with a peer.
func (c *Client) Introduce(ctx context.Context, id peer.ID, ours *sharepb.Hello) (serve.Introduction, error) {
	st, in, end, err := c.stream(ctx, id, serve.InfoProtocol)
	if err != nil {
		return serve.Introduction{}, err
	}
	defer end()
	if err := wire.WriteMsg(st, ours); err != nil {
		return serve.Introduction{}, away("introduce", err)
	}
	var theirs sharepb.Hello
	if err := in.ReadMsg(&theirs, serve.MaxHello); err != nil {
		return serve.Introduction{}, away("introduce", err)
	}
	return serve.IntroductionFrom(&theirs, id), nil
}

// away is an error of a stream that broke. A message that can't be read was not cut short by the network, which proves
// what it carries: the peer made it so.
func away(op string, err error) error {
	var e *peer.Error
	switch {
	case errors.As(err, &e):
		return err
	case errors.Is(err, wire.ErrMalformed), errors.Is(err, wire.ErrTooLong):
		return &peer.Error{Op: op, Kind: peer.Integrity, Err: fmt.Errorf("the peer's answer makes no sense: %w", err)}
	}
	return &peer.Error{Op: op, Kind: peer.Unreachable, Err: err, Hint: `run "peerd doctor"`}
}

// Login proves the knowledge of a password and keeps what the owner gives for it. A wrong password, a wrong share and a
// wrong computer are one error of kind [peer.Denied]; too many tries are one of kind [peer.Busy], with the time to wait.
func (c *Client) Login(ctx context.Context, id peer.ID, name string, password auth.Password) (Access, error) {
	st, in, end, err := c.stream(ctx, id, serve.AuthProtocol)
	if err != nil {
		return Access{}, err
	}
	defer end()
	hello := &sharepb.AuthHello{Share: name, How: &sharepb.AuthHello_Password{Password: true}}
	if err := wire.WriteMsg(st, hello); err != nil {
		return Access{}, away("login", err)
	}
	var which sharepb.AuthShare
	if err := in.ReadMsg(&which, serve.MaxAuthFrame); err != nil {
		return Access{}, away("login", err)
	}
	if len(which.Id) != len(share.ID{}) {
		return Access{}, &peer.Error{Op: "login", Kind: peer.Integrity, Err: errors.New("the share has no ID")}
	}
	access := Access{Peer: id, Share: share.ID(which.Id), Name: name, By: "password"}
	ke3, err := c.exchangeKeys(st, in, access, password)
	if err != nil {
		return Access{}, err
	}
	if err := wire.WriteMsg(st, &sharepb.AuthMessage{Data: ke3}); err != nil {
		return Access{}, away("login", err)
	}
	result, err := readResult(in)
	if err != nil {
		return Access{}, err
	}
	h := new(given.Grant)
	if err := c.accept(h, access, result.Grant, 0); err != nil {
		return Access{}, err
	}
	t, err := grant.OpenTicket(result.Ticket, id)
	if err != nil || t.Holder != c.self || t.Share != access.Share || t.Right != h.Access.Right {
		return Access{}, &peer.Error{Op: "login", Kind: peer.Integrity, Err: errors.New("the ticket is not for us")}
	}
	h.Access.Until, h.Access.Login = t.Expires, t.Right
	access = h.Access
	err = c.tickets.Put(ticket.Ticket{Peer: id, Name: name, Share: t.Share, Right: t.Right, Until: t.Expires, Sealed: result.Ticket})
	c.grants.Of(id, name)
	c.grants.Tell(h, access, c.grants.Turn()) // what was asked before the ticket was there knows nothing of it
	c.grants.Keep(id, name, h)
	return access, err
}

// exchangeKeys runs KE1 and KE2 and gives KE3.
func (c *Client) exchangeKeys(st peer.Stream, in *wire.Reader, a Access, password auth.Password) ([]byte, error) {
	run, ke1, err := auth.Start(auth.Binding{Client: c.self, Server: a.Peer, Share: a.Share}, password)
	if err != nil {
		return nil, err
	}
	defer run.Abandon()
	if err := wire.WriteMsg(st, &sharepb.AuthMessage{Data: ke1}); err != nil {
		return nil, away("login", err)
	}
	var m sharepb.AuthMessage
	if err := in.ReadMsg(&m, serve.MaxAuthFrame); err != nil {
		return nil, away("login", err)
	}
	if m.Refused != nil {
		return nil, resultError(m.Refused)
	}
	c.argon.Lock()
	defer c.argon.Unlock()
	_, ke3, err := run.Finish(m.Data)
	return ke3, err
}

// Logout forgets what a login gave, and reports whether there was anything.
func (c *Client) Logout(id peer.ID, name string) (bool, error) {
	c.Forget(id, name)
	return c.tickets.Remove(id, name)
}

// Forget drops the grants that are held, so that the next use asks the owner anew.
func (c *Client) Forget(id peer.ID, name string) { c.grants.Forget(id, name, c.grants.Turn()) }

// Held is the right that the owner of a share gave last, if it was not forgotten since. It asks nobody and waits for nobody.
func (c *Client) Held(id peer.ID, name string) (Access, bool) {
	return c.grants.Told(id, name)
}

// Access gives the right that this peer has in a share: by what a login gave, else by what is allowed to it or open to all. An error of
// kind [peer.Denied] means that there is none.
func (c *Client) Access(ctx context.Context, id peer.ID, name string) (Access, error) {
	h, err := c.enter(ctx, id, name)
	if err != nil {
		return Access{}, err
	}
	defer h.Mu.Unlock()
	return h.Access, nil
}

// Ask is [Client.Access] by the owner's word of now: what is held is not believed, since the owner may have changed its mind.
// Others use it until the answer is here.
func (c *Client) Ask(ctx context.Context, id peer.ID, name string) (Access, error) {
	c.grants.Of(id, name) // which is not there any more if it is forgotten meanwhile
	h := new(given.Grant)
	if err := c.renew(ctx, h, id, name); err != nil {
		return Access{}, err
	}
	a := h.Access
	c.grants.Keep(id, name, h)
	return a, nil
}

// Grant gives a sealed grant for the share that is good for a while.
func (c *Client) Grant(ctx context.Context, id peer.ID, name string) ([]byte, error) {
	h, err := c.enter(ctx, id, name)
	if err != nil {
		return nil, err
	}
	defer h.Mu.Unlock()
	return h.Sealed, nil
}

// enter gives the held share, locked, with a fresh grant.
func (c *Client) enter(ctx context.Context, id peer.ID, name string) (*given.Grant, error) {
	h := c.grants.Of(id, name)
	h.Mu.Lock()
	if c.now().Before(h.Fresh) {
		return h, nil
	}
	if err := c.renew(ctx, h, id, name); err != nil {
		if now := c.now(); peer.KindOf(err) == peer.Unreachable && now.Before(h.Over) {
			if h.Fresh = now.Add(awayPause); h.Over.Before(h.Fresh) {
				h.Fresh = h.Over
			}
			return h, nil
		}
		h.Mu.Unlock()
		return nil, err
	}
	return h, nil
}

func (c *Client) renew(ctx context.Context, h *given.Grant, id peer.ID, name string) error {
	turn := c.grants.Turn()
	if t, ok := c.tickets.Get(id, name); ok {
		hello := &sharepb.AuthHello{Share: name, How: &sharepb.AuthHello_Ticket{Ticket: t.Sealed}}
		sealed, err := c.ask(ctx, id, hello)
		if err == nil {
			return c.accept(h, Access{Peer: id, Share: t.Share, Name: name, By: "password", Login: t.Right, Until: t.Until}, sealed, turn)
		}
		if peer.KindOf(err) != peer.Denied {
			return err
		}
		// The password was changed, or the ticket is over: it will never be of use again.
		switch was, err := c.tickets.Drop(t); {
		case err != nil:
			return err
		case !was: // there is another one by now
			return c.renew(ctx, h, id, name)
		}
	}
	hello := &sharepb.AuthHello{Share: name, How: &sharepb.AuthHello_Open{Open: true}}
	sealed, err := c.ask(ctx, id, hello)
	if peer.KindOf(err) == peer.Denied {
		c.grants.Forget(id, name, turn)
	}
	if err != nil {
		return err
	}
	return c.accept(h, Access{Peer: id, Name: name, By: "open"}, sealed, turn)
}

// ask runs a login that is one message and its answer.
func (c *Client) ask(ctx context.Context, id peer.ID, hello *sharepb.AuthHello) ([]byte, error) {
	st, in, end, err := c.stream(ctx, id, serve.AuthProtocol)
	if err != nil {
		return nil, err
	}
	defer end()
	if err := wire.WriteMsg(st, hello); err != nil {
		return nil, away("login", err)
	}
	result, err := readResult(in)
	return result.GetGrant(), err
}

// accept takes a grant that is really the owner's and really ours, and was asked for in a turn.
func (c *Client) accept(h *given.Grant, a Access, sealed []byte, turn given.Turn) error {
	g, err := grant.Open(sealed, a.Peer)
	if err == nil && (g.Holder != c.self || (a.Share != share.ID{} && g.Share != a.Share)) {
		err = errors.New("it is not for us")
	}
	if err != nil {
		return &peer.Error{Op: "login", Kind: peer.Integrity, Err: fmt.Errorf("the grant does not hold: %w", err)}
	}
	a.Share, a.Right = g.Share, g.Right
	if g.Serial.Device() {
		a.By, a.Until = "device", time.Time{}
	}
	// By our own clock, whatever the owner's says: its grant lives as long as it says from now on.
	life := g.Expires.Sub(g.NotBefore)
	h.Access, h.Sealed, h.Fresh, h.Over = a, sealed, c.now().Add(life*3/4), c.now().Add(life)
	c.grants.Tell(h, a, turn)
	return nil
}

func readResult(in *wire.Reader) (*sharepb.AuthResult, error) {
	var r sharepb.AuthResult
	if err := in.ReadMsg(&r, serve.MaxAuthFrame); err != nil {
		return nil, away("login", err)
	}
	return &r, resultError(&r)
}

func resultError(r *sharepb.AuthResult) error {
	if r.RetryAfterMs > 0 {
		wait := time.Duration(r.RetryAfterMs) * time.Millisecond
		return &peer.Error{Op: "login", Kind: peer.Busy, Err: errors.New("too many tries"),
			Hint: fmt.Sprintf("try again in %v", wait.Round(time.Second)+time.Second)}
	}
	return wire.ToError(r.Error)
}
