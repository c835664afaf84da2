package grant

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
)

// somebody is a key with its ID.
type somebody struct {
	key crypto.PrivKey
	id  peer.ID
}

func newSomebody(t testing.TB, kind int) somebody {
	t.Helper()
	key, public, err := crypto.GenerateKeyPair(kind, 2048)
	if err != nil {
		t.Fatal(err)
	}
	id, err := core.IDFromPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return somebody{key, id}
}

func now() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

var (
	docs   = share.ID{0xd0, 0xc5}
	photos = share.ID{0xf0}
)

const (
	readEpoch = 1_700_000_000
	fullEpoch = 1_750_000_000
)

func valid(holder peer.ID, right share.Right) Grant {
	epochs := Epochs{Read: readEpoch, Full: fullEpoch}
	return Grant{
		Share: docs, Holder: holder, Right: right, Epoch: epochs.Of(right),
		NotBefore: now(), Expires: now().Add(MaxLife), Serial: Serial{1, 2, 3},
	}
}

func want(holder peer.ID, need share.Right) Want {
	return Want{Share: docs, Holder: holder, Need: need, Epochs: Epochs{Read: readEpoch, Full: fullEpoch}, Now: now().Add(time.Minute)}
}

// ask is the whole way of a grant: sealed by somebody, opened and checked by the side that is asked.
func ask(t *testing.T, g Grant, signer somebody, owner peer.ID, w Want) error {
	t.Helper()
	sealed, err := g.Seal(signer.key)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := Open(sealed, owner)
	if err != nil {
		return err
	}
	if opened != g {
		t.Errorf("sealed %+v, opened %+v", g, opened)
	}
	return Check(opened, w)
}

// T11, T12: the matrix of who may do what. A row with no reason is allowed.
func TestMatrix(t *testing.T) {
	owner, anna, bert := newSomebody(t, crypto.Ed25519), newSomebody(t, crypto.Ed25519), newSomebody(t, crypto.Ed25519)
	for _, test := range []struct {
		name       string
		grant      func(*Grant)
		want       func(*Want)
		signer     somebody
		read, full [2]Reason // the right held; for reading and for writing
	}{
		{name: "as it should be", read: [2]Reason{"", ErrRight}, full: [2]Reason{"", ""}},
		{name: "at the first moment", want: func(w *Want) { w.Now = now() }, read: [2]Reason{"", ErrRight}},
		{name: "at the last moment", want: func(w *Want) { w.Now = now().Add(MaxLife - 1) }, read: [2]Reason{"", ErrRight}},
		{
			name: "expired", want: func(w *Want) { w.Now = now().Add(MaxLife) },
			read: [2]Reason{ErrExpired, ErrRight}, full: [2]Reason{ErrExpired, ErrExpired},
		},
		{
			name: "in the future", want: func(w *Want) { w.Now = now().Add(-1) },
			read: [2]Reason{ErrEarly, ErrRight}, full: [2]Reason{ErrEarly, ErrEarly},
		},
		{
			name: "other share", want: func(w *Want) { w.Share = photos },
			read: [2]Reason{ErrShare, ErrShare}, full: [2]Reason{ErrShare, ErrShare},
		},
		{
			name: "other holder", want: func(w *Want) { w.Holder = bert.id },
			read: [2]Reason{ErrHolder, ErrHolder}, full: [2]Reason{ErrHolder, ErrHolder},
		},
		{
			name: "nobody asks", want: func(w *Want) { w.Holder = "" },
			read: [2]Reason{ErrHolder, ErrHolder}, full: [2]Reason{ErrHolder, ErrHolder},
		},
		{
			name: "read password changed", want: func(w *Want) { w.Epochs.Read++ },
			read: [2]Reason{ErrRevoked, ErrRight}, full: [2]Reason{"", ""},
		},
		{
			name: "full password changed", want: func(w *Want) { w.Epochs.Full++ },
			read: [2]Reason{"", ErrRight}, full: [2]Reason{ErrRevoked, ErrRevoked},
		},
		{
			name: "epochs from a backup", want: func(w *Want) { w.Epochs.Read--; w.Epochs.Full-- },
			read: [2]Reason{ErrRevoked, ErrRight}, full: [2]Reason{ErrRevoked, ErrRevoked},
		},
		{
			name: "epochs never told", want: func(w *Want) { w.Epochs = Epochs{} },
			read: [2]Reason{ErrRevoked, ErrRight}, full: [2]Reason{ErrRevoked, ErrRevoked},
		},
		{
			name: "epoch of the other right", grant: func(g *Grant) { g.Epoch = readEpoch + fullEpoch - g.Epoch },
			read: [2]Reason{ErrRevoked, ErrRight}, full: [2]Reason{ErrRevoked, ErrRevoked},
		},
		{
			name: "signed by the holder", signer: anna,
			read: [2]Reason{ErrSigner, ErrSigner}, full: [2]Reason{ErrSigner, ErrSigner},
		},
		{
			name: "signed by a stranger", signer: bert,
			read: [2]Reason{ErrSigner, ErrSigner}, full: [2]Reason{ErrSigner, ErrSigner},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			for right, reasons := range map[share.Right][2]Reason{share.Read: test.read, share.Full: test.full} {
				for i, need := range []share.Right{share.Read, share.Full} {
					g, w, signer := valid(anna.id, right), want(anna.id, need), owner
					if test.grant != nil {
						test.grant(&g)
					}
					if test.want != nil {
						test.want(&w)
					}
					if test.signer.key != nil {
						signer = test.signer
					}
					expect(t, fmt.Sprintf("%v held, %v needed", right, need), ask(t, g, signer, owner.id, w), reasons[i])
				}
				w := want(anna.id, share.None)
				if err := ask(t, valid(anna.id, right), owner, owner.id, w); !errors.Is(err, ErrRight) {
					t.Errorf("%v held, a verb without a right: %v", right, err)
				}
			}
		})
	}
}

