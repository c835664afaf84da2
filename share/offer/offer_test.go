package offer_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/auth"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/offer"
	"github.com/peerd/peerd/share/registry"
)

const (
	readPassword = "plumbing-harvest-otter-42"
	fullPassword = "velvet-anchor-thirteen-moss"
)

func newOffers(t *testing.T) *offer.Offers {
	t.Helper()
	reg, err := registry.Open(t.TempDir(), registry.Options{Home: filepath.Join(t.TempDir(), "home")})
	if err != nil {
		t.Fatal(err)
	}
	return offer.New(reg, slog.New(slog.DiscardHandler))
}

// folder is a folder with one file, without links in its path.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// password has the stretching of tests, and none is the zero one.
func password(t *testing.T, text string) auth.Password {
	t.Helper()
	if text == "" {
		return auth.Password{}
	}
	p, err := auth.NewPassword(text)
	if err != nil {
		t.Fatal(err)
	}
	return p.WeakenedForTests()
}

func add(t *testing.T, o *offer.Offers, s registry.Share, read, full string) registry.Share {
	t.Helper()
	id := registry.NewID()
	sec, err := offer.NewSecrets(id, password(t, read), password(t, full))
	if err != nil {
		t.Fatal(err)
	}
	s.ID = id
	if s, err = o.Registry.Add(s, sec, time.Now()); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestOffersFollowTheRegistry: what is served is what the registry says at that moment.
func TestOffersFollowTheRegistry(t *testing.T) {
	o := newOffers(t)
	s := add(t, o, registry.Share{Name: "docs", Dir: folder(t), Slots: registry.Slots{Read: registry.ModeOpen}}, "", "")
	add(t, o, registry.Share{Name: "quiet", Dir: folder(t), Hidden: true}, "", "")
	add(t, o, registry.Share{Name: "secret$", Dir: folder(t)}, "", "")
	if listed, _ := o.Listed(""); len(listed) != 1 || listed[0].Name != "docs" || listed[0].Open != share.Read {
		t.Errorf("listed: %+v", listed)
	}
	for _, name := range []string{"DOCS", "Quiet", "secret$"} {
		if _, ok := o.Named(name); !ok {
			t.Errorf("there is no %s", name)
		}
	}
	have, ok := o.ByID(s.ID)
	if !ok {
		t.Fatal("it is not there by its ID")
	}
	p, _ := share.ParsePath([]string{"f"})
	if e, err := have.FS.Stat(t.Context(), p); err != nil || e.Size != 1 {
		t.Errorf("its file: %+v, %v", e, err)
	}
	if err := o.Registry.Remove(s.ID); err != nil {
		t.Fatal(err)
	}
	if _, ok := o.ByID(s.ID); ok {
		t.Error("it is there after it was removed")
	}
}

// TestCredentials: both slots always have something to answer with, and each password opens its own slot.
func TestCredentials(t *testing.T) {
	o := newOffers(t)
	for name, pw := range map[share.Name][2]string{"none": {}, "read": {readPassword, ""}, "both": {readPassword, fullPassword}} {
		s := add(t, o, registry.Share{Name: name, Dir: folder(t), Ephemeral: name == "read"}, pw[0], pw[1])
		have, _ := o.ByID(s.ID)
		c, err := have.Credentials()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i, text := range []string{readPassword, fullPassword} {
			p := password(t, text)
			if got, want := auth.Matches(c.Read, s.ID, auth.Read, p), i == 0 && pw[0] != ""; got != want {
				t.Errorf("%s: password %d opens the read slot: %v", name, i, got)
			}
			if got, want := auth.Matches(c.Full, s.ID, auth.Full, p), i == 1 && pw[1] != ""; got != want {
				t.Errorf("%s: password %d opens the full slot: %v", name, i, got)
			}
		}
	}
}

// TestCheckPassword: what can be guessed, or opens the other slot, is refused.
func TestCheckPassword(t *testing.T) {
	o := newOffers(t)
	s := add(t, o, registry.Share{Name: "docs", Dir: folder(t), Slots: registry.Slots{Read: registry.ModePassword}}, readPassword, "")
	for _, text := range []string{"", "short", "password1234", readPassword} {
		if err := o.CheckPassword(password(t, text), &s, auth.Full); peer.KindOf(err) != peer.Usage {
			t.Errorf("%q for the full slot: %v", text, err)
		}
	}
	for text, slot := range map[string]auth.Slot{fullPassword: auth.Full, readPassword: auth.Read} {
		if err := o.CheckPassword(password(t, text), &s, slot); err != nil {
			t.Errorf("%q for the %s slot: %v", text, slot, err)
		}
	}
}

// TestAddForRun: a folder is offered once, and what is offered for good stays as it is.
func TestAddForRun(t *testing.T) {
	o := newOffers(t)
	dir := folder(t)
	for range 2 {
		s, err := o.AddForRun("12D3KooW", "docs", dir)
		if err != nil || s.Dir != dir || !s.Ephemeral || s.Slots.Open() != share.Read {
			t.Errorf("%+v, %v", s, err)
		}
	}
	if _, err := o.AddForRun("12D3KooW", "docs", folder(t)); peer.KindOf(err) != peer.Conflict {
		t.Errorf("another folder of the same name: %v", err)
	}
	add(t, o, registry.Share{Name: "closed", Dir: dir}, "", "")
	if _, err := o.AddForRun("12D3KooW", "closed", dir); peer.KindOf(err) != peer.Conflict {
		t.Errorf("a closed share was opened for the run: %v", err)
	}
}
