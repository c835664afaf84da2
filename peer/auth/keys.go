package auth

import (
	"crypto"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"slices"

	"github.com/bytemare/ksf"
	"github.com/bytemare/opaque"
	"github.com/bytemare/opaque/message"

	"github.com/peerd/peerd/peer"
)

const (
	version    = 1 // of stored keys and records
	seedSize   = 64
	scalarSize = 32
	keysSize   = 1 + seedSize + scalarSize
	recordSize = 1 + 32 + 64 + 96
)

// suite is the one configuration of version 1. Nothing in it is ever negotiated.
func suite(context []byte) *opaque.Configuration {
	return &opaque.Configuration{
		OPRF: opaque.RistrettoSha512, AKE: opaque.RistrettoSha512,
		KDF: crypto.SHA512, MAC: crypto.SHA512, Hash: crypto.SHA512,
		KSF: ksf.Argon2id, Context: context,
	}
}

// stretching is how passwords are stretched: Argon2id with t=3, m=64 MiB, p=4, the second choice of RFC 9106 section 4.
// The salt of zeros and the length of a hash are those of RFC 9807 section 7; the library's defaults differ in both.
func stretching() *opaque.ClientOptions {
	return &opaque.ClientOptions{KSFParameters: []uint64{3, 64 << 10, 4}, KSFSalt: make([]byte, 16), KSFLength: 64}
}

// cheapStretching costs nothing and protects nothing, but what is random anyway.
func cheapStretching() *opaque.ClientOptions {
	return &opaque.ClientOptions{KSFParameters: []uint64{1, 8, 1}, KSFSalt: make([]byte, 16), KSFLength: 64}
}

// ServerKeys are the secrets of one slot of one share: the OPRF seed and the key of the key exchange. They are stored
// apart from the [Record], which is worth nothing without them.
type ServerKeys struct{ material *opaque.ServerKeyMaterial }

// NewServerKeys draws new keys. Every password that is set gets its own.
func NewServerKeys() ServerKeys {
	conf := suite(nil)
	private, public := conf.KeyGen()
	return ServerKeys{&opaque.ServerKeyMaterial{
		PrivateKey: private, PublicKeyBytes: public.Encode(), OPRFGlobalSeed: conf.GenerateOPRFSeed(),
	}}
}

// ParseServerKeys reads what [ServerKeys.Bytes] gave.
func ParseServerKeys(b []byte) (ServerKeys, error) {
	if len(b) != keysSize || b[0] != version {
		return ServerKeys{}, &peer.Error{Op: "parse server keys", Kind: peer.Other, Err: failure("malformed")}
	}
	group := opaque.RistrettoSha512.Group()
	private, err := opaque.DeserializeScalar(group, b[1+seedSize:])
	if err != nil {
		return ServerKeys{}, &peer.Error{Op: "parse server keys", Kind: peer.Other, Err: err}
	}
	return ServerKeys{&opaque.ServerKeyMaterial{
		PrivateKey:     private,
		PublicKeyBytes: group.Base().Multiply(private).Encode(),
		OPRFGlobalSeed: slices.Clone(b[1 : 1+seedSize]),
	}}, nil
}

// Bytes encodes the keys for storing them: 97 bytes, secret. The zero ServerKeys are nil.
func (k ServerKeys) Bytes() []byte {
	if k.material == nil {
		return nil
	}
	return slices.Concat([]byte{version}, k.material.OPRFGlobalSeed, k.material.PrivateKey.Encode())
}

// Record is what registration leaves at the server for one slot: client public key, masking key, envelope (RFC 9807
// section 3.3.4).
type Record struct{ upload *message.RegistrationRecord }

// ParseRecord reads what [Record.Bytes] gave.
func ParseRecord(b []byte) (Record, error) {
	if len(b) != recordSize || b[0] != version {
		return Record{}, &peer.Error{Op: "parse password record", Kind: peer.Other, Err: failure("malformed")}
	}
	d, err := suite(nil).Deserializer()
	if err != nil {
		return Record{}, err
	}
	upload, err := d.RegistrationRecord(slices.Clone(b[1:]))
	if err != nil {
		return Record{}, &peer.Error{Op: "parse password record", Kind: peer.Other, Err: err}
	}
	return Record{upload}, nil
}

// Bytes encodes the record for storing it: 193 bytes. The zero Record is nil.
func (r Record) Bytes() []byte {
	if r.upload == nil {
		return nil
	}
	return append([]byte{version}, r.upload.Serialize()...)
}

