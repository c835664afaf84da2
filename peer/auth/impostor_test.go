package auth_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	r255 "github.com/gtank/ristretto255"
	"github.com/xdg-go/scram"

	"github.com/peerd/peerd/peer/auth"
	"github.com/peerd/peerd/peer/auth/opaquetest"
)

// wire carries a message of the client to the server, and gives the answer.
type wire func(message []byte) []byte

// spy plays the server against a client that knows the password, and keeps what it hears.
type spy interface {
	serve() wire           // the next run
	fits(word string) bool // whether anything heard could be made from the word
}

// crack lets a client log in to a spy again and again, and gives the words that fit what the spy heard.
func crack(t *testing.T, runs int, client func(wire), s spy, words []string) (found []string) {
	t.Helper()
	for range runs {
		client(s.serve())
	}
	for _, w := range words {
		if s.fits(w) {
			found = append(found, w)
		}
	}
	return found
}

const secret = "sunshine and rain"

// dictionary holds the secret among others.
func dictionary() []string {
	words := []string{secret, "sunshine", "SUNSHINE AND RAIN", "password", "letmein", "dragon", "qwerty", "12345678", "sunshine and rain "}
	for i := range 16 {
		words = append(words, fmt.Sprintf("sunshine%d", i))
	}
	return words
}

// opaqueSpy is an impostor in both slots.
type opaqueSpy struct {
	t     *testing.T
	slots [2]*opaquetest.Impostor
	bytes [][]byte // all that clients ever sent
}

func newOpaqueSpy(t *testing.T, b auth.Binding, guess string) *opaqueSpy {
	t.Helper()
	s := &opaqueSpy{t: t}
	for i, slot := range []auth.Slot{auth.Read, auth.Full} {
		var err error
		s.slots[i], err = opaquetest.NewImpostor(oracleContext(b), oracleInput(slot, guess), cheap().stretch)
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *opaqueSpy) serve() wire {
	first := true
	return func(message []byte) (answer []byte) {
		s.bytes = append(s.bytes, bytes.Clone(message))
		if !first {
			for _, i := range s.slots {
				i.Hear(message)
			}
			return nil
		}
		first = false
		for n, i := range s.slots {
			half, err := i.Answer(message[n*opaquetest.KE1Size : (n+1)*opaquetest.KE1Size])
			if err != nil {
				s.t.Fatal(err)
			}
			answer = append(answer, half...)
		}
		return answer
	}
}

func (s *opaqueSpy) fits(word string) bool {
	return s.slots[0].Fits(oracleInput(auth.Read, word)) || s.slots[1].Fits(oracleInput(auth.Full, word))
}

// peerdClient is the client that everybody uses.
func peerdClient(t *testing.T, b auth.Binding, password string) func(wire) {
	return func(send wire) {
		c, ke1, err := auth.Start(b, weak(t, password))
		if err != nil {
			t.Fatal(err)
		}
		if _, ke3, err := c.Finish(send(ke1)); err == nil {
			send(ke3)
		}
	}
}

// mutant is the oracle's client with a fault in the slots.
func mutant(b auth.Binding, password string, fault func(slot int, c *opaquetest.Client)) func(wire) {
	return func(send wire) {
		clients := oracleClients(b, password, cheap())
		for i, c := range clients {
			fault(i, c)
		}
		answer := send(slices.Concat(clients[0].KE1(), clients[1].KE1()))
		for i, c := range clients {
			if ke3, _, _, err := c.KE3(answer[i*opaquetest.KE2Size : (i+1)*opaquetest.KE2Size]); err == nil {
				send(ke3)
				return
			}
		}
	}
}

// T1: a hundred logins to an impostor tell it nothing about the password that it did not guess, and the same impostor
// finds the password of a client that makes a mistake.
func TestImpostor(t *testing.T) {
	b := newBinding(t)
	for _, test := range []struct {
		name   string
		runs   int
		guess  string
		client func(*opaqueSpy) func(wire)
		want   []string
	}{
		{"peerd's client", 100, "not the secret", func(*opaqueSpy) func(wire) {
			return peerdClient(t, b, secret)
		}, nil},
		{"peerd's client, password guessed before the run", 1, secret, func(*opaqueSpy) func(wire) {
			return peerdClient(t, b, secret)
		}, []string{secret}},
		{"the oracle's client", 100, "not the secret", func(*opaqueSpy) func(wire) {
			return mutant(b, secret, func(int, *opaquetest.Client) {})
		}, nil},
		{"no blind", 3, "not the secret", func(*opaqueSpy) func(wire) {
			return mutant(b, secret, func(slot int, c *opaquetest.Client) {
				if slot == 1 {
					c.Coins.Blind, _ = r255.NewScalar().SetCanonicalBytes(append([]byte{1}, make([]byte, 31)...))
				}
			})
		}, []string{secret}},
		{"password as nonce", 3, "not the secret", func(*opaqueSpy) func(wire) {
			return mutant(b, secret, func(_ int, c *opaquetest.Client) {
				sum := opaquetest.HashToElement(c.Password)
				c.Coins.Nonce = sum
			})
		}, []string{secret}},
		{"sends KE3 before it has checked the server", 1, "not the secret", func(s *opaqueSpy) func(wire) {
			return mutant(b, secret, func(slot int, c *opaquetest.Client) { c.Pinned = s.slots[slot].Public() })
		}, []string{secret}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newOpaqueSpy(t, b, test.guess)
			found := crack(t, test.runs, test.client(s), s, dictionary())
			if !slices.Equal(found, test.want) {
				t.Errorf("found %q, want %q", found, test.want)
			}
		})
	}
}

