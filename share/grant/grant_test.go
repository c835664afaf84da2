package grant

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/peer"

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

// who are the people of the matrix.
type who struct{ owner, anna, bert somebody }

// row is one way to come with a grant, and the reasons for which it is refused; none means that it is allowed.
type row struct {
	name       string
	grant      func(*Grant)
	want       func(*Want)
	signer     somebody  // nobody stands for the owner
	read, full [2]Reason // the right held; for reading and for writing
}

func matrix(p who) []row {
	return []row{
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
			name: "other holder", want: func(w *Want) { w.Holder = p.bert.id },
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
			name: "signed by the holder", signer: p.anna,
			read: [2]Reason{ErrSigner, ErrSigner}, full: [2]Reason{ErrSigner, ErrSigner},
		},
		{
			name: "signed by a stranger", signer: p.bert,
			read: [2]Reason{ErrSigner, ErrSigner}, full: [2]Reason{ErrSigner, ErrSigner},
		},
	}
}

// T11, T12: who may do what.
func TestMatrix(t *testing.T) {
	p := who{newSomebody(t, crypto.Ed25519), newSomebody(t, crypto.Ed25519), newSomebody(t, crypto.Ed25519)}
	for _, test := range matrix(p) {
		t.Run(test.name, func(t *testing.T) {
			for right, reasons := range map[share.Right][2]Reason{share.Read: test.read, share.Full: test.full} {
				for i, need := range []share.Right{share.Read, share.Full} {
					g, w, signer := valid(p.anna.id, right), want(p.anna.id, need), p.owner
					if test.grant != nil {
						test.grant(&g)
					}
					if test.want != nil {
						test.want(&w)
					}
					if test.signer.key != nil {
						signer = test.signer
					}
					expect(t, fmt.Sprintf("%v held, %v needed", right, need), ask(t, g, signer, p.owner.id, w), reasons[i])
				}
				w := want(p.anna.id, share.None)
				if err := ask(t, valid(p.anna.id, right), p.owner, p.owner.id, w); !errors.Is(err, ErrRight) {
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
	for want, device := range map[string]bool{"0102030405060708": false, "8102030405060708": true} {
		for _, first := range []byte{0x01, 0x81} {
			s, err := NewSerial(bytes.NewReader([]byte{first, 2, 3, 4, 5, 6, 7, 8, 9}), device)
			if err != nil || s.String() != want || s.Device() != device {
				t.Errorf("%v, %v, want %s", s, err, want)
			}
		}
	}
	if _, err := NewSerial(bytes.NewReader([]byte{1}), true); err == nil {
		t.Error("a short source of randomness was enough")
	}
}

func BenchmarkSeal(b *testing.B) {
	owner, anna := newSomebody(b, crypto.Ed25519), newSomebody(b, crypto.Ed25519)
	g := valid(anna.id, share.Read)
	for b.Loop() {
		serial, err := NewSerial(rand.Reader, false)
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
