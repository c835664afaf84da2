package daemon

import (
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share/registry"
)

// reads runs cat of a large file, and gives the gate that its bytes wait at and the error that ends it.
func (n *node) reads(of string) (*gate, chan error) {
	n.t.Helper()
	g, ended := newGate(), make(chan error, 1)
	at := ref(n.t, of)
	go func() { ended <- n.Cat(n.t.Context(), at, 0, -1, g) }()
	select {
	case <-g.began:
	case err := <-ended:
		n.t.Fatalf("%s: %v", of, err)
	}
	return g, ended
}

// until waits for what has to come about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for begin := time.Now(); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("%s: it does not", what)
		}
	}
}

// soon is a second, with room for a machine that has more to do.
const soon = 5 * time.Second

// TestAllow: who is allowed needs no password, over restarts of both, and with as much as it is allowed.
func TestAllow(t *testing.T) {
	berta := start(t, "berta")
	berta.offer("docs", map[string]string{"plan": "x"}, byPassword)
	anna, carl := start(t, "anna", berta), start(t, "carl", berta)
	berta.sees(anna, carl)
	for _, n := range []*node{anna, carl} {
		n.sees(berta)
	}
	ctx := t.Context()
	allow := func(who string, right control.Right) control.Share {
		t.Helper()
		s, err := berta.ShareAllow(ctx, "docs", who, right)
		works(t, "allow", err)
		return s
	}
	check := func(what string, right control.Right, by string) {
		t.Helper()
		l, err := anna.Whoami(ctx, ref(t, "//berta/docs"))
		if err != nil || l.Right != right || l.By != by || by == "device" && !l.Until.IsZero() {
			t.Errorf("%s: %+v, %v", what, l, err)
		}
	}
	check("before", control.None, "none")
	if s := allow("anna", control.Read); len(s.Allowed) != 1 || s.Allowed[0].ID != anna.id || s.Allowed[0].Name != "anna" || s.Allowed[0].Right != control.Read {
		t.Errorf("the share is %+v", s)
	}
	check("allowed", control.Read, "device")
	works(t, "allowed", anna.look("//berta/docs/plan"))
	wants(t, "somebody else", carl.look("//berta/docs/plan"), peer.Denied)
	for n, want := range map[*node]control.Right{anna: control.Read, carl: control.None} {
		for e, err := range n.List(ctx, ref(t, "//berta"), false) {
			if err != nil || e.Right != want {
				t.Errorf("%s is listed the right %q, %v", n.cfg.Name, e.Right, err)
			}
		}
	}
	allow(anna.id[:20], control.Full)
	check("more", control.Full, "device")
	_, err := anna.login("//berta/docs", readPassword)
	works(t, "login", err)
	check("more than it logged in for", control.Full, "device")
	berta.restart()
	anna.restart()
	anna.sees(berta)
	check("after restarts", control.Full, "device")
	allow(anna.id, control.Read)
	check("lowered", control.Read, "password")
	works(t, "logout", anna.Logout(ctx, ref(t, "//berta/docs")))
	check("lowered and logged out", control.Read, "device")

	// What can't be allowed.
	for what, c := range map[string]struct {
		name, who string
		right     control.Right
		kind      peer.Kind
	}{
		"no right":       {"docs", anna.id, control.None, peer.Usage},
		"no share":       {"none", anna.id, control.Read, peer.NotFound},
		"a name unknown": {"docs", "dora", control.Read, peer.NotFound},
		"itself":         {"docs", berta.id, control.Read, peer.Usage},
		"no ID":          {"docs", "12D3KooWxxxxxxxx", control.Read, peer.NotFound},
		"an RSA key":     {"docs", "QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC", control.Read, peer.Usage},
	} {
		_, err := berta.ShareAllow(ctx, c.name, c.who, c.right)
		wants(t, what, err, c.kind)
	}
	// One never seen, by its ID alone.
	stranger := "12D3KooWBmAwcd4PJNJvfV89HwE48nwkRmAgo8Vy3uQEyNNHBox2"
	allow(stranger, control.Read)
	if s, err := berta.ShareDeny(ctx, "docs", stranger[len(stranger)-8:], true); err != nil || len(s.Denied) != 1 || s.Denied[0].ID != stranger {
		t.Errorf("by the end of an ID: %+v, %v", s, err)
	}
}

