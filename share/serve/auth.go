package serve

import (
	"context"
	"errors"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
	"github.com/peerd/peerd/peer/auth"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/sharepb"
)

// AuthProtocol lets a peer in to a share: by what is open to all or allowed to the device, by a ticket, or by a password.
//
//	C→S AuthHello{share, how}
//	password: S→C AuthShare{id}, C→S AuthMessage{KE1}, S→C AuthMessage{KE2}, C→S AuthMessage{KE3}
//	S→C AuthResult{grant, ticket} or a refusal that is the same whatever was wrong
const AuthProtocol = "/peerd/auth/1"

// Bounds of a login.
const (
	MaxAuthFrame = 4 << 10          // bytes
	authTimeout  = 30 * time.Second // for the whole run
)

// Doorman answers logins.
type Doorman struct {
	gate     *Gate
	dummy    auth.Dummy
	throttle *auth.Throttle
	pace     auth.Pace // of those that guess nothing
}

// NewDoorman makes the Doorman of a gate. Shares that are not there answer by dummy.
func NewDoorman(gate *Gate, dummy auth.Dummy, throttle *auth.Throttle) *Doorman {
	return &Doorman{gate: gate, dummy: dummy, throttle: throttle}
}

// Handle is the handler of [AuthProtocol].
func (d *Doorman) Handle(ctx context.Context, st peer.Stream) error {
	if err := st.SetDeadline(time.Now().Add(authTimeout)); err != nil {
		return err
	}
	in := wire.NewReaderSize(st, 1<<10)
	var hello sharepb.AuthHello
	if err := in.ReadMsg(&hello, MaxAuthFrame); err != nil {
		return err
	}
	if !hello.GetPassword() {
		wait := time.NewTimer(d.pace.Take(time.Now(), st.Peer(), auth.AddrOf(st)))
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	result, err := d.run(&hello, in, st)
	if errors.Is(err, errAnswered) {
		return nil
	}
	if err != nil {
		if peer.KindOf(err) != peer.Denied {
			return err
		}
		result = &sharepb.AuthResult{Error: wire.FromError(refused())}
	}
	if len(result.Grant) > 0 {
		peer.Welcome(st)
	}
	return wire.WriteMsg(st, result)
}

// run gives the result of one login. An error of kind [peer.Denied] is told as a refusal, any other ends the stream.
func (d *Doorman) run(hello *sharepb.AuthHello, in *wire.Reader, st peer.Stream) (*sharepb.AuthResult, error) {
	switch how := hello.How.(type) {
	case *sharepb.AuthHello_Ticket:
		g, err := d.gate.exchange(how.Ticket, st.Peer())
		d.gate.let(st.Peer(), audit.KindGrant, hello.Share, g, byTicket, err)
		return &sharepb.AuthResult{Grant: g}, err
	case *sharepb.AuthHello_Open:
		g, err := d.gate.enterFree(hello.Share, st.Peer())
		d.gate.let(st.Peer(), audit.KindGrant, hello.Share, g, "", err)
		return &sharepb.AuthResult{Grant: g}, err
	case *sharepb.AuthHello_Password:
		result, err := d.password(hello.Share, in, st)
		told := err
		switch {
		case errors.Is(err, errThrottled):
			told = &peer.Error{Kind: peer.Denied, Err: errThrottled}
		case err != nil: // who breaks off before the last message has guessed as well
			told = &peer.Error{Kind: peer.Denied, Err: errors.New("no such password")}
		}
		d.gate.let(st.Peer(), audit.KindLogin, hello.Share, result.GetGrant(), "", told)
		if err == nil {
			d.gate.ticketed(st.Peer(), result.Ticket)
		}
		return result, err
	}
	return nil, &peer.Error{Op: "login", Kind: peer.Usage, Err: errors.New("it does not say how")}
}

// errAnswered ends a run that was refused in its midst, and the other side told so; errThrottled says why, if it is so.
var (
	errAnswered  = errors.New("refused")
	errThrottled = errors.New("too many guesses, it has to wait")
)

// refuse tells the other side, in place of KE2, that it can't go on.
func refuse(st peer.Stream, wait time.Duration) error {
	result := &sharepb.AuthResult{Error: wire.FromError(refused())}
	if wait > 0 {
		result.RetryAfterMs = uint32(min(wait, time.Hour).Milliseconds() + 1)
	}
	if err := wire.WriteMsg(st, &sharepb.AuthMessage{Refused: result}); err != nil {
		return err
	}
	if wait > 0 {
		return errors.Join(errAnswered, errThrottled)
	}
	return errAnswered
}

func (d *Doorman) password(name string, in *wire.Reader, st peer.Stream) (*sharepb.AuthResult, error) {
	id := d.dummy.ShareID(share.FoldKey(name))
	o, known := d.gate.offers.Named(name)
	if known {
		id = o.ID
	}
	if err := wire.WriteMsg(st, &sharepb.AuthShare{Id: id[:]}); err != nil {
		return nil, err
	}
	var m sharepb.AuthMessage
	if err := in.ReadMsg(&m, MaxAuthFrame); err != nil {
		return nil, err
	}
	attempt := auth.Attempt{Share: id, Peer: st.Peer(), Addr: auth.AddrOf(st)}
	run, wait := d.throttle.Charge(d.gate.now(), attempt)
	if run == nil {
		return nil, refuse(st, wait)
	}
	// Read from the disk no sooner than here: how long that takes tells a share that is there from one that is not, and
	// up to here anybody may ask as often as they like.
	credentials := d.dummy.Credentials()
	if known && o.of(st.Peer()).Denied {
		known = false // for a device that is denied no password is the right one
	}
	if known {
		var err error
		if credentials, err = o.Credentials(); err != nil {
			return nil, err
		}
	}
	ke2, pending, err := auth.Respond(auth.Binding{Client: st.Peer(), Server: d.gate.self, Share: id}, credentials, m.Data)
	if err != nil {
		return nil, refuse(st, 0)
	}
	if err := wire.WriteMsg(st, &sharepb.AuthMessage{Data: ke2}); err != nil {
		return nil, err
	}
	if err := in.ReadMsg(&m, MaxAuthFrame); err != nil {
		return nil, err
	}
	slot, err := pending.Check(m.Data)
	if err != nil || !known {
		return nil, refused()
	}
	// A password that was changed while this login ran is no way in any more, nor is any for a device that was denied.
	now, ok := d.gate.offers.ByID(id)
	right := rightOf(slot)
	if !ok || now.Epochs.Of(right) != o.Epochs.Of(right) || now.of(st.Peer()).Denied {
		return nil, refused()
	}
	d.throttle.Succeed(d.gate.now(), run, slot)
	result := new(sharepb.AuthResult)
	if result.Grant, err = d.gate.sealGrant(o, st.Peer(), right, false); err != nil {
		return nil, err
	}
	result.Ticket, err = d.gate.sealTicket(o, st.Peer(), right)
	return result, err
}

func rightOf(s auth.Slot) share.Right {
	switch s {
	case auth.Read:
		return share.Read
	case auth.Full:
		return share.Full
	}
	return share.None
}
