package grant

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
)

// The test vector of the protocol: this key, this grant, these bytes.
func TestVector(t *testing.T) {
	key, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	owner, err := core.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	g := valid(owner, share.Full)
	sealed, err := g.Seal(key)
	if err != nil {
		t.Fatal(err)
	}
	const want = "0a24080112208a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c" + // public key
		"120e2f70656572642f6772616e742f31" + // payload type
		"1a58" + // payload
		"01" + "d0c50000000000000000000000000000" + "02" + "00000000684ee180" + // version, share, right, epoch
		"000000006a1d7440" + "000000006a1d7698" + "0102030000000000" + // not before, expires, serial
		"0024080112208a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c" + // holder
		"2a40ae6bec9b31bc1367262ea8fee1c23633bb7878d608f23c7b37151a24305bdcf3" + // signature
		"ed8d6e18f46eb408ccd88fe10508866239bc87d5a26b7feb9c13b93d47582b00"
	if got := hex.EncodeToString(sealed); got != want {
		t.Errorf("sealed as\n%s, want\n%s", got, want)
	}
}

// What no check could accept is neither sealed nor opened, even if the owner signed it; and Check refuses it as well.
func TestNonsense(t *testing.T) {
	owner, anna, old := newSomebody(t, crypto.Ed25519), newSomebody(t, crypto.Ed25519), newSomebody(t, crypto.Secp256k1)
	for name, change := range map[string]func(*Grant){
		"no share":           func(g *Grant) { g.Share = share.ID{} },
		"no holder":          func(g *Grant) { g.Holder = "" },
		"holder is no ID":    func(g *Grant) { g.Holder = peer.ID(bytes.Repeat([]byte{1}, holderSize)) },
		"holder not Ed25519": func(g *Grant) { g.Holder = old.id },
		"holder in another encoding": func(g *Grant) {
			g.Holder = anna.id[:2] + anna.id[4:] + anna.id[2:4] // the fields of the key the other way round
		},
		"holder is a hash":     func(g *Grant) { g.Holder = newSomebody(t, crypto.ECDSA).id },
		"no right":             func(g *Grant) { g.Right = share.None },
		"more than full":       func(g *Grant) { g.Right = share.Full + 1 },
		"no epoch":             func(g *Grant) { g.Epoch = 0 },
		"too long a life":      func(g *Grant) { g.Expires = g.Expires.Add(time.Second) },
		"a year":               func(g *Grant) { g.Expires = g.Expires.AddDate(1, 0, 0) },
		"for ever":             func(g *Grant) { g.NotBefore, g.Expires = time.Unix(0, 0), time.Unix(maxUnix, 0) },
		"ends before it began": func(g *Grant) { g.Expires = g.NotBefore.Add(-time.Second) },
		"no life":              func(g *Grant) { g.Expires = g.NotBefore },
		"before 1970":          func(g *Grant) { g.NotBefore, g.Expires = time.Unix(-60, 0), time.Unix(60, 0) },
		"after 9999":           func(g *Grant) { g.NotBefore, g.Expires = time.Unix(maxUnix, 0), time.Unix(maxUnix+60, 0) },
		"times never set":      func(g *Grant) { g.NotBefore, g.Expires = time.Time{}, time.Time{} },
	} {
		t.Run(name, func(t *testing.T) {
			g := valid(anna.id, share.Full)
			change(&g)
			if b, err := g.Seal(owner.key); err == nil {
				t.Errorf("sealed as %x", b)
			}
			sealed := sealRaw(t, owner.key, "peerd-grant/1", "/peerd/grant/1", raw(g))
			if got, err := Open(sealed, owner.id); err == nil || peer.KindOf(err) != peer.Denied || got != (Grant{}) {
				t.Errorf("opened as %+v: %v", got, err)
			}
			w := want(anna.id, share.Full)
			w.Share, w.Holder, w.Epochs.Full = g.Share, g.Holder, g.Epoch
			if g.Share != (share.ID{}) && g.Holder == anna.id && Check(g, w) == nil && g.NotBefore.Equal(now()) {
				t.Error("accepted")
			}
		})
	}
}

