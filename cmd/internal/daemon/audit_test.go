package daemon

import (
	"maps"
	"strings"
	"testing"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// audited counts the records of a node's audit, by event and result.
func (n *node) audited(events ...string) map[string]int {
	n.t.Helper()
	got := make(map[string]int)
	for r, err := range n.AuditRecords(n.t.Context(), control.AuditFilter{Events: events}) {
		if err != nil {
			n.t.Fatal(err)
		}
		got[r.Event+" "+string(r.Right)+" "+r.Result+" "+r.Why] += max(1, r.Count)
	}
	return got
}

// TestAuditOfRights: what the owner says of passwords, what others get by them, and who they are, is written down once each.
func TestAuditOfRights(t *testing.T) {
	berta := start(t, "berta")
	berta.offer("docs", map[string]string{"plan": "x"}, byPassword)
	anna, other := start(t, "anna", berta), start(t, "Anna", berta)
	for _, n := range []*node{anna, other} {
		n.sees(berta)
		n.restart()
		n.sees(berta)
	}
	_, err := anna.login("//berta/docs", readPassword)
	works(t, "login", err)
	anna.restart() // it has the ticket alone now
	anna.sees(berta)
	works(t, "look", anna.look("//berta/docs/plan"))
	_, err = berta.ShareSet(t.Context(), "docs", control.ShareSet{Read: &control.Slot{Mode: control.Open}})
	works(t, "open", err)
	works(t, "passwd", berta.SharePasswd(t.Context(), "docs", control.Full, otherPassword))
	_, err = berta.ShareSet(t.Context(), "docs", control.ShareSet{Read: &control.Slot{Mode: control.Closed}})
	works(t, "close", err)
	until(t, "the clash", func() bool { return len(berta.audited("peer.clash")) > 0 })
	clash := berta.audited("peer.clash")
	for key := range clash {
		clash = map[string]int{key[:len("peer.clash  conflict")]: clash[key]}
	}
	if want := map[string]int{"peer.clash  conflict": 1}; !maps.Equal(clash, want) {
		t.Errorf("%v, not %v", clash, want)
	}
	want := map[string]int{
		"password read ok set": 1, "password full ok set": 2, "password read ok taken away": 1,
		"login read ok ": 1, "ticket read ok ": 1, "grant read ok by a ticket": 1, "peer.seen  ok ": 2,
	}
	if got := berta.audited("password", "login", "ticket", "grant", "peer.seen"); !maps.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
	berta.restart()
	anna.sees(berta)
	works(t, "again", anna.Logout(t.Context(), ref(t, "//berta/docs")))
	if got := berta.audited("peer.seen"); got["peer.seen  ok "] != 2 {
		t.Errorf("after a restart: %v", got)
	}
}

// TestAuditOfNoSuchEvent: who mistypes an event is told, and does not take silence for an answer.
func TestAuditOfNoSuchEvent(t *testing.T) {
	anna := start(t, "anna")
	for _, err := range anna.AuditRecords(t.Context(), control.AuditFilter{Events: []string{"start", "wrote"}}) {
		wants(t, "an event that there is not", err, peer.Usage)
		return
	}
	t.Error("an event that there is not is no error")
}

// TestAuditOfASeed: who reads a file of a peer that gives it on is in that peer's audit, with the file's owner.
func TestAuditOfASeed(t *testing.T) {
	const size = 3 << 20
	berta := start(t, "berta")
	berta.offer("docs", map[string]string{"plan": random(size, 1)}, open)
	anna := start(t, "anna", berta)
	anna.sees(berta)
	_, err := anna.copy(control.CopyRequest{Dest: t.TempDir()}, "//berta/docs/plan")
	works(t, "anna's copy", err)
	carl := start(t, "carl", berta, anna)
	carl.sees(berta, anna)
	last, err := carl.copy(control.CopyRequest{Dest: t.TempDir()}, "//berta/docs/plan")
	works(t, "carl's copy", err)
	want := gave(last, anna)
	if want == 0 {
		t.Fatal("anna gave nothing")
	}
	var found int64
	until(t, "anna's audit to have it", func() bool {
		found = 0
		for r, err := range anna.AuditRecords(t.Context(), control.AuditFilter{}) {
			if err != nil {
				t.Fatal(err)
			}
			if r.Event == "read" && r.Peer == carl.id && r.Share == "docs" && r.Path == "plan" && strings.Contains(r.Why, berta.id) {
				found += r.Bytes
			}
		}
		return found >= want
	})
}