// The zero values open nothing for each other.
func TestZero(t *testing.T) {
	g, w := valid("", share.Read), want("", share.Read)
	expect(t, "no holder", Check(g, w), ErrHolder)
	expect(t, "no grant", Check(Grant{}, w), ErrShare)
	expect(t, "nothing", Check(Grant{}, Want{}), ErrHolder)
}

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

// expect compares an error with a reason; none means success.
func expect(t *testing.T, what string, err error, reason Reason) {
	t.Helper()
	switch {
	case reason == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case reason != "" && (!errors.Is(err, reason) || peer.KindOf(err) != peer.Denied):
		t.Errorf("%s: %v, want %q", what, err, reason)
	}
}

// What no check could accept is neither sealed nor opened, even if the owner signed it; and Check refuses it as well.
func TestNonsense(t *testing.T) {
	owner, anna, old := newSomebody(t, crypto.Ed25519), newSomebody(t, crypto.Ed25519), newSomebody(t, crypto.ECDSA)
	for name, change := range map[string]func(*Grant){
		"no share":             func(g *Grant) { g.Share = share.ID{} },
		"no holder":            func(g *Grant) { g.Holder = "" },
		"holder is no ID":      func(g *Grant) { g.Holder = peer.ID(bytes.Repeat([]byte{1}, holderSize)) },
		"holder not Ed25519":   func(g *Grant) { g.Holder = old.id },
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

// T11: tickets hold for 30 days, obey the same rules, and are never a grant.
func TestTicket(t *testing.T) {
	owner, anna, bert := newSomebody(t, crypto.Ed25519), newSomebody(t, crypto.Ed25519), newSomebody(t, crypto.Ed25519)
	ticket := Ticket(valid(anna.id, share.Full))
	ticket.Expires = now().Add(MaxTicketLife)
	sealed, err := ticket.Seal(owner.key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(sealed, owner.id); !errors.Is(err, ErrForm) {
		t.Errorf("opened as a grant: %v", err)
	}
	if _, err := OpenTicket(sealed, anna.id); !errors.Is(err, ErrSigner) {
		t.Errorf("other owner: %v", err)
	}
	opened, err := OpenTicket(sealed, owner.id)
	if err != nil || opened != ticket {
		t.Fatalf("opened %+v: %v", opened, err)
	}
	expect(t, "as a grant", Check(Grant(opened), want(anna.id, share.Read)), ErrLife)
	for name, test := range map[string]struct {
		change func(*Want)
		want   Reason
	}{
		"after 29 days":   {func(w *Want) { w.Now = now().AddDate(0, 0, 29) }, ""},
		"after 30 days":   {func(w *Want) { w.Now = now().AddDate(0, 0, 30) }, ErrExpired},
		"other holder":    {func(w *Want) { w.Holder = bert.id }, ErrHolder},
		"revoked":         {func(w *Want) { w.Epochs.Full++ }, ErrRevoked},
		"for reading":     {func(w *Want) { w.Need = share.Read }, ""},
		"for other share": {func(w *Want) { w.Share = photos }, ErrShare},
	} {
		w := want(anna.id, share.Full)
		test.change(&w)
		expect(t, name, CheckTicket(opened, w), test.want)
	}
	ticket.Expires = ticket.Expires.Add(time.Second)
	if _, err := ticket.Seal(owner.key); !errors.Is(err, ErrLife) {
		t.Errorf("31 days: %v", err)
	}
	for name, test := range map[string]struct {
		domain, codec string
		want          Reason
	}{
		"as it should be":    {"peerd-ticket/1", "/peerd/ticket/1", ""},
		"domain of a grant":  {"peerd-grant/1", "/peerd/ticket/1", ErrForm},
		"payload of a grant": {"peerd-ticket/1", "/peerd/grant/1", ErrForm},
	} {
		_, err := OpenTicket(sealRaw(t, owner.key, test.domain, test.codec, raw(Grant(opened))), owner.id)
		expect(t, name, err, test.want)
	}
	short := valid(anna.id, share.Read)
	b, err := short.Seal(owner.key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenTicket(b, owner.id); !errors.Is(err, ErrForm) {
		t.Errorf("a grant opened as a ticket: %v", err)
	}
}

func TestEpochs(t *testing.T) {
	at := func(sec int64) time.Time { return time.Unix(sec, 0) }
	for _, test := range []struct {
		prev uint64
		now  time.Time
		want uint64
	}{
		{0, at(1000), 1000},
		{999, at(1000), 1000},
		{1000, at(1000), 1001}, // twice within a second
		{5000, at(1000), 5001}, // the clock went back
		{5000, at(-9), 5001},
		{0, at(-9), 1},
		{0, time.Time{}, 1},
	} {
		if got := NextEpoch(test.prev, test.now); got != test.want {
			t.Errorf("after %d at %d: %d, want %d", test.prev, test.now.Unix(), got, test.want)
		}
	}
	known := Epochs{Read: 10, Full: 20}
	for _, test := range []struct {
		right share.Right
		epoch uint64
		want  Epochs
	}{
		{share.Read, 11, Epochs{11, 20}},
		{share.Read, 9, known},
		{share.Full, 21, Epochs{10, 21}},
		{share.Full, 11, known},
		{share.None, 99, known},
	} {
		if got := known.Raised(Grant{Right: test.right, Epoch: test.epoch}); got != test.want {
			t.Errorf("%v %d: %v, want %v", test.right, test.epoch, got, test.want)
		}
	}
	if known.Of(share.None) != 0 {
		t.Error("no right has an epoch")
	}
}

func TestSerial(t *testing.T) {
	s, err := NewSerial(bytes.NewReader([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}))
	if err != nil || s.String() != "0102030405060708" {
		t.Errorf("%v, %v", s, err)
	}
	if _, err := NewSerial(bytes.NewReader([]byte{1})); err == nil {
		t.Error("a short source of randomness was enough")
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

func BenchmarkSeal(b *testing.B) {
	owner, anna := newSomebody(b, crypto.Ed25519), newSomebody(b, crypto.Ed25519)
	g := valid(anna.id, share.Read)
	for b.Loop() {
		serial, err := NewSerial(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		g.Serial = serial
		if _, err := g.Seal(owner.key); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	owner, anna := newSomebody(b, crypto.Ed25519), newSomebody(b, crypto.Ed25519)
	sealed, err := valid(anna.id, share.Read).Seal(owner.key)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(sealed)), "bytes")
	for b.Loop() {
		if _, err := Open(sealed, owner.id); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	anna := newSomebody(b, crypto.Ed25519)
	g, w := valid(anna.id, share.Read), want(anna.id, share.Read)
	for b.Loop() {
		if err := Check(g, w); err != nil {
			b.Fatal(err)
		}
	}
}
