package opaquetest

import (
	"bytes"
	"fmt"

	r255 "github.com/gtank/ristretto255"
)

// Impostor plays the server of one slot for a client whose password it wants to know. It guesses one password before each
// run, keeps all that the client sends, and afterwards says of any password whether what it heard fits.
type Impostor struct {
	Context []byte
	Stretch Stretch

	server *Server
	key    *r255.Scalar // of the OPRF
	guess  Record
	runs   []heard
}

// tactic is how an impostor answers.
type tactic int

const (
	asServer tactic = iota // by the protocol, with the record of its guess
	echoing                // gives the blinded element back: the OPRF key is 1
	babbling               // with noise for the masked response
	tactics
)

// heard is one run. ke3 is nil if the client gave up.
type heard struct {
	tactic    tactic
	ke1, ke3  []byte
	ke2       ke2
	seed      []byte   // of the impostor's key share
	unblinded [][]byte // the blinded element under every blind that a careless client might have taken
}

// NewImpostor makes an impostor that guesses the given password in every run.
func NewImpostor(context, guess []byte, stretch Stretch) (*Impostor, error) {
	i := &Impostor{Context: context, Stretch: stretch, server: NewServer(context)}
	i.key = OPRFKey(i.server.Seed, []byte("impostor"))
	client := &Client{Password: guess, Stretch: stretch, Coins: NewClientCoins()}
	evaluated, err := Multiply(i.key, client.Blinded())
	if err != nil {
		return nil, err
	}
	i.guess, _, err = client.Register(evaluated, i.server.Public, random(nonceSize))
	return i, err
}

// Public is the impostor's key.
func (i *Impostor) Public() []byte { return i.server.Public }

// Answer gives the KE2 of the next run.
func (i *Impostor) Answer(ke1 []byte) ([]byte, error) {
	h := heard{tactic: tactic(len(i.runs)) % tactics, ke1: bytes.Clone(ke1)}
	coins := NewServerCoins()
	h.seed = coins.Seed
	run, err := i.server.Respond(i.guess, []byte("impostor"), nil, ke1, coins)
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	switch h.tactic {
	case echoing:
		copy(run.KE2, ke1[:elementSize])
	case babbling:
		copy(run.KE2[elementSize+nonceSize:], random(maskedSize))
	}
	if h.ke2, err = parseKE2(run.KE2); err != nil {
		return nil, err
	}
	nonce := ke1[elementSize : elementSize+nonceSize]
	fromNonce, _ := keyShare(nonce)
	unblinded, err := Multiply(r255.NewScalar().Invert(fromNonce), ke1[:elementSize])
	if err != nil {
		return nil, err
	}
	h.unblinded = [][]byte{h.ke1[:elementSize], unblinded}
	i.runs = append(i.runs, h)
	return run.KE2, nil
}

// Hear keeps what the client sent after KE2.
func (i *Impostor) Hear(message []byte) { i.runs[len(i.runs)-1].ke3 = bytes.Clone(message) }

// Fits reports whether anything that the impostor heard fits the password: whether it can compute, with all the secrets
// that it has, any value that came from the client.
//
// All that depends on the password in what a client sends is the blinded element and KE3. Of the rest, it is enough that
// none of the values that come up on the way from the password to KE3 stands in it.
func (i *Impostor) Fits(password []byte) bool {
	element := HashToElement(password)
	evaluated, err := Multiply(i.key, element)
	if err != nil {
		return false
	}
	onTheWay := [][]byte{element, evaluated, hash(password), hash(password)[:32], hash(vector(password))[:32]}
	if len(password) >= 8 {
		onTheWay = append(onTheWay, password)
	}
	rps := make([][]byte, tactics)
	for t, unblinded := range [tactics][]byte{asServer: evaluated, echoing: element, babbling: evaluated} {
		rps[t] = randomized(password, unblinded, i.Stretch)
		output := finalize(password, unblinded)
		onTheWay = append(onTheWay, output, output[:32], i.Stretch(output)[:32], rps[t], rps[t][:32],
			expand(rps[t], "MaskingKey", hashSize))
	}
	for _, h := range i.runs {
		for _, u := range h.unblinded {
			if bytes.Equal(u, element) {
				return true
			}
		}
		for _, v := range onTheWay {
			if bytes.Contains(h.ke1, v) || bytes.Contains(h.ke3, v) {
				return true
			}
		}
		if h.ke3 != nil && i.fitsKE3(h, rps[h.tactic]) {
			return true
		}
	}
	return false
}

// fitsKE3 computes the KE3 that a client with this randomized password would send, whether it took the server's key from
// the envelope or had the impostor's pinned.
func (i *Impostor) fitsKE3(h heard, randomized []byte) bool {
	o, masked, _ := unmask(randomized, h.ke2, nil, nil)
	secret, _ := keyShare(h.seed)
	clientShare := h.ke1[elementSize+nonceSize:]
	ikm, err := products(
		factors{secret, clientShare}, factors{i.server.Private, clientShare}, factors{secret, o.public})
	if err != nil {
		return false
	}
	for _, public := range [][]byte{i.server.Public, masked} {
		_, ke3, _ := schedule(ikm, i.Context, o.public, h.ke1, public, h.ke2.unsigned)
		if bytes.Equal(ke3, h.ke3) {
			return true
		}
	}
	return false
}
