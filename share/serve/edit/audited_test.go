package edit_test

import (
	"testing"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/servetest"
	"github.com/peerd/peerd/share/sharepb"
)

// TestCutOffIsWrittenDown: what runs when its right ends, and a put that is given up half-way, is cancelled; what ends by itself is not.
func TestCutOffIsWrittenDown(t *testing.T) {
	revoke := func(w *servetest.World, s *stream) {
		w.Offers.Change("docs", func(o *serve.Offer) { o.Epochs.Full++ })
		if err := wire.ToError(s.hear().Error); peer.KindOf(err) != peer.Denied {
			s.t.Errorf("it ended with %v", err)
		}
	}
	reset := func(_ *servetest.World, s *stream) { s.Reset() }
	for name, tc := range map[string]struct {
		ask    *sharepb.Change
		item   *sharepb.PutItem
		end    func(*servetest.World, *stream)
		result string // of what is cancelled, if anything is
	}{
		"a put whose right ends":        {putChange(), &sharepb.PutItem{Path: []string{"f"}, Size: 5}, revoke, peer.Denied.String()},
		"a watch whose right ends":      {&sharepb.Change{Verb: sharepb.Verb_VERB_WATCH}, nil, revoke, peer.Denied.String()},
		"a lock whose right ends":       {&sharepb.Change{Verb: sharepb.Verb_VERB_LOCK, Path: []string{"small"}}, nil, revoke, peer.Denied.String()},
		"a put that is not named whole": {putChange(), &sharepb.PutItem{Path: []string{"f"}, Size: 5}, reset, peer.Unreachable.String()},
		"a put that brings no bytes": {putChange(), &sharepb.PutItem{Path: []string{"f"}, Size: 5}, func(_ *servetest.World, s *stream) {
			s.say(&sharepb.PutItem{})
			s.Reset()
		}, peer.Unreachable.String()},
		"a put that ends": {putChange(), &sharepb.PutItem{Path: []string{"d"}, Dir: true}, func(_ *servetest.World, s *stream) {
			s.say(&sharepb.PutItem{})
			for !s.hear().End {
			}
			s.Reset()
		}, ""},
		"a watch that ends": {&sharepb.Change{Verb: sharepb.Verb_VERB_WATCH}, nil, reset, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := servetest.New(t)
			ledger := w.Audit()
			silent(w.Anna)
			s := open(t, w, w.Anna, tc.ask)
			if tc.item != nil {
				tc.item.Number = 1
				s.say(tc.item, &sharepb.PutItem{Number: 2, Path: []string{".."}}) // of the last the owner says something
				for s.hear().Number != 2 {
				}
			} else {
				s.hear() // it has begun
			}
			tc.end(w, s)
			wait(t, func() bool { return !w.Changing() })
			all := ledger.Of(audit.KindCancelled)
			if tc.result == "" {
				if len(all) > 0 {
					t.Errorf("cancelled: %+v", all)
				}
				return
			}
			if len(all) != 1 || all[0].Result != tc.result || all[0].Peer != w.Anna.ID() || all[0].Share != "docs" || all[0].Right != "full" {
				t.Errorf("cancelled: %+v", all)
			}
		})
	}
}

// TestPutGivenNoMore: who breaks a put off refuses its bytes, which may be heard on one connection before the end of the put on another.
func TestPutGivenNoMore(t *testing.T) {
	w := servetest.New(t)
	ledger := w.Audit()
	refusing(w.Anna)
	s := open(t, w, w.Anna, putChange())
	s.say(&sharepb.PutItem{Number: 1, Path: []string{"f"}, Size: 5}, &sharepb.PutItem{})
	wait(t, func() bool { return !w.Changing() })
	if e := ledger.Wait(t, audit.KindCancelled, 1)[0]; e.Result != peer.Unreachable.String() || e.Peer != w.Anna.ID() || e.Share != "docs" {
		t.Errorf("%+v", e)
	}
}

// TestNoRoomIsWrittenDown: each file that is refused for want of room is.
func TestNoRoomIsWrittenDown(t *testing.T) {
	w := servetest.New(t)
	ledger := w.Audit()
	silent(w.Anna)
	s := open(t, w, w.Anna, putChange())
	s.say(&sharepb.PutItem{Number: 1, Path: []string{"much"}, Size: 1 << 62}, &sharepb.PutItem{Number: 2, Path: []string{".."}})
	for range 2 {
		s.hear()
	}
	e := ledger.Wait(t, audit.KindQuota, 1)[0]
	if e.Path != "much" || e.Bytes != 1<<62 || e.Result != peer.Full.String() || e.Peer != w.Anna.ID() {
		t.Errorf("%+v", e)
	}
}
