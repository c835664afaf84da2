package remote_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/auth"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/remote/ticket"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/servetest"
	"github.com/peerd/peerd/share/sharepb"
)

const (
	readPassword = "plumbing-harvest-otter-42"
	fullPassword = "velvet-anchor-thirteen-moss"
)

// client is the client of a host, with tickets in dir.
func client(t *testing.T, w *servetest.World, h *host.Host, dir string) *remote.Client {
	t.Helper()
	tickets, err := ticket.Open(dir, w.Now(), func(err error) { t.Errorf("a ticket is left out: %v", err) })
	if err != nil {
		t.Fatal(err)
	}
	return remote.NewClient(h, h.ID(), tickets, w.Now)
}

func password(t *testing.T, text string) auth.Password {
	t.Helper()
	p, err := auth.NewPassword(text)
	if err != nil {
		t.Fatal(err)
	}
	return p.WeakenedForTests() // what is tested here is not how hard a guess is
}

// protect sets passwords on a share.
func protect(t *testing.T, w *servetest.World, name share.Name, read, full string) {
	t.Helper()
	o, _ := w.Offers.Named(string(name))
	have, err := o.Credentials()
	if err != nil {
		t.Fatal(err)
	}
	for text, slot := range map[string]auth.Slot{read: auth.Read, full: auth.Full} {
		if text == "" {
			continue
		}
		c := auth.Credential{Keys: auth.NewServerKeys()}
		if c.Record, err = auth.Register(c.Keys, o.ID, slot, password(t, text)); err != nil {
			t.Fatal(err)
		}
		if slot == auth.Read {
			have.Read = c
		} else {
			have.Full = c
		}
	}
	w.Offers.Change(name, func(o *serve.Offer) { o.Credentials = func() (auth.Credentials, error) { return have, nil } })
}

func stat(t *testing.T, c *remote.Client, a remote.Access) error {
	t.Helper()
	p, err := share.ParsePath([]string{"small"})
	if err != nil {
		t.Fatal(err)
	}
	e, err := c.FS(a, "//owner/"+a.Name).Stat(context.Background(), p)
	if err == nil && e.Size != servetest.SmallSize {
		t.Errorf("a file of %d bytes, want %d", e.Size, servetest.SmallSize)
	}
	return err
}

