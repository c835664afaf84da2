package auditing

import (
	"log/slog"
	"path/filepath"
	"slices"
	"testing"

	"github.com/peerd/peerd/discovery/discoverytest"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/peer/peertest"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/offer"
	"github.com/peerd/peerd/share/registry"
)

// open opens a book, and gives what its records of a kind are.
func open(t *testing.T) (b *Book, of func(audit.Kind) []control.AuditRecord) {
	t.Helper()
	dir := t.TempDir()
	reg, err := registry.Open(filepath.Join(dir, "state"), registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	offers := offer.New(reg, log)
	t.Cleanup(offers.Close)
	if b, err = Open(filepath.Join(dir, "audit"), peertest.Key(t), offers, log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b, func(kind audit.Kind) (all []control.AuditRecord) {
		for r, err := range b.AuditRecords(t.Context(), control.AuditFilter{Events: []string{string(kind)}}) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, r)
		}
		return all
	}
}

// TestBadPieces: a source that is asked for no more is written down once, whatever else is told of it.
func TestBadPieces(t *testing.T) {
	b, of := open(t)
	p := b.Judging(nil, "//anna/films", share.ID{1})
	liar, other := discoverytest.ID(1), discoverytest.ID(2)
	p.Got(other, "f", 5)
	p.Had("f", 5)
	for range 3 {
		p.Bad(liar, false)
		p.Bad(other, false)
	}
	p.Bad(liar, true)
	p.Bad(liar, true)
	all := of(audit.KindBadPiece)
	if len(all) != 1 || all[0].Peer != liar.String() || all[0].Share != "//anna/films" || all[0].Result != peer.Integrity.String() {
		t.Errorf("%+v", all)
	}
}

func TestStrangers(t *testing.T) {
	b, of := open(t)
	for range 2 {
		b.met(discoverytest.ID(1))
		b.met(discoverytest.ID(2))
	}
	b.Clash(discoverytest.ID(2), discoverytest.ID(1))
	met := of(audit.KindPeerSeen)
	if len(met) != 2 || met[0].Peer != discoverytest.ID(1).String() || met[0].Result != audit.OK {
		t.Errorf("met: %+v", met)
	}
	if all := of(audit.KindPeerClash); len(all) != 1 || all[0].Peer != discoverytest.ID(2).String() || all[0].Result != peer.Conflict.String() {
		t.Errorf("clash: %+v", all)
	}
}

func TestMounted(t *testing.T) {
	b, of := open(t)
	b.Mounted("//anna/docs", "/mnt/docs", "mounted", nil)
	b.Mounted("//anna/docs", "/mnt/docs", "", &peer.Error{Kind: peer.Denied})
	results := []string{}
	for _, r := range of(audit.KindMount) {
		results = append(results, r.Share+" "+r.To+" "+r.Result)
	}
	if want := []string{"//anna/docs /mnt/docs ok", "//anna/docs /mnt/docs not permitted"}; !slices.Equal(results, want) {
		t.Errorf("%q", results)
	}
}
