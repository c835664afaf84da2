// Package opaquetest is the oracle of the tests of package auth: RFC 9807 (OPAQUE-3DH with ristretto255, SHA-512, HKDF and
// HMAC) written a second time, from the RFC and on another library, so that what two implementations agree on is what
// the RFC says. It also holds an impostor that plays the server and keeps all it hears. It is imported by tests alone:
// nothing in it is hardened.
package opaquetest

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"slices"

	r255 "github.com/gtank/ristretto255"
)

// Sizes in bytes, of one slot.
const (
	KE1Size = 96
	KE2Size = 320

	elementSize  = 32
	nonceSize    = 32
	hashSize     = 64
	envelopeSize = nonceSize + hashSize
	maskedSize   = elementSize + envelopeSize
)

// ErrAuth is the failure of a run: wrong password, or not the other side that was meant.
var ErrAuth = errors.New("opaquetest: not authenticated")

// Stretch is the key stretching function.
type Stretch func([]byte) []byte

// Identity stretches nothing, as in the vectors of the RFC.
func Identity(b []byte) []byte { return b }

// ClientCoins are what a client draws at random.
type ClientCoins struct {
	Blind       *r255.Scalar
	Nonce, Seed []byte // 32 bytes each
}

// NewClientCoins draws them.
func NewClientCoins() ClientCoins {
	blind, _ := deriveKeyPair(random(32), "blind")
	return ClientCoins{blind, random(nonceSize), random(32)}
}

// Client knows the password.
type Client struct {
	Password           []byte
	ClientID, ServerID []byte // nil stands for the public keys
	Context            []byte
	Stretch            Stretch
	Coins              ClientCoins

	// Pinned makes a careless client: it takes this for the server's public key and sends KE3 without looking at the
	// envelope or at the server's MAC.
	Pinned []byte
}

// Blinded is the registration request, and the beginning of KE1.
func (c *Client) Blinded() []byte {
	b, err := Multiply(c.Coins.Blind, HashToElement(c.Password))
	if err != nil {
		panic(err)
	}
	return b
}

// Record is what the server keeps.
type Record struct{ ClientPublic, MaskingKey, Envelope []byte }

// Bytes is the registration upload of RFC 9807 section 5.1.
func (r Record) Bytes() []byte { return concat(r.ClientPublic, r.MaskingKey, r.Envelope) }

// Register finishes a registration (RFC 9807 section 5.2.3) and gives the export key as well.
func (c *Client) Register(evaluated, serverPublic, envelopeNonce []byte) (Record, []byte, error) {
	randomized, err := c.randomized(evaluated)
	if err != nil {
		return Record{}, nil, err
	}
	o := openEnvelope(randomized, envelopeNonce, serverPublic, c.ServerID, c.ClientID)
	return Record{o.public, o.maskingKey, concat(envelopeNonce, o.tag)}, o.exportKey, nil
}

// KE1 is RFC 9807 section 6.3.1.
func (c *Client) KE1() []byte {
	_, share := keyShare(c.Coins.Seed)
	return concat(c.Blinded(), c.Coins.Nonce, share)
}

// KE3 is RFC 9807 section 6.3.3. It gives the session key and the export key as well.
func (c *Client) KE3(message []byte) (ke3, session, exportKey []byte, err error) {
	ke2, err := parseKE2(message)
	if err != nil {
		return nil, nil, nil, err
	}
	randomized, err := c.randomized(ke2.evaluated)
	if err != nil {
		return nil, nil, nil, err
	}
	o, serverPublic, tag := unmask(randomized, ke2, c.ServerID, c.ClientID)
	switch {
	case c.Pinned != nil:
		serverPublic = c.Pinned
	case subtle.ConstantTimeCompare(tag, o.tag) != 1:
		return nil, nil, nil, ErrAuth
	}
	secret, _ := keyShare(c.Coins.Seed)
	ikm, err := products(
		factors{secret, ke2.share}, factors{secret, serverPublic}, factors{o.private, ke2.share})
	if err != nil {
		return nil, nil, nil, err
	}
	serverMAC, clientMAC, session := schedule(ikm,
		c.Context, or(c.ClientID, o.public), c.KE1(), or(c.ServerID, serverPublic), ke2.unsigned)
	if c.Pinned == nil && subtle.ConstantTimeCompare(serverMAC, ke2.mac) != 1 {
		return nil, nil, nil, ErrAuth
	}
	return clientMAC, session, o.exportKey, nil
}

