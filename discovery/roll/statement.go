package roll

import (
	"crypto/sha256"
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	manet "github.com/multiformats/go-multiaddr/net"
	"google.golang.org/protobuf/proto"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/discovery/roll/rollpb"
	"github.com/peerd/peerd/peer"
)

//go:generate protoc -I ../.. --go_out=../.. --go_opt=paths=source_relative discovery/roll/rollpb/roll.proto

// Bounds of a statement.
const (
	maxStatement = 2 << 10 // bytes
	maxNames     = 1 << 10 // bytes of share names that a peer tells in its own
	maxAddr      = 256     // bytes
	maxShareName = 255     // bytes
)

// domain goes before what is signed, so that the signature is good for nothing else.
const domain = "peerd-roll/1"

// statement is what a peer says of itself, and the proof that it did.
type statement struct {
	raw, sig []byte
	id       peer.ID
	serial   uint64
	gone     bool
	said     discovery.Sighting
}

// sign makes a peer's own statement.
func sign(key crypto.PrivKey, a discovery.Advert, serial uint64, gone bool) (*statement, error) {
	m := &rollpb.Statement{
		Id: []byte(a.ID), Serial: serial, Workgroup: a.Workgroup, Name: string(a.Name), Version: a.Version, Count: int32(a.Count),
		Revision: a.Revision, Gone: gone, Relay: a.Relay,
	}
	for _, addr := range a.Addrs {
		if b := addr.Bytes(); len(m.Addrs) < discovery.MaxAddrs && len(b) <= maxAddr && Crosses(addr) {
			m.Addrs = append(m.Addrs, b)
		}
	}
	room := maxNames
	for _, s := range a.Shares {
		if room -= len(s) + 2; room < 0 {
			break
		}
		m.Shares = append(m.Shares, s)
	}
	raw, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	sig, err := key.Sign(signed(raw))
	if err != nil {
		return nil, err
	}
	return parse(raw, sig, a.Workgroup)
}

func signed(raw []byte) []byte { return append([]byte(domain), raw...) }

// parse reads a statement of somebody in the workgroup. Its signature is not looked at: [statement.verify] does.
func parse(raw, sig []byte, workgroup string) (*statement, error) {
	if len(raw) > maxStatement {
		return nil, errors.New("the statement is too long")
	}
	var m rollpb.Statement
	if err := proto.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	id := peer.ID(m.Id)
	if err := id.Validate(); err != nil {
		return nil, err
	}
	if m.Workgroup != workgroup {
		return nil, errors.New("it is of another workgroup")
	}
	s := &statement{raw: raw, sig: sig, id: id, serial: m.Serial, gone: m.Gone}
	s.said = discovery.Sighting{
		ID: id, Way: discovery.DHT, Gone: m.Gone, Workgroup: m.Workgroup, Name: peer.CleanName(m.Name, peer.Name(peer.Short(id))),
		Version: string(peer.CleanName(m.Version, "")), Count: int(max(m.Count, -1)), Revision: m.Revision, Relay: m.Relay,
	}
	for _, b := range m.Addrs[:min(len(m.Addrs), discovery.MaxAddrs)] {
		if a, err := peer.AddrFromBytes(b); err == nil && len(b) <= maxAddr && Crosses(a) {
			s.said.Addrs = append(s.said.Addrs, a)
		}
	}
	for _, name := range m.Shares[:min(len(m.Shares), discovery.MaxShares)] {
		if peer.CheckText(name, maxShareName) == nil {
			s.said.Shares = append(s.said.Shares, name)
		}
	}
	return s, nil
}

// verify checks that the peer itself made the statement.
func (s *statement) verify() error {
	key, err := s.id.ExtractPublicKey()
	if err != nil {
		return err
	}
	if key.Type() != crypto.Ed25519 {
		return errors.New("the key is not Ed25519")
	}
	ok, err := key.Verify(signed(s.raw), s.sig)
	if err == nil && !ok {
		err = errors.New("the signature is not the peer's")
	}
	return err
}

// Crosses reports whether an address means anything on another network.
func Crosses(a peer.Addr) bool { return !manet.IsIP6LinkLocal(a) }

// mark is how an exchange names a peer: the beginning of its ID's SHA-256.
type mark [8]byte

func markOf(id peer.ID) mark {
	sum := sha256.Sum256([]byte(id))
	return mark(sum[:8])
}

// Times of the roll.
const (
	refreshEvery = 2 * time.Minute // a peer signs anew
	lifetime     = 7 * time.Minute // of a statement: three may get lost
)