// Credential is what the server holds of one slot.
type Credential struct {
	Keys   ServerKeys
	Record Record
}

// Credentials are those of both slots of a share.
type Credentials struct{ Read, Full Credential }

func (c Credentials) of(s Slot) Credential {
	if s == Full {
		return c.Full
	}
	return c.Read
}

// Register makes the record of a password, playing both sides of RFC 9807 section 5: the owner types it at the computer
// that will check it. It takes about 0.1 s and 64 MiB; who runs several at a time waits.
func Register(keys ServerKeys, share ShareID, slot Slot, password Password) (Record, error) {
	return register(keys, share, slot, password.text, password.stretching())
}

// RegisterUnset makes the record of a slot without a password: one for 32 random bytes that nobody has. Random as they
// are, they need no stretching.
func RegisterUnset(keys ServerKeys, share ShareID, slot Slot) (Record, error) {
	secret := make([]byte, 32)
	rand.Read(secret)
	return register(keys, share, slot, secret, cheapStretching())
}

func register(keys ServerKeys, share ShareID, slot Slot, password []byte, stretch *opaque.ClientOptions) (Record, error) {
	fail := func(err error) (Record, error) {
		return Record{}, &peer.Error{Op: "register password", Kind: peer.Other, Err: err}
	}
	if len(password) == 0 || slot != Read && slot != Full {
		return fail(failure("no password or no slot"))
	}
	client, err := suite(nil).Client()
	if err != nil {
		return fail(err)
	}
	defer client.ClearState()
	server, err := suite(nil).Server()
	if err != nil {
		return fail(err)
	}
	if err := server.SetKeyMaterial(keys.material); err != nil {
		return fail(err)
	}
	request, err := client.RegistrationInit(passwordInput(share, slot, password))
	if err != nil {
		return fail(err)
	}
	response, err := server.RegistrationResponse(request, credentialID(share, slot), nil)
	if err != nil {
		return fail(err)
	}
	upload, _, err := client.RegistrationFinalize(response, nil, nil, stretch)
	if err != nil {
		return fail(err)
	}
	return Record{upload}, nil
}

// Dummy answers for shares that do not exist, or not for the one who asks: by the same code as for any other, with one
// record for the whole node (RFC 9807 section 6.3.2.2) and an OPRF key for every share ID.
type Dummy struct {
	secret     []byte
	credential Credential
}

// NewDummy derives the dummy from a secret of the node of at least 32 bytes. It is the same after every start: a share
// that answered differently each time would show that it is none.
func NewDummy(nodeSecret []byte) (Dummy, error) {
	if len(nodeSecret) < 32 {
		return Dummy{}, &peer.Error{Op: "make dummy record", Kind: peer.Other, Err: failure("the node secret is too short")}
	}
	derive := func(what string) []byte {
		// It fails on lengths beyond 255 hashes alone.
		key, _ := hkdf.Key(sha512.New, nodeSecret, nil, "peerd/dummy/1 "+what, 64)
		return key
	}
	group := opaque.RistrettoSha512.Group()
	scalar := []byte("peerd/dummy/1 scalar")
	private := group.HashToScalar(derive("server key"), scalar)
	return Dummy{
		secret: slices.Clone(nodeSecret),
		credential: Credential{
			Keys: ServerKeys{&opaque.ServerKeyMaterial{
				PrivateKey:     private,
				PublicKeyBytes: group.Base().Multiply(private).Encode(),
				OPRFGlobalSeed: derive("oprf seed"),
			}},
			Record: Record{&message.RegistrationRecord{
				ClientPublicKey: group.Base().Multiply(group.HashToScalar(derive("client key"), scalar)),
				MaskingKey:      derive("masking key"),
				Envelope:        make([]byte, 96),
			}},
		},
	}, nil
}

// ShareID is the ID that a share of this name has here if there is none. The name is given in its folded form, so that
// spellings that are one name have one ID.
func (d Dummy) ShareID(folded string) ShareID {
	mac := hmac.New(sha256.New, d.secret)
	mac.Write(join("peerd/dummy/1 share", []byte(folded)))
	return ShareID(mac.Sum(nil)[:len(ShareID{})])
}

// Credentials open for nobody.
func (d Dummy) Credentials() Credentials { return Credentials{Read: d.credential, Full: d.credential} }