// randomized is the randomized password of RFC 9807 section 5.2.3.
func (c *Client) randomized(evaluated []byte) ([]byte, error) {
	unblinded, err := Multiply(r255.NewScalar().Invert(c.Coins.Blind), evaluated)
	if err != nil {
		return nil, err
	}
	return randomized(c.Password, unblinded, c.Stretch), nil
}

func randomized(password, unblinded []byte, stretch Stretch) []byte {
	output := finalize(password, unblinded)
	return extract(concat(output, stretch(output)))
}

// ServerCoins are what a server draws at random.
type ServerCoins struct{ MaskingNonce, Nonce, Seed []byte } // 32 bytes each

// NewServerCoins draws them.
func NewServerCoins() ServerCoins {
	return ServerCoins{random(nonceSize), random(nonceSize), random(32)}
}

// Server checks passwords.
type Server struct {
	Private  *r255.Scalar
	Public   []byte
	Seed     []byte // of the OPRF keys, 64 bytes
	Identity []byte // nil stands for the public key
	Context  []byte
}

// NewServer draws the keys of a server.
func NewServer(context []byte) *Server {
	private, public := keyShare(random(32))
	return &Server{Private: private, Public: public, Seed: random(hashSize), Context: context}
}

// Evaluate answers the blinded element of a registration.
func (s *Server) Evaluate(credentialID, blinded []byte) ([]byte, error) {
	return Multiply(OPRFKey(s.Seed, credentialID), blinded)
}

// Run is what a server has of a login.
type Run struct{ KE2, KE3, Session []byte }

// Respond is RFC 9807 section 6.3.2, with the KE3 that is to be expected.
func (s *Server) Respond(r Record, credentialID, clientID, ke1 []byte, coins ServerCoins) (Run, error) {
	if len(ke1) != KE1Size {
		return Run{}, ErrAuth
	}
	evaluated, err := s.Evaluate(credentialID, ke1[:elementSize])
	if err != nil {
		return Run{}, err
	}
	masked := mask(r.MaskingKey, coins.MaskingNonce, concat(s.Public, r.Envelope))
	secret, share := keyShare(coins.Seed)
	unsigned := concat(evaluated, coins.MaskingNonce, masked, coins.Nonce, share)
	clientShare := ke1[elementSize+nonceSize:]
	ikm, err := products(
		factors{secret, clientShare}, factors{s.Private, clientShare}, factors{secret, r.ClientPublic})
	if err != nil {
		return Run{}, err
	}
	serverMAC, clientMAC, session := schedule(ikm,
		s.Context, or(clientID, r.ClientPublic), ke1, or(s.Identity, s.Public), unsigned)
	return Run{append(unsigned, serverMAC...), clientMAC, session}, nil
}

// ke2 is a parsed KE2; unsigned is all of it before the MAC.
type ke2 struct{ unsigned, evaluated, maskingNonce, masked, share, mac []byte }

func parseKE2(b []byte) (ke2, error) {
	if len(b) != KE2Size {
		return ke2{}, ErrAuth
	}
	m := ke2{unsigned: b[: KE2Size-hashSize : KE2Size-hashSize], mac: b[KE2Size-hashSize:]}
	rest := m.unsigned
	m.evaluated, rest = rest[:elementSize], rest[elementSize:]
	m.maskingNonce, rest = rest[:nonceSize], rest[nonceSize:]
	m.masked, rest = rest[:maskedSize], rest[maskedSize:]
	m.share = rest[nonceSize:]
	return m, nil
}

