// Package grant is about what the owner of a share says in writing: "this peer has this right on this share in this
// epoch". A [Grant] says it for minutes and opens streams at the owner and at every source; a [Ticket] says it for days
// and is only ever exchanged for grants, at the owner.
//
// Both are Ed25519-signed libp2p envelopes over one fixed record, bound to their holder, so whoever steals one can do
// nothing with it. [Check] is the one place that decides whether somebody may do something. There is no clock, goroutine
// or network in here.
package grant

import (
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
)

// How long a grant and a ticket live at most, which is also how long a source that is cut off from the owner may go on
// honouring them after a password changed. Checked when they are made, opened and used.
const (
	MaxLife       = 10 * time.Minute
	MaxTicketLife = 30 * 24 * time.Hour
)

// Serial tells grants apart. The bytes of an envelope don't: protobuf has many encodings of one message. Its first bit says
// by what the grant was given: 1 if the owner allowed the device, 0 if by a slot.
type Serial [8]byte

// deviceBit is the first bit of a serial.
const deviceBit = 0x80

func (s Serial) String() string { return hex.EncodeToString(s[:]) }

// Device reports whether the grant was given since the owner allowed the device: it holds for as long as that does.
func (s Serial) Device() bool { return s[0]&deviceBit != 0 }

// NewSerial draws a serial from random, of a grant that was given to a device or by a slot.
func NewSerial(random io.Reader, device bool) (Serial, error) {
	var s Serial
	if _, err := io.ReadFull(random, s[:]); err != nil {
		return Serial{}, fmt.Errorf("draw a serial: %w", err)
	}
	if s[0] &^= deviceBit; device {
		s[0] |= deviceBit
	}
	return s, nil
}

// Grant is the statement "Holder has Right on Share in Epoch", true from NotBefore until just before Expires. Times
// count in whole seconds once it is sealed.
type Grant struct {
	Share     share.ID
	Holder    peer.ID
	Right     share.Right
	Epoch     uint64 // of Right, see [Epochs]
	NotBefore time.Time
	Expires   time.Time
	Serial    Serial
}

// Ticket is a grant in its long-lived form. It is a type of its own so that nothing but [CheckTicket] can take it for a
// right.
type Ticket Grant

// Seal signs the grant with the owner's key. It fails on a grant that no [Check] could ever accept.
func (g Grant) Seal(owner crypto.PrivKey) ([]byte, error) { return seal(grantRecord, g, owner) }

// Seal signs the ticket with the owner's key. It fails on a ticket that no [CheckTicket] could ever accept.
func (t Ticket) Seal(owner crypto.PrivKey) ([]byte, error) {
	return seal(ticketRecord, Grant(t), owner)
}

// Open reads a sealed grant that signer, the pinned owner of the share, has signed. It says nothing of who may use it:
// that is for [Check]. Its errors are of kind [peer.Denied] with a [Reason].
func Open(sealed []byte, signer peer.ID) (Grant, error) { return open(grantRecord, sealed, signer) }

// OpenTicket is to tickets what [Open] is to grants.
func OpenTicket(sealed []byte, signer peer.ID) (Ticket, error) {
	g, err := open(ticketRecord, sealed, signer)
	return Ticket(g), err
}
