package audit

import (
	"fmt"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
)

// TestFloodOfStrangers: an ID costs nothing, so to be new is gathered like a refusal, and so is to have another's name.
func TestFloodOfStrangers(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for kind, result := range map[Kind]string{KindPeerSeen: OK, KindPeerClash: peer.Conflict.String(), KindCancelled: peer.Unreachable.String(),
		KindQuota: peer.Full.String(), KindBadPiece: peer.Integrity.String()} {
		g, written := Gatherer{Window: 5 * time.Second}, 0
		for i := range 10_000 {
			if g.Add(Stamped{Event{Kind: kind, Peer: peer.ID(fmt.Sprint(i)), Result: result}, now}) {
				written++
			}
		}
		var times uint64
		due := g.Due(now.Add(5*time.Second), false)
		for _, e := range due {
			times += e.Times()
		}
		if written != maxFloods || len(due) != 1 || times != 10_000-maxFloods {
			t.Errorf("%s: %d records at once, then %d that stand for %d", kind, written, len(due), times)
		}
	}
}

// TestFloodOfGrants: whoever is let in may ask for grants as often as it likes, and none is forgotten, but neither do they
// push out what happened before. Refusals do not hide who got one.
func TestFloodOfGrants(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	grant := func(who string, i int) Stamped {
		return Stamped{Event{Kind: KindGrant, Peer: peer.ID(who), ShareID: "films", Result: OK, Serial: fmt.Sprint(i)}, now}
	}
	g, written := Gatherer{Window: 5 * time.Second}, 0
	const n = 10_000
	for i := range n {
		g.Add(Stamped{Event{Kind: KindRefused, Peer: peer.ID(fmt.Sprint(i)), Result: peer.Denied.String()}, now})
	}
	for i := range n {
		if g.Add(grant("eve", i)) {
			written++
		}
	}
	if !g.Add(grant("anna", 0)) {
		t.Error("another's first grant is not written at once")
	}
	var times uint64
	due := 0
	for _, e := range g.Due(now.Add(5*time.Second), false) {
		if e.Kind != KindGrant {
			continue
		}
		due++
		times += e.Times()
		if e.Peer != "eve" || e.Serial != "" {
			t.Errorf("gathered is %+v", e)
		}
	}
	if written != 1 || due != 1 || times != n-1 {
		t.Errorf("%d records at once, then %d that stand for %d", written, due, times)
	}
}

// TestWhyOfFlood: of guesses that were held back in the end it shows that they were.
func TestWhyOfFlood(t *testing.T) {
	g := Gatherer{Window: 5 * time.Second}
	now := time.Unix(1_800_000_000, 0)
	for _, why := range []string{"wrong", "wrong", "held back"} {
		g.Add(Stamped{Event{Kind: KindLogin, Result: peer.Denied.String(), Why: why}, now})
	}
	if due := g.Due(now.Add(5*time.Second), false); len(due) != 1 || due[0].Why != "held back" || due[0].Count != 2 {
		t.Errorf("%+v", due)
	}
}

// TestFloodOfDifferentOnes has ten thousand strangers refused at once: the log must not be filled by it, nor any be forgotten.
func TestFloodOfDifferentOnes(t *testing.T) {
	g := Gatherer{Window: 5 * time.Second}
	now := time.Unix(1_800_000_000, 0)
	var written []Stamped
	const n = 10_000
	for i := range n {
		e := Stamped{Event{Kind: KindRefused, Peer: peer.ID(fmt.Sprint(i)), Result: peer.Denied.String()}, now}
		if g.Add(e) {
			written = append(written, e)
		}
	}
	written = append(written, g.Due(now.Add(5*time.Second), false)...)
	var times uint64
	for _, e := range written {
		times += e.Times()
	}
	if times != n || len(written) > maxFloods+1 {
		t.Errorf("%d refusals became %d records that stand for %d", n, len(written), times)
	}
	if last := written[len(written)-1]; last.Peer != "" || last.Why == "" {
		t.Errorf("the record for the rest is %+v", last)
	}
	if g.Due(now.Add(time.Minute), false); len(g.floods) != 0 {
		t.Errorf("%d floods are remembered for ever", len(g.floods))
	}
	for _, result := range []string{OK, "", peer.Conflict.String()} {
		for range 3 {
			if !g.Add(Stamped{Event{Kind: KindWrite, Result: result}, now}) {
				t.Errorf("a write with result %q is gathered", result)
			}
		}
	}
}