// opened is what an envelope's nonce and the randomized password make (RFC 9807 section 4.1.2 and 4.1.3).
type opened struct {
	private                            *r255.Scalar
	public, maskingKey, exportKey, tag []byte
}

func openEnvelope(randomized, nonce, serverPublic, serverID, clientID []byte) opened {
	var o opened
	o.private, o.public = keyShare(expand(randomized, string(nonce)+"PrivateKey", 32))
	o.maskingKey = expand(randomized, "MaskingKey", hashSize)
	o.exportKey = expand(randomized, string(nonce)+"ExportKey", hashSize)
	o.tag = mac(expand(randomized, string(nonce)+"AuthKey", hashSize),
		nonce, serverPublic, vector(or(serverID, serverPublic)), vector(or(clientID, o.public)))
	return o
}

func unmask(randomized []byte, m ke2, serverID, clientID []byte) (o opened, serverPublic, tag []byte) {
	plain := mask(expand(randomized, "MaskingKey", hashSize), m.maskingNonce, m.masked)
	serverPublic, nonce := plain[:elementSize:elementSize], plain[elementSize:elementSize+nonceSize]
	return openEnvelope(randomized, nonce, serverPublic, serverID, clientID), serverPublic, plain[elementSize+nonceSize:]
}

// mask masks and unmasks.
func mask(key, nonce, plain []byte) []byte {
	out := expand(key, string(nonce)+"CredentialResponsePad", maskedSize)
	subtle.XORBytes(out, out, plain)
	return out
}

// schedule is RFC 9807 section 6.4.2.
func schedule(ikm, context, clientID, ke1, serverID, unsigned []byte) (serverMAC, clientMAC, session []byte) {
	preamble := concat([]byte("OPAQUEv1-"), vector(context), vector(clientID), ke1, vector(serverID), unsigned)
	prk, transcript := extract(ikm), hash(preamble)
	handshake := deriveSecret(prk, "HandshakeSecret", transcript)
	serverMAC = mac(deriveSecret(handshake, "ServerMAC", nil), transcript)
	clientMAC = mac(deriveSecret(handshake, "ClientMAC", nil), hash(preamble, serverMAC))
	return serverMAC, clientMAC, deriveSecret(prk, "SessionKey", transcript)
}

func deriveSecret(secret []byte, label string, transcript []byte) []byte {
	info := []byte{0, hashSize, byte(len("OPAQUE-" + label))}
	info = append(info, "OPAQUE-"+label...)
	info = append(info, byte(len(transcript)))
	return expand(secret, string(append(info, transcript...)), hashSize)
}

// keyShare is DeriveDiffieHellmanKeyPair of RFC 9807 section 2.1.
func keyShare(seed []byte) (*r255.Scalar, []byte) {
	return deriveKeyPair(seed, "OPAQUE-DeriveDiffieHellmanKeyPair")
}

type factors struct {
	scalar  *r255.Scalar
	element []byte
}

func products(of ...factors) ([]byte, error) {
	var out []byte
	for _, f := range of {
		p, err := Multiply(f.scalar, f.element)
		if err != nil {
			return nil, err
		}
		out = append(out, p...)
	}
	return out, nil
}

func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha512.New, key)
	h.Write(concat(parts...))
	return h.Sum(nil)
}

func expand(key []byte, info string, size int) []byte {
	b, err := hkdf.Expand(sha512.New, key, info, size)
	if err != nil {
		panic(err) // of a size beyond 255 hashes alone
	}
	return b
}

func extract(ikm []byte) []byte {
	b, err := hkdf.Extract(sha512.New, ikm, nil)
	if err != nil {
		panic(err)
	}
	return b
}

func or(id, public []byte) []byte {
	if id == nil {
		return public
	}
	return id
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func concat(parts ...[]byte) []byte { return slices.Concat(parts...) }
