package auth_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	r255 "github.com/gtank/ristretto255"
	"golang.org/x/crypto/argon2"

	"github.com/peerd/peerd/peer/auth"
	"github.com/peerd/peerd/peer/auth/opaquetest"
)

// argon is what every password is stretched by, as the protocol's description says it.
type argon struct {
	time, memory uint32
	lanes        uint8
	salt, size   int
}

func (a argon) stretch(b []byte) []byte {
	return argon2.IDKey(b, make([]byte, a.salt), a.time, a.memory, a.lanes, uint32(a.size))
}

func real9807() argon { return argon{time: 3, memory: 64 << 10, lanes: 4, salt: 16, size: 64} }

func cheap() argon { return argon{time: 1, memory: 8, lanes: 1, salt: 16, size: 64} }

// oracleInput, oracleID and oracleContext are what peerd gives to OPAQUE, written a second time.
func oracleInput(slot auth.Slot, password string) []byte {
	return joined([]byte("peerd/pw/1"), docs[:], []byte{byte(slot)}, []byte(password))
}

func oracleID(slot auth.Slot) []byte {
	return joined([]byte("peerd/credential/1"), docs[:], []byte{byte(slot)})
}

func oracleContext(b auth.Binding) []byte {
	return joined([]byte("peerd/share-auth/1"), []byte(b.Client), []byte(b.Server), b.Channel, b.Share[:])
}

// oracleClients are the oracle's clients of both slots.
func oracleClients(b auth.Binding, password string, a argon) [2]*opaquetest.Client {
	var clients [2]*opaquetest.Client
	for i, slot := range []auth.Slot{auth.Read, auth.Full} {
		clients[i] = &opaquetest.Client{
			Password: oracleInput(slot, password), Context: oracleContext(b), Stretch: a.stretch, Coins: opaquetest.NewClientCoins(),
		}
	}
	return clients
}

// loginByOracle runs the oracle's client against peerd's server. The client tries one slot only, as stretching takes time.
func loginByOracle(b auth.Binding, have auth.Credentials, slot auth.Slot, password string, a argon) (auth.Slot, error) {
	clients := oracleClients(b, password, a)
	ke2, pending, err := auth.Respond(b, have, slices.Concat(clients[0].KE1(), clients[1].KE1()))
	if err != nil {
		return 0, err
	}
	i := int(slot - auth.Read)
	ke3, _, _, err := clients[i].KE3(ke2[i*opaquetest.KE2Size : (i+1)*opaquetest.KE2Size])
	if err != nil {
		return 0, err
	}
	return pending.Check(ke3)
}

// oracleServer checks the read and the full password with the oracle.
type oracleServer struct {
	b       auth.Binding
	server  *opaquetest.Server
	records [2]opaquetest.Record
	runs    [2]opaquetest.Run
}

