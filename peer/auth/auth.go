// Package auth proves that somebody knows the password of a share, without telling anything to a peer that does not: the
// OPAQUE protocol of RFC 9807 as messages in, messages out. There is no clock, goroutine or network in here; randomness
// is the operating system's.
//
// A share has two slots, for the read and the full password. Both are always registered and both are answered in every
// run, so a run looks the same whether they are set or not, and whether there is such a share at all ([Dummy]):
//
//	client                                server
//	Start        -- KE1 -->              Throttle.Charge, Respond
//	Finish       <-- KE2 --
//	             -- KE3 -->              Pending.Check, Throttle.Succeed
//
// Who fails learns one thing: that this one password is wrong. An impostor that plays the server learns no more than
// that of a password it guessed beforehand, and a stolen record can neither log in nor be guessed at without the server's
// keys, which are stored apart.
package auth

import (
	"encoding/binary"

	"github.com/peerd/peerd/peer"
)

// ShareID names a share; it is part of all that is hashed, so a record or a run of one share is worth nothing at another.
type ShareID = [16]byte

// Slot is where a password is set. The numbers are those of the rights, and hashed into every record: they never change.
type Slot uint8

// The slots.
const (
	Read Slot = 1
	Full Slot = 2
)

func (s Slot) String() string {
	switch s {
	case Read:
		return "read"
	case Full:
		return "full"
	}
	return "none"
}

// slots in the order in which they stand in KE1 and KE2.
func slots() [2]Slot { return [2]Slot{Read, Full} }

// Sizes of the messages in bytes: KE1 and KE2 of both slots, KE3 of the one that opened.
const (
	KE1Size = 2 * ke1Size
	KE2Size = 2 * ke2Size
	KE3Size = 64

	ke1Size = 32 + 32 + 32
	ke2Size = 32 + 32 + 32 + 96 + 32 + 32 + 64
)

// failure is an error that can be compared.
type failure string

func (f failure) Error() string { return string(f) }

const (
	// ErrWrong is the cause of a login that failed: on the client the password opened no slot or the server is not what
	// it says, on the server KE3 is wrong. Nobody can know more than that.
	ErrWrong failure = "wrong password, or not the computer you think"
	// ErrMessage is the cause when a message is no message of this protocol.
	ErrMessage failure = "malformed login message"
)

// Binding says between whom and about what a run is. Client and server each fill it from the authenticated connection,
// never from a message: a node in the middle has another ID on each leg, and the run fails.
type Binding struct {
	Client, Server peer.ID
	Channel        []byte // reserved for a binding to the channel; empty in this version
	Share          ShareID
}

// context is what OPAQUE mixes into the key exchange (RFC 9807 section 6.4).
func (b Binding) context() ([]byte, error) {
	if b.Client == "" || b.Server == "" || len(b.Channel) > 255 {
		return nil, &peer.Error{Op: "login", Kind: peer.Usage, Err: failure("a login needs the IDs of both peers")}
	}
	return join("peerd/share-auth/1", []byte(b.Client), []byte(b.Server), b.Channel, b.Share[:]), nil
}

// join encodes fields without ambiguity: each after its length in two bytes.
func join(label string, fields ...[]byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(label)))
	b = append(b, label...)
	for _, f := range fields {
		b = binary.BigEndian.AppendUint16(b, uint16(len(f)))
		b = append(b, f...)
	}
	return b
}

// passwordInput is what OPAQUE takes for the password (RFC 9807 section 10.1 wants the identities in it that are known at
// registration): one password in two slots or shares is two inputs.
func passwordInput(share ShareID, slot Slot, password []byte) []byte {
	return join("peerd/pw/1", share[:], []byte{byte(slot)}, password)
}

// credentialID gives every slot of every share an OPRF key of its own, even under one seed (RFC 9807 section 10.1).
func credentialID(share ShareID, slot Slot) []byte {
	return join("peerd/credential/1", share[:], []byte{byte(slot)})
}
