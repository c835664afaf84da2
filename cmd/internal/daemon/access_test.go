package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

func (n *node) login(of, password string) (control.Login, error) {
	n.t.Helper()
	return n.Login(n.t.Context(), ref(n.t, of), password)
}

// whoami gives the right that the node holds.
func (n *node) whoami(of string) control.Right {
	n.t.Helper()
	l, err := n.Whoami(n.t.Context(), ref(n.t, of))
	if err != nil {
		n.t.Errorf("whoami %s: %v", of, err)
	}
	return l.Right
}

// TestLogin: wrong, right, remembered over restarts of either side, and forgotten.
func TestLogin(t *testing.T) {
	berta := start(t, "berta")
	berta.offer("docs", map[string]string{"plan": "x"}, byPassword)
	anna := start(t, "anna", berta)
	anna.sees(berta)
	err := anna.look("//berta/docs/plan")
	wants(t, "before", err, peer.Denied)
	if !strings.Contains(err.Error(), `peerd login //berta/docs`) {
		t.Errorf("no hint: %v", err)
	}
	if r := anna.whoami("//berta/docs"); r != control.None {
		t.Errorf("before: %s", r)
	}
	_, err = anna.login("//berta/docs", otherPassword)
	wants(t, "a wrong password", err, peer.Denied)
	_, err = anna.login("//berta/none", otherPassword)
	wants(t, "a share that is not there", err, peer.Denied)
	_, err = anna.login("//nobody/docs", otherPassword)
	wants(t, "a peer that is not there", err, peer.NotFound)
	_, err = anna.login("//berta/docs", "")
	wants(t, "no password", err, peer.Usage)
	wants(t, "after wrong ones", anna.look("//berta/docs/plan"), peer.Denied)

	l, err := anna.login("//BERTA/Docs", readPassword)
	if err != nil || l.Right != control.Read || l.By != "password" || l.ID != anna.id || !l.Until.After(time.Now()) {
		t.Errorf("the read password: %+v, %v", l, err)
	}
	works(t, "after login", anna.look("//berta/docs/plan"))

	anna.restart()
	anna.sees(berta)
	works(t, "after a restart", anna.look("//berta/docs/plan"))
	berta.restart()
	works(t, "after a restart of the owner", anna.look("//berta/docs/plan"))
	anna.restart()
	anna.sees(berta)
	if r := anna.whoami("//berta/docs"); r != control.Read {
		t.Errorf("after both: %s", r)
	}

	if l, err := anna.login("//berta/docs", fullPassword); err != nil || l.Right != control.Full {
		t.Errorf("the full password: %+v, %v", l, err)
	}
	works(t, "logout", anna.Logout(t.Context(), ref(t, "//berta/docs")))
	wants(t, "after logout", anna.look("//berta/docs/plan"), peer.Denied)
	wants(t, "logout again", anna.Logout(t.Context(), ref(t, "//berta/docs")), peer.NotFound)
	anna.restart()
	anna.sees(berta)
	wants(t, "after logout and a restart", anna.look("//berta/docs/plan"), peer.Denied)
}

// TestWhoamiIsOfNow: what the owner took back is not told as a right that is held, though a grant would still be good for minutes.
func TestWhoamiIsOfNow(t *testing.T) {
	berta := start(t, "berta")
	berta.offer("docs", map[string]string{"plan": "x"}, open)
	berta.offer("safe", map[string]string{"plan": "x"}, byPassword)
	anna := start(t, "anna", berta)
	anna.sees(berta)
	_, err := anna.login("//berta/safe", readPassword)
	works(t, "login", err)
	for _, name := range []string{"docs", "safe"} {
		if r := anna.whoami("//berta/" + name); r != control.Read {
			t.Errorf("before, in %s: %s", name, r)
		}
	}
	works(t, "a new password", berta.SharePasswd(t.Context(), "safe", control.Read, otherPassword))
	if r := anna.whoami("//berta/safe"); r != control.None {
		t.Errorf("after a new password: %s", r)
	}
	works(t, "rm", berta.ShareRemove(t.Context(), "docs"))
	_, err = anna.Whoami(t.Context(), ref(t, "//berta/docs"))
	wants(t, "of a share that is gone", err, peer.NotFound)
}

