package grant

import (
	"encoding/binary"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/crypto/pb"
	core "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
)

// MaxSealed is the size of a sealed grant or ticket that is looked at, in bytes; a real one has about 210. The decoder of
// envelopes knows no limit of its own.
const MaxSealed = 1 << 10

// The record, all integers big-endian:
//
//	version 1 · share 16 · right 1 · epoch 8 · not before 8 · expires 8 · serial 8 · holder 38
//
// Times are Unix seconds, the holder an Ed25519 peer ID (identity multihash of the protobuf public key).
const (
	version    = 1
	holderSize = 38
	recordSize = 1 + 16 + 1 + 8 + 8 + 8 + 8 + holderSize
)

// maxUnix is the last second of the year 9999: beyond, neither RFC 3339 nor time's arithmetic holds.
const maxUnix = 253402300799

// kind tells the records apart, by a domain of the signature each: a ticket never passes for a grant.
type kind uint8

const (
	grantRecord kind = iota
	ticketRecord
)

func (k kind) String() string {
	if k == ticketRecord {
		return "ticket"
	}
	return "grant"
}

func (k kind) life() time.Duration {
	if k == ticketRecord {
		return MaxTicketLife
	}
	return MaxLife
}

// statement makes a record of a grant that envelopes can hold ([record.Record]).
type statement struct {
	kind  kind
	grant Grant
}

func (s *statement) Domain() string { return "peerd-" + s.kind.String() + "/1" }

func (s *statement) Codec() []byte { return []byte("/peerd/" + s.kind.String() + "/1") }

// MarshalRecord encodes; it fails on what UnmarshalRecord would refuse.
func (s *statement) MarshalRecord() ([]byte, error) {
	g := &s.grant
	if err := s.validate(); err != nil {
		return nil, err
	}
	b := make([]byte, 0, recordSize)
	b = append(b, version)
	b = append(b, g.Share[:]...)
	b = append(b, byte(g.Right))
	b = binary.BigEndian.AppendUint64(b, g.Epoch)
	b = binary.BigEndian.AppendUint64(b, uint64(g.NotBefore.Unix()))
	b = binary.BigEndian.AppendUint64(b, uint64(g.Expires.Unix()))
	b = append(b, g.Serial[:]...)
	return append(b, g.Holder...), nil
}

// UnmarshalRecord decodes; what it accepts, MarshalRecord gives back byte by byte.
func (s *statement) UnmarshalRecord(b []byte) error {
	if len(b) != recordSize || b[0] != version {
		return ErrForm
	}
	b = b[1:]
	next := func(n int) []byte {
		field := b[:n]
		b = b[n:]
		return field
	}
	number := func() uint64 { return binary.BigEndian.Uint64(next(8)) }

	g := &s.grant
	*g = Grant{Share: share.ID(next(len(g.Share))), Right: share.Right(next(1)[0]), Epoch: number()}
	g.NotBefore = time.Unix(int64(number()), 0).UTC()
	g.Expires = time.Unix(int64(number()), 0).UTC()
	g.Serial = Serial(next(len(g.Serial)))
	g.Holder = peer.ID(next(holderSize))
	return s.validate()
}

// validate refuses what is wrong whoever asks, and whenever.
func (s *statement) validate() error {
	g := &s.grant
	from, to := g.NotBefore.Unix(), g.Expires.Unix()
	switch {
	case g.Share == share.ID{}, g.Right != share.Read && g.Right != share.Full, g.Epoch == 0, !isEd25519(g.Holder):
		return ErrForm
	case from < 0, to > maxUnix, from >= to:
		return ErrForm
	case g.Expires.Sub(g.NotBefore) > s.kind.life():
		return ErrLife
	}
	return nil
}

// isEd25519 reports whether the ID is of the only kind of key that peers have, in its only encoding: holderSize bytes. It
// keeps other kinds of signatures out as well.
func isEd25519(id peer.ID) bool {
	key, err := id.ExtractPublicKey()
	return err == nil && key.Type() == pb.KeyType_Ed25519 && id.MatchesPublicKey(key)
}

func seal(k kind, g Grant, owner crypto.PrivKey) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		return nil, &peer.Error{Op: "seal " + k.String(), Kind: peer.Other, Err: err}
	}
	s := &statement{k, g}
	if err := s.validate(); err != nil {
		return fail(err)
	}
	e, err := record.Seal(s, owner)
	if err != nil {
		return fail(err)
	}
	b, err := e.Marshal()
	if err != nil {
		return fail(err)
	}
	return b, nil
}

func open(k kind, sealed []byte, signer peer.ID) (Grant, error) {
	refuse := func(r Reason) (Grant, error) {
		return Grant{}, &peer.Error{Op: "open " + k.String(), Kind: peer.Denied, Err: r}
	}
	if len(sealed) > MaxSealed {
		return refuse(ErrForm)
	}
	s := &statement{kind: k}
	e, err := record.ConsumeTypedEnvelope(sealed, s)
	if err != nil {
		if r, ok := err.(Reason); ok {
			return refuse(r)
		}
		return refuse(ErrForm)
	}
	// The envelope brings its own key: so far it is only known that somebody signed it.
	by, err := core.IDFromPublicKey(e.PublicKey)
	if err != nil || by != signer || !isEd25519(by) {
		return refuse(ErrSigner)
	}
	// ConsumeTypedEnvelope checks the domain but never looks at the payload type.
	if string(e.PayloadType) != string(s.Codec()) {
		return refuse(ErrForm)
	}
	return s.grant, nil
}
