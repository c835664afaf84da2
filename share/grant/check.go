package grant

import (
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
)

// Reason is why a grant or ticket does not hold, for the audit and for a client that has to choose between renewing and
// logging in again. Compare with errors.Is.
type Reason string

// The reasons.
const (
	ErrForm    Reason = "malformed"
	ErrSigner  Reason = "not signed by the share's owner"
	ErrLife    Reason = "made to live too long"
	ErrShare   Reason = "made for another share"
	ErrHolder  Reason = "made for another peer"
	ErrRight   Reason = "the right is too low"
	ErrRevoked Reason = "revoked" // the epoch is not the present one: log in again
	ErrEarly   Reason = "not valid yet; compare the clocks"
	ErrExpired Reason = "expired" // renew it
)

func (r Reason) Error() string { return string(r) }

// Epochs are the present epochs of a share, one per right. Raising one revokes every grant and ticket of that right and
// leaves the other right in peace. 0 is no epoch: nobody has the right.
type Epochs struct{ Read, Full uint64 }

// Of is the epoch of one right.
func (e Epochs) Of(r share.Right) uint64 {
	switch r {
	case share.Read:
		return e.Read
	case share.Full:
		return e.Full
	}
	return 0
}

// Raised is e with what a grant proves, which must come from [Open]: an epoch that the owner has signed is the present
// one at least. So a source that missed a change of password learns of it by the first new grant.
func (e Epochs) Raised(g Grant) Epochs {
	switch g.Right {
	case share.Read:
		e.Read = max(e.Read, g.Epoch)
	case share.Full:
		e.Full = max(e.Full, g.Epoch)
	}
	return e
}

// NextEpoch is the epoch after prev: the Unix time, so that an owner whose registry came back from a backup does not
// issue an old epoch again, but prev + 1 at least.
func NextEpoch(prev uint64, now time.Time) uint64 {
	return max(prev+1, uint64(max(0, now.Unix())))
}

// Want is what somebody wants to do, as the side that is asked knows it.
type Want struct {
	Share  share.ID
	Holder peer.ID     // who asks, proven by the connection's handshake
	Need   share.Right // what it takes; None is refused, so a verb that nobody gave a right is closed
	Epochs Epochs
	Now    time.Time
}

// Check is the choke point: nil if the grant, which must come from [Open], gives the right for what is wanted, and else
// an error of kind [peer.Denied] with a [Reason]. It looks at the time, so it is asked again on every request.
func Check(g Grant, w Want) error { return check(grantRecord, g, w) }

// CheckTicket decides whether a ticket, which must come from [OpenTicket], may be exchanged for a grant of w.Need.
func CheckTicket(t Ticket, w Want) error { return check(ticketRecord, Grant(t), w) }

func check(k kind, g Grant, w Want) error {
	if r := reason(k, g, w); r != "" {
		return &peer.Error{Op: "check " + k.String(), Kind: peer.Denied, Err: r}
	}
	return nil
}

func reason(k kind, g Grant, w Want) Reason {
	switch {
	case g.Share != w.Share:
		return ErrShare
	case g.Holder == "" || g.Holder != w.Holder:
		return ErrHolder
	case g.Right != share.Read && g.Right != share.Full, w.Need != share.Read && w.Need != share.Full, g.Right < w.Need:
		return ErrRight
	case g.Epoch == 0 || g.Epoch != w.Epochs.Of(g.Right):
		return ErrRevoked
	case g.Expires.Sub(g.NotBefore) > k.life():
		return ErrLife
	case w.Now.Before(g.NotBefore):
		return ErrEarly
	case !w.Now.Before(g.Expires):
		return ErrExpired
	}
	return ""
}