// TestDeny: one device is cut off in the midst of a file and refused whatever it knows; another goes on, and stays logged in.
func TestDeny(t *testing.T) {
	const size = 96 << 20 // more than is ever on its way
	berta := start(t, "berta")
	dir := berta.offer("docs", map[string]string{"plan": "x"}, byPassword)
	berta.offer("open", map[string]string{"plan": "x"}, open)
	sparse(t, filepath.Join(dir, "big"), size)
	anna, carl := start(t, "anna", berta), start(t, "carl", berta)
	for _, n := range []*node{anna, carl} {
		n.sees(berta)
		if _, err := n.login("//berta/docs", fullPassword); err != nil {
			t.Fatal(err)
		}
	}
	berta.sees(anna, carl)
	ctx := t.Context()
	annas, annaEnded := anna.reads("//berta/docs/big")
	carls, carlEnded := carl.reads("//berta/docs/big")
	before, err := berta.ShareList(ctx)
	works(t, "list", err)
	s, err := berta.ShareDeny(ctx, "docs", "anna", true)
	if err != nil || len(s.Denied) != 1 || s.Denied[0].Name != "anna" || s.Denied[0].Since.IsZero() {
		t.Fatalf("deny: %+v, %v", s, err)
	}
	close(annas.open)
	close(carls.open)
	wants(t, "who is denied", <-annaEnded, peer.Denied)
	if annas.n >= size {
		t.Error("all of the file came")
	}
	works(t, "another", <-carlEnded)
	if carls.n != size {
		t.Errorf("another got %d bytes", carls.n)
	}
	wants(t, "afterwards", anna.look("//berta/docs/plan"), peer.Denied)
	for _, password := range []string{readPassword, fullPassword} {
		_, err = anna.login("//berta/docs", password)
		wants(t, "a right password", err, peer.Denied)
	}
	_, wrong := anna.login("//berta/docs", otherPassword)
	if err == nil || wrong == nil || err.Error() != wrong.Error() {
		t.Errorf("it can tell a right password (%v) from a wrong one (%v)", err, wrong)
	}
	if r := anna.whoami("//berta/docs"); r != control.None {
		t.Errorf("it holds %s", r)
	}
	works(t, "another share", anna.look("//berta/open/plan"))
	carl.restart()
	carl.sees(berta)
	works(t, "another by its login of before", carl.look("//berta/docs/plan"))

	_, err = berta.ShareDeny(ctx, "open", anna.id, true)
	works(t, "deny", err)
	if r := anna.whoami("//berta/open"); r != control.None {
		t.Errorf("in an open share it holds %s", r)
	}
	berta.restart()
	anna.sees(berta)
	wants(t, "after a restart", anna.look("//berta/open/plan"), peer.Denied)
	_, err = berta.ShareDeny(ctx, "open", anna.id, false)
	works(t, "undo", err)
	works(t, "undone", anna.look("//berta/open/plan"))
	_, err = berta.ShareDeny(ctx, "open", anna.id, false)
	wants(t, "undo again", err, peer.NotFound)
	s, err = berta.ShareAllow(ctx, "docs", anna.id, control.Read)
	works(t, "allow", err)
	if len(s.Denied) != 0 || s.ID != before[0].ID {
		t.Errorf("the share is %+v", s)
	}
	works(t, "allowed again", anna.look("//berta/docs/plan"))
}

