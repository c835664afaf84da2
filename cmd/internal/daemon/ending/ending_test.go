package ending

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	core "github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/peertest"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/registry"
	"github.com/peerd/peerd/share/sharepb"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/tracker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func somebody(t *testing.T) peer.ID {
	t.Helper()
	id, err := core.IDFromPrivateKey(peertest.Key(t))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// rig is a registry with the share docs, and what was told to whom.
type rig struct {
	*Teller
	t     *testing.T
	docs  registry.Share
	table *tracker.Table

	mu   sync.Mutex
	away map[peer.ID]bool
	got  map[peer.ID][]*sharepb.ShareState
}

func newRig(t *testing.T) *rig {
	t.Helper()
	reg, err := registry.Open(filepath.Join(t.TempDir(), "state"), registry.Options{Home: "/nobody's home"})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, table: tracker.New(), away: make(map[peer.ID]bool), got: make(map[peer.ID][]*sharepb.ShareState)}
	r.docs, err = reg.Add(registry.Share{Name: "docs", Dir: t.TempDir(), Slots: registry.Slots{Read: registry.ModeOpen}}, registry.Secrets{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r.Teller = New(reg, r.table, r.bring, slog.New(slog.DiscardHandler))
	return r
}

func (r *rig) bring(_ context.Context, who peer.ID, m *sharepb.ShareState) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away[who] {
		return errors.New("away")
	}
	r.got[who] = append(r.got[who], m)
	return nil
}

// gives has a peer give on a file of docs.
func (r *rig) gives(who peer.ID) {
	r.table.Add(time.Now(), transfer.File{Share: transfer.ShareID(r.docs.ID), Path: []string{"f"}}, tracker.Source{Peer: who})
}

// heard is how often a peer was told something, and the last of it.
func (r *rig) heard(who peer.ID) (int, *sharepb.ShareState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.got[who]
	if len(all) == 0 {
		return 0, &sharepb.ShareState{}
	}
	return len(all), all[len(all)-1]
}

// in runs a test in a bubble of time, beside a Teller that works. Files are made before, in the time of the world.
func in(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		time.Sleep(2 * Life) // nothing is recent
		go func() {
			defer close(done)
			r.Run(ctx)
		}()
		synctest.Wait()
		test(t, r)
		cancel()
		<-done
	})
}

func denies(m *sharepb.ShareState, who peer.ID) bool {
	return slices.ContainsFunc(m.Denied, func(b []byte) bool { return peer.ID(b) == who })
}

// Those that give on are told once of each change, at once; nobody else is, and not who is denied.
func TestTold(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		carl, anna, stranger := somebody(t), somebody(t), somebody(t)
		r.gives(carl)
		r.gives(anna)
		step := func(what string, err error, times int) *sharepb.ShareState {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			synctest.Wait()
			n, m := r.heard(carl)
			if n != times {
				t.Errorf("%s: told %d times, want %d", what, n, times)
			}
			return m
		}
		_, err := r.reg.Allow(r.docs.ID, anna, share.Read, time.Now())
		step("allow", err, 0)
		_, err = r.reg.Deny(r.docs.ID, anna, time.Now())
		first := step("deny", err, 1)
		if !denies(first, anna) || first.EpochRead != r.docs.Epochs.Read || len(first.Denied) != 1 {
			t.Errorf("deny: %v", first)
		}
		if n, _ := r.heard(anna); n > 0 {
			t.Error("who is denied is told")
		}
		if m := step("block", r.reg.Block(stranger, "", time.Now()), 2); !denies(m, anna) || !denies(m, stranger) || m.Serial <= first.Serial {
			t.Errorf("block: %v", m)
		}
		if m := step("unblock", r.reg.Unblock(stranger), 3); !denies(m, anna) || denies(m, stranger) {
			t.Errorf("unblock: %v", m)
		}
		step("suspend", r.reg.Suspend(r.docs.ID, anna, time.Now()), 3)
		_, err = r.reg.Set(r.docs.ID, func(s *registry.Share) { s.Comment = "x" }, time.Now())
		step("a comment", err, 3)
		_, err = r.reg.Set(r.docs.ID, func(s *registry.Share) { s.Slots.Read = registry.ModeNone }, time.Now())
		if m := step("closed", err, 4); m.EpochRead <= r.docs.Epochs.Read || !denies(m, anna) {
			t.Errorf("closed: %v", m)
		}
		if g := r.table.Givers(transfer.ShareID(r.docs.ID)); len(g) > 0 {
			t.Errorf("who gave on is still named: %v", g)
		}
		r.gives(carl)
		closed, _ := r.reg.ByID(r.docs.ID)
		if m := step("removed", r.reg.Remove(r.docs.ID), 5); m.EpochRead <= closed.Epochs.Read || m.EpochFull <= closed.Epochs.Full {
			t.Errorf("removed: %v", m)
		}
	})
}

// Those that come later are told, those that come back again, and nobody once nothing of before is left.
func TestToldLater(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		carl, emil, late, anna := somebody(t), somebody(t), somebody(t), somebody(t)
		r.away[carl] = true
		r.gives(carl)
		if _, err := r.reg.Deny(r.docs.ID, anna, time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * For)
		r.mu.Lock()
		r.away[carl] = false
		r.mu.Unlock()
		r.gives(emil)
		time.Sleep(2*Again + time.Second)
		for who, name := range map[peer.ID]string{carl: "who was away", emil: "who came later"} {
			if n, m := r.heard(who); n != 1 || !denies(m, anna) {
				t.Errorf("%s: told %d times, %v", name, n, m)
			}
		}
		r.Lost(emil)
		time.Sleep(Again + time.Second)
		if n, _ := r.heard(emil); n != 2 {
			t.Errorf("who may have forgotten was told %d times", n)
		}
		time.Sleep(Life)
		r.gives(late)
		r.Lost(emil)
		time.Sleep(2 * Again)
		if n, _ := r.heard(late); n != 0 {
			t.Error("told when nothing of before is left")
		}
		if n, _ := r.heard(emil); n != 2 {
			t.Errorf("told %d times in the end", n)
		}
	})
}

// TestRecall: after a restart it is known which rights ended lately, and no others.
func TestRecall(t *testing.T) {
	r := newRig(t)
	now := time.Now()
	recent := func(at time.Time) int {
		e := New(r.reg, r.table, r.bring, r.log)
		e.recall(at)
		return len(e.recent(at))
	}
	if n := recent(now); n != 1 {
		t.Errorf("a share that began just now: %d", n)
	}
	later := now.Add(Life + grant.MaxLife)
	if n := recent(later); n != 0 {
		t.Errorf("long after: %d", n)
	}
	if _, err := r.reg.Deny(r.docs.ID, somebody(t), later); err != nil {
		t.Fatal(err)
	}
	if n := recent(later.Add(time.Minute)); n != 1 {
		t.Errorf("shortly after somebody was denied: %d", n)
	}
	if n := recent(later.Add(time.Hour)); n != 0 {
		t.Errorf("long after somebody was denied: %d", n)
	}
	if err := r.reg.Block(somebody(t), "", later.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n := recent(later.Add(time.Hour + time.Minute)); n != 1 {
		t.Errorf("shortly after somebody was blocked: %d", n)
	}
}