func newOracleServer(t *testing.T, b auth.Binding, passwords [2]string, a argon) *oracleServer {
	t.Helper()
	s := &oracleServer{b: b, server: opaquetest.NewServer(oracleContext(b))}
	for i, c := range []auth.Slot{auth.Read, auth.Full} {
		client := oracleClients(b, passwords[i], a)[i]
		evaluated, err := s.server.Evaluate(oracleID(c), client.Blinded())
		if err != nil {
			t.Fatal(err)
		}
		s.records[i], _, err = client.Register(evaluated, s.server.Public, bytes.Repeat([]byte{byte(i)}, 32))
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *oracleServer) respond(ke1 []byte) ([]byte, error) {
	var err error
	for i, slot := range []auth.Slot{auth.Read, auth.Full} {
		half := ke1[i*opaquetest.KE1Size : (i+1)*opaquetest.KE1Size]
		s.runs[i], err = s.server.Respond(s.records[i], oracleID(slot), nil, half, opaquetest.NewServerCoins())
		if err != nil {
			return nil, err
		}
	}
	return slices.Concat(s.runs[0].KE2, s.runs[1].KE2), nil
}

// T34, T26: peerd's server and the oracle's client agree on the whole protocol with the real stretching, and on nothing if
// any parameter of it is another.
func TestOracleClient(t *testing.T) {
	b := newBinding(t)
	const password = "correct horse"
	var have auth.Credentials
	for slot, c := range map[auth.Slot]*auth.Credential{auth.Read: &have.Read, auth.Full: &have.Full} {
		c.Keys = auth.NewServerKeys()
		start := time.Now()
		var err error
		if slot == auth.Full {
			c.Record, err = auth.Register(c.Keys, docs, slot, strong(t, password))
			if took := time.Since(start); took < 30*time.Millisecond {
				t.Errorf("stretching took %v", took)
			}
		} else {
			c.Record, err = auth.RegisterUnset(c.Keys, docs, slot)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if slot, err := loginByOracle(b, have, auth.Full, password, real9807()); slot != auth.Full {
		t.Errorf("opened %v: %v", slot, err)
	}
	for name, change := range map[string]func(*argon){
		"time":        func(a *argon) { a.time = 2 },
		"memory":      func(a *argon) { a.memory = 32 << 10 },
		"lanes":       func(a *argon) { a.lanes = 1 },
		"no salt":     func(a *argon) { a.salt = 0 },
		"32 bytes":    func(a *argon) { a.size = 32 },
		"for testing": func(a *argon) { *a = cheap() },
	} {
		a := real9807()
		change(&a)
		if _, err := loginByOracle(b, have, auth.Full, password, a); !errors.Is(err, opaquetest.ErrAuth) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// T34: what nobody set is not what nobody drew: the secret of an unset slot is neither empty nor zeros.
func TestUnset(t *testing.T) {
	b, have := newBinding(t), credentials(t, "", "")
	for _, password := range []string{"", string(make([]byte, 32))} {
		if slot, err := loginByOracle(b, have, auth.Read, password, cheap()); !errors.Is(err, opaquetest.ErrAuth) {
			t.Errorf("%q opened %v: %v", password, slot, err)
		}
	}
}

// T34: peerd's client and the oracle's server agree as well, with the real stretching.
func TestOracleServer(t *testing.T) {
	b := newBinding(t)
	s := newOracleServer(t, b, [2]string{"the read one", "correct horse"}, real9807())
	client, ke1, err := auth.Start(b, strong(t, "correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	ke2, err := s.respond(ke1)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	slot, ke3, err := client.Finish(ke2)
	if err != nil || slot != auth.Full {
		t.Fatalf("opened %v: %v", slot, err)
	}
	if took := time.Since(start); took < 60*time.Millisecond {
		t.Errorf("stretching twice took %v", took)
	}
	if !bytes.Equal(ke3, s.runs[1].KE3) {
		t.Error("another KE3 than the oracle expects")
	}
}

// T34: the two agree on what a KE2 that is off is worth: every byte of it is covered.
func TestTamperedKE2(t *testing.T) {
	b := newBinding(t)
	s := newOracleServer(t, b, [2]string{"the read one", "the full one"}, cheap())
	for offset := range opaquetest.KE2Size {
		client, ke1, err := auth.Start(b, weak(t, "the read one"))
		if err != nil {
			t.Fatal(err)
		}
		ke2, err := s.respond(ke1)
		if err != nil {
			t.Fatal(err)
		}
		ke2[offset] ^= 1
		if slot, _, err := client.Finish(ke2); slot != 0 || err == nil {
			t.Fatalf("byte %d changed: opened %v", offset, slot)
		}
	}
}

// T25: who has stolen the record of a slot has nothing that logs in: not as a password, and not as any of the secrets that
// a client makes from it. The last row is the same thief with the password.
func TestStolenRecord(t *testing.T) {
	b := newBinding(t)
	have := credentials(t, "the read one", "the full one")
	record := have.Read.Record.Bytes()[1:]
	public, maskingKey, envelope := record[:32], record[32:96], record[96:]
	type theft struct {
		name     string
		password string
		stretch  opaquetest.Stretch
		want     auth.Slot
	}
	thefts := []theft{{"the password", "the read one", cheap().stretch, auth.Read}}
	for name, stolen := range map[string][]byte{
		"record": record, "public key": public, "masking key": maskingKey, "envelope": envelope, "tag": envelope[32:],
	} {
		thefts = append(thefts,
			theft{name + " as password", string(stolen), cheap().stretch, 0},
			theft{name + " as stretched password", "a guess", func([]byte) []byte { return stolen }, 0})
	}
	for _, test := range thefts {
		client := oracleClients(b, test.password, cheap())[0]
		client.Stretch = test.stretch
		other := oracleClients(b, "a guess", cheap())[1]
		ke2, pending, err := auth.Respond(b, have, slices.Concat(client.KE1(), other.KE1()))
		if err != nil {
			t.Fatal(err)
		}
		// The thief is careless on purpose: it sends a KE3 whatever it thinks of the server.
		if test.want == 0 {
			client.Pinned = serverPublic(t, have.Read)
		}
		ke3, _, _, err := client.KE3(ke2[:opaquetest.KE2Size])
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if slot, _ := pending.Check(ke3); slot != test.want {
			t.Errorf("%s: opened %v, want %v", test.name, slot, test.want)
		}
	}

	// Nor does a stolen piece in place of the client's private key.
	for _, stolen := range [][]byte{public, maskingKey[:32], maskingKey[32:], envelope[:32], envelope[32:64]} {
		if k, err := r255.NewScalar().SetCanonicalBytes(stolen); err == nil {
			if got, _ := opaquetest.Multiply(k, r255.NewGeneratorElement().Bytes()); bytes.Equal(got, public) {
				t.Error("the client's private key stands in the record")
			}
		}
	}
}

// serverPublic computes the server's public key of a slot.
func serverPublic(t *testing.T, c auth.Credential) []byte {
	t.Helper()
	b := c.Keys.Bytes()
	private, err := r255.NewScalar().SetCanonicalBytes(b[len(b)-32:])
	if err != nil {
		t.Fatal(err)
	}
	return r255.NewIdentityElement().ScalarBaseMult(private).Bytes()
}