// TestBlock: all that runs with a peer ends, it is not seen, and nothing goes either way until it is unblocked.
func TestBlock(t *testing.T) {
	berta := start(t, "berta")
	dir := berta.offer("docs", map[string]string{"plan": "x"}, open)
	sparse(t, filepath.Join(dir, "big"), 8<<30)
	anna, carl := start(t, "anna", berta), start(t, "carl", berta)
	anna.offer("hers", map[string]string{"plan": "x"}, open)
	for _, n := range []*node{anna, carl} {
		n.sees(berta)
	}
	berta.sees(anna, carl)
	ctx := t.Context()
	works(t, "before", berta.look("//anna/hers/plan"))
	annas, annaEnded := anna.reads("//berta/docs/big")
	carls, carlEnded := carl.reads("//berta/docs/big")
	close(carls.open)
	d, err := berta.Block(ctx, "anna", true)
	if err != nil || d.ID != anna.id || d.Name != "anna" || d.Since.IsZero() {
		t.Fatalf("block: %+v, %v", d, err)
	}
	close(annas.open)
	blocked := time.Now()
	seen := func() bool {
		all, err := berta.Peers(ctx, false)
		works(t, "peers", err)
		return slices.ContainsFunc(all, func(p control.Peer) bool { return p.ID == anna.id })
	}
	if seen() {
		t.Error("it is listed")
	}
	wants(t, "from here", berta.look("//anna/hers/plan"), peer.Denied)
	wants(t, "from here by its ID", berta.look("//"+anna.id+"/hers/plan"), peer.Denied)
	_, err = berta.ShareAllow(ctx, "docs", anna.id, control.Read)
	wants(t, "allow", err, peer.Denied)
	// It is away to the other side, which goes on trying for as long as it does with anybody.
	until(t, "its end", func() bool { return anna.look("//berta/docs/plan") != nil })
	if took := time.Since(blocked); took > soon {
		t.Errorf("it could still ask after %v", took)
	}
	if _, err := anna.list("//berta", false); err == nil {
		t.Error("it is still told what there is")
	}
	select {
	case err := <-annaEnded:
		if err == nil {
			t.Error("all of the file came")
		}
	default:
	}
	select {
	case err := <-carlEnded:
		t.Errorf("another was disturbed: %v", err)
	default:
	}
	list, err := berta.Blocked(ctx)
	if err != nil || len(list) != 1 || list[0] != d {
		t.Errorf("blocked are %+v, %v", list, err)
	}
	berta.restart()
	carl.sees(berta)
	if seen() {
		t.Error("after a restart it is listed")
	}
	if _, err := anna.Stat(ctx, ref(t, "//berta/docs/plan")); err == nil {
		t.Error("after a restart it is let in")
	}
	_, err = berta.Block(ctx, "carla", false)
	wants(t, "unblock of nobody", err, peer.NotFound)
	_, err = berta.Block(ctx, "ANNA", false)
	works(t, "unblock", err)
	until(t, "it comes back", func() bool { return anna.look("//berta/docs/plan") == nil })
	if list, err := berta.Blocked(ctx); err != nil || len(list) != 0 {
		t.Errorf("blocked are %+v, %v", list, err)
	}
}

