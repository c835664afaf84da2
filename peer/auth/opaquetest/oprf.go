package opaquetest

import (
	"crypto/sha512"
	"encoding/binary"
	"errors"

	r255 "github.com/gtank/ristretto255"
)

// suiteID is the context string of RFC 9497 section 3.1 for OPRF mode with ristretto255 and SHA-512.
const suiteID = "OPRFV1-\x00-ristretto255-SHA512"

var errElement = errors.New("opaquetest: no group element")

// HashToElement maps a password to the group (RFC 9497 section 4.1).
func HashToElement(input []byte) []byte {
	e, err := r255.NewIdentityElement().SetUniformBytes(expandMessage(input, "HashToGroup-"+suiteID))
	if err != nil {
		panic(err) // of a wrong length alone
	}
	return e.Bytes()
}

// Multiply is the product of a scalar and an encoded element. The identity is no element (RFC 9497 section 2.1).
func Multiply(k *r255.Scalar, element []byte) ([]byte, error) {
	e, err := r255.NewIdentityElement().SetCanonicalBytes(element)
	if err != nil || e.Equal(r255.NewIdentityElement()) == 1 {
		return nil, errElement
	}
	return e.ScalarMult(k, e).Bytes(), nil
}

// OPRFKey is the key for one credential (RFC 9807 section 5.2.2).
func OPRFKey(seed, credentialID []byte) *r255.Scalar {
	k, _ := deriveKeyPair(expand(seed, string(credentialID)+"OprfKey", 32), "OPAQUE-DeriveKeyPair")
	return k
}

// finalize hashes the unblinded element to the output of the OPRF (RFC 9497 section 3.3.1).
func finalize(input, unblinded []byte) []byte {
	return hash(vector(input), vector(unblinded), []byte("Finalize"))
}

// deriveKeyPair is RFC 9497 section 3.2.1.
func deriveKeyPair(seed []byte, info string) (*r255.Scalar, []byte) {
	for counter := range 256 {
		input := concat(seed, vector([]byte(info)), []byte{byte(counter)})
		k, err := r255.NewScalar().SetUniformBytes(expandMessage(input, "DeriveKeyPair"+suiteID))
		if err == nil && k.Equal(r255.NewScalar()) == 0 {
			return k, r255.NewIdentityElement().ScalarBaseMult(k).Bytes()
		}
	}
	panic("opaquetest: 256 zero scalars")
}

// expandMessage is expand_message_xmd of RFC 9380 section 5.3.1 for 64 bytes, which are one block of SHA-512.
func expandMessage(message []byte, domain string) []byte {
	suffix := append([]byte(domain), byte(len(domain)))
	first := hash(make([]byte, sha512.BlockSize), message, []byte{0, 64, 0}, suffix)
	return hash(first, []byte{1}, suffix)
}

func hash(parts ...[]byte) []byte {
	sum := sha512.Sum512(concat(parts...))
	return sum[:]
}

// vector is a text after its length in two bytes.
func vector(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}