// TestHidden: nobody can tell a hidden share from one that is not there, but who knows its password.
func TestHidden(t *testing.T) {
	berta := start(t, "berta")
	berta.offer("secret$", map[string]string{"f": "x"}, byPassword)
	berta.offer("quiet", map[string]string{"f": "x"}, func(a *control.ShareAdd) { byPassword(a); a.Hidden = true })
	anna := start(t, "anna", berta)
	anna.sees(berta)
	texts := make(map[string]bool)
	for _, name := range []string{"secret$", "quiet", "none"} {
		err := anna.look("//berta/" + name + "/f")
		wants(t, name, err, peer.NotFound)
		texts[strings.ReplaceAll(err.Error(), name, "NAME")] = true
		_, err = anna.login("//berta/"+name, otherPassword)
		wants(t, name+", wrong password", err, peer.Denied)
		texts[strings.ReplaceAll(err.Error(), name, "NAME")] = true
	}
	if len(texts) != 2 {
		t.Errorf("the errors tell which are there: %v", texts)
	}
	if got, err := anna.list("//berta", false); err != nil || len(got) != 0 {
		t.Errorf("listed: %v, %v", got, err)
	}
	_, err := anna.login("//berta/quiet", readPassword)
	works(t, "login", err)
	works(t, "after login", anna.look("//berta/quiet/f"))
	wants(t, "the other one", anna.look("//berta/secret$/f"), peer.NotFound)
	if got, err := anna.list("//berta", false); err != nil || !slices.Equal(got, []string{"//berta/quiet"}) {
		t.Errorf("listed after login: %v, %v", got, err)
	}
}

// gate is a writer that waits after its first write until it is opened.
type gate struct {
	began, open chan struct{}
	once        sync.Once
	n           int64
}

func newGate() *gate { return &gate{began: make(chan struct{}), open: make(chan struct{})} }

func (g *gate) Write(b []byte) (int, error) {
	g.once.Do(func() {
		close(g.began)
		<-g.open
	})
	g.n += int64(len(b))
	return len(b), nil
}