// TestSuspended: whose full right is suspended reads on, is shown, and has it back by resume.
func TestSuspended(t *testing.T) {
	berta := start(t, "berta")
	berta.offer("docs", map[string]string{"plan": "x"}, byPassword)
	anna := start(t, "anna", berta)
	anna.sees(berta)
	berta.sees(anna)
	ctx := t.Context()
	_, err := anna.login("//berta/docs", fullPassword)
	works(t, "login", err)
	_, err = berta.ShareResume(ctx, "docs", "anna")
	wants(t, "resume of one that is not suspended", err, peer.NotFound)
	berta.stop()
	reg, err := registry.Open(berta.cfg.State, registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := reg.Get("docs")
	if err != nil {
		t.Fatal(err)
	}
	works(t, "suspend", reg.Suspend(s.ID, idOf(t, anna), time.Now()))
	berta.run()
	anna.sees(berta)
	works(t, "reading", anna.look("//berta/docs/plan"))
	if r := anna.whoami("//berta/docs"); r != control.Read {
		t.Errorf("suspended, it holds %s", r)
	}
	st, err := berta.Status(ctx)
	if err != nil || len(st.Shares) != 1 || len(st.Shares[0].Suspended) != 1 || st.Shares[0].Suspended[0].ID != anna.id {
		t.Errorf("the status is %+v, %v", st.Shares, err)
	}
	after, err := berta.ShareResume(ctx, "docs", anna.id)
	if err != nil || len(after.Suspended) != 0 {
		t.Errorf("resume: %+v, %v", after, err)
	}
	if r := anna.whoami("//berta/docs"); r != control.Full {
		t.Errorf("resumed, it holds %s", r)
	}
}

// TestSettings: what is set is checked before any of it is done, shown with what holds by default, and kept.
func TestSettings(t *testing.T) {
	berta := start(t, "berta")
	berta.offer("docs", nil, open)
	ctx := t.Context()
	get := func() control.Settings {
		t.Helper()
		all, err := berta.ShareList(ctx)
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		return all[0].Settings
	}
	want := control.Settings{VersionsAge: 365 * 24 * 3600, VersionsCount: 100, VersionsShare: 10, Brake: control.Brake{Files: 100, Percent: 20, Window: 300}}
	if got := get(); !reflect.DeepEqual(got, want) {
		t.Errorf("by default: %+v", got)
	}
	for what, set := range map[string]map[string]string{
		"a value": {"quota": "10G", "brake": "1,2"}, "a name": {"quota": "10G", "colour": "red"},
	} {
		_, err := berta.ShareSet(ctx, "docs", control.ShareSet{Settings: set})
		wants(t, what+" that is none", err, peer.Usage)
		if got := get(); got.Quota != 0 {
			t.Errorf("%s: half of it was done: %+v", what, got)
		}
	}
	s, err := berta.ShareSet(ctx, "docs", control.ShareSet{Settings: map[string]string{
		"quota": "10G", "peer-quota": "1GiB", "reserve": "none", "versions-age": "none", "versions-count": "7", "versions-share": "5%", "brake": "off", "exec": "never",
	}})
	works(t, "set", err)
	want = control.Settings{Quota: 10e9, PeerQuota: 1 << 30, Reserve: new(int64), VersionsAge: -1, VersionsCount: 7, VersionsShare: 5, Brake: control.Brake{Off: true},
		Set: map[string]string{"quota": "10GB", "peer-quota": "1GiB", "reserve": "none", "versions-age": "none", "versions-count": "7", "versions-share": "5%", "brake": "off", "exec": "never"}}
	berta.restart()
	for what, got := range map[string]control.Settings{"set": s.Settings, "after a restart": get()} {
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v", what, got)
		}
	}
	_, err = berta.ShareSet(ctx, "docs", control.ShareSet{Settings: map[string]string{"reserve": "2GB", "brake": "default", "versions-age": "2d"}})
	works(t, "set again", err)
	if got := get(); got.Reserve == nil || *got.Reserve != 2e9 || got.Brake.Files != 100 || got.VersionsAge != 2*24*3600 || got.Quota != 10e9 {
		t.Errorf("set again: %+v", got)
	}
}

// TestAllowedAfterNewPassword: a right that is the device's own is there again at once when that of others ends.
func TestAllowedAfterNewPassword(t *testing.T) {
	berta := start(t, "berta")
	berta.offer("docs", map[string]string{"plan": "x"}, byPassword)
	anna := start(t, "anna", berta)
	anna.sees(berta)
	_, err := berta.ShareAllow(t.Context(), "docs", anna.id, control.Read)
	works(t, "allow", err)
	for range 2 {
		if text, err := anna.text("//berta/docs/plan"); err != nil || text != "x" {
			t.Errorf("it reads %q, %v", text, err)
		}
		works(t, "a new password", berta.SharePasswd(t.Context(), "docs", control.Read, otherPassword))
	}
	works(t, "looking", anna.look("//berta/docs/plan"))
}
