package opaquetest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	r255 "github.com/gtank/ristretto255"
)

// vector9807 is one of the test vectors of RFC 9807 appendix C.
type vector9807 struct {
	Fake                           bool
	Context                        string
	Inputs, Intermediates, Outputs map[string]string
}

// vectors are those of ristretto255: two of real records, one of a fake one.
func vectors(t *testing.T) (all []vector9807) {
	t.Helper()
	raw, err := os.ReadFile("testdata/rfc9807.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 3 {
		t.Fatalf("%d vectors, want 3", len(all))
	}
	return all
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	if s == "" {
		return nil
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func scalar(t *testing.T, s string) *r255.Scalar {
	t.Helper()
	k, err := r255.NewScalar().SetCanonicalBytes(unhex(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// T34: the oracle gives the bytes of the RFC, so what agrees with the oracle agrees with the RFC.
func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		in := func(name string) []byte { return unhex(t, v.Inputs[name]) }
		checked := 0
		equal := func(name string, got []byte) {
			t.Helper()
			want, ok := v.Outputs[name]
			if !ok {
				want, ok = v.Intermediates[name]
			}
			checked++
			if !ok || !bytes.Equal(got, unhex(t, want)) {
				t.Errorf("%s:\n got %x\nwant %s", name, got, want)
			}
		}
		server := &Server{
			Private: scalar(t, v.Inputs["server_private_key"]), Public: in("server_public_key"),
			Seed: in("oprf_seed"), Identity: in("server_identity"), Context: unhex(t, v.Context),
		}
		coins := ServerCoins{in("masking_nonce"), in("server_nonce"), in("server_keyshare_seed")}
		id, clientID := in("credential_identifier"), in("client_identity")
		if v.Fake {
			record := Record{in("client_public_key"), in("masking_key"), make([]byte, envelopeSize)}
			run, err := server.Respond(record, id, clientID, in("KE1"), coins)
			if err != nil {
				t.Fatal(err)
			}
			equal("KE2", run.KE2)
			continue
		}
		client := &Client{
			Password: in("password"), ClientID: clientID, ServerID: server.Identity, Context: server.Context, Stretch: Identity,
			Coins: ClientCoins{Blind: scalar(t, v.Inputs["blind_registration"])},
		}
		equal("registration_request", client.Blinded())
		evaluated, err := server.Evaluate(id, client.Blinded())
		if err != nil {
			t.Fatal(err)
		}
		equal("registration_response", concat(evaluated, server.Public))
		record, export, err := client.Register(evaluated, server.Public, in("envelope_nonce"))
		if err != nil {
			t.Fatal(err)
		}
		equal("registration_upload", record.Bytes())
		equal("export_key", export)
		equal("envelope", record.Envelope)
		equal("masking_key", record.MaskingKey)

		client.Coins = ClientCoins{scalar(t, v.Inputs["blind_login"]), in("client_nonce"), in("client_keyshare_seed")}
		equal("KE1", client.KE1())
		run, err := server.Respond(record, id, clientID, client.KE1(), coins)
		if err != nil {
			t.Fatal(err)
		}
		equal("KE2", run.KE2)
		ke3, session, export, err := client.KE3(run.KE2)
		if err != nil {
			t.Fatal(err)
		}
		equal("KE3", ke3)
		equal("KE3", run.KE3)
		equal("session_key", session)
		equal("session_key", run.Session)
		equal("export_key", export)
		if checked != 13 {
			t.Errorf("%d values compared, want 13", checked)
		}
	}
}

func TestWrongPassword(t *testing.T) {
	server := NewServer([]byte("context"))
	client := &Client{Password: []byte("right"), Context: server.Context, Stretch: Identity, Coins: NewClientCoins()}
	evaluated, err := server.Evaluate([]byte("id"), client.Blinded())
	if err != nil {
		t.Fatal(err)
	}
	record, _, err := client.Register(evaluated, server.Public, random(nonceSize))
	if err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]error{"right": nil, "wrong": ErrAuth, "": ErrAuth} {
		client := &Client{Password: []byte(password), Context: server.Context, Stretch: Identity, Coins: NewClientCoins()}
		run, err := server.Respond(record, []byte("id"), nil, client.KE1(), NewServerCoins())
		if err != nil {
			t.Fatal(err)
		}
		ke3, _, _, err := client.KE3(run.KE2)
		if err != want {
			t.Errorf("%q: error %v, want %v", password, err, want)
		}
		if err == nil && !bytes.Equal(ke3, run.KE3) {
			t.Errorf("%q: another KE3 than expected", password)
		}
	}
	if _, err := server.Evaluate([]byte("id"), make([]byte, elementSize)); err == nil {
		t.Error("the identity was evaluated")
	}
}
