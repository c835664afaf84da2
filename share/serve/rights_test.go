package serve_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/auth"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/peertest"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/edit"
	"github.com/peerd/peerd/share/serve/servetest"
	"github.com/peerd/peerd/share/sharepb"
	transferserve "github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
)

// sealed makes what the owner would give to a holder, changed by edit.
func sealed(t *testing.T, w *servetest.World, name string, holder *host.Host, right share.Right, edit func(*grant.Grant)) []byte {
	t.Helper()
	o, _ := w.Offers.Named(name)
	now := w.Now().Truncate(time.Second)
	g := grant.Grant{Share: o.ID, Holder: holder.ID(), Right: right, Epoch: o.Epochs.Of(right), NotBefore: now, Expires: now.Add(grant.MaxLife)}
	if edit != nil {
		edit(&g)
	}
	b, err := g.Seal(w.Key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRights is the exact table: every verb, with everything that may be shown in place of a right. A verb of sharepb that
// has no row fails here; one that neither [serve.Need] nor [edit.Need] knows is refused to everybody.
func TestRights(t *testing.T) {
	w := servetest.New(t)
	docs, _ := w.Offers.Named("docs")
	hidden, _ := w.Offers.Named("secret$")
	stranger := peertest.Key(t)
	type shown struct {
		grant []byte
		from  *host.Host
		share share.ID
		most  share.Right // that it gives
	}
	rows := map[string]shown{
		"nothing":           {nil, w.Anna, docs.ID, share.None},
		"read":              {sealed(t, w, "docs", w.Anna, share.Read, nil), w.Anna, docs.ID, share.Read},
		"full":              {sealed(t, w, "docs", w.Anna, share.Full, nil), w.Anna, docs.ID, share.Full},
		"read, hidden":      {sealed(t, w, "secret$", w.Anna, share.Read, nil), w.Anna, hidden.ID, share.Read},
		"expired":           {sealed(t, w, "docs", w.Anna, share.Read, func(g *grant.Grant) { g.NotBefore, g.Expires = g.NotBefore.Add(-grant.MaxLife), g.NotBefore }), w.Anna, docs.ID, share.None},
		"not valid yet":     {sealed(t, w, "docs", w.Anna, share.Read, func(g *grant.Grant) { g.NotBefore = g.NotBefore.Add(time.Minute) }), w.Anna, docs.ID, share.None},
		"for other share":   {sealed(t, w, "other", w.Anna, share.Read, nil), w.Anna, docs.ID, share.None},
		"of other holder":   {sealed(t, w, "docs", w.Berta, share.Read, nil), w.Anna, docs.ID, share.None},
		"full, expired":     {sealed(t, w, "docs", w.Anna, share.Full, func(g *grant.Grant) { g.NotBefore, g.Expires = g.NotBefore.Add(-grant.MaxLife), g.NotBefore }), w.Anna, docs.ID, share.None},
		"full, other share": {sealed(t, w, "other", w.Anna, share.Full, nil), w.Anna, docs.ID, share.None},
		"full, of other":    {sealed(t, w, "docs", w.Berta, share.Full, nil), w.Anna, docs.ID, share.None},
		"old epoch, read":   {sealed(t, w, "docs", w.Anna, share.Read, func(g *grant.Grant) { g.Epoch-- }), w.Anna, docs.ID, share.None},
		"old epoch, full":   {sealed(t, w, "docs", w.Anna, share.Full, func(g *grant.Grant) { g.Epoch-- }), w.Anna, docs.ID, share.None},
		"future epoch":      {sealed(t, w, "docs", w.Anna, share.Read, func(g *grant.Grant) { g.Epoch++ }), w.Anna, docs.ID, share.None},
		"self-signed":       {selfSigned(t, stranger, docs, w), w.Anna, docs.ID, share.None},
		"ticket":            {ticket(t, docs, w), w.Anna, docs.ID, share.None},
		"garbage":           {[]byte("let me in"), w.Anna, docs.ID, share.None},
		"share not there":   {sealed(t, w, "docs", w.Anna, share.Read, func(g *grant.Grant) { g.Share[0] ^= 1 }), w.Anna, docs.ID, share.None},
		"too large a grant": {make([]byte, 2<<10), w.Anna, docs.ID, share.None},
	}
	// What is said of the device in each share decides as well, whatever the grant.
	standings := map[string]serve.Standing{
		"denied$": {Denied: true}, "denied, allowed before$": {Denied: true, Allowed: share.Full}, "suspended$": {Suspended: true},
		"allowed read$": {Allowed: share.Read}, "allowed full$": {Allowed: share.Full}, "plain$": {},
	}
	for name, st := range standings {
		id := w.Add(share.Name(name), st)
		for _, right := range []share.Right{share.Read, share.Full} {
			for _, device := range []bool{false, true} {
				g := sealed(t, w, name, w.Anna, right, func(g *grant.Grant) { g.Serial = serialOf(t, device) })
				what := fmt.Sprintf("%s, %s by device %t", name, right, device)
				most := right
				switch {
				case st.Denied:
					most = share.None
				case device:
					most = min(most, st.Allowed)
				}
				if st.Suspended {
					most = min(most, share.Read)
				}
				rows[what] = shown{g, w.Anna, id, most}
			}
		}
	}
	all := verbs(t, w)
	if want := len(sharepb.Verb_name) - 1 + 7; len(all) != want {
		t.Errorf("%d verbs have a row, want %d", len(all), want)
	}
	for verb, v := range all {
		for name, r := range rows {
			err := v.ask(r.from, r.share, r.grant)
			switch allow := r.most >= v.need; {
			case allow && err != nil:
				t.Errorf("%s with %s: refused: %v", verb, name, err)
			case !allow && err == nil:
				t.Errorf("%s with %s: allowed", verb, name)
			case !allow && peer.KindOf(err) != peer.Denied:
				t.Errorf("%s with %s: refused by %v, want kind %v", verb, name, err, peer.Denied)
			}
		}
	}
	for _, n := range []share.Right{serve.Need(sharepb.Verb(99)), edit.Need(sharepb.Verb(99)), serve.Need(0), edit.Need(0)} {
		if n <= share.Full {
			t.Errorf("a verb that nobody knows takes the right %v", n)
		}
	}
	otherProtocol(t, w, docs.ID, rows["full"].grant)
}

func serialOf(t *testing.T, device bool) grant.Serial {
	t.Helper()
	serial, err := grant.NewSerial(rand.Reader, device)
	if err != nil {
		t.Fatal(err)
	}
	return serial
}

// TestStandingDecides is the table of what is said of a device against each grant, for each right that a verb may need.
func TestStandingDecides(t *testing.T) {
	const none, read, full = share.None, share.Read, share.Full
	for _, tc := range []struct {
		name    string
		st      serve.Standing
		open    share.Right
		granted share.Right
		device  bool
		gives   share.Right // the most that the grant is good for
	}{
		{"by a slot", serve.Standing{}, none, full, false, full},
		{"by a slot, read", serve.Standing{}, none, read, false, read},
		{"by a slot, allowed more", serve.Standing{Allowed: full}, none, read, false, read},
		{"by a slot, allowed less", serve.Standing{Allowed: read}, none, full, false, full},
		{"by a slot, denied", serve.Standing{Denied: true}, full, full, false, none},
		{"by a slot, suspended", serve.Standing{Suspended: true}, full, full, false, read},
		{"read by a slot, suspended", serve.Standing{Suspended: true}, none, read, false, read},
		{"allowed", serve.Standing{Allowed: full}, none, full, true, full},
		{"allowed, lowered", serve.Standing{Allowed: read}, none, full, true, read},
		{"allowed, lowered, open", serve.Standing{Allowed: read}, full, full, true, full},
		{"allowed before", serve.Standing{}, none, full, true, none},
		{"allowed before, open to read", serve.Standing{}, read, full, true, read},
		{"allowed, denied", serve.Standing{Allowed: full, Denied: true}, full, full, true, none},
		{"allowed, suspended", serve.Standing{Allowed: full, Suspended: true}, none, full, true, read},
	} {
		b := newBare(t, &files{})
		b.offers.Change("docs", func(o *serve.Offer) {
			o.Open, o.Standing = tc.open, func(who peer.ID) serve.Standing {
				if who != b.holder {
					t.Errorf("%s: asked for %v", tc.name, who)
				}
				return tc.st
			}
		})
		docs, _ := b.offers.Named("docs")
		g := grant.Grant{Share: b.docs, Holder: b.holder, Right: tc.granted, Epoch: docs.Epochs.Of(tc.granted), NotBefore: b.now, Expires: b.now.Add(time.Minute), Serial: serialOf(t, tc.device)}
		sealed, err := g.Seal(b.key)
		if err != nil {
			t.Fatal(err)
		}
		pass, err := b.gate.Enter(sealed, b.holder, b.docs)
		if (err == nil) != (tc.gives >= read) {
			t.Errorf("%s: entering: %v", tc.name, err)
		}
		if err != nil {
			continue
		}
		for _, need := range []share.Right{read, full, full + 1} {
			if _, err := pass.Allow(need); (err == nil) != (tc.gives >= need) {
				t.Errorf("%s: the right %v: %v", tc.name, need, err)
			}
		}
	}
}

// TestDevice is the table of what a device gets without a password, and by a ticket that it has.
func TestDevice(t *testing.T) {
	const none, read, full = share.None, share.Read, share.Full
	for _, tc := range []struct {
		name   string
		st     serve.Standing
		open   share.Right
		ticket share.Right // none: it has none
		want   share.Right
		device bool
	}{
		{"nothing is said", serve.Standing{}, none, none, none, false},
		{"open", serve.Standing{}, read, none, read, false},
		{"allowed", serve.Standing{Allowed: read}, none, none, read, true},
		{"allowed what is open", serve.Standing{Allowed: read}, read, none, read, false},
		{"allowed more than is open", serve.Standing{Allowed: full}, read, none, full, true},
		{"open more than is allowed", serve.Standing{Allowed: read}, full, none, full, false},
		{"denied", serve.Standing{Denied: true}, full, none, none, false},
		{"suspended", serve.Standing{Suspended: true}, full, none, read, false},
		{"allowed and suspended", serve.Standing{Allowed: full, Suspended: true}, none, none, read, true},
		{"ticket", serve.Standing{}, none, read, read, false},
		{"ticket, allowed more", serve.Standing{Allowed: full}, none, read, full, true},
		{"ticket, allowed less", serve.Standing{Allowed: read}, none, full, full, false},
		{"ticket, denied", serve.Standing{Denied: true}, none, full, none, false},
		{"ticket, suspended", serve.Standing{Suspended: true}, none, full, read, false},
	} {
		b := newBare(t, &files{})
		b.offers.Change("docs", func(o *serve.Offer) {
			o.Open, o.Standing = tc.open, func(peer.ID) serve.Standing { return tc.st }
		})
		hello := &sharepb.AuthHello{Share: "docs", How: &sharepb.AuthHello_Open{Open: true}}
		if tc.ticket != none {
			docs, _ := b.offers.Named("docs")
			k := grant.Ticket{Share: b.docs, Holder: b.holder, Right: tc.ticket, Epoch: docs.Epochs.Of(tc.ticket), NotBefore: b.now, Expires: b.now.Add(time.Minute)}
			sealed, err := k.Seal(b.key)
			if err != nil {
				t.Fatal(err)
			}
			hello.How = &sharepb.AuthHello_Ticket{Ticket: sealed}
		}
		dummy, err := auth.NewDummy(bytes.Repeat([]byte("s"), 32))
		if err != nil {
			t.Fatal(err)
		}
		st := &servetest.Stream{In: bytes.NewReader(servetest.Frames(t, hello)), ID: b.holder}
		if err := serve.NewDoorman(b.gate, dummy, new(auth.Throttle)).Handle(t.Context(), st); err != nil {
			t.Fatal(err)
		}
		var r sharepb.AuthResult
		if err := wire.NewReader(&st.Out).ReadMsg(&r, serve.MaxAuthFrame); err != nil {
			t.Fatal(err)
		}
		g, err := grant.Open(r.Grant, b.owner)
		if (err == nil) != (tc.want != none) || err == nil && (g.Right != tc.want || g.Serial.Device() != tc.device) {
			t.Errorf("%s: %v, device %t, %v", tc.name, g.Right, g.Serial.Device(), err)
		}
		if err != nil {
			continue
		}
		pass, err := b.gate.Enter(r.Grant, b.holder, b.docs)
		if err == nil {
			_, err = pass.Allow(tc.want)
		}
		if err != nil {
			t.Errorf("%s: what it got is not good for %v: %v", tc.name, tc.want, err)
		}
	}
}

func selfSigned(t *testing.T, key crypto.PrivKey, o serve.Offer, w *servetest.World) []byte {
	now := w.Now().Truncate(time.Second)
	g := grant.Grant{Share: o.ID, Holder: w.Anna.ID(), Right: share.Full, Epoch: o.Epochs.Full, NotBefore: now, Expires: now.Add(time.Minute)}
	b, err := g.Seal(key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func ticket(t *testing.T, o serve.Offer, w *servetest.World) []byte {
	now := w.Now().Truncate(time.Second)
	g := grant.Ticket{Share: o.ID, Holder: w.Anna.ID(), Right: share.Full, Epoch: o.Epochs.Full, NotBefore: now, Expires: now.Add(time.Minute)}
	b, err := g.Seal(w.Key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRightEndsWhileStreamRuns: what was granted ends in the midst of a stream, by time, by a new epoch, and with the share.
func TestRightEndsWhileStreamRuns(t *testing.T) {
	for name, end := range map[string]func(*servetest.World){
		"expired":     func(w *servetest.World) { w.Pass(grant.MaxLife) },
		"new epoch":   func(w *servetest.World) { w.Offers.Change("docs", func(o *serve.Offer) { o.Epochs.Read++ }) },
		"share ended": func(w *servetest.World) { w.Offers.Change("docs", func(o *serve.Offer) { o.ID[0] ^= 1 }) },
	} {
		t.Run(name, func(t *testing.T) {
			w := servetest.New(t)
			docs, _ := w.Offers.Named("docs")
			st, err := w.Anna.Open(context.Background(), w.Owner.ID(), transferserve.GetProtocol, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer st.Reset()
			if err := st.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			in := wire.NewReader(st)
			get := func(grant []byte) error {
				t.Helper()
				if err := wire.WriteMsg(st, &transferpb.GetRequest{File: file(docs.ID, grant, "small"), Whole: true}); err != nil {
					t.Fatal(err)
				}
				var r transferpb.GetReply
				if err := in.ReadMsg(&r, wire.MaxMsg); err != nil {
					t.Fatal(err)
				}
				if _, err := in.Read(make([]byte, r.Length)); r.Length > 0 && err != nil {
					t.Fatal(err)
				}
				return wire.ToError(r.Error)
			}
			if err := get(sealed(t, w, "docs", w.Anna, share.Read, nil)); err != nil {
				t.Fatal(err)
			}
			if err := get(nil); err != nil {
				t.Fatalf("the second request of a stream needs its grant again: %v", err)
			}
			end(w)
			if err := get(nil); peer.KindOf(err) != peer.Denied {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// TestEpochOfOneRightLeavesTheOther: a new full password does not disturb readers, and the reverse.
func TestEpochOfOneRightLeavesTheOther(t *testing.T) {
	w := servetest.New(t)
	docs, _ := w.Offers.Named("docs")
	read, full := sealed(t, w, "docs", w.Anna, share.Read, nil), sealed(t, w, "docs", w.Anna, share.Full, nil)
	whole := verbs(t, w)["whole"].ask
	w.Offers.Change("docs", func(o *serve.Offer) { o.Epochs.Full++ })
	if err := whole(w.Anna, docs.ID, read); err != nil {
		t.Errorf("a reader after a change of the full password: %v", err)
	}
	if err := whole(w.Anna, docs.ID, full); peer.KindOf(err) != peer.Denied {
		t.Errorf("the old full right: %v", err)
	}
}