// TestNewPasswordEndsTransfers: who came in by the old password is cut off in the midst of a file, by cat and by copy; who has
// the other right is not disturbed.
func TestNewPasswordEndsTransfers(t *testing.T) {
	const size = 8 << 30
	const small = 96 << 20 // more than is ever on its way
	berta := start(t, "berta")
	dir := berta.offer("docs", nil, byPassword)
	sparse(t, filepath.Join(dir, "big"), size)
	sparse(t, filepath.Join(dir, "middle"), small)
	// Each on a daemon of its own: one that is refused would tell the other's client.
	copier, reader, writer := start(t, "copier", berta), start(t, "reader", berta), start(t, "writer", berta)
	for n, password := range map[*node]string{copier: readPassword, reader: readPassword, writer: fullPassword} {
		n.sees(berta)
		if _, err := n.login("//berta/docs", password); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(map[*node]chan error)
	gates := make(map[*node]*gate)
	for _, n := range []*node{reader, writer} {
		ended[n], gates[n] = make(chan error, 1), newGate()
		go func() {
			ended[n] <- n.Cat(t.Context(), control.Ref{Peer: "berta", Share: "docs", Path: "middle"}, 0, -1, gates[n])
		}()
		<-gates[n].began
	}
	began, copied := make(chan struct{}), make(chan error, 1)
	go func() {
		var once sync.Once
		copied <- copier.Copy(t.Context(), control.CopyRequest{Sources: control.List[control.Ref]{{Peer: "berta", Share: "docs", Path: "big"}}, Dest: t.TempDir()}, func(e control.CopyEvent) {
			if e.Bytes > 0 {
				once.Do(func() { close(began) })
			}
		})
	}()
	<-began

	works(t, "the new password", berta.SharePasswd(t.Context(), "docs", control.Read, otherPassword))
	changed := time.Now()
	err := <-copied
	took := time.Since(changed)
	wants(t, "the running copy", err, peer.Denied)
	if took > soon {
		t.Errorf("the copy went on for %v", took)
	}
	if !strings.Contains(err.Error(), "peerd login //berta/docs") {
		t.Errorf("it does not say what to do: %v", err)
	}
	close(gates[reader].open)
	close(gates[writer].open)
	wants(t, "the running cat", <-ended[reader], peer.Denied)
	if gates[reader].n >= small {
		t.Error("all of the file came after the right had ended")
	}
	works(t, "by the other right", <-ended[writer])
	if gates[writer].n != small {
		t.Errorf("the other right gave %d of %d bytes", gates[writer].n, small)
	}

	wants(t, "afterwards", reader.look("//berta/docs/middle"), peer.Denied)
	_, err = reader.login("//berta/docs", readPassword)
	wants(t, "the old password", err, peer.Denied)
	_, err = reader.login("//berta/docs", otherPassword)
	works(t, "the new password", err)
	works(t, "by the new password", reader.look("//berta/docs/middle"))
}

// TestShareChanges: what an owner changes is seen by who was in, at once.
func TestShareChanges(t *testing.T) {
	berta := start(t, "berta")
	ctx := t.Context()
	dir := berta.offer("docs", map[string]string{"plan": "x"}, open)
	anna := start(t, "anna", berta)
	anna.sees(berta)
	works(t, "open", anna.look("//berta/docs/plan"))
	read := func(s control.Slot) control.ShareSet { return control.ShareSet{Read: &s} }
	set := func(what, name string, s control.ShareSet) {
		t.Helper()
		if _, err := berta.ShareSet(ctx, name, s); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	set("a password", "docs", read(control.Slot{Mode: control.Password, Password: readPassword}))
	wants(t, "by password", anna.look("//berta/docs/plan"), peer.Denied)
	_, err := anna.login("//berta/docs", readPassword)
	works(t, "login", err)
	works(t, "logged in", anna.look("//berta/docs/plan"))
	set("open", "docs", read(control.Slot{Mode: control.Open}))
	works(t, "open again, by an old grant", anna.look("//berta/docs/plan"))
	set("closed", "docs", read(control.Slot{Mode: control.Closed}))
	wants(t, "closed", anna.look("//berta/docs/plan"), peer.Denied)
	_, err = anna.login("//berta/docs", readPassword)
	wants(t, "the password of before", err, peer.Denied)
	_, err = berta.ShareSet(ctx, "docs", read(control.Slot{Mode: control.Password}))
	wants(t, "by a password that was never set", err, peer.Usage)

	name, bad, hidden := "papers", "a/b", true
	weak := control.Slot{Mode: control.Password, Password: "password12"}
	for what, s := range map[string]control.ShareSet{
		"a name that is none":          {Name: &bad, Read: &control.Slot{Mode: control.Open}},
		"a weak password":              {Name: &name, Full: &weak},
		"a mode that is none":          {Name: &name, Full: &control.Slot{Mode: "ajar"}},
		"a password that is not asked": {Name: &name, Full: &control.Slot{Mode: control.Open, Password: fullPassword}},
		"one password for both": {Name: &name, Read: &control.Slot{Mode: control.Password, Password: readPassword},
			Full: &control.Slot{Mode: control.Password, Password: readPassword}},
	} {
		_, err := berta.ShareSet(ctx, "docs", s)
		wants(t, what, err, peer.Usage)
		if all, err := berta.ShareList(ctx); err != nil || all[0].Name != "docs" || all[0].Read != control.Closed || all[0].Full != control.Closed {
			t.Errorf("%s: half of it was done: %+v, %v", what, all, err)
		}
	}
	set("a new name", "docs", control.ShareSet{Name: &name, Read: &control.Slot{Mode: control.Open}})
	wants(t, "the old name", anna.look("//berta/docs/plan"), peer.NotFound)
	works(t, "the new name", anna.look("//berta/papers/plan"))
	set("hidden", "papers", control.ShareSet{Hidden: &hidden})
	if got, err := anna.list("//berta", false); err != nil || len(got) > 0 {
		t.Errorf("hidden: %v, %v", got, err)
	}
	works(t, "hidden, and open to who knows of it", anna.look("//berta/papers/plan"))

	for what, add := range map[string]control.ShareAdd{
		"a folder within":        {Dir: berta.cfg.State, Name: "own", Read: control.Slot{Mode: control.Open}, Full: control.Slot{Mode: control.Closed}},
		"a relative folder":      {Dir: "x", Read: control.Slot{Mode: control.Open}, Full: control.Slot{Mode: control.Closed}},
		"a right by no password": {Dir: dir, Name: "two", Read: control.Slot{Mode: control.Password}, Full: control.Slot{Mode: control.Closed}},
	} {
		_, err := berta.ShareAdd(ctx, add)
		wants(t, what, err, peer.Usage)
	}
	for right, slots := range map[string][2]string{"read": {"short", fullPassword}, "full": {readPassword, "short"}} {
		says := func(what string, err error) {
			t.Helper()
			if peer.KindOf(err) != peer.Usage || !strings.Contains(err.Error(), "the "+right+" password") {
				t.Errorf("%s, and the %s password is weak: %v", what, right, err)
			}
		}
		r, f := control.Slot{Mode: control.Password, Password: slots[0]}, control.Slot{Mode: control.Password, Password: slots[1]}
		_, err := berta.ShareAdd(ctx, control.ShareAdd{Dir: dir, Name: "two", Read: r, Full: f})
		says("share add", err)
		_, err = berta.ShareSet(ctx, "papers", control.ShareSet{Read: &r, Full: &f})
		says("share set", err)
	}
	_, err = berta.ShareAdd(ctx, control.ShareAdd{Dir: dir, Name: "PAPERS", Read: control.Slot{Mode: control.Open}, Full: control.Slot{Mode: control.Closed}})
	wants(t, "a name that is taken", err, peer.Conflict)
	wants(t, "no right", berta.SharePasswd(ctx, "papers", control.None, readPassword), peer.Usage)
	wants(t, "no password", berta.SharePasswd(ctx, "papers", control.Read, ""), peer.Usage)
	wants(t, "no share", berta.SharePasswd(ctx, "none", control.Read, readPassword), peer.NotFound)
	generated, err := berta.GeneratePassword(ctx)
	works(t, "a generated password", errors.Join(err, berta.SharePasswd(ctx, "papers", control.Full, generated)))
	l, err := anna.login("//berta/papers", generated)
	if err != nil || l.Right != control.Full {
		t.Errorf("a generated password: %+v, %v", l, err)
	}

	works(t, "rm", berta.ShareRemove(ctx, "papers"))
	wants(t, "rm again", berta.ShareRemove(ctx, "papers"), peer.NotFound)
	err = anna.look("//berta/papers/plan")
	if kind := peer.KindOf(err); kind != peer.Denied && kind != peer.NotFound {
		t.Errorf("removed, the first time: %v", err)
	}
	wants(t, "removed", anna.look("//berta/papers/plan"), peer.NotFound)
	if _, err := os.Stat(filepath.Join(dir, "plan")); err != nil {
		t.Errorf("the folder of a share that is no more: %v", err)
	}

	// A new share of the old name is another one, and a login to it outlives restarts.
	berta.offer("papers", map[string]string{"plan": "y"}, byPassword)
	_, err = anna.login("//berta/papers", readPassword)
	works(t, "the new share", err)
	anna.restart()
	anna.sees(berta)
	works(t, "the new share after a restart", anna.look("//berta/papers/plan"))
}
