package auth_test

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/peer"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/auth"
)

var docs = auth.ShareID{0xd0, 0xc5}

func newID(t testing.TB) peer.ID {
	t.Helper()
	_, public, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := core.IDFromPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func newBinding(t testing.TB) auth.Binding {
	return auth.Binding{Client: newID(t), Server: newID(t), Share: docs}
}

// weak is a password with a stretching that takes no time.
func weak(t testing.TB, s string) auth.Password { return strong(t, s).WeakenedForTests() }

func strong(t testing.TB, s string) auth.Password {
	t.Helper()
	p, err := auth.NewPassword(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// credential registers a password, or none for "".
func credential(t testing.TB, slot auth.Slot, password string) auth.Credential {
	t.Helper()
	c := auth.Credential{Keys: auth.NewServerKeys()}
	var err error
	if password == "" {
		c.Record, err = auth.RegisterUnset(c.Keys, docs, slot)
	} else {
		c.Record, err = auth.Register(c.Keys, docs, slot, weak(t, password))
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func credentials(t testing.TB, read, full string) auth.Credentials {
	return auth.Credentials{Read: credential(t, auth.Read, read), Full: credential(t, auth.Full, full)}
}

func dummy(t testing.TB) auth.Dummy {
	t.Helper()
	d, err := auth.NewDummy(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// login runs the whole protocol; the client and the server may see different bindings.
func login(client, server auth.Binding, have auth.Credentials, p auth.Password) (auth.Slot, error) {
	c, ke1, err := auth.Start(client, p)
	if err != nil {
		return 0, err
	}
	ke2, pending, err := auth.Respond(server, have, ke1)
	if err != nil {
		return 0, err
	}
	opened, ke3, err := c.Finish(ke2)
	if err != nil {
		return 0, err
	}
	checked, err := pending.Check(ke3)
	if err == nil && checked != opened {
		return 0, errors.New("client and server see different slots")
	}
	return checked, err
}

// T34: which password opens which slot, and that it takes exactly that password.
func TestLogin(t *testing.T) {
	both := credentials(t, "the read one", "the full one")
	readOnly := credentials(t, "the read one", "")
	b := newBinding(t)
	for _, test := range []struct {
		name     string
		have     auth.Credentials
		password string
		want     auth.Slot // 0 is ErrWrong
	}{
		{"read", both, "the read one", auth.Read},
		{"full", both, "the full one", auth.Full},
		{"wrong", both, "the other one", 0},
		{"other case", both, "The read one", 0},
		{"longer", both, "the read one ", 0},
		{"shorter", both, "the read on", 0},
		{"slot unset", readOnly, "the full one", 0},
		{"other slot unset", readOnly, "the read one", auth.Read},
		{"slots swapped", auth.Credentials{Read: both.Full, Full: both.Read}, "the read one", 0},
		{"unknown share", dummy(t).Credentials(), "the read one", 0},
		{"records swapped under the keys", auth.Credentials{
			Read: auth.Credential{Keys: both.Full.Keys, Record: both.Read.Record}, Full: both.Full}, "the read one", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := login(b, b, test.have, weak(t, test.password))
			if got != test.want {
				t.Errorf("opened %v, want %v (%v)", got, test.want, err)
			}
			if test.want == 0 && (!errors.Is(err, auth.ErrWrong) || peer.KindOf(err) != peer.Denied) {
				t.Errorf("error %v, want ErrWrong", err)
			}
		})
	}
	if _, _, err := auth.Start(b, auth.Password{}); err == nil {
		t.Error("an empty password was tried")
	}
	if _, err := auth.Register(auth.NewServerKeys(), docs, auth.Read, auth.Password{}); err == nil {
		t.Error("an empty password was registered")
	}
}

func TestOneTry(t *testing.T) {
	b, have := newBinding(t), credentials(t, "the read one", "")
	c, ke1, err := auth.Start(b, weak(t, "the read one"))
	if err != nil {
		t.Fatal(err)
	}
	ke2, pending, err := auth.Respond(b, have, ke1)
	if err != nil {
		t.Fatal(err)
	}
	_, ke3, err := c.Finish(ke2)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Finish(ke2); !errors.Is(err, auth.ErrMessage) {
		t.Errorf("second Finish: %v", err)
	}
	if _, err := pending.Check(make([]byte, auth.KE3Size)); !errors.Is(err, auth.ErrWrong) {
		t.Errorf("KE3 of zeros: %v", err)
	}
	for _, again := range [][]byte{ke3, nil, {}} {
		if slot, err := pending.Check(again); slot != 0 || !errors.Is(err, auth.ErrWrong) {
			t.Errorf("second Check of %d bytes: %v, %v", len(again), slot, err)
		}
	}
}

// T5: with a node in the middle the two ends see different peers, and both fail. The first row is the same relay between
// ends that agree on all, so it is the binding that stops the others.
func TestRelay(t *testing.T) {
	have := credentials(t, "the read one", "")
	b := newBinding(t)
	middle := newID(t)
	with := func(change func(*auth.Binding)) auth.Binding { c := b; change(&c); return c }
	for _, test := range []struct {
		name           string
		client, server auth.Binding
		ok             bool
	}{
		{"nobody in the middle", b, b, true},
		{"other server", with(func(b *auth.Binding) { b.Server = middle }), b, false},
		{"other client", b, with(func(b *auth.Binding) { b.Client = middle }), false},
		{"both legs", with(func(b *auth.Binding) { b.Server = middle }), with(func(b *auth.Binding) { b.Client = middle }), false},
		{"ends swapped", b, with(func(b *auth.Binding) { b.Client, b.Server = b.Server, b.Client }), false},
		{"other channel", b, with(func(b *auth.Binding) { b.Channel = []byte("other") }), false},
		{"other share", with(func(b *auth.Binding) { b.Share[15]++ }), b, false},
		{"record taken to another share", with(func(b *auth.Binding) { b.Share[15]++ }), with(func(b *auth.Binding) { b.Share[15]++ }), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := login(test.client, test.server, have, weak(t, "the read one")); (err == nil) != test.ok {
				t.Errorf("error %v, want success %v", err, test.ok)
			}
		})
	}
	for _, incomplete := range []auth.Binding{{Client: b.Client}, {Server: b.Server}, {}} {
		if _, _, err := auth.Start(incomplete, weak(t, "the read one")); err == nil {
			t.Errorf("%+v was accepted", incomplete)
		}
	}
}

// states are the ways in which a share may be there or not. A hidden share is one that is set, or none, by its name.
func states(t testing.TB) map[string]auth.Credentials {
	return map[string]auth.Credentials{
		"both set":  credentials(t, "the read one", "the full one"),
		"read set":  credentials(t, "the read one", ""),
		"full set":  credentials(t, "", "the full one"),
		"none set":  credentials(t, "", ""),
		"not there": dummy(t).Credentials(),
	}
}

// T2: whether passwords are set, and whether there is a share at all, does not show in an answer.
func TestAlike(t *testing.T) {
	b := newBinding(t)
	for name, have := range states(t) {
		t.Run(name, func(t *testing.T) {
			c, ke1, err := auth.Start(b, weak(t, "a guess"))
			if err != nil {
				t.Fatal(err)
			}
			first, pending, err := auth.Respond(b, have, ke1)
			if err != nil {
				t.Fatal(err)
			}
			second, _, err := auth.Respond(b, have, ke1)
			if err != nil {
				t.Fatal(err)
			}
			if len(ke1) != 192 || len(first) != 640 {
				t.Errorf("KE1 %d bytes, KE2 %d bytes", len(ke1), len(first))
			}
			// Of each slot the OPRF is a function, and all else is fresh.
			for offset := 0; offset < len(first); offset += 32 {
				if same := bytes.Equal(first[offset:offset+32], second[offset:offset+32]); same != (offset%320 == 0) {
					t.Errorf("same bytes at %d: %v", offset, same)
				}
			}
			twin, _, err := auth.Respond(b, have, slices.Concat(ke1[:96], ke1[:96]))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(twin[:32], twin[320:352]) {
				t.Error("both slots have one OPRF key")
			}
			const text = "login: not permitted: wrong password, or not the computer you think"
			if _, _, err := c.Finish(first); err == nil || err.Error() != text {
				t.Errorf("the client says %q", err)
			}
			if _, err := pending.Check(make([]byte, 64)); err == nil || err.Error() != text {
				t.Errorf("the server says %q", err)
			}
		})
	}
}

// T2: nor does it show in the time that an answer takes. Runs of all states alternate, so that whatever else the machine
// does hits them alike; noise gets three tries.
func TestAlikeInTime(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("measures time")
	}
	b, all := newBinding(t), states(t)
	_, ke1, err := auth.Start(b, weak(t, "a guess"))
	if err != nil {
		t.Fatal(err)
	}
	medians := make(map[string]time.Duration)
	for range 3 {
		took := make(map[string][]time.Duration)
		for range 500 {
			for name, have := range all {
				start := time.Now()
				if _, _, err := auth.Respond(b, have, ke1); err != nil {
					t.Fatal(err)
				}
				took[name] = append(took[name], time.Since(start))
			}
		}
		low, high := time.Hour, time.Duration(0)
		for name, times := range took {
			slices.Sort(times)
			medians[name] = times[len(times)/2]
			low, high = min(low, medians[name]), max(high, medians[name])
		}
		if high < low*12/10 {
			return
		}
	}
	t.Errorf("the medians differ by more than 20 %%: %v", medians)
}

// A share that is not there stays the same share after a restart, and each name is another.
func TestDummy(t *testing.T) {
	one, again := dummy(t), dummy(t)
	other, err := auth.NewDummy(bytes.Repeat([]byte{8}, 32))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := auth.NewDummy(make([]byte, 31)); err == nil {
		t.Error("a short secret was accepted")
	}
	if one.ShareID("x") != again.ShareID("x") || one.ShareID("x") == one.ShareID("y") || one.ShareID("x") == other.ShareID("x") {
		t.Error("share IDs do not follow secret and name")
	}
	if !bytes.Equal(one.Credentials().Read.Keys.Bytes(), again.Credentials().Read.Keys.Bytes()) ||
		!bytes.Equal(one.Credentials().Read.Record.Bytes(), again.Credentials().Read.Record.Bytes()) {
		t.Error("the dummy changed")
	}
	b := newBinding(t)
	_, ke1, err := auth.Start(b, weak(t, "a guess"))
	if err != nil {
		t.Fatal(err)
	}
	evaluated := func(d auth.Dummy, name string) string {
		b.Share = d.ShareID(name)
		ke2, _, err := auth.Respond(b, d.Credentials(), ke1)
		if err != nil {
			t.Fatal(err)
		}
		return hex.EncodeToString(ke2[:32])
	}
	if evaluated(one, "x") != evaluated(again, "x") || evaluated(one, "x") == evaluated(one, "y") {
		t.Error("OPRF keys do not follow secret and share")
	}
}

// T35: a stolen registry under fresh keys verifies nothing, not even the right password.
func TestRecordWithoutKeys(t *testing.T) {
	b, have := newBinding(t), credentials(t, "the read one", "the full one")
	if _, err := login(b, b, have, weak(t, "the read one")); err != nil {
		t.Fatal(err)
	}
	fresh := have
	fresh.Read.Keys, fresh.Full.Keys = auth.NewServerKeys(), auth.NewServerKeys()
	if _, err := login(b, b, fresh, weak(t, "the read one")); !errors.Is(err, auth.ErrWrong) {
		t.Errorf("error %v, want ErrWrong", err)
	}
	// Nor with the key of the exchange alone: it takes the OPRF seed.
	mixed := have.Read.Keys.Bytes()
	copy(mixed[1:65], auth.NewServerKeys().Bytes()[1:65])
	keys, err := auth.ParseServerKeys(mixed)
	if err != nil {
		t.Fatal(err)
	}
	fresh.Read.Keys = keys
	if _, err := login(b, b, fresh, weak(t, "the read one")); !errors.Is(err, auth.ErrWrong) {
		t.Errorf("error %v, want ErrWrong", err)
	}
}

func TestStored(t *testing.T) {
	b, have := newBinding(t), credentials(t, "the read one", "the full one")
	for _, c := range []*auth.Credential{&have.Read, &have.Full} {
		keys, record := c.Keys.Bytes(), c.Record.Bytes()
		if len(keys) != 97 || len(record) != 193 {
			t.Fatalf("keys %d bytes, record %d", len(keys), len(record))
		}
		var err error
		if c.Keys, err = auth.ParseServerKeys(keys); err != nil {
			t.Fatal(err)
		}
		if c.Record, err = auth.ParseRecord(record); err != nil {
			t.Fatal(err)
		}
		clear(keys)
		clear(record)
	}
	if slot, err := login(b, b, have, weak(t, "the full one")); slot != auth.Full {
		t.Errorf("opened %v: %v", slot, err)
	}
	if (auth.ServerKeys{}).Bytes() != nil || (auth.Record{}).Bytes() != nil {
		t.Error("zero values have bytes")
	}
	for _, missing := range []auth.Credentials{{}, {Read: have.Read}, {Read: auth.Credential{Keys: have.Read.Keys}, Full: have.Full}} {
		if _, err := login(b, b, missing, weak(t, "the read one")); err == nil || errors.Is(err, auth.ErrWrong) {
			t.Errorf("credentials that were never made: %v", err)
		}
	}
}

func TestMatches(t *testing.T) {
	have := credentials(t, "the read one", "")
	for _, test := range []struct {
		credential auth.Credential
		slot       auth.Slot
		password   string
		want       bool
	}{
		{have.Read, auth.Read, "the read one", true},
		{have.Read, auth.Full, "the read one", false},
		{have.Read, auth.Read, "the other one", false},
		{have.Full, auth.Full, "the read one", false},
		{auth.Credential{}, auth.Read, "the read one", false},
	} {
		if got := auth.Matches(test.credential, docs, test.slot, weak(t, test.password)); got != test.want {
			t.Errorf("%v %q: %v", test.slot, test.password, got)
		}
	}
	if auth.Matches(have.Read, docs, auth.Read, auth.Password{}) {
		t.Error("the empty password matches")
	}
}

// joined is the encoding of fields after their lengths, written a second time from the protocol's description.
func joined(fields ...[]byte) (b []byte) {
	for _, f := range fields {
		b = binary.BigEndian.AppendUint16(b, uint16(len(f)))
		b = append(b, f...)
	}
	return b
}

func BenchmarkRespond(b *testing.B) {
	binding, have := newBinding(b), credentials(b, "the read one", "")
	_, ke1, err := auth.Start(binding, weak(b, "a guess"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, _, err := auth.Respond(binding, have, ke1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLogin(b *testing.B) {
	binding := newBinding(b)
	p := strong(b, "the read one")
	keys := auth.NewServerKeys()
	record, err := auth.Register(keys, docs, auth.Read, p)
	if err != nil {
		b.Fatal(err)
	}
	have := auth.Credentials{Read: auth.Credential{Keys: keys, Record: record}, Full: credential(b, auth.Full, "")}
	for b.Loop() {
		if _, err := login(binding, binding, have, p); err != nil {
			b.Fatal(err)
		}
	}
}