// T1: what the impostor hears has no repetitions: KE1 and nothing else, all parts fresh in every run.
func TestImpostorHearsNothingTwice(t *testing.T) {
	b := newBinding(t)
	s := newOpaqueSpy(t, b, "not the secret")
	crack(t, 100, peerdClient(t, b, secret), s, nil)
	if len(s.bytes) != 100 {
		t.Errorf("%d messages in 100 runs", len(s.bytes))
	}
	seen := make(map[string]bool)
	for _, message := range s.bytes {
		for part := range slices.Chunk(message, 32) {
			if seen[string(part)] {
				t.Fatalf("%x was sent twice", part)
			}
			seen[string(part)] = true
		}
	}
}

// T1: an impostor cannot make the client take the identity for an evaluated element, which would take the server's key
// out of the run.
func TestIdentityElement(t *testing.T) {
	b := newBinding(t)
	s := newOpaqueSpy(t, b, "not the secret")
	for _, offset := range []int{0, 224, 320, 320 + 224} {
		c, ke1, err := auth.Start(b, weak(t, secret))
		if err != nil {
			t.Fatal(err)
		}
		ke2 := s.serve()(ke1)
		clear(ke2[offset : offset+32])
		if _, ke3, err := c.Finish(ke2); err == nil || ke3 != nil {
			t.Errorf("the identity at %d was accepted", offset)
		}
	}
	_, ke1, err := auth.Start(b, weak(t, secret))
	if err != nil {
		t.Fatal(err)
	}
	for _, offset := range []int{0, 64, 96, 160} {
		bad := bytes.Clone(ke1)
		clear(bad[offset : offset+32])
		if _, _, err := auth.Respond(b, dummy(t).Credentials(), bad); err == nil {
			t.Errorf("the server took the identity at %d", offset)
		}
	}
}

// scramSpy plays the server of SCRAM-SHA-256 (RFC 5802), which sees a proof before it has proven anything.
type scramSpy struct {
	salt   []byte
	proofs []struct{ transcript, proof string }
}

func (s *scramSpy) serve() wire {
	var bare, first string
	return func(message []byte) []byte {
		if bare == "" {
			bare = strings.TrimPrefix(string(message), "n,,")
			_, nonce, _ := strings.Cut(bare, "r=")
			first = fmt.Sprintf("r=%sspy,s=%s,i=4096", nonce, base64.StdEncoding.EncodeToString(s.salt))
			return []byte(first)
		}
		without, proof, _ := strings.Cut(string(message), ",p=")
		s.proofs = append(s.proofs, struct{ transcript, proof string }{bare + "," + first + "," + without, proof})
		return nil
	}
}

func (s *scramSpy) fits(word string) bool {
	salted, err := pbkdf2.Key(sha256.New, word, s.salt, 4096, sha256.Size)
	if err != nil {
		return false
	}
	sign := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	clientKey := sign(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	return slices.ContainsFunc(s.proofs, func(p struct{ transcript, proof string }) bool {
		proof, err := base64.StdEncoding.DecodeString(p.proof)
		if err != nil || len(proof) != len(clientKey) {
			return false
		}
		for i, b := range sign(stored[:], p.transcript) {
			proof[i] ^= b
		}
		return bytes.Equal(proof, clientKey)
	})
}

// T1: with the classic challenge and response in OPAQUE's place, the same harness finds the password in one run.
func TestImpostorOfSCRAM(t *testing.T) {
	client := func(send wire) {
		c, err := scram.SHA256.NewClient("docs", secret, "")
		if err != nil {
			t.Fatal(err)
		}
		conversation := c.NewConversation()
		var answer []byte
		for range 2 {
			message, err := conversation.Step(string(answer))
			if err != nil {
				t.Fatal(err)
			}
			answer = send([]byte(message))
		}
	}
	found := crack(t, 1, client, &scramSpy{salt: []byte("the spy's own")}, dictionary())
	if !slices.Equal(found, []string{secret}) {
		t.Errorf("found %q, so the harness finds nothing", found)
	}
}