// raw encodes a grant as it stands, by the table in the protocol's description.
func raw(g Grant) []byte {
	number := func(n uint64) []byte {
		return []byte{byte(n >> 56), byte(n >> 48), byte(n >> 40), byte(n >> 32), byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
	}
	return bytes.Join([][]byte{
		{1}, g.Share[:], {byte(g.Right)}, number(g.Epoch),
		number(uint64(g.NotBefore.Unix())), number(uint64(g.Expires.Unix())), g.Serial[:], []byte(g.Holder),
	}, nil)
}

// rawRecord is any bytes under any names.
type rawRecord struct {
	domain, codec string
	payload       []byte
}

func (r *rawRecord) Domain() string                 { return r.domain }
func (r *rawRecord) Codec() []byte                  { return []byte(r.codec) }
func (r *rawRecord) MarshalRecord() ([]byte, error) { return r.payload, nil }
func (r *rawRecord) UnmarshalRecord([]byte) error   { return nil }

func sealRaw(t testing.TB, key crypto.PrivKey, domain, codec string, payload []byte) []byte {
	t.Helper()
	e, err := record.Seal(&rawRecord{domain, codec, payload}, key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// T12: an owner's signature under something else is no grant.
func TestEnvelope(t *testing.T) {
	owner, anna := newSomebody(t, crypto.Ed25519), newSomebody(t, crypto.Ed25519)
	payload := raw(valid(anna.id, share.Full))
	for _, test := range []struct {
		name          string
		domain, codec string
		payload       []byte
		want          Reason
	}{
		{"grant", "peerd-grant/1", "/peerd/grant/1", payload, ""},
		{"other domain", "peerd-grant/2", "/peerd/grant/1", payload, ErrForm},
		{"ticket", "peerd-ticket/1", "/peerd/ticket/1", payload, ErrForm},
		{"other payload type", "peerd-grant/1", "/peerd/ticket/1", payload, ErrForm},
		{"no record", "peerd-grant/1", "/peerd/grant/1", nil, ErrForm},
		{"other version", "peerd-grant/1", "/peerd/grant/1", append([]byte{2}, payload[1:]...), ErrForm},
		{"a byte less", "peerd-grant/1", "/peerd/grant/1", payload[:recordSize-1], ErrForm},
		{"a byte more", "peerd-grant/1", "/peerd/grant/1", append(bytes.Clone(payload), 0), ErrForm},
		{"too large", "peerd-grant/1", "/peerd/grant/1", bytes.Repeat(payload, 12), ErrForm},
	} {
		_, err := Open(sealRaw(t, owner.key, test.domain, test.codec, test.payload), owner.id)
		expect(t, test.name, err, test.want)
	}

	// An owner with another kind of key is none, even if it is the one that is pinned.
	for _, kind := range []int{crypto.RSA, crypto.ECDSA, crypto.Secp256k1} {
		other := newSomebody(t, kind)
		_, err := Open(sealRaw(t, other.key, "peerd-grant/1", "/peerd/grant/1", payload), other.id)
		if peer.KindOf(err) != peer.Denied {
			t.Errorf("key of kind %d: %v", kind, err)
		}
	}
	if _, err := Open(bytes.Repeat([]byte{0x42}, MaxSealed+1), owner.id); !errors.Is(err, ErrForm) {
		t.Errorf("beyond the limit: %v", err)
	}
}

// The limit of size comes before the decoder: a grant padded with fields that protobuf ignores is opened up to the limit,
// and not beyond.
func TestMaxSealed(t *testing.T) {
	owner, anna := newSomebody(t, crypto.Ed25519), newSomebody(t, crypto.Ed25519)
	sealed, err := valid(anna.id, share.Read).Seal(owner.key)
	if err != nil {
		t.Fatal(err)
	}
	if len(sealed) > 256 {
		t.Errorf("a grant has %d bytes", len(sealed))
	}
	for len(sealed)+2 <= MaxSealed {
		sealed = append(sealed, 0x78, 0) // field 15, a number
	}
	if _, err := Open(sealed, owner.id); err != nil {
		t.Errorf("%d bytes: %v", len(sealed), err)
	}
	sealed = append(sealed, 0x78, 0)
	if _, err := Open(sealed, owner.id); err == nil {
		t.Errorf("%d bytes were opened", len(sealed))
	}
}

// T12: no bit of a sealed grant can change without its being refused.
func TestBitFlips(t *testing.T) {
	owner, anna := newSomebody(t, crypto.Ed25519), newSomebody(t, crypto.Ed25519)
	sealed, err := valid(anna.id, share.Read).Seal(owner.key)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range len(sealed) * 8 {
		flipped := bytes.Clone(sealed)
		flipped[bit/8] ^= 1 << (bit % 8)
		if g, err := Open(flipped, owner.id); err == nil || g != (Grant{}) {
			t.Errorf("bit %d flipped: opened as %+v", bit, g)
		}
	}
}

// What is decoded is encoded to the same bytes: a statement has one encoding.
func FuzzRecord(f *testing.F) {
	anna := newSomebody(f, crypto.Ed25519)
	payload := raw(valid(anna.id, share.Read))
	f.Add(payload, false)
	f.Add(payload, true)
	f.Add(payload[:recordSize-1], false)
	f.Add(bytes.Repeat([]byte{0xff}, recordSize), true)
	f.Fuzz(func(t *testing.T, b []byte, ticket bool) {
		s := statement{kind: grantRecord}
		if ticket {
			s.kind = ticketRecord
		}
		if err := s.UnmarshalRecord(b); err != nil {
			return
		}
		again, err := s.MarshalRecord()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x became %x, %v", b, again, err)
		}
	})
}

// Whatever comes in, only the owner's own statements come out.
func FuzzOpen(f *testing.F) {
	owner, anna := newSomebody(f, crypto.Ed25519), newSomebody(f, crypto.Ed25519)
	g := valid(anna.id, share.Read)
	sealed, err := g.Seal(owner.key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(sealed[:len(sealed)-1])
	f.Add(append(bytes.Clone(sealed), 0x78, 0))
	f.Add(sealRaw(f, anna.key, "peerd-grant/1", "/peerd/grant/1", raw(g)))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Open(b, owner.id)
		if err == nil && got != g {
			t.Errorf("opened %+v", got)
		}
		if err != nil && peer.KindOf(err) != peer.Denied {
			t.Errorf("error %v", err)
		}
	})
}