func TestLogin(t *testing.T) {
	w := servetest.New(t)
	protect(t, w, "docs", readPassword, fullPassword)
	dir := t.TempDir()
	ctx, owner := context.Background(), w.Owner.ID()
	c := client(t, w, w.Anna, dir)
	if _, err := c.Access(ctx, owner, "docs"); peer.KindOf(err) != peer.Denied {
		t.Fatalf("access before login: %v", err)
	}
	for _, want := range []share.Right{share.Read, share.Full} {
		text := map[share.Right]string{share.Read: readPassword, share.Full: fullPassword}[want]
		a, err := c.Login(ctx, owner, "DOCS", password(t, text))
		if err != nil {
			t.Fatal(err)
		}
		if a.Right != want || a.Until.IsZero() {
			t.Errorf("right %v until %v, want %v", a.Right, a.Until, want)
		}
		if err := stat(t, c, a); err != nil {
			t.Error(err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("%d tickets on disk, %v", len(files), err)
	}
	if info, err := files[0].Info(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the ticket's file: %v %v", info.Mode(), err)
	}

	// A client that starts again is in without a password.
	again := client(t, w, w.Anna, dir)
	a, err := again.Access(ctx, owner, "docs")
	if err != nil || a.Right != share.Full || a.By != "password" {
		t.Fatalf("after a restart: %+v, %v", a, err)
	}
	if err := stat(t, again, a); err != nil {
		t.Error(err)
	}

	// The ticket in somebody else's hands opens nothing.
	thief := client(t, w, w.Berta, dir)
	if _, err := thief.Access(ctx, owner, "docs"); peer.KindOf(err) != peer.Denied {
		t.Errorf("a stolen ticket: %v", err)
	}
}

func TestTicketEnds(t *testing.T) {
	for name, end := range map[string]func(*servetest.World){
		"by time":           func(w *servetest.World) { w.Pass(grant.MaxTicketLife) },
		"by a new password": func(w *servetest.World) { w.Offers.Change("docs", func(o *serve.Offer) { o.Epochs.Read++ }) },
	} {
		t.Run(name, func(t *testing.T) {
			w := servetest.New(t)
			protect(t, w, "docs", readPassword, "")
			dir := t.TempDir()
			ctx, owner := context.Background(), w.Owner.ID()
			c := client(t, w, w.Anna, dir)
			if _, err := c.Login(ctx, owner, "docs", password(t, readPassword)); err != nil {
				t.Fatal(err)
			}
			end(w)
			c.Forget(owner, "docs")
			if _, err := c.Access(ctx, owner, "docs"); peer.KindOf(err) != peer.Denied {
				t.Errorf("afterwards: %v", err)
			}
			if files, _ := filepath.Glob(filepath.Join(dir, "*.json")); len(files) > 0 {
				t.Errorf("a ticket that is of no use is kept: %v", files)
			}
		})
	}
}

// TestGrantIsRenewed: a client that works for hours goes on, since it asks anew before its grant ends.
func TestGrantIsRenewed(t *testing.T) {
	w := servetest.New(t)
	w.Offers.Change("docs", func(o *serve.Offer) { o.Open = share.Read })
	c := client(t, w, w.Anna, t.TempDir())
	ctx, owner := context.Background(), w.Owner.ID()
	first, err := c.Grant(ctx, owner, "docs")
	if err != nil {
		t.Fatal(err)
	}
	w.Pass(grant.MaxLife / 2)
	if same, err := c.Grant(ctx, owner, "docs"); err != nil || !slices.Equal(same, first) {
		t.Errorf("a grant in the midst of its life is fetched anew: %v", err)
	}
	w.Pass(grant.MaxLife * 2 / 5)
	if next, err := c.Grant(ctx, owner, "docs"); err != nil || slices.Equal(next, first) {
		t.Errorf("a grant near its end is still used: %v", err)
	}
}

// TestHeld: what an owner gave last is known without asking, until it is forgotten.
func TestHeld(t *testing.T) {
	w := servetest.New(t)
	protect(t, w, "docs", readPassword, fullPassword)
	owner := w.Owner.ID()
	c := client(t, w, w.Anna, t.TempDir())
	held := func(want share.Right) {
		t.Helper()
		if a, ok := c.Held(owner, "DOCS"); ok != (want > share.None) || a.Right != want {
			t.Errorf("held is %v, %v, want %v", a.Right, ok, want)
		}
	}
	held(share.None)
	for _, want := range []share.Right{share.Read, share.Full} {
		text := map[share.Right]string{share.Read: readPassword, share.Full: fullPassword}[want]
		if _, err := c.Login(context.Background(), owner, "docs", password(t, text)); err != nil {
			t.Fatal(err)
		}
		held(want)
	}
	c.Forget(owner, "docs")
	held(share.None)
	if _, err := c.Access(context.Background(), owner, "docs"); err != nil {
		t.Fatal(err)
	}
	held(share.Full)
	if _, err := c.Logout(owner, "docs"); err != nil {
		t.Fatal(err)
	}
	held(share.None)
}

// TestAsk: a right that the owner took back is known at once to who asks for it, and not to who uses a grant.
func TestAsk(t *testing.T) {
	w := servetest.New(t)
	w.Offers.Change("docs", func(o *serve.Offer) { o.Open = share.Read })
	c := client(t, w, w.Anna, t.TempDir())
	ctx, owner := context.Background(), w.Owner.ID()
	if a, err := c.Ask(ctx, owner, "docs"); err != nil || a.Right != share.Read {
		t.Errorf("an open share: %+v, %v", a, err)
	}
	w.Offers.Change("docs", func(o *serve.Offer) { o.Open = share.None })
	if _, err := c.Access(ctx, owner, "docs"); err != nil {
		t.Errorf("a grant that is held is not used: %v", err)
	}
	if _, err := c.Ask(ctx, owner, "docs"); peer.KindOf(err) != peer.Denied {
		t.Errorf("a right that was taken back: %v", err)
	}
	if _, err := c.Access(ctx, owner, "docs"); peer.KindOf(err) != peer.Denied {
		t.Errorf("what was held is used again: %v", err)
	}
}

// TestRefusalsAreAlike: from what a login gets back, nobody can tell whether the password, the slot or the share is wrong,
// or hidden. Every message has the same size, and the error is the same.
func TestRefusalsAreAlike(t *testing.T) {
	w := servetest.New(t)
	protect(t, w, "docs", readPassword, "")
	protect(t, w, "secret$", "", fullPassword)
	ctx := context.Background()
	seen := make(map[string][]string)
	for _, name := range []string{"docs", "other", "secret$", "no such share"} {
		sizes, err := refusal(t, w, name)
		seen[fmt.Sprint(sizes, err)] = append(seen[fmt.Sprint(sizes, err)], name)
		w.Pass(time.Minute)
	}
	if len(seen) != 1 {
		t.Errorf("refusals differ: %v", seen)
	}
	c := client(t, w, w.Anna, t.TempDir())
	texts := make(map[string][]string)
	for _, name := range []string{"docs", "other", "secret$", "no such share"} {
		_, err := c.Login(ctx, w.Owner.ID(), name, password(t, "not the password"))
		if peer.KindOf(err) != peer.Denied {
			t.Errorf("%s: %v, want kind %v", name, err, peer.Denied)
		}
		texts[err.Error()] = append(texts[err.Error()], name)
		w.Pass(time.Minute)
	}
	if len(texts) != 1 {
		t.Errorf("errors differ: %v", texts)
	}
}

// refusal runs a login by hand with a wrong KE3 and gives the sizes of all answers.
func refusal(t *testing.T, w *servetest.World, name string) ([]int, error) {
	t.Helper()
	st, err := w.Anna.Open(context.Background(), w.Owner.ID(), serve.AuthProtocol, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Reset()
	if err := st.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	in := wire.NewReader(st)
	var id sharepb.AuthShare
	var ke2 sharepb.AuthMessage
	var result sharepb.AuthResult
	write := func(m *sharepb.AuthMessage) {
		if err := wire.WriteMsg(st, m); err != nil {
			t.Fatal(err)
		}
	}
	if err := wire.WriteMsg(st, &sharepb.AuthHello{Share: name, How: &sharepb.AuthHello_Password{Password: true}}); err != nil {
		t.Fatal(err)
	}
	if err := in.ReadMsg(&id, serve.MaxAuthFrame); err != nil {
		t.Fatal(err)
	}
	_, ke1, err := auth.Start(auth.Binding{Client: w.Anna.ID(), Server: w.Owner.ID(), Share: [16]byte(id.Id)}, password(t, "wrong"))
	if err != nil {
		t.Fatal(err)
	}
	write(&sharepb.AuthMessage{Data: ke1})
	if err := in.ReadMsg(&ke2, serve.MaxAuthFrame); err != nil {
		t.Fatal(err)
	}
	write(&sharepb.AuthMessage{Data: make([]byte, auth.KE3Size)})
	if err := in.ReadMsg(&result, serve.MaxAuthFrame); err != nil {
		t.Fatal(err)
	}
	return []int{wire.FrameSize(&id), wire.FrameSize(&ke2), wire.FrameSize(&result), len(result.Grant), len(result.Ticket)}, wire.ToError(result.Error)
}

// TestGuessingIsSlowedDown: guesses over real connections are slowed down by the share's bucket, while somebody who was in before still
// gets in. The whole table of buckets is tested in peer/auth.
func TestGuessingIsSlowedDown(t *testing.T) {
	w := servetest.New(t)
	protect(t, w, "docs", readPassword, "")
	ctx, owner := context.Background(), w.Owner.ID()
	colleague := client(t, w, w.Berta, t.TempDir())
	if _, err := colleague.Login(ctx, owner, "docs", password(t, readPassword)); err != nil {
		t.Fatal(err)
	}
	answered := 0
	for range 30 {
		switch _, err := client(t, w, w.Anna, t.TempDir()).Login(ctx, owner, "docs", password(t, "a guess")); peer.KindOf(err) {
		case peer.Denied:
			answered++
		case peer.Busy:
			var e *peer.Error
			if !errors.As(err, &e) || e.Hint == "" {
				t.Errorf("it does not say when to try again: %v", err)
			}
		default:
			t.Fatalf("a guess: %v", err)
		}
	}
	if answered == 0 || answered > 10 {
		t.Errorf("%d of 30 guesses at once were answered, want 1 to 10", answered)
	}
	if _, err := colleague.Login(ctx, owner, "docs", password(t, readPassword)); err != nil {
		t.Errorf("the colleague meanwhile: %v", err)
	}
}
